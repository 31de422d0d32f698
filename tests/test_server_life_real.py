"""Real servers: stopped, killed, started again, refused."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasetimer.directory import Folder
from leasetimer.errors import ServerRefused
from leasetimer.presence import read_presence
from leasetimer.server import LeaseTimerServer
from programs import HOST, SERVER, WORKER, Start, eventually, leases, starting, state, told

pytestmark = pytest.mark.real


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


def test_a_server_stopped_past_a_deadline_kills_only_the_stuck(tmp_path: Path, start: Start) -> None:
    """SIGSTOP, SIGCONT: the innocent had no chance to be seen renewing, and has a second more than it needs."""
    server = start(SERVER, tmp_path, 60)
    innocent = start(WORKER, tmp_path, 1.0, {"how": "renews"})
    stuck = start(WORKER, tmp_path, 2.0, {})
    for each in (innocent, server):
        os.kill(each.pid, signal.SIGSTOP)
    time.sleep(4)
    os.kill(server.pid, signal.SIGCONT)
    time.sleep(0.3)
    os.kill(innocent.pid, signal.SIGCONT)
    assert stuck.ended()[0] == -signal.SIGKILL
    assert innocent.runs()
    (record,) = told(tmp_path, "reaped")
    assert record["pid"] == stuck.pid


def test_a_server_killed_in_a_grace_is_followed_up_in_the_same_record(tmp_path: Path, start: Start) -> None:
    """The next one finds the pending record, kills what is left and completes that record: one incident, one file."""
    server = start(SERVER, tmp_path, 60)
    deaf = start(WORKER, tmp_path, 0.5, {"signal": 15, "grace": 3.0, "how": "ignores TERM"})
    told(tmp_path, "pending")
    server.process.kill()
    server.ended()
    assert deaf.runs()
    next_one = start(SERVER, tmp_path, 60)
    assert next_one.said == ["serving"]
    assert deaf.ended()[0] == -signal.SIGKILL
    (record,) = told(tmp_path, "reaped")
    assert record["pid"] == deaf.pid
    eventually(lambda: not leases(tmp_path), "lease cleared")


def test_a_second_server_is_refused_until_the_first_is_killed(tmp_path: Path, start: Start) -> None:
    """It says who has it; and the kernel frees the lock of one that was killed."""
    first = start(SERVER, tmp_path, 60)
    second = LeaseTimerServer(tmp_path, host=HOST)
    with pytest.raises(ServerRefused, match=f"pid {first.pid}"):
        second.start()
    first.process.kill()
    first.ended()
    second.start()
    second.stop()


def test_a_fork_of_the_serving_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A child that outlives its server lets another one serve."""
    ends, parent = os.pipe(), os.fork()
    if parent == 0:
        server = LeaseTimerServer(tmp_path, host=HOST)
        server.start()
        child = os.fork()
        if child == 0:
            os.write(ends[1], str(os.getpid()).encode())  # now it runs, and has let go of what it inherited
            time.sleep(60)
            os._exit(0)
        os.waitpid(child, 0)
    child = int(os.read(ends[0], 20))
    os.kill(parent, signal.SIGKILL)
    try:
        os.waitpid(parent, 0)
        assert state(child) not in "XZ"
        server = LeaseTimerServer(tmp_path, host=HOST)
        server.start()
        server.stop()
    finally:
        os.kill(child, signal.SIGKILL)
        for end in ends:
            os.close(end)


def test_stop_is_quick_twice_fine_and_told(tmp_path: Path) -> None:
    """It ends the turn under way, says so in server.json, and lets another one serve."""
    server = LeaseTimerServer(tmp_path, max_interval=600, host=HOST)
    server.start()
    with pytest.raises(RuntimeError, match="already started"):
        server.start()
    begun = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - begun < 1
    presence = read_presence(Folder(str(tmp_path), HOST))
    assert presence is not None
    assert not presence.serving
    server.start()
    server.stop()


def test_stop_does_not_wait_for_a_grace(tmp_path: Path, start: Start) -> None:
    """A reap that takes long does not keep the server's process."""
    server = LeaseTimerServer(tmp_path, host=HOST)
    server.start()
    start(WORKER, tmp_path, 0.3, {"signal": 15, "grace": 60.0, "how": "ignores TERM"})
    told(tmp_path, "pending")
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 8
