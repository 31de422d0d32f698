"""A promise is the deadline that a worker wrote. Entering or leaving another block of the scope makes no new one."""

import signal
from typing import Any

import pytest

from fakes import FakeMachine, FakeWorker
from fakes import machine as machine
from reaping import outcome, reap_of
from serving import FakeHost, Make
from serving import host as host
from serving import make as make

KILL, TERM = signal.SIGKILL, signal.SIGTERM
ALIVE_AFTER = [("observed", {"observe": True}), ("refused", {})]


def enter_again(worker: FakeWorker, deadline: float) -> None:
    """Another thread enters a later block of the scope: the same deadline is written once more, with a higher seq."""
    worker.ledger.hold(worker.client, "train", deadline, 1)


def test_a_gap_still_counts_once_another_block_was_entered(host: FakeHost) -> None:
    """Or whoever stood still with the server is reaped because another of its threads went on."""
    worker = host.worker()
    worker.acquire("train", 60)
    due = host.clock.mono + 60
    host.run(10)
    host.clock.jump(100)
    host.run(1)
    assert host.server.counters["gaps"] == 1
    enter_again(worker, due)
    host.run(45)
    assert worker.process.signals == []
    host.run(10)
    assert worker.process.signals == [KILL]


@pytest.mark.parametrize("first", [TERM, KILL])
def test_a_reap_goes_on_though_another_block_is_entered(machine: FakeMachine, first: signal.Signals) -> None:
    """Or a thread that runs in a loop would protect the one that is stuck, for ever."""
    worker = machine.worker(signal=first, grace=5)
    worker.process.deadly = frozenset({KILL})
    lease = worker.lease("train", 5)
    machine.clock.jump(6)
    machine.folder.on["read"] = lambda name: enter_again(worker, lease.status.deadline)
    expected = ["SIGKILL"] if first == KILL else ["SIGTERM", "SIGKILL"]
    assert outcome(reap_of(machine, lease)) == ("reaped", expected)


def test_an_earlier_deadline_is_no_reason_to_stop_a_reap(machine: FakeMachine) -> None:
    """A block that is due even sooner releases nobody from the one that is overdue."""
    worker = machine.worker()
    lease = worker.lease("train", 5)
    machine.clock.jump(6)
    enter_again(worker, lease.status.deadline - 2)
    assert outcome(reap_of(machine, lease)) == ("reaped", ["SIGKILL"])


@pytest.mark.parametrize(("what", "options"), ALIVE_AFTER)
def test_a_broken_promise_is_one_incident(make: Make, what: str, options: dict[str, Any]) -> None:
    """However often the worker, which lives on, writes the same deadline again."""
    host = make(**options)
    worker = host.worker()
    worker.process.refuses = what == "refused"
    worker.acquire("train", 5)
    due = host.clock.mono + 5
    for _ in range(10):
        host.run(10.5)
        enter_again(worker, due)
    assert dict(host.server.counters) == {what: 1}


@pytest.mark.parametrize(("what", "options"), ALIVE_AFTER)
def test_the_death_of_a_worker_that_was_let_live_is_told(make: Make, what: str, options: dict[str, Any]) -> None:
    """By the next server, once: a record that it was let live does not tell its end."""
    host = make(**options)
    worker = host.worker()
    worker.process.refuses = what == "refused"
    worker.acquire("train", 5)
    host.run(10)
    assert host.outcomes() == [what]
    worker.process.dies_at = host.clock.mono
    for told in ("gone", None):
        host.restart()
        host.run(20)
        assert dict(host.server.counters) == ({told: 1} if told else {})
        assert (host.outcomes(), host.files()) == (["gone"], [])


@pytest.mark.parametrize("entered", ["before", "after"])
def test_a_gap_counts_for_an_outer_block_though_an_inner_one_was_in_force(host: FakeHost, entered: str) -> None:
    """Once the inner one is left the outer deadline is written again: it was promised before the gap."""
    worker = host.worker()
    worker.acquire("train", 600)
    due = host.clock.mono + 600
    host.run(10)
    if entered == "before":
        worker.acquire("train", 20)
        host.run(1)
    host.clock.jump(100)
    host.run(1)
    if entered == "after":
        worker.acquire("train", 10)
        host.run(1)
    worker.ledger.hold(worker.client, "train", due, 0)
    host.run(due + 99 - host.clock.mono)
    assert worker.process.signals == []
    host.run(5)
    assert worker.process.signals == [KILL]
