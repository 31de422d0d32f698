"""Real workers on a real server: reaped on time, with every guard of the design."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from leasetimer.server import LeaseTimerServer
from programs import HOST, LATE, WORKER, Start, eventually, leases, starting, state, told

pytestmark = pytest.mark.real


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LeaseTimerServer]:
    server = LeaseTimerServer(tmp_path, max_interval=60, host=HOST)
    server.start()
    yield server
    server.stop()


def test_a_stuck_worker_is_killed_on_time(tmp_path: Path, server: LeaseTimerServer, start: Start) -> None:
    """At its deadline, never before it; the record tells, and its lease is cleared."""
    worker = start(WORKER, tmp_path, 0.7, {})
    code, at = worker.ended()
    assert code == -signal.SIGKILL
    assert 0 <= at - float(worker.said[1]) < LATE
    (record,) = told(tmp_path, "reaped")
    assert (record["pid"], record["scope"]) == (worker.pid, "train")
    assert [sent["name"] for sent in record["signals"]] == ["SIGKILL"]
    eventually(lambda: not leases(tmp_path), "lease cleared")


def test_a_worker_that_renews_is_left_alone(tmp_path: Path, server: LeaseTimerServer, start: Start) -> None:
    """While another, stuck, is killed beside it."""
    renewing = start(WORKER, tmp_path, 0.5, {"how": "renews"})
    stuck = start(WORKER, tmp_path, 1.5, {})
    assert stuck.ended()[0] == -signal.SIGKILL
    assert renewing.runs()
    told(tmp_path, "reaped")


def test_its_own_signal_comes_first_and_sigkill_after_its_grace(
    tmp_path: Path, server: LeaseTimerServer, start: Start
) -> None:
    """TERM to one that ends of it, TERM and then KILL to one that ignores it."""
    options = {"signal": 15, "grace": 1.0}
    polite = start(WORKER, tmp_path, 0.5, options)
    deaf = start(WORKER, tmp_path, 0.5, {**options, "how": "ignores TERM"})
    assert polite.ended()[0] == -signal.SIGTERM
    code, at = deaf.ended()
    assert code == -signal.SIGKILL
    assert 1.0 <= at - float(deaf.said[1]) < 1.0 + LATE
    sent = {
        record["pid"]: [each["name"] for each in record["signals"]] for record in told(tmp_path, "reaped", "reaped")
    }
    assert sent == {polite.pid: ["SIGTERM"], deaf.pid: ["SIGTERM", "SIGKILL"]}


@pytest.mark.parametrize("tree", [True, False])
def test_the_tree_goes_with_it_if_so_told(tmp_path: Path, server: LeaseTimerServer, start: Start, tree: bool) -> None:
    """A worker's children are killed with it where its lease says so, and no others."""
    worker = start(WORKER, tmp_path, 0.7, {"how": "parent", "tree": tree})
    child = int(worker.said[2])
    worker.ended()
    told(tmp_path, "reaped")
    try:
        if tree:
            eventually(lambda: state(child) in "XZ", "child killed")
        else:
            assert state(child) not in "XZ"
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_a_stopped_worker_is_killed(tmp_path: Path, server: LeaseTimerServer, start: Start) -> None:
    """One that somebody stopped makes no progress: SIGKILL takes it all the same."""
    worker = start(WORKER, tmp_path, 1, {})
    os.kill(worker.pid, signal.SIGSTOP)
    assert worker.ended()[0] == -signal.SIGKILL
    told(tmp_path, "reaped")


def test_a_worker_that_died_is_told_and_cleared(tmp_path: Path, start: Start) -> None:
    """Also while it is a zombie, because its parent has not waited for it."""
    server = LeaseTimerServer(tmp_path, max_interval=0.5, host=HOST)
    server.start()
    try:
        worker = start(WORKER, tmp_path, 600, {"how": "ends"})
        eventually(lambda: state(worker.pid) == "Z", "a zombie")
        told(tmp_path, "abandoned")
        eventually(lambda: not leases(tmp_path), "lease cleared")
    finally:
        server.stop()


def test_an_observer_kills_nobody(tmp_path: Path, start: Start) -> None:
    """It tells, once."""
    server = LeaseTimerServer(tmp_path, max_interval=0.3, host=HOST, observe=True)
    server.start()
    try:
        worker = start(WORKER, tmp_path, 0.3, {})
        told(tmp_path, "observed")
        time.sleep(1)
        assert worker.runs()
        assert server.counters["observed"] == 1
    finally:
        server.stop()


PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def test_a_traced_worker_is_spared_until_it_is_let_go(tmp_path: Path, start: Start) -> None:
    """A debugger holds it: left alone and told; then it is reaped."""
    server = LeaseTimerServer(tmp_path, max_interval=0.5, host=HOST)
    server.start()
    try:
        worker = start(WORKER, tmp_path, 1, {})
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(PTRACE_ATTACH, worker.pid, None, None):
            pytest.skip(f"ptrace: {os.strerror(ctypes.get_errno())}")
        os.waitpid(worker.pid, 0)
        (record,) = told(tmp_path, "spared")
        assert str(os.getpid()) in record["reason"]
        time.sleep(1)
        assert state(worker.pid) == "t"
        libc.ptrace(PTRACE_DETACH, worker.pid, None, None)
        assert worker.ended()[0] == -signal.SIGKILL
        told(tmp_path, "reaped")
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_users_lease_gets_nobody_killed(tmp_path: Path, server: LeaseTimerServer, start: Start) -> None:
    """A file that somebody else put there, naming a worker that is not theirs: refused, and told."""
    worker = start(WORKER, tmp_path, 600, {})
    (name,) = leases(tmp_path)
    path = tmp_path / HOST / name
    forged = path.read_bytes()
    path.unlink()
    from leasetimer.lease import WIDTH, read_status, write_lease

    status = read_status(forged)._replace(seq=9, deadline=time.monotonic() + 0.3)
    temporary = path.parent / ".forged"
    temporary.write_bytes(write_lease(status, forged[WIDTH:]))
    os.chown(temporary, 1234, 1234)
    temporary.rename(path)
    (record,) = told(tmp_path, "refused")
    assert "uid 1234" in record["reason"]
    assert worker.runs()
