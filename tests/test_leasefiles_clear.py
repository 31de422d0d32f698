"""Clearing a lease: what is released goes, and what is acquired meanwhile stays."""

import pytest

from fakes import NAME, NODE, FakeFolder, FakeMachine
from fakes import machine as machine
from leasetimer.lease import read_status
from leasetimer.leasefiles import LeaseFiles
from moving import MOVED, leave_moved, once
from moving import files as files


def test_clearing_a_released_lease_removes_every_file(machine: FakeMachine, files: LeaseFiles) -> None:
    """What is released and stays so leaves nothing behind."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.release("train")
    assert files.clear(NAME) is None
    assert machine.files() == []


def test_clearing_never_touches_a_lease_acquired_before_the_move(machine: FakeMachine, files: LeaseFiles) -> None:
    """A lease acquired in place after it was read as released is moved, and stays a lease under that name."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.release("train")
    worker.blind()
    once(machine.folder, "move_aside", lambda: worker.acquire("train", 7))
    lease = files.clear(NAME)
    assert lease is not None
    assert lease.status.held
    assert machine.files() == [MOVED]
    assert files.verdict(NAME) == lease


def test_clearing_reads_the_moved_file_afresh(machine: FakeMachine, files: LeaseFiles) -> None:
    """A lease acquired in place between the move and the read is found held; the worker has published anew."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.release("train")
    once(machine.folder, "read", lambda: worker.acquire("train", 7))
    files.clear(NAME)
    assert NAME in machine.files()
    assert files.verdict(NAME).status.held  # type: ignore[union-attr]


def test_a_file_given_up_does_not_say_held(machine: FakeMachine, files: LeaseFiles) -> None:
    """Once the lease that replaced it is released and forgotten, no moved file from before passes for a held lease."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.release("train")
    once(machine.folder, "read", lambda: worker.acquire("train", 7))
    files.clear(NAME)
    worker.release("train")
    worker.client.close()
    lease = files.verdict(NAME)
    assert lease is None or not lease.status.held


def test_lower_seqs_are_removed_first(machine: FakeMachine, files: LeaseFiles) -> None:
    """However far clearing comes, no held file of a lower seq becomes the highest."""
    leave_moved(machine, True, True, False)
    left = []
    for crash_after in range(4):
        fresh, removed = FakeFolder(machine.folder.root, NODE), 0

        def crash(name: str, after: int = crash_after) -> None:
            nonlocal removed
            if removed == after:
                raise KeyboardInterrupt
            removed += 1

        fresh.on["remove"] = crash
        taken_over = LeaseFiles(fresh)
        assert taken_over.listed()[0] <= {NAME}
        try:
            taken_over.clear(NAME)
        except KeyboardInterrupt:
            again = LeaseFiles(machine.folder)
            again.listed()
            lease = again.verdict(NAME)
            left.append(lease is not None and lease.status.held)
    assert left
    assert not any(left)
    assert machine.files() == []


def test_dead_workers_files_go_lowest_seq_first(machine: FakeMachine, files: LeaseFiles) -> None:
    """A crash while a dead worker's files are removed never makes its lease look held again."""
    leave_moved(machine, True, True, False)
    worker = machine.worker().worker
    files.listed()
    seqs = []
    machine.folder.on["remove"] = lambda name: seqs.append(read_status(machine.folder.read(name).data).seq)
    files.remove(NAME, worker)
    assert seqs == sorted(seqs)
    assert len(seqs) == 3
    assert machine.files() == []


def test_removing_a_dead_workers_lease_spares_the_next_process(machine: FakeMachine, files: LeaseFiles) -> None:
    """A new process with the same pid and scope that publishes while the dead one is cleared keeps its lease."""
    dead = machine.worker().worker
    machine.worker().acquire("train", 5)
    next_one = machine.worker(start=900)
    once(machine.folder, "move_aside", lambda: next_one.acquire("train", 5))
    files.remove(NAME, dead)
    lease = files.verdict(NAME)
    assert lease is not None
    assert lease.worker == next_one.worker


def test_clearing_spares_the_next_process(machine: FakeMachine, files: LeaseFiles) -> None:
    """A moved file of another process with the same pid is not removed with the cleared one."""
    next_one = machine.worker(start=900)
    next_one.acquire("train", 5)
    machine.folder.move_aside(NAME)
    before = machine.worker()
    before.acquire("train", 5)
    before.release("train")
    files.listed()
    held = files.clear(NAME)
    assert held is not None
    assert held.worker == next_one.worker
    assert files.verdict(NAME) == held
    assert machine.files() == [MOVED]


@pytest.mark.parametrize("step", ["read released", "moved", "read again", "unlinked a lower one"])
def test_a_server_killed_while_clearing_is_followed_by_one_that_finishes(machine: FakeMachine, step: str) -> None:
    """Wherever the clearing server was killed, the next one finds the same lease and clears it."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.folder.move_aside(NAME)
    worker.acquire("train", 6)
    worker.release("train")
    first = LeaseFiles(machine.folder)
    first.listed()

    def kill(name: str) -> None:
        raise KeyboardInterrupt

    hooks = {"read released": "move_aside", "moved": "read", "read again": "remove", "unlinked a lower one": ""}
    if hooks[step]:
        machine.folder.on[hooks[step]] = kill
        with pytest.raises(KeyboardInterrupt):
            first.clear(NAME)
    else:
        machine.folder.move_aside(NAME)
        first.listed()
        machine.folder.remove(first._read_moved(NAME)[worker.worker][0][1])
    machine.folder.on.clear()
    second = LeaseFiles(machine.folder)
    leases, new = second.listed()
    assert (leases, new) == ({NAME}, [])
    lease = second.verdict(NAME)
    assert lease is not None
    assert not lease.status.held
    assert second.clear(NAME) is None
    assert machine.files() == []
