"""The leases that a server knows, and when each is due."""

import os
from pathlib import Path

import pytest

from fakes import NAME, FakeProcess
from leasetimer.leases import MISSED_SCANS
from serving import Leasing
from serving import machine as machine


def test_a_held_lease_is_guarded_until_its_deadline(machine: Leasing) -> None:
    """It is overdue at its deadline and not before."""
    machine.worker().acquire("train", 5)
    machine.scan()
    assert machine.leases.earliest() == pytest.approx(machine.clock.mono + 5)
    machine.later(4.999)
    assert machine.overdue() == []
    machine.later(0.002)
    assert machine.overdue() == [NAME]


def test_a_lease_renewed_in_place_goes_back_on_the_heap(machine: Leasing) -> None:
    """A renewal costs the server one read when the old deadline is due."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.scan()
    machine.later(4)
    worker.acquire("train", 5)
    machine.later(2)
    assert machine.overdue() == []
    assert machine.leases.earliest() == pytest.approx(machine.clock.mono + 3)
    machine.later(3.1)
    assert machine.overdue() == [NAME]


def test_a_released_lease_is_cleared_when_it_is_due(machine: Leasing) -> None:
    """The next acquire is then a publish, which raises an event."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.scan()
    worker.release("train")
    machine.later(6)
    assert machine.overdue() == []
    assert (machine.files(), len(machine.leases)) == ([], 0)


def test_a_released_lease_is_cleared_by_a_scan(machine: Leasing) -> None:
    """A scan clears what is released, long before it would have been due."""
    worker = machine.worker()
    worker.acquire("train", 500)
    worker.release("train")
    assert machine.scan() == []
    assert machine.files() == []


def test_a_lease_acquired_while_it_was_cleared_is_guarded(machine: Leasing) -> None:
    """Held under the moved name, it is on the heap by its deadline."""
    worker = machine.worker()
    worker.acquire("train", 50)
    machine.scan()
    worker.release("train")
    worker.blind()

    def acquire(name: str) -> None:
        machine.folder.on.clear()
        worker.acquire("train", 50.5)

    machine.folder.on["move_aside"] = acquire
    assert [lease.status.held for lease in machine.scan()] == [True]
    assert machine.files() == [f".{NAME}.*.moved"]
    machine.later(51)
    assert machine.overdue() == [NAME]


def test_moved_files_are_taken_in_by_the_next_server(machine: Leasing) -> None:
    """What a killed server left under a moved name is guarded as any lease."""
    machine.worker().acquire("train", 5)
    machine.folder.move_aside(NAME)
    machine.begin()
    machine.scan()
    machine.later(6)
    assert machine.overdue() == [NAME]


# -- the dead


def test_lease_of_a_dead_worker_is_told_not_cleared(machine: Leasing) -> None:
    """It stays until there is a record of it."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.process.state = "X"
    machine.scan()
    assert [lease.name for lease in machine.leases.dead[worker.worker]] == [NAME]
    assert machine.files() == [NAME]


def test_released_lease_of_a_dead_worker_is_removed(machine: Leasing) -> None:
    """A worker that released before it died is no incident."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.release("train")
    worker.process.state = "X"
    machine.scan()
    assert (machine.leases.dead, machine.files()) == ({}, [])


def test_lease_of_another_boot_is_of_a_dead_worker(machine: Leasing) -> None:
    """Nothing of another boot lives, whatever has its pid and start ticks now."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.processes.boot_id = "another"
    machine.begin()
    machine.scan()
    assert list(machine.leases.dead) == [worker.worker]


def test_a_pid_that_came_again_is_another_worker(machine: Leasing) -> None:
    """A new process with the pid of a known lease's worker: that one is dead, this one is guarded."""
    dead = machine.worker()
    dead.acquire("train", 5)
    machine.scan()
    machine.worker(start=900).acquire("train", 50)
    assert [lease.worker.start for lease in machine.scan()] == [900]
    assert list(machine.leases.dead) == [dead.worker]


def test_zombies_are_dead(machine: Leasing) -> None:
    """A zombie holds nothing."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.process.state = "Z"
    machine.scan()
    assert list(machine.leases.dead) == [worker.worker]


def test_worker_that_cannot_be_looked_at_counts_as_alive(machine: Leasing) -> None:
    """In doubt nothing of it is removed or recorded, and the other leases are looked at."""
    machine.worker().acquire("train", 5)
    machine.worker(5000).acquire("train", 5)
    machine.leases.begin_scan()

    def refuse(worker: object) -> bool:
        raise OSError(24, "Too many open files")

    machine.processes.alive = refuse  # type: ignore[method-assign]
    assert len(machine.scan()) == 2
    assert machine.leases.dead == {}


# -- what was done already


def test_a_lease_acted_on_is_not_acted_on_again(machine: Leasing) -> None:
    """One incident for one acquire or renew; the next one is new."""
    worker = machine.worker()
    worker.acquire("train", 5)
    (lease,) = machine.scan()
    machine.leases.handled(lease)
    assert machine.scan() == []
    machine.later(6)
    assert machine.overdue() == []
    worker.acquire("train", 5)
    assert len(machine.scan()) == 1


def test_what_is_put_off_is_overdue_again_later(machine: Leasing) -> None:
    """Only what was overdue is put off, and a renewal ends that."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.acquire("later", 8)
    machine.scan()
    machine.later(6)
    assert machine.overdue() == [NAME]
    machine.leases.dismiss(NAME)
    machine.leases.put_off(worker.worker, machine.clock.mono + 10)
    for lease in machine.scan():
        machine.leases.expect(lease.name, machine.leases.due(lease))
    machine.later(3)
    assert machine.overdue() == [worker.name("later")]
    machine.later(7)
    assert machine.overdue() == [worker.name("later"), NAME]


def test_leases_of_a_worker_being_reaped_are_left_alone(machine: Leasing) -> None:
    """Neither read, judged nor cleared until that is over."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.scan()
    worker.release("train")
    machine.leases.busy.add(worker.worker)
    assert machine.scan() == []
    machine.later(6)
    assert machine.overdue() == []
    assert machine.files() == [NAME]


def test_overdue_leases_that_nobody_took_are_told_again(machine: Leasing) -> None:
    """A worker that could not be reaped now is overdue in the next turn, too, as a fresh read has it."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.scan()
    machine.later(6)
    assert machine.overdue() == [NAME]
    assert machine.overdue() == [NAME]
    worker.acquire("train", 5)
    assert machine.overdue() == []
    assert machine.leases.earliest() == pytest.approx(machine.clock.mono + 5)


# -- names that go away


def test_a_name_away_for_a_moment_is_not_forgotten(machine: Leasing) -> None:
    """A lease is forgotten when it was not listed twice in a row."""
    machine.worker().acquire("train", 5)
    machine.scan()
    os.rename(machine.folder.join(NAME), machine.folder.join("away"))
    for _ in range(MISSED_SCANS - 1):
        machine.scan()
        assert machine.leases.earliest() is not None
    machine.scan()
    assert (len(machine.leases), machine.leases.earliest()) == (0, None)


@pytest.mark.parametrize("alive", [True, False])
def test_a_lease_in_the_making_is_removed_only_if_nobody_makes_it(machine: Leasing, alive: bool) -> None:
    """What a worker left that died in the middle of a publish goes at the next scan."""
    machine.processes.add(FakeProcess(4242, start=500 if alive else 501))
    os.makedirs(machine.folder.path)
    Path(machine.folder.join(f".{NAME}.{500:x}.new")).touch()
    machine.scan()
    assert len(machine.files()) == alive
