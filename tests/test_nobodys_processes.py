"""Processes that are not the worker's, or no longer: none of them is signalled."""

import os
import queue
import signal
from typing import Any

import pytest

from fakes import FakeMachine, FakeProcess, FakeWorker
from fakes import machine as machine
from leasetimer import LocalTimerServer
from leasetimer.postmortem import Incident
from reaping import outcome, overdue

TERM, KILL = signal.SIGTERM, signal.SIGKILL


def family(machine: FakeMachine, **options: Any) -> tuple[FakeWorker, FakeProcess]:
    """A worker that wants its tree reaped with it, and its child."""
    worker = machine.worker(tree=True, **options)
    child = machine.processes.add(FakeProcess(5000))
    worker.process.children = [child]
    return worker, child


@pytest.mark.parametrize("first", [TERM, KILL])
@pytest.mark.parametrize("released", [True, False])
def test_the_tree_of_a_worker_that_ended_by_itself_is_left_alone(
    machine: FakeMachine, first: signal.Signals, released: bool
) -> None:
    """It ended before it was signalled, with or without a release: what it left running it may have meant to."""
    worker, child = family(machine, signal=first)
    reap = overdue(machine, worker)

    def end(name: str) -> None:
        machine.folder.on.clear()
        if released:
            worker.release("train")
        worker.process.dies_at = machine.clock.mono

    machine.folder.on["read" if released else "read done"] = end
    assert outcome(reap) == ("gone", [])
    assert child.signals == []


def test_the_tree_of_a_worker_that_ended_of_a_signal_is_signalled(machine: FakeMachine) -> None:
    """Where it released on its way out: then its tree goes with it."""
    worker, child = family(machine, signal=TERM, grace=5)
    child.deadly = frozenset({KILL})
    worker.process.dies_after = 1
    worker.process.on_signal = lambda _: worker.release("train")
    assert outcome(overdue(machine, worker)) == ("reaped", ["SIGTERM"])
    assert child.signals == [TERM, KILL]


def test_the_children_of_whoever_took_the_pid_are_left_alone(machine: FakeMachine) -> None:
    """The worker went while its tree was listed: what was listed may be anybody's."""
    worker, child = family(machine)
    innocent = machine.processes.add(FakeProcess(6000))
    reap = overdue(machine, worker)

    def replace(incident: Incident) -> None:
        worker.process.dies_at = machine.clock.mono
        machine.processes.add(FakeProcess(worker.process.pid, start=999, children=[innocent]))

    reap._publish = replace
    assert outcome(reap) == ("gone", [])
    assert (innocent.signals, child.signals) == ([], [])
    assert reap.incident.fields["tree"] == []


@pytest.mark.parametrize("worker_id", [0, -1, 1, -4242, "x", "4242", 4242.0, True, None])
def test_a_worker_id_that_is_no_pid_of_a_worker_kills_nobody(monkeypatch: pytest.MonkeyPatch, worker_id: Any) -> None:
    """0 and -1 are a process group and everybody, 1 is init; it counts as done, or it would be tried for ever."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    server = LocalTimerServer(queue.Queue())  # type: ignore[arg-type]
    assert server._reap_worker(worker_id)
    assert sent == []
    assert server._reap_worker(4242)
    assert sent == [(4242, KILL)]
