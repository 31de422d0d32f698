"""What keeps a reap from the wrong process, or from one that has come back."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from fakes import FakeMachine, FakeProcess
from fakes import machine as machine
from leasetimer.reaper import FRESH, FRESH_TRIES
from reaping import outcome, overdue, reap_of

KILL, TERM = signal.SIGKILL, signal.SIGTERM
NEVER = frozenset[int]()


# -- who it is


def test_a_process_that_got_the_pid_later_is_not_signalled(machine: FakeMachine) -> None:
    """The start ticks tell another process of the same pid: the worker is gone."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    innocent = machine.processes.add(FakeProcess(worker.process.pid, start=worker.process.start + 1))
    assert outcome(reap) == ("gone", [])
    assert innocent.signals == []


NOBODY = 65534
OWNERS = [
    # euid, owner of the server's files, owner of the lease, uid of the worker: may it signal?
    (1000, 1000, 1000, 1000, True),
    (1000, 1000, 1001, 1000, False),  # somebody put a file there that names my worker
    (1000, 1000, 0, 1000, False),
    (1000, 99, 99, 1000, True),  # the file system shows other owners than there are, but the same for all of mine
    (0, 0, 0, 0, True),
    (0, 0, 0, 1000, True),
    (0, 0, 1000, 1000, True),
    (0, 0, 1001, 1000, False),
    (0, 0, 1000, 0, False),
    (0, NOBODY, NOBODY, 0, True),  # a squashed root's files are nobody's
    (0, NOBODY, NOBODY, 1000, False),  # … and nobody's word is none about a user's worker
    (0, NOBODY, 1000, 1000, True),
    (0, NOBODY, 1000, 0, False),
    (0, NOBODY, 0, 1000, True),
]


@pytest.mark.parametrize(("euid", "servers", "owner", "uid", "may"), OWNERS)
def test_only_who_may_signal_a_worker_gets_it_signalled(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, euid: int, servers: int, owner: int, uid: int, may: bool
) -> None:
    """The owner of the lease file, as the file system shows it, must be the server's or the worker's user."""
    worker = machine.worker()
    worker.process.uid = uid
    lease = worker.lease("train", 5)._replace(owner=owner)
    machine.clock.jump(6)
    monkeypatch.setattr("os.geteuid", lambda: euid)
    reap = reap_of(machine, lease, owner=servers)
    assert outcome(reap)[0] == ("reaped" if may else "refused")
    assert worker.process.signals == ([KILL] if may else [])
    if not may:
        assert f"uid {owner}" in reap.incident.fields["reason"]


def test_worker_that_went_before_its_user_was_asked_is_gone(machine: FakeMachine) -> None:
    """A process that ends between two looks is no case of a wrong owner."""
    worker = machine.worker()
    reap = overdue(machine, worker)

    def uid(pid: int) -> None:
        worker.process.state = "X"

    machine.processes.uid = uid  # type: ignore[method-assign]
    assert outcome(reap) == ("gone", [])


# -- the last read


def slow(machine: FakeMachine, *seconds: float) -> list[str]:
    """Reads of the folder take so long, one after the other; the names of all reads."""
    left, reads = list(seconds), list[str]()

    def read(name: str) -> None:
        reads.append(name)
        machine.clock.jump(left.pop(0) if left else 0)

    machine.folder.on["read"] = read
    return reads


def test_slow_read_is_done_again(machine: FakeMachine) -> None:
    """A verdict older than 50 ms is not acted on, but asked for anew."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    reads = slow(machine, 2 * FRESH, 2 * FRESH, FRESH / 2)
    assert outcome(reap) == ("reaped", ["SIGKILL"])
    assert len(reads) == 3


def test_renewal_during_a_slow_read_is_seen(machine: FakeMachine) -> None:
    """What was written while a slow read was under way counts."""
    worker = machine.worker()
    reap = overdue(machine, worker)

    def read(name: str) -> None:
        del machine.folder.on["read done"]
        machine.clock.jump(2 * FRESH)
        worker.acquire("train", 0)

    machine.folder.on["read done"] = read
    assert outcome(reap) == ("recovered", [])


def test_where_every_read_is_slow_the_last_one_has_to_do(machine: FakeMachine) -> None:
    """Or nobody would ever be reaped on such a file system."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    reads = slow(machine, *[2 * FRESH] * 2 * FRESH_TRIES)
    assert reap.run()
    assert len(reads) == FRESH_TRIES
    assert worker.process.signals == [signal.SIGKILL]


def test_a_read_as_long_as_a_gap_postpones(machine: FakeMachine) -> None:
    """Nothing is signalled on what was read so long ago, and it is tried again later."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    slow(machine, *[1.5] * FRESH_TRIES)
    assert not reap.run()
    assert worker.process.signals == []


def fail(machine: FakeMachine) -> Callable[[str], None]:
    def read(name: str) -> None:
        raise OSError(5, "Input/output error")

    return read


def test_unreadable_lease_postpones(machine: FakeMachine) -> None:
    """A failing file system is neither a release nor a reason to kill."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    machine.folder.on["read"] = fail(machine)
    assert not reap.run()
    assert (reap.incident.outcome, worker.process.signals) == ("pending", [])


def test_a_server_that_stood_still_before_the_signal_postpones(machine: FakeMachine) -> None:
    """What was decided before a gap is worth nothing after it; the time lost is told."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    slow(machine, 30)
    assert not reap.run()
    assert worker.process.signals == []
    assert reap.lost == pytest.approx(30)


def test_a_server_that_stood_still_while_it_asked_for_the_process_postpones(machine: FakeMachine) -> None:
    """A gap between the look at the process and the read of the lease is one, too."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    machine.clock.jump(5)
    assert not reap.run()
    assert worker.process.signals == []


def test_grace_is_made_longer_by_a_gap(machine: FakeMachine) -> None:
    """A worker has its whole grace, also when the server and it were stopped in the middle."""
    worker = machine.worker(signal=TERM, grace=10)
    worker.process.deadly = frozenset({KILL})
    reap, begun, waits = overdue(machine, worker), machine.clock.mono, []
    real = machine.processes.open

    def opened(of: Any) -> Any:
        process = real(of)
        assert process is not None
        gone = process.gone

        def wait(timeout: float) -> bool:
            waits.append(timeout)
            if len(waits) == 4:
                machine.clock.jump(60)
            return gone(timeout)

        process.gone = wait  # type: ignore[method-assign]
        return process

    machine.processes.open = opened  # type: ignore[method-assign,assignment]
    assert outcome(reap) == ("reaped", ["SIGTERM", "SIGKILL"])
    assert machine.clock.mono - begun >= 70


def test_failing_pidfd_postpones(machine: FakeMachine) -> None:
    """No descriptors left is no verdict about a worker."""
    worker = machine.worker()
    reap = overdue(machine, worker)

    def refuse(of: Any) -> None:
        raise OSError(24, "Too many open files")

    machine.processes.open = refuse  # type: ignore[method-assign,assignment]
    assert not reap.run()
