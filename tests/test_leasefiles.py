import os
from pathlib import Path
from typing import Any

import pytest

from fakes import NODE, FakeFolder, FakeMachine, forge
from leasetimer.errors import LeaseTorn, LeaseUnreadable
from leasetimer.lease import read_status
from leasetimer.leasefiles import READ_TRIES, LeaseFiles

NAME = f"{NODE},4242,train.lease"
MOVED = f".{NAME}.*.moved"


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


@pytest.fixture
def files(machine: FakeMachine) -> LeaseFiles:
    return LeaseFiles(machine.folder)


def once(folder: FakeFolder, call: str, hook: Any) -> None:
    """Run ``hook`` right before the next ``call`` of the folder."""

    def run(name: str) -> None:
        del folder.on[call]
        hook()

    folder.on[call] = run


def test_verdict_is_the_file_of_the_name(machine: FakeMachine, files: LeaseFiles) -> None:
    """A lease is what the file of its name says now, not what it said before."""
    worker = machine.worker()
    worker.acquire("train", 5)
    assert files.verdict(NAME).status.held  # type: ignore[union-attr]
    worker.release("train")
    lease = files.verdict(NAME)
    assert lease is not None
    assert (lease.status.held, lease.worker) == (False, worker.worker)


def test_verdict_of_nothing_is_none(files: LeaseFiles) -> None:
    """Where there is neither a name nor a moved file, there is no lease."""
    assert files.verdict(NAME) is None


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


def test_moved_file_of_the_highest_seq_is_the_verdict(machine: FakeMachine, files: LeaseFiles) -> None:
    """Of several moved files the newest counts, whatever their names."""
    worker = machine.worker()
    for tries in range(4):
        worker.acquire("train", 5 + tries)
        worker.blind()
        machine.folder.move_aside(NAME)
        worker.ledger._leases["train"].highest = float("inf")  # the next acquire publishes anew
    files.listed()
    lease = files.verdict(NAME)
    assert lease is not None
    assert lease.status.acquired == 4


def test_name_goes_before_moved_files(machine: FakeMachine, files: LeaseFiles) -> None:
    """While the name stands, no moved file counts."""
    worker = machine.worker()
    worker.acquire("train", 5)
    machine.folder.move_aside(NAME)
    worker.acquire("train", 6)
    worker.release("train")
    files.listed()
    assert [lease.status.held for lease in files.read(NAME)] == [False]


def leave_moved(machine: FakeMachine, *uses: bool) -> None:
    """Moved files of one worker, one a use, left held where that is true."""
    worker = machine.worker()
    for held in uses:
        worker.acquire("train", 5)
        if not held:
            worker.release("train")
        machine.folder.move_aside(NAME)
        if held:
            worker.ledger._leases["train"].held = False  # or it would mark the file it gives up
            worker.ledger._idle["train"] = worker.ledger._leases["train"]


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


def test_a_write_caught_half_way_is_read_again(machine: FakeMachine, files: LeaseFiles) -> None:
    """A wrong checksum that is right by the next read is none."""
    machine.worker().acquire("train", 5)
    path = Path(machine.folder.join(NAME))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"count":           1', b'"count":           7'))
    reads = []

    def mend(name: str) -> None:
        reads.append(name)
        if len(reads) == READ_TRIES:
            path.write_bytes(whole)

    machine.folder.on["read"] = mend
    assert files.verdict(NAME) is not None


def test_a_lasting_wrong_checksum_is_told(machine: FakeMachine, files: LeaseFiles) -> None:
    """It raises after a few reads, it does not read for ever."""
    machine.worker().acquire("train", 5)
    path = Path(machine.folder.join(NAME))
    path.write_bytes(path.read_bytes().replace(b'"count":           1', b'"count":           7'))
    with pytest.raises(LeaseTorn):
        files.verdict(NAME)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"grace":10.0', b'"grace":' + b"1" * 400), (b'"scope":"train"', b'"scope":"\\ud800"')]
)
def test_bytes_that_no_parser_foresaw_are_a_lease_unreadable(
    machine: FakeMachine, files: LeaseFiles, old: bytes, new: bytes
) -> None:
    """Whatever somebody writes there is told as unreadable, and raises nothing that would end the server's turn."""
    machine.worker().acquire("train", 5)
    forge(Path(machine.folder.join(NAME)), old, new)
    with pytest.raises(LeaseUnreadable):
        files.verdict(NAME)


def test_listing_tells_leases_from_what_is_none(machine: FakeMachine, files: LeaseFiles) -> None:
    """Leases by name or moved, leases in the making apart; presence, copies and foreign dotted names are neither."""
    machine.worker().acquire("train", 5)
    for name in (".x", "server.json", f"{NAME}.copy", f".{NAME}.1f4.new", ".nfs00001", f".{NODE},7,a.lease.ab.moved"):
        Path(machine.folder.join(name)).touch()
    leases, new = files.listed()
    assert leases == {NAME, f"{NODE},7,a.lease"}
    assert [name for name, _ in new] == [f".{NAME}.1f4.new"]


def test_a_moved_file_that_somebody_removed_hides_no_other(machine: FakeMachine, files: LeaseFiles) -> None:
    """What vanished from the folder does not keep the moved files that are left from being the lease."""
    leave_moved(machine, True, True)
    files.listed()
    os.unlink(machine.folder.join(min(files._moved[NAME])))
    assert files.verdict(NAME) is not None


@pytest.mark.parametrize("bad", ["removed", "garbage"])
def test_the_lease_of_the_name_needs_no_moved_file(machine: FakeMachine, files: LeaseFiles, bad: str) -> None:
    """A moved file that vanished with a removed folder, or that somebody put there, keeps no lease from being read."""
    worker = machine.worker()
    worker.acquire("train", 5)
    aside = machine.folder.move_aside(NAME)
    assert aside is not None
    files.listed()
    worker.acquire("train", 5)
    os.unlink(machine.folder.join(aside))
    if bad == "garbage":
        Path(machine.folder.join(aside)).write_bytes(b"x" * 400)
    lease = files.verdict(NAME)
    assert lease is not None
    assert lease.status.held
