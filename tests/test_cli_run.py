"""``leasetimer run``, as a process."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from leasetimer.cli._child import Signals
from leasetimer.cli._guard import Guard, Reaped, Try
from leasetimer.cli.run import Plan, _run

LEASETIMER = os.path.join(sysconfig.get_path("scripts"), "leasetimer")
real = pytest.mark.real

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory, which every process here finds in its environment, and a working directory beside it."""
    monkeypatch.setenv("LEASETIMER_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("LEASETIMER_HOST", "here")
    monkeypatch.delenv("LEASETIMER_RUN", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "root"


@pytest.fixture
def worker(root: Path) -> str:
    """A shell command line: a worker that is stuck past its lease."""
    program = "import time, leasetimer\nwith leasetimer.expires(0.1, 'stuck'): time.sleep(60)"
    Path("worker.py").write_text(program)
    return f"{sys.executable} worker.py"


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts ``leasetimer`` in a process group of its own, and leaves no process."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [LEASETIMER, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(*argv: str, fds: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LEASETIMER, "run", *argv], capture_output=True, text=True, timeout=20, check=False, pass_fds=fds
    )


def patched(patch: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ``leasetimer run`` with that statement executed first: a machine that fails in a certain way."""
    first = "from leasetimer.cli import main, run, _child, _guard; from leasetimer.directory import Folder"
    program = f"{first}\n{patch}\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, "run", *argv], capture_output=True, text=True, timeout=20, check=False
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def lives(pid: int) -> bool:
    return state(pid) not in "ZX"


def tries() -> int:
    return len(Path("tries").read_text().splitlines())


# -- exit codes


@real
@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 124", 124), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
)
def test_it_ends_with_the_exit_code_of_the_command(root: Path, script: str, code: int) -> None:
    """The command's own code, 128+n for a signal, and not a word of its own."""
    done = run("--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@real
def test_a_command_that_is_not_there_is_127(root: Path) -> None:
    """As with timeout(1), and one line says what was looked for."""
    done = run("no-such-command")
    assert done.returncode == 127
    assert done.stderr == "leasetimer: can't run 'no-such-command': No such file or directory\n"


@real
def test_a_command_that_cannot_be_executed_is_126(root: Path) -> None:
    """A file without the permission, a folder, and what is no program."""
    Path("plain").write_text("no program")
    Path("garbage").write_bytes(b"\x7fELF")
    Path("garbage").chmod(0o755)
    for what in ("./plain", "./garbage", "/"):
        done = run(what)
        assert done.returncode == 126, what
        assert len(done.stderr.splitlines()) == 1


@real
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Missing argument"),
        (["--nonsense", "true"], "--nonsense"),
        (["--after", "0", "true"], "got '0'"),
        (["--restarts", "-1", "true"], "-1"),
        (["--signal", "NOPE", "true"], "got 'NOPE'"),
        (["--dir", "/dev/null", "true"], "it is a file"),
        (["--dir", "/proc/leases", "true"], "/proc/leases"),
    ],
)
def test_failures_of_its_own_are_125(root: Path, options: list[str], told: str) -> None:
    """Bad options and directories: one line, no traceback, and the command is not run."""
    done = run(*options)
    assert done.returncode == 125
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


@real
def test_a_host_id_that_cannot_be_is_125(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LEASETIMER_HOST names a folder."""
    monkeypatch.setenv("LEASETIMER_HOST", "../up")
    done = run("true")
    assert (done.returncode, len(done.stderr.splitlines())) == (125, 1)


# -- what the command gets


@real
def test_the_command_gets_directory_host_and_a_group_of_its_own(root: Path) -> None:
    """Its environment names both, and it leads its process group, in the session it would have had."""
    done = run("sh", "-c", "echo $LEASETIMER_DIR $LEASETIMER_HOST; echo $$ $(cut -d' ' -f5,6 /proc/$$/stat)")
    first, second = done.stdout.splitlines()
    assert first == f"{root} here"
    pid, group, session = map(int, second.split())
    assert (group, session) == (pid, os.getsid(0))


@real
def test_the_option_dir_wins_over_the_environment(root: Path, tmp_path: Path) -> None:
    """The command is told of the directory that is used; it is made for its user alone."""
    done = run("--dir", "other", "sh", "-c", "echo $LEASETIMER_DIR")
    assert done.stdout == f"{tmp_path / 'other'}\n"
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o700


@real
def test_the_command_gets_its_options_and_descriptors(root: Path, tmp_path: Path) -> None:
    """What follows CMD is CMD's, with or without ``--``; a descriptor that was meant for it passes, no other does."""
    with open(tmp_path / "kept", "w") as kept:
        fd = kept.fileno()
        done = run(
            "sh",
            "-c",
            f"ls /proc/self/fd; echo $1 >/proc/self/fd/{fd}",
            "sh",
            "--after",
            fds=[fd],
        )
    assert (tmp_path / "kept").read_text() == "--after\n"
    assert sorted(map(int, done.stdout.split())) == [0, 1, 2, 3, fd]  # 3 is ls' own


# -- signals


@real
@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "USR1", "USR2", "QUIT"])
def test_signals_are_forwarded(start: Start, name: str) -> None:
    """The command is told, and its exit code is what counts."""
    process = start("run", "sh", "-c", f'trap "echo {name}; exit 5" {name}; echo ready; while :; do sleep 0.02; done')
    assert line(process) == "ready"
    process.send_signal(signal.Signals[f"SIG{name}"])
    assert line(process) == name
    assert process.wait(10) == 5


@real
def test_term_ends_what_the_command_started_too(start: Start) -> None:
    """The signal reaches the whole group: a shell that dies of it must not leave its child."""
    process = start("run", "sh", "-c", "sleep 60 & echo $!; wait")
    child = int(line(process))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    until(lambda: not lives(child))


@real
def test_term_twice_waits_for_the_command_all_the_same(start: Start) -> None:
    """A command that takes its time to end is waited for, and told each time: nothing is left behind."""
    process = start(
        "run", "sh", "-c", 'trap "echo told" TERM; echo ready; while [ ! -e end ]; do sleep 0.02; done; exit 3'
    )
    assert line(process) == "ready"
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        assert line(process) == "told"
    assert process.poll() is None
    Path("end").touch()
    assert process.wait(10) == 3


@real
def test_a_message_reaches_the_command_alone(start: Start) -> None:
    """USR1 would kill a helper that doesn't know it, as kill(1) on the command would not."""
    helper = "(trap 'echo helper told' USR1; touch up; while [ ! -e end ]; do sleep 0.02; done) &"
    ready = "trap 'touch end' USR1; while [ ! -e up ]; do sleep 0.02; done; echo ready"
    process = start("run", "sh", "-c", f"{helper} {ready}; wait; wait; exit 5")
    assert line(process) == "ready"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (5, "")


@real
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


@real
def test_stop_and_continue_reach_the_command(start: Start) -> None:
    """TSTP stops both, CONT continues both; TERM also ends a command that is stopped."""
    process = start("run", "sh", "-c", "echo $$; exec sleep 60")
    pid = int(line(process))
    process.send_signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == "T" and state(pid) == "T")
    process.send_signal(signal.SIGCONT)
    until(lambda: state(process.pid) in "SR" and state(pid) in "SR")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T")
    assert state(process.pid) in "SR"  # somebody meant the command alone
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM


# -- the terminal


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


@real
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


@real
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


@real
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


@real
def test_a_script_around_it_is_interrupted_with_it(shell: Shell) -> None:
    """Ctrl-C ends a loop of runs: the terminal goes on telling the script."""
    shell.do(f"sh -c 'while :; do {LEASETIMER} run sh -c \"echo ro''und; exec sleep 60\"; done'")
    shell.until("round")
    shell.type("\x03")
    shell.do("echo code=$?")
    shell.until("code=130")


@real
def test_a_neighbour_in_a_pipeline_has_the_terminal(shell: Shell) -> None:
    """A pager behind the command reads its keys."""
    pager = "sh -c 'read x; echo $x; read x </dev/tty; echo got $x'"
    shell.do(f"{LEASETIMER} run sh -c 'sleep 0.2; echo re''ady; sleep 60' | {pager}")
    shell.until("ready")
    shell.type("one\n")
    shell.until("got one")
    shell.type("\x03")


@real
def test_the_terminal_comes_back_from_a_command_that_asked_for_it(shell: Shell) -> None:
    """A script goes on reading after its command has read."""
    shell.do(f"sh -c '{LEASETIMER} run sh -c \"echo re''ady; read x; echo fi''rst\"; read y; echo got $y'")
    shell.until("ready")
    shell.type("one\n")
    shell.until("first")
    shell.type("two\n")
    shell.until("got two")


@real
def test_where_nobody_could_continue_it_it_does_not_stay_stopped(root: Path) -> None:
    """Alone on a terminal, as in a container, Ctrl-Z stops nothing for good."""
    shell = Shell(LEASETIMER, "run", "sh", "-c", "echo ready; read x; echo got $x")
    shell.until("ready")
    shell.type("\x1a")
    shell.type("one\n")
    shell.until("got one")
    shell.close()


# -- reaped


@real
def test_a_command_past_its_lease_is_reaped_with_its_tree(root: Path) -> None:
    """124, and one line that names scope, pid and record; its lease is gone with it."""
    done = run("--after", "0.2", "--scope", "whole job", "sh", "-c", "sleep 60 & echo $! $$; wait")
    child, pid = map(int, done.stdout.split())
    record = next(root.glob("here/postmortem/*.json"))
    assert done.returncode == 124
    assert f"leasetimer: pid {pid} was reaped in scope whole job (record {record}): exit 124" in done.stderr
    assert not lives(child)
    assert json.loads(record.read_text())["signals"][0]["name"] == "SIGTERM"
    assert not list(root.glob("here/*.lease"))


@real
def test_a_reaped_command_is_124_though_it_ends_with_0(root: Path) -> None:
    """A command that ends neatly on TERM was reaped all the same."""
    assert run("--after", "0.2", "sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait").returncode == 124


@real
def test_a_command_that_does_not_mind_the_signal_gets_kill(root: Path) -> None:
    """The signal is the chosen one, and --kill-after later it is KILL."""
    done = run(
        "--after", "0.2", "--kill-after", "0.2", "--signal", "USR2", "sh", "-c", "trap '' USR2; sleep 60; sleep 60"
    )
    record = json.loads(next(root.glob("here/postmortem/*.json")).read_text())
    assert done.returncode == 124
    assert [sent["name"] for sent in record["signals"]] == ["SIGUSR2", "SIGKILL"]


@real
def test_a_command_in_time_leaves_no_lease_and_no_record(root: Path) -> None:
    """While it runs its lease is there, under its own name; afterwards nothing is."""
    done = run("--after", "60", "sh", "-c", "sleep 0.3; ls $LEASETIMER_DIR/here; echo $$")
    name, pid = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert name == f"here,{pid},sh.lease"
    assert not list(root.glob("here/*.lease")) + list(root.glob("here/postmortem/*"))


@real
def test_a_command_that_ends_at_once_takes_no_lease(root: Path) -> None:
    """It takes no lease, so that it is never found dead holding one."""
    done = patched("run.OnBehalf.acquire = None", "--after", "60", "true")
    assert (done.returncode, done.stderr) == (0, "")


@real
def test_without_its_lease_the_command_does_not_run_on(root: Path) -> None:
    """The lease can't be written: the command is ended, and that is leasetimer's failure."""
    patch = "def full(*_): raise OSError(28, 'No space left on device')\nFolder.publish = full"
    done = patched(patch, "--after", "9", "sh", "-c", "echo $$; sleep 60")
    assert (done.returncode, done.stderr) == (125, "leasetimer: No space left on device\n")
    assert not lives(int(done.stdout))


@real
def test_a_lease_that_cannot_be_removed_changes_nothing_for_the_command(root: Path) -> None:
    """Its exit code stands, and a line says what is left."""
    patch = "def gone(*_): raise OSError(5, 'Input/output error')\nFolder.remove = gone"
    done = patched(patch, "--after", "9", "sh", "-c", "sleep 0.1; exit 7")
    assert done.returncode == 7
    assert "lease of the command not removed: file=here," in done.stderr


@real
def test_a_reap_whose_record_cannot_be_written_counts(root: Path) -> None:
    """The directory is full: this server itself knows whom it reaped."""
    patch = (
        "replace = Folder.replace\n"
        "def full(self, name, data):\n"
        "    if 'postmortem' in name: raise OSError(28, 'No space left on device')\n"
        "    replace(self, name, data)\n"
        "Folder.replace = full"
    )
    done = patched(patch, "--after", "0.2", "sleep", "60")
    assert done.returncode == 124
    assert "was reaped in scope sleep (record not written): exit 124" in done.stderr


@real
def test_no_process_to_be_had_is_leasetimers_failure(root: Path) -> None:
    """EAGAIN of fork is not the command's doing: 125, not 126."""
    patch = (
        "def none(*_, **__): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "_child.subprocess.Popen = none"
    )
    done = patched(patch, "true")
    assert (done.returncode, done.stderr) == (125, "leasetimer: Resource temporarily unavailable\n")


@real
def test_a_command_that_may_not_be_signalled_is_waited_for(root: Path) -> None:
    """As where it is setuid: one line says so, and its exit code is what counts."""
    patch = "def refuse(*_): raise PermissionError(1, 'Operation not permitted')\n_child.os.killpg = refuse"
    done = patched(patch, "sh", "-c", "kill -TERM $PPID; sleep 0.1; exit 7")
    assert done.returncode == 7
    assert "signal not passed on: signal=15" in done.stderr


def test_told_to_end_between_two_tries_it_ends() -> None:
    """TERM that came while nothing ran starts nothing more."""

    class Told(Signals):
        def take(self, timeout: float | None = 0.0) -> bytes:
            return bytes([signal.SIGTERM])

    plan = Plan(["true"], [], "true", None, signal.SIGTERM, 1.0)
    assert _run(plan, cast(Guard, None), Told(), 3) == 128 + signal.SIGTERM


@real
def test_a_reaped_worker_that_makes_the_command_fail_has_it_run_again(root: Path, worker: str) -> None:
    """The second try ends well: so does the run, and one line has said why there was a second."""
    done = run("--restarts", "3", "sh", "-c", f"echo >>tries; [ $(wc -l <tries) = 2 ] || {worker} || exit 3")
    assert (done.returncode, tries()) == (0, 2)
    assert "was reaped in scope stuck (record " in done.stderr
    assert "): run again, 3 left\n" in done.stderr


@real
def test_a_worker_far_below_the_command_counts(root: Path, worker: str) -> None:
    """Neither a session of its own nor a run in between hides it: its lease names the run."""
    done = run("sh", "-c", f"setsid -w sh -c '{worker}; exit 3' || exit 3")
    assert done.returncode == 124
    done = run("sh", "-c", f"{LEASETIMER} run sh -c '{worker} || exit 3' 2>/dev/null; exit 4")
    assert done.returncode == 124


@real
def test_it_is_run_again_no_more_often_than_told(root: Path, worker: str) -> None:
    """124 in the end, and each try has said why."""
    done = run("--restarts", "1", "sh", "-c", f"echo >>tries; {worker} || exit 3")
    assert (done.returncode, tries()) == (124, 2)
    assert done.stderr.count("was reaped in scope stuck") == 2


@real
def test_a_command_that_fails_by_itself_is_not_run_again(root: Path) -> None:
    """Restarts are for the reaped."""
    done = run("--restarts", "3", "sh", "-c", "echo >>tries; exit 3")
    assert (done.returncode, tries()) == (3, 1)


@real
def test_a_command_that_gets_over_a_reaped_worker_is_not_run_again(root: Path, worker: str) -> None:
    """Only what makes the command fail counts."""
    done = run("--restarts", "3", "sh", "-c", f"echo >>tries; {worker} || exit 0")
    assert (done.returncode, tries()) == (0, 1)


@real
def test_a_command_told_to_end_is_not_run_again(start: Start) -> None:
    """TERM means the end of it, also when the command has to be reaped after that."""
    process = start(
        "run",
        "--after",
        "1",
        "--kill-after",
        "0.1",
        "--restarts",
        "3",
        "sh",
        "-c",
        "trap 'echo told' TERM; echo ready; while :; do sleep 0.02; done",
    )
    assert line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert line(process) == "told"
    assert process.wait(10) == 124
    assert process.stdout
    assert process.stdout.read().count("ready") == 0


@real
def test_what_a_reaped_try_left_in_its_group_is_ended(root: Path, worker: str) -> None:
    """The next try must not find the last one's workers on its devices."""
    done = run("--kill-after", "0.2", "sh", "-c", f"(trap '' TERM; exec sleep 60) & echo $!; {worker} || exit 3")
    assert done.returncode == 124
    assert not lives(int(done.stdout))


# -- servers


@real
def test_a_server_that_is_there_is_used_and_taken_over_when_it_ends(start: Start, root: Path, worker: str) -> None:
    """One server a host: it guards the command, and when it ends the run's own does."""
    server = start("serve")
    assert line(server).startswith("serving")
    process = start("run", "-v", "sh", "-c", f"{worker}; echo first; while [ ! -e go ]; do sleep 0.02; done; {worker}")
    assert line(process) == "first"
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0
    until(lambda: json.loads((root / "here/server.json").read_text())["pid"] == process.pid)
    Path("go").touch()
    _, told = process.communicate(timeout=10)
    assert process.returncode == 124
    assert f"another server guards: pid={server.pid}" in told
    assert "server taken over" in told


@real
def test_who_another_server_reaped_counts(start: Start, root: Path, worker: str) -> None:
    """Whoever reaps: the records tell."""
    assert line(start("serve")).startswith("serving")
    done = run("--restarts", "1", "sh", "-c", f"echo >>tries; {worker} || exit 3")
    assert (done.returncode, tries()) == (124, 2)
    dies_late = "(trap '' TERM; sleep 60; sleep 60) & wait"
    assert run("--after", "0.2", "--kill-after", "0.6", "sh", "-c", dies_late).returncode == 124


@real
def test_two_at_once_share_one_server(start: Start, root: Path) -> None:
    """Whoever comes first serves; the other waits until it says who it is."""
    both = [start("run", "sh", "-c", "sleep 0.2") for _ in range(2)]
    assert [process.wait(10) for process in both] == [0, 0]


@real
@pytest.mark.parametrize("other", ["None", "type('Presence', (), {'uid': 12345})"])
def test_a_server_that_would_not_act_for_it_is_refused(root: Path, other: str) -> None:
    """Another machine of this name, or another user: its server would not reap our workers."""
    patch = (
        "def refused(_): raise _guard.ServerRefused('somebody else serves')\n"
        f"_guard.START_PATIENCE = 0.1; _guard.LeaseTimerServer.start = refused; _guard.server_here = lambda *_: {other}"
    )
    done = patched(patch, "touch", "ran")
    assert (done.returncode, done.stderr) == (125, "leasetimer: somebody else serves\n")
    assert not Path("ran").exists()


@real
def test_a_server_that_can_not_be_taken_over_yet_is_tried_again(start: Start, root: Path) -> None:
    """A failing file system is told once, and does not end the attempts."""
    assert line(start("serve")).startswith("serving")
    patch = (
        "from leasetimer.errors import DirectoryUnusable\n"
        "start, calls = _guard.LeaseTimerServer.start, []\n"
        "def failing(self):\n"
        "    calls.append(1)\n"
        "    if len(calls) in (2, 3): raise DirectoryUnusable(5, 'Input/output error')\n"
        "    if len(calls) > 3: open('tried', 'w')\n"
        "    start(self)\n"
        "_guard.LeaseTimerServer.start = failing; _guard.TAKE_OVER_INTERVAL = 0.01"
    )
    done = patched(patch, "sh", "-c", "while [ ! -e tried ]; do sleep 0.02; done")
    assert done.returncode == 0
    assert done.stderr.count("server not taken over, tried again") == 1


# -- whose reap it was


def record(**fields: object) -> dict[str, object]:
    return {"pid": 7, "outcome": "reaped", "lease": {}, "process": {}, **fields}


@pytest.mark.parametrize(
    ("fields", "mine"),
    [
        ({"pid": 50}, True),
        ({"process": {"parent": 50}}, True),
        ({"lease": {"run": "abcd"}}, True),
        ({"lease": {"run": "abcd.ef01"}}, True),
        ({"lease": {"run": "abcdef"}}, False),
        ({"lease": {"run": "ef01.abcd"}}, False),
        ({"lease": {"run": None}, "process": {"parent": 1}}, False),
        ({"lease": None, "process": None}, False),
    ],
)
def test_a_record_is_told_by_pid_parent_or_what_its_lease_says(fields: dict[str, object], mine: bool) -> None:
    """The run is named in the environment, so that also those count who left the command's tree, or run inside it."""
    assert Try(50, "abcd", 0.0).owns(record(**fields)) is mine


def test_a_scope_cannot_write_on_the_terminal() -> None:
    """Control characters in what is said of it are shown, not sent."""
    assert str(Reaped(7, "a\x1b[2J", None)) == "pid 7 was reaped in scope a\\x1b[2J (record not written)"
