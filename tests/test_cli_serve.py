"""``leasetimer serve``, as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from installed import LEASETIMER, Start, leasetimer, line
from installed import root as root
from installed import start as start
from leasetimer.cli.serve import STOP_PATIENCE
from programs import eventually, lives

pytestmark = pytest.mark.real
STUCK = """
import subprocess, sys, time, leasetimer
child = subprocess.Popen(["sleep", "60"])
with leasetimer.expires(float(sys.argv[1]), "stuck"):
    print(child.pid, flush=True)
    time.sleep(60)
"""

Serve = Callable[..., subprocess.Popen[str]]
Stuck = Callable[[float], tuple[subprocess.Popen[str], int]]


@pytest.fixture
def serve(root: Path, start: Start) -> Serve:
    """Starts a server, and returns once it serves."""

    def serve(*options: str) -> subprocess.Popen[str]:
        process = start(LEASETIMER, "serve", *options)
        assert line(process) == f"serving {root} for host here as pid {process.pid}"
        return process

    return serve


@pytest.fixture
def stuck(start: Start) -> Stuck:
    """Starts a worker that hangs in a block of that many seconds; with the pid of its child."""

    def stuck(after: float) -> tuple[subprocess.Popen[str], int]:
        process = start(sys.executable, "-c", STUCK, str(after))
        return process, int(line(process))

    return stuck


def outcomes(root: Path) -> list[str]:
    return [json.loads(path.read_text())["outcome"] for path in root.glob("here/postmortem/*.json")]


def leases(root: Path) -> list[str]:
    return [path.name for path in root.glob("here/*.lease")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_end_and_ends_with_0(serve: Serve, root: Path, number: signal.Signals) -> None:
    """TERM and INT end it cleanly: presence says stopped, and the directory, which was missing, is its user's alone."""
    server = serve()
    assert json.loads((root / "here" / "server.json").read_text())["state"] == "serving"
    server.send_signal(number)
    _, told = server.communicate(timeout=10)
    assert server.returncode == 0
    assert "Traceback" not in told
    assert json.loads((root / "here" / "server.json").read_text())["state"] == "stopped"
    assert root.stat().st_mode & 0o777 == 0o700


def test_told_to_end_many_times_at_once_it_ends_with_0(serve: Serve) -> None:
    """A second and third Ctrl-C neither kill it in the middle nor leave a traceback."""
    server = serve()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        server.send_signal(number)
    _, told = server.communicate(timeout=10)
    assert server.returncode == 0
    assert "Traceback" not in told


def test_interrupting_a_background_server_of_a_script_works(root: Path, start: Start) -> None:
    """A shell without job control starts it with INT ignored: it takes INT all the same."""
    shell = start("sh", "-c", '"$0" serve & echo $!; wait; echo ended', LEASETIMER)
    pid = int(line(shell))
    assert line(shell).startswith("serving")
    os.kill(pid, signal.SIGINT)
    assert line(shell) == "ended"


def test_a_second_server_is_refused_with_3(serve: Serve) -> None:
    """One line says who holds it; the first goes on."""
    server = serve()
    second = leasetimer("serve")
    assert second.returncode == 3
    assert f"by pid {server.pid} of uid {os.geteuid()}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert server.poll() is None


def test_it_ends_in_time_though_its_file_system_hangs(root: Path, start: Start) -> None:
    """A stop that never comes back is left behind in less than 5 s, with exit code 0; here patience is shorter."""
    assert STOP_PATIENCE < 5
    program = (
        "import sys, time; from leasetimer.cli import main, serve; from leasetimer.server import LeaseTimerServer\n"
        "import atexit; atexit.register(time.sleep, 60); serve.STOP_PATIENCE = 0.3\n"
        "LeaseTimerServer.stop = lambda self: time.sleep(60)\n"
        "sys.argv = ['leasetimer', 'serve']; main()"
    )
    server = start(sys.executable, "-c", program)
    line(server)
    told = time.monotonic()
    server.send_signal(signal.SIGTERM)
    _, said = server.communicate(timeout=10)
    assert server.returncode == 0
    assert time.monotonic() - told < 3
    assert "not ended cleanly" in said


def test_it_ends_while_its_start_hangs(root: Path, start: Start) -> None:
    """TERM works before it serves, too: the file system may hang from the first look on."""
    program = (
        "import sys, time; from leasetimer.cli import main; from leasetimer.server import LeaseTimerServer\n"
        "LeaseTimerServer.start = lambda self: (print('starting', flush=True), time.sleep(60))\n"
        "sys.argv = ['leasetimer', 'serve']; main()"
    )
    server = start(sys.executable, "-c", program)
    line(server)
    server.send_signal(signal.SIGTERM)
    out, _ = server.communicate(timeout=10)
    assert (server.returncode, out) == (0, "")


def test_it_reaps_the_worker_but_not_its_child(serve: Serve, stuck: Stuck, root: Path) -> None:
    """Without --tree the worker alone is signalled."""
    serve()
    worker, child = stuck(0.2)
    assert worker.wait(10) == -signal.SIGKILL
    eventually(lambda: outcomes(root) == ["reaped"], "reaped")
    assert lives(child)
    os.kill(child, signal.SIGKILL)


def test_tree_reaps_the_descendants(serve: Serve, stuck: Stuck, root: Path) -> None:
    """With --tree what the worker started goes with it."""
    serve("--tree")
    worker, child = stuck(0.2)
    assert worker.wait(10) == -signal.SIGKILL
    eventually(lambda: not lives(child), "its child ended")


def test_observe_records_and_signals_nobody(serve: Serve, stuck: Stuck, root: Path) -> None:
    """The record says observed, and the worker lives on."""
    serve("--observe")
    worker, child = stuck(0.2)
    eventually(lambda: outcomes(root) == ["observed"], "observed")
    assert worker.poll() is None
    os.kill(child, signal.SIGKILL)


def test_once_reaps_what_is_due_clears_what_is_dead_and_leaves_the_rest(stuck: Stuck, root: Path) -> None:
    """When it ends, with 0, all that is done: no server has to run before or after it."""
    dead, orphan = stuck(60)
    dead.kill()
    dead.wait()
    fine, child = stuck(60)
    overdue, other = stuck(0.01)
    once = leasetimer("serve", "--once", "--tree")
    assert once.returncode == 0, once.stderr
    assert overdue.poll() == -signal.SIGKILL
    assert not lives(other)
    assert fine.poll() is None
    assert sorted(outcomes(root)) == ["abandoned", "reaped"]
    assert leases(root) == [f"here,{fine.pid},stuck.lease"]
    for pid in (orphan, child):
        os.kill(pid, signal.SIGKILL)


def test_once_is_refused_beside_a_server(serve: Serve) -> None:
    """It takes the same right as a server that stays, and is refused with 3."""
    serve()
    assert leasetimer("serve", "--once").returncode == 3


def test_once_cut_short_says_so_by_its_exit_code(root: Path, start: Start) -> None:
    """TERM before it is done ends it with 143: what it was asked for is not done."""
    program = (
        "import sys, time; from leasetimer.cli import main; from leasetimer.server import LeaseTimerServer\n"
        "LeaseTimerServer.once = lambda self: (print('looking', flush=True), time.sleep(60))\n"
        "sys.argv = ['leasetimer', 'serve', '--once']; main()"
    )
    once = start(sys.executable, "-c", program)
    line(once)
    once.send_signal(signal.SIGTERM)
    once.communicate(timeout=10)
    assert once.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--dir", "/dev/null"], 5, "it is a file"),
        (["--dir", "/proc/leases"], 5, "/proc/leases"),
        (["--dir", ""], 5, "no directory named"),
        (["--max-interval", "0"], 2, "got '0'"),
        (["--max-interval", "soon"], 2, "got 'soon'"),
        (["extra"], 2, "extra"),
    ],
)
def test_bad_input_is_one_line_and_a_code(root: Path, options: list[str], code: int, told: str) -> None:
    """What can't be is named in one line on stderr, without a traceback."""
    found = leasetimer("serve", *options)
    assert (found.returncode, found.stdout) == (code, "")
    assert told in found.stderr
    assert len(found.stderr.splitlines()) == 1
