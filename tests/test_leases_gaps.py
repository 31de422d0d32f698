"""Gaps in the server's time move deadlines."""

import pytest

from fakes import NAME
from leasetimer.leases import SLACK
from leasetimer.pace import GAP
from serving import Leasing
from serving import machine as machine


def test_a_gap_moves_every_known_deadline_once(machine: Leasing) -> None:
    """All deadlines, due or not, are later by the gap and some slack, and the next scan does not undo or double it."""
    for pid, after in ((4242, 5), (5000, 50)):
        machine.worker(pid).acquire("train", after)
    begun = machine.clock.mono
    machine.scan()
    machine.later(20)
    machine.leases.shift(20)
    assert machine.overdue() == []
    for _ in range(2):
        deadlines = [machine.leases.deadline(lease) - begun for lease in machine.scan()]
        assert deadlines == pytest.approx([25 + SLACK, 70 + SLACK])
    machine.later(5.5 + SLACK)
    assert machine.overdue() == [NAME]


def test_a_renewal_after_a_gap_counts_as_written(machine: Leasing) -> None:
    """What is written after the gap needs no help."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.scan()
    machine.later(20)
    machine.leases.shift(20)
    worker.acquire("train", 5)
    (lease,) = machine.scan()
    assert machine.leases.deadline(lease) == pytest.approx(machine.clock.mono + 5)


def test_a_gap_moves_what_a_renewal_before_it_wrote(machine: Leasing) -> None:
    """The deadline that is on disk when the gap ends is moved, not the one known from before."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.scan()
    worker.acquire("train", 8)
    machine.later(20)
    machine.leases.shift(20)
    machine.later(8 + SLACK - 0.1)
    assert machine.overdue() == []
    machine.later(0.2)
    assert machine.overdue() == [NAME]


def test_a_gap_moves_what_was_published_in_it_unseen(machine: Leasing) -> None:
    """A lease whose event the server has not seen when it wakes stood still as well."""
    machine.scan()
    machine.worker().acquire("train", 5)
    machine.later(60)
    machine.leases.shift(60)
    (lease,) = machine.scan()
    assert machine.leases.deadline(lease) == pytest.approx(machine.clock.mono + 5 + SLACK)
    assert machine.overdue() == []


def test_two_gaps_move_twice(machine: Leasing) -> None:
    """Each gap counts for itself."""
    machine.worker().acquire("train", 5)
    begun = machine.clock.mono
    (lease,) = machine.scan()
    machine.leases.shift(20)
    machine.leases.shift(30)
    assert machine.leases.deadline(lease) == pytest.approx(begun + 55 + 2 * SLACK)


def test_a_read_that_stood_still_decides_nothing(machine: Leasing) -> None:
    """When the file system held a read up, what it said is not acted on before the gap is dealt with."""
    machine.worker().acquire("train", 5)
    machine.worker(5000).acquire("train", 5)
    machine.scan()
    machine.later(6)

    def block(name: str) -> None:
        machine.folder.on.clear()
        machine.clock.jump(GAP + 30)

    machine.folder.on["read"] = block
    now = machine.clock.mono
    assert machine.leases.overdue(now) == []
    assert machine.pace.take() == pytest.approx(GAP + 30)
    assert machine.leases.earliest() == now


def test_unreadable_leases_are_moved_by_a_gap_too(machine: Leasing) -> None:
    """What can't be read right after a gap is known from before, and moved all the same."""
    machine.worker().acquire("train", 5)
    machine.scan()
    machine.later(20)

    def fail(name: str) -> None:
        raise OSError(5, "Input/output error")

    machine.folder.on.update(read=fail, names=fail)
    machine.leases.shift(20)
    machine.folder.on.clear()
    assert machine.overdue() == []
    machine.later(5.1 + SLACK)
    assert machine.overdue() == [NAME]
