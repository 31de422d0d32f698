"""``leasetimer run`` on a terminal: job control, as if the command had been started alone."""

import os
import pty
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installed import LEASETIMER
from installed import root as root

pytestmark = pytest.mark.real


class Shell:
    """An interactive shell with job control, on a terminal of its own."""

    def __init__(self, *argv: str) -> None:
        pid, fd = pty.fork()
        if pid == 0:
            os.environ["PS1"] = "PROMPT:"
            os.execvp(argv[0], argv)
        self.pid, self.fd, self.seen = pid, fd, ""

    def until(self, text: str) -> None:
        """Wait until that is shown."""
        end = time.monotonic() + 10
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} not shown, but {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.fd, keys.encode())

    def do(self, command: str) -> None:
        """A line at the prompt."""
        self.until("PROMPT:")
        self.type(f"{command}\n")

    def close(self) -> None:
        """Hang up."""
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell(root: Path) -> Iterator[Shell]:
    """A bash with job control."""
    shell = Shell("bash", "--norc", "--noediting", "-i")
    yield shell
    shell.close()


def test_the_terminal_stops_and_continues_it_with_the_command(shell: Shell) -> None:
    """Ctrl-Z stops the job, ``fg`` continues it, in the foreground, and Ctrl-C ends it."""
    shell.do(f"{LEASETIMER} run cat")
    shell.type("one\n")
    shell.until("one\r\none")
    shell.type("\x1a")
    shell.until("Stopped")
    shell.do("fg")
    shell.until("run cat")
    shell.type("two\n")
    shell.until("two\r\ntwo")
    shell.type("\x03")
    shell.do("echo code=$?")
    shell.until("code=130")


def test_a_command_in_the_background_gets_the_terminal_with_fg(shell: Shell) -> None:
    """One that wants to read stops, as a job of its own would, until it is in the foreground."""
    shell.do(f"{LEASETIMER} run cat & wait")
    shell.until("Stopped")
    shell.do("fg")
    shell.until("run cat")
    shell.type("one\n")
    shell.until("one\r\none")
    shell.type("\x04")
    shell.do("echo code=$?")
    shell.until("code=0")


def test_in_a_pipeline_the_whole_of_it_is_stopped_and_interrupted(shell: Shell) -> None:
    """There the command gets the terminal only when it asks, and Ctrl-Z stops its neighbours with it."""
    shell.do(f"{LEASETIMER} run sh -c 'echo a''b; read x; echo $x; read y; echo $y' | cat")
    shell.until("ab\r\n")
    shell.type("one\n")
    shell.until("one\r\none")
    shell.type("\x1a")
    shell.until("Stopped")
    shell.do("jobs")
    shell.until("Stopped")
    shell.do("fg")
    shell.until("| cat")
    shell.type("two\n")
    shell.until("two\r\ntwo")
    shell.do("echo code=${PIPESTATUS[0]}")
    shell.until("code=0")


def test_a_script_around_it_is_interrupted_with_it(shell: Shell) -> None:
    """Ctrl-C ends a loop of runs: the terminal goes on telling the script."""
    shell.do(f"sh -c 'while :; do {LEASETIMER} run sh -c \"echo ro''und; exec sleep 60\"; done'")
    shell.until("round")
    shell.type("\x03")
    shell.do("echo code=$?")
    shell.until("code=130")


def test_a_neighbour_in_a_pipeline_has_the_terminal(shell: Shell) -> None:
    """A pager behind the command reads its keys."""
    pager = "sh -c 'read x; echo $x; read x </dev/tty; echo got $x'"
    shell.do(f"{LEASETIMER} run sh -c 'sleep 0.2; echo re''ady; sleep 60' | {pager}")
    shell.until("ready")
    shell.type("one\n")
    shell.until("got one")
    shell.type("\x03")


def test_the_terminal_comes_back_from_a_command_that_asked_for_it(shell: Shell) -> None:
    """A script goes on reading after its command has read."""
    shell.do(f"sh -c '{LEASETIMER} run sh -c \"echo re''ady; read x; echo fi''rst\"; read y; echo got $y'")
    shell.until("ready")
    shell.type("one\n")
    shell.until("first")
    shell.type("two\n")
    shell.until("got two")


def test_where_nobody_could_continue_it_it_does_not_stay_stopped(root: Path) -> None:
    """Alone on a terminal, as in a container, Ctrl-Z stops nothing for good."""
    shell = Shell(LEASETIMER, "run", "sh", "-c", "echo ready; read x; echo got $x")
    shell.until("ready")
    shell.type("\x1a")
    shell.type("one\n")
    shell.until("got one")
    shell.close()
