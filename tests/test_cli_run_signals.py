"""Signals that ``leasetimer run`` gets are the command's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from installed import LEASETIMER, Start, line, patched
from installed import root as root
from installed import start as start
from programs import eventually, lives, state

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "USR1", "USR2", "QUIT"])
def test_signals_are_forwarded(start: Start, name: str) -> None:
    """The command is told, and its exit code is what counts."""
    process = start(
        LEASETIMER, "run", "sh", "-c", f'trap "echo {name}; exit 5" {name}; echo ready; while :; do sleep 0.02; done'
    )
    assert line(process) == "ready"
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert line(process) == name
    assert process.wait(10) == 5


def test_term_ends_what_the_command_started_too(start: Start) -> None:
    """The signal reaches the whole group: a shell that dies of it must not leave its child."""
    process = start(LEASETIMER, "run", "sh", "-c", "sleep 60 & echo $!; wait")
    child = int(line(process))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    eventually(lambda: not lives(child), "its child ended")


def test_term_twice_waits_for_the_command_all_the_same(start: Start) -> None:
    """A command that takes its time to end is waited for, and told each time: nothing is left behind."""
    process = start(
        LEASETIMER,
        "run",
        "sh",
        "-c",
        'trap "echo told" TERM; echo ready; while [ ! -e end ]; do sleep 0.02; done; exit 3',
    )
    assert line(process) == "ready"
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        assert line(process) == "told"
    assert process.poll() is None
    Path("end").touch()
    assert process.wait(10) == 3


def test_a_message_reaches_the_command_alone(start: Start) -> None:
    """USR1 would kill a helper that doesn't know it, as kill(1) on the command would not."""
    helper = "(trap 'echo helper told' USR1; touch up; while [ ! -e end ]; do sleep 0.02; done) &"
    ready = "trap 'touch end' USR1; while [ ! -e up ]; do sleep 0.02; done; echo ready"
    process = start(LEASETIMER, "run", "sh", "-c", f"{helper} {ready}; wait; wait; exit 5")
    assert line(process) == "ready"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (5, "")


def test_a_signal_ignored_from_the_start_stays_ignored(start: Start) -> None:
    """As under nohup: neither it nor the command dies of HUP."""
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = ["run", "sh", "-c", "trap 'echo alive; exit 0' USR1; echo ready; while :; do sleep 0.02; done"]
    with subprocess.Popen(
        [sys.executable, "-c", program, LEASETIMER, *command], stdout=subprocess.PIPE, text=True
    ) as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        assert line(process) == "alive"


def test_stop_and_continue_reach_the_command(start: Start) -> None:
    """TSTP stops both, CONT continues both; TERM also ends a command that is stopped."""
    process = start(LEASETIMER, "run", "sh", "-c", "echo $$; exec sleep 60")
    pid = int(line(process))
    process.send_signal(signal.SIGTSTP)
    eventually(lambda: state(process.pid) == state(pid) == "T", "both stopped")
    process.send_signal(signal.SIGCONT)
    eventually(lambda: {state(process.pid), state(pid)} <= {*"SR"}, "both continued")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state(pid) == "T", "the command stopped")
    assert state(process.pid) in "SR"  # somebody meant the command alone
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM


def test_a_command_that_may_not_be_signalled_is_waited_for(root: Path) -> None:
    """As where it is setuid: one line says so, and its exit code is what counts."""
    patch = "def refuse(*_): raise PermissionError(1, 'Operation not permitted')\n_child.os.killpg = refuse"
    done = patched(patch, "sh", "-c", "kill -TERM $PPID; sleep 0.1; exit 7")
    assert done.returncode == 7
    assert "signal not passed on: signal=15" in done.stderr
