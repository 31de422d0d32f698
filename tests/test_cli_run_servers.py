"""The server that guards the command: one that is there, or the run's own."""

import json
import signal
from pathlib import Path

import pytest

from installed import LEASETIMER, Start, line, patched, run, tries
from installed import root as root
from installed import start as start
from installed import worker as worker
from programs import eventually

pytestmark = pytest.mark.real


def test_a_server_that_is_there_is_used_and_taken_over_when_it_ends(start: Start, root: Path, worker: str) -> None:
    """One server a host: it guards the command, and when it ends the run's own does."""
    server = start(LEASETIMER, "serve")
    assert line(server).startswith("serving")
    process = start(
        LEASETIMER, "run", "-v", "sh", "-c", f"{worker}; echo first; while [ ! -e go ]; do sleep 0.02; done; {worker}"
    )
    assert line(process) == "first"
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0
    eventually(lambda: json.loads((root / "here/server.json").read_text())["pid"] == process.pid, "taken over")
    Path("go").touch()
    _, told = process.communicate(timeout=10)
    assert process.returncode == 124
    assert f"another server guards: pid={server.pid}" in told
    assert "server taken over" in told


def test_who_another_server_reaped_counts(start: Start, root: Path, worker: str) -> None:
    """Whoever reaps: the records tell."""
    assert line(start(LEASETIMER, "serve")).startswith("serving")
    done = run("--restarts", "1", "sh", "-c", f"echo >>tries; {worker} || exit 3")
    assert (done.returncode, tries()) == (124, 2)
    dies_late = "(trap '' TERM; sleep 60; sleep 60) & wait"
    assert run("--after", "0.2", "--kill-after", "0.6", "sh", "-c", dies_late).returncode == 124


def test_two_at_once_share_one_server(start: Start, root: Path) -> None:
    """Whoever comes first serves; the other waits until it says who it is."""
    both = [start(LEASETIMER, "run", "sh", "-c", "sleep 0.2") for _ in range(2)]
    assert [process.wait(10) for process in both] == [0, 0]


@pytest.mark.parametrize("other", ["None", "type('Presence', (), {'uid': 12345})"])
def test_a_server_that_would_not_act_for_it_is_refused(root: Path, other: str) -> None:
    """Another machine of this name, or another user: its server would not reap our workers."""
    patch = (
        "def refused(_): raise _guard.ServerRefused('somebody else serves')\n"
        f"_guard.START_PATIENCE = 0.1; _guard.LeaseTimerServer.start = refused; _guard.live_server = lambda *_: {other}"
    )
    done = patched(patch, "touch", "ran")
    assert (done.returncode, done.stderr) == (125, "leasetimer: somebody else serves\n")
    assert not Path("ran").exists()


def test_a_server_that_can_not_be_taken_over_yet_is_tried_again(start: Start, root: Path) -> None:
    """A failing file system is told once, and does not end the attempts."""
    assert line(start(LEASETIMER, "serve")).startswith("serving")
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
