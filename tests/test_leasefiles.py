"""What the files of a lease say: by name or moved aside, torn, or none at all."""

import os
from pathlib import Path

import pytest

from fakes import NAME, NODE, FakeMachine, forge
from fakes import machine as machine
from leasetimer.errors import LeaseTorn, LeaseUnreadable
from leasetimer.leasefiles import READ_TRIES, LeaseFiles
from moving import files as files
from moving import leave_moved


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
