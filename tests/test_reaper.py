"""One reap, and everything it can come to."""

import os
import signal

import pytest

from fakes import FakeMachine, FakeProcess, FakeWorker
from fakes import machine as machine
from leasetimer.postmortem import Incident
from leasetimer.reaper import KILL_PATIENCE, Rules
from reaping import outcome, overdue

KILL, TERM = signal.SIGKILL, signal.SIGTERM
NEVER = frozenset[int]()


# -- every outcome


def test_overdue_worker_is_killed_at_once(machine: FakeMachine) -> None:
    """Without a signal of the lease's own it is SIGKILL, and the outcome is reaped."""
    worker = machine.worker()
    assert outcome(overdue(machine, worker)) == ("reaped", ["SIGKILL"])
    assert worker.process.signals == [KILL]


def test_worker_that_dies_of_its_own_signal_gets_no_sigkill(machine: FakeMachine) -> None:
    """The lease's signal comes first; a worker that ends within its grace is left to do so."""
    worker = machine.worker(signal=TERM, grace=10)
    worker.process.dies_after = 9.9
    assert outcome(overdue(machine, worker)) == ("reaped", ["SIGTERM"])
    assert worker.process.signals == [TERM]


def test_worker_that_outlives_its_grace_is_killed(machine: FakeMachine) -> None:
    """SIGKILL comes when the grace is over, not earlier and not later."""
    worker = machine.worker(signal=TERM, grace=10)
    worker.process.deadly = frozenset({KILL})
    reap, begun = overdue(machine, worker), machine.clock.mono
    assert outcome(reap) == ("reaped", ["SIGTERM", "SIGKILL"])
    assert machine.clock.mono - begun == pytest.approx(10)


def test_real_time_signal_is_followed_by_sigkill(machine: FakeMachine) -> None:
    """A signal that has no name in Python's table is sent once, told as RTMIN does, and followed up all the same."""
    worker = machine.worker(signal=signal.SIGRTMIN + 1, grace=1)
    assert outcome(overdue(machine, worker)) == ("reaped", ["SIGRTMIN+1", "SIGKILL"])


def test_worker_dead_already_is_gone(machine: FakeMachine) -> None:
    """Nothing is signalled where nobody is left."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    worker.process.state = "X"
    assert outcome(reap) == ("gone", [])


def test_worker_that_ends_by_itself_before_the_signal_is_gone(machine: FakeMachine) -> None:
    """A worker that ends between the look and the signal was not reaped."""
    worker = machine.worker()
    worker.process.dies_at = machine.clock.mono + 6
    reap = overdue(machine, worker, by=0.99)
    machine.folder.on["read done"] = lambda name: machine.clock.jump(0.02)
    assert outcome(reap) == ("gone", [])


def test_renewed_lease_is_recovered(machine: FakeMachine) -> None:
    """A lease renewed before the signal means no signal, even if it is to be overdue again."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    worker.acquire("train", 0.0)
    assert outcome(reap) == ("recovered", [])
    assert worker.process.signals == []


def test_released_lease_is_recovered(machine: FakeMachine) -> None:
    """A lease released before the signal means no signal."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    worker.release("train")
    assert outcome(reap) == ("recovered", [])
    assert worker.process.signals == []


def test_lease_that_has_vanished_is_no_reason(machine: FakeMachine) -> None:
    """Nobody is killed for a lease that no file shows; nor is that a release."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    os.unlink(machine.folder.join(worker.name("train")))
    assert not reap.run()
    assert worker.process.signals == []


def test_worker_that_recovers_in_its_grace_is_not_killed(machine: FakeMachine) -> None:
    """The lease is read again before SIGKILL: a worker that its first signal brought back stays."""
    worker = machine.worker(signal=TERM, grace=10)
    worker.process.deadly = NEVER
    reap = overdue(machine, worker)
    worker.process.on_signal = lambda number: worker.release("train")
    assert outcome(reap) == ("recovered", ["SIGTERM"])
    assert reap.incident.fields["reason"] == "released or renewed before SIGKILL"
    assert worker.process.signals == [TERM]


def test_a_lease_of_the_next_process_is_no_reason(machine: FakeMachine) -> None:
    """A file of the same name and seq that another process wrote does not get this one killed."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    other = FakeProcess(worker.process.pid, start=501)
    FakeWorker(machine.folder, other, machine.clock, machine.processes).acquire("train", 0)
    assert not reap.run()
    assert worker.process.signals == []


def test_deadline_moved_by_a_gap_counts(machine: FakeMachine) -> None:
    """Nobody is signalled before the deadline that counts, whatever the file says."""
    worker = machine.worker()
    reap = overdue(machine, worker)
    reap.due += 60
    assert outcome(reap) == ("recovered", [])


def test_unkillable_worker_is_told_with_its_state(machine: FakeMachine) -> None:
    """Still there 30 s after SIGKILL: the outcome is unkillable, with the kernel's word for why."""
    worker = machine.worker()
    worker.process.deadly, worker.process.state = NEVER, "D"
    reap, begun = overdue(machine, worker), machine.clock.mono
    assert outcome(reap) == ("unkillable", ["SIGKILL"])
    assert machine.clock.mono - begun == pytest.approx(KILL_PATIENCE)
    assert reap.incident.fields["reason"] == "still there 30 s after SIGKILL, in state D"
    assert reap.incident.fields["process"]["state"] == "D"


def test_observer_signals_nobody(machine: FakeMachine) -> None:
    """A server that observes tells, and does nothing."""
    worker = machine.worker()
    assert outcome(overdue(machine, worker, rules=Rules(observe=True))) == ("observed", [])
    assert worker.process.signals == []


def test_traced_worker_is_spared(machine: FakeMachine) -> None:
    """A worker under a debugger is left alone, and its tracer told."""
    worker = machine.worker()
    worker.process.tracer = 77
    reap = overdue(machine, worker)
    assert outcome(reap) == ("spared", [])
    assert "77" in reap.incident.fields["reason"]
    assert worker.process.signals == []


def test_traced_worker_is_reaped_where_the_server_is_told_so(machine: FakeMachine) -> None:
    """``spare_traced=False`` makes no difference between debugged and other workers."""
    worker = machine.worker()
    worker.process.tracer = 77
    assert outcome(overdue(machine, worker, rules=Rules(spare_traced=False))) == ("reaped", ["SIGKILL"])


def test_worker_that_the_kernel_protects_is_refused(machine: FakeMachine) -> None:
    """EPERM is an outcome, not something to be tried for ever."""
    worker = machine.worker()
    worker.process.refuses = True
    reap = overdue(machine, worker)
    assert outcome(reap) == ("refused", [])
    assert "kernel refused" in reap.incident.fields["reason"]


def test_the_servers_own_process_is_refused(machine: FakeMachine) -> None:
    """A server never signals itself."""
    worker = machine.worker(pid=os.getpid())
    assert outcome(overdue(machine, worker)) == ("refused", [])
    assert worker.process.signals == []


# -- the tree


def family(machine: FakeMachine, worker: FakeWorker) -> tuple[FakeProcess, FakeProcess]:
    grandchild = machine.processes.add(FakeProcess(5002))
    child = machine.processes.add(FakeProcess(5001, children=[grandchild]))
    worker.process.children.append(child)
    return child, grandchild


@pytest.mark.parametrize("by", ["server", "lease"])
def test_tree_is_killed_with_its_worker(machine: FakeMachine, by: str) -> None:
    """The server's word or the lease's takes all descendants, and the record names them."""
    worker = machine.worker(tree=by == "lease")
    child, grandchild = family(machine, worker)
    reap = overdue(machine, worker, rules=Rules(tree=by == "server"))
    assert outcome(reap) == ("reaped", ["SIGKILL"])
    assert (child.signals, grandchild.signals) == ([KILL], [KILL])
    assert {one["pid"] for one in reap.incident.fields["tree"]} == {5001, 5002}


def test_without_tree_the_children_stay(machine: FakeMachine) -> None:
    """Nobody else is signalled unless somebody asked for it."""
    worker = machine.worker()
    child, _ = family(machine, worker)
    outcome(overdue(machine, worker))
    assert child.signals == []


def test_tree_that_ignores_the_signal_is_killed_though_the_worker_went(machine: FakeMachine) -> None:
    """A worker that ends of SIGTERM does not leave children behind that ignored it."""
    worker = machine.worker(tree=True, signal=TERM, grace=10)
    child, grandchild = family(machine, worker)
    child.deadly = grandchild.deadly = frozenset({KILL})
    assert outcome(overdue(machine, worker))[0] == "reaped"
    assert (child.signals, grandchild.signals) == ([TERM, KILL], [TERM, KILL])


def test_tree_is_killed_though_the_worker_released_on_its_way_out(machine: FakeMachine) -> None:
    """A worker that releases while it dies is reaped, and its children with it."""
    worker = machine.worker(tree=True, signal=TERM, grace=10)
    child, _ = family(machine, worker)
    child.deadly = frozenset({KILL})
    reap = overdue(machine, worker)
    worker.process.on_signal = lambda number: worker.release("train")
    assert outcome(reap)[0] == "reaped"
    assert child.signals == [TERM, KILL]


def test_released_while_dying_is_reaped(machine: FakeMachine) -> None:
    """The signal was sent and the worker went: that it released first makes it no recovery."""
    worker = machine.worker(signal=TERM, grace=10)
    worker.process.dies_after = 3
    reap = overdue(machine, worker)
    worker.process.on_signal = lambda number: worker.release("train")
    assert outcome(reap) == ("reaped", ["SIGTERM"])


def test_descendant_that_is_the_server_is_left_out(machine: FakeMachine) -> None:
    """A server that its worker started does not kill itself with the worker's tree."""
    worker = machine.worker(tree=True)
    server = machine.processes.add(FakeProcess(os.getpid()))
    worker.process.children.append(server)
    assert outcome(overdue(machine, worker))[0] == "reaped"
    assert server.signals == []


def test_descendant_that_may_not_be_signalled_is_told_only(machine: FakeMachine) -> None:
    """One protected child keeps nobody from reaping its parent and the others."""
    worker = machine.worker(tree=True)
    child, grandchild = family(machine, worker)
    child.refuses = True
    overdue(machine, worker).run()
    assert worker.process.signals[0] == KILL
    assert grandchild.signals[0] == KILL


def test_record_is_published_before_the_first_signal(machine: FakeMachine) -> None:
    """A server that is killed right after the signal has told whom it was about to signal."""
    worker = machine.worker()
    seen = []

    def publish(incident: Incident) -> None:
        seen.append((incident.outcome, list(worker.process.signals)))

    outcome(overdue(machine, worker, publish=publish))
    assert seen[0] == ("pending", [])
