"""What a worker's acquires, renewals and releases do to its lease files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leasetimer import expires
from leasetimer.directory import SLOW_WRITE
from leasetimer.lease import PAGE, WIDTH
from leasetimer.names import moved_name
from ledgers import HOST, Machine, leases, names, only, only_file, publishes, slowed
from ledgers import machine as machine

# -- in place where that may be


def test_a_lease_is_published_once_and_then_rewritten_in_place(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same inode, the same length, the identity untouched: renewals, releases and acquires wake nobody."""
    seen = publishes(monkeypatch)
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    inode, content = only_file(tmp_path).stat().st_ino, only_file(tmp_path).read_bytes()
    states = []
    for turn in range(6):
        machine.clock.jump(1)
        if turn % 2:
            client.release("train")
        else:
            client.acquire("train", machine.until(60))
        now = only_file(tmp_path).read_bytes()
        assert (only_file(tmp_path).stat().st_ino, len(now)) == (inode, len(content))
        assert now[WIDTH:] == content[WIDTH:]
        states.append(only(tmp_path).status.held)
    assert states == [True, False] * 3
    assert len(seen) == 1


def test_an_earlier_deadline_is_published_anew(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits for the later one: only a file event makes it look before."""
    seen = publishes(monkeypatch)
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.acquire("train", machine.until(30))
    assert len(seen) == 2
    client.acquire("train", machine.until(30))
    client.acquire("train", machine.until(60))
    assert len(seen) == 2
    client.acquire("train", machine.until(59))
    assert len(seen) == 3


def test_earlier_is_earlier_than_the_highest_since_the_last_publish(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have read any of those in between, also one that was released since."""
    seen = publishes(monkeypatch)
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(10))
    client.acquire("train", machine.until(600))
    client.release("train")
    client.acquire("train", machine.until(300))
    assert len(seen) == 2
    client.acquire("train", machine.until(400))
    assert len(seen) == 2


def test_the_same_instant_computed_twice_is_not_earlier(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two clocks are never read at once: a microsecond's difference is no reason for a rename."""
    seen = publishes(monkeypatch)
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.acquire("train", machine.until(60) - 0.0005)
    assert len(seen) == 1


@pytest.mark.parametrize("how", ["removed", "moved aside"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "released"])
def test_a_name_that_is_gone_is_published_anew(machine: Machine, tmp_path: Path, how: str, held: bool) -> None:
    """A server that clears takes the name away: what is written through the descriptor then guards nobody."""
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    if not held:
        client.release("train")
    file = only_file(tmp_path)
    moved = file.with_name(moved_name(file.name, "1"))
    if how == "removed":
        file.unlink()
    else:
        file.rename(moved)
    client.acquire("train", machine.until(90))
    assert only(tmp_path).status.deadline == machine.clock.mono + 90
    if how == "moved aside":  # and the highest seq is that of the name, should both be looked at
        assert json.loads(moved.read_bytes().splitlines()[0])["seq"] < only(tmp_path).status.seq
    client.release("train")
    assert not only(tmp_path).status.held


def test_a_release_does_not_bring_a_name_back(machine: Machine, tmp_path: Path) -> None:
    """What the server has cleared stays cleared."""
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    only_file(tmp_path).unlink()
    client.release("train")
    assert names(tmp_path) == []


def test_a_directory_removed_under_a_worker_is_made_again(machine: Machine, tmp_path: Path) -> None:
    """The next acquire stands where the first did."""
    root = tmp_path / "root"
    client = machine.client(root)
    client.acquire("train", machine.until(60))
    only_file(root).unlink()
    (root / HOST).rmdir()
    root.rmdir()
    client.acquire("train", machine.until(90))
    assert only(root).status.deadline == machine.clock.mono + 90


# -- what stands in it


def test_every_write_has_a_higher_seq(machine: Machine, tmp_path: Path) -> None:
    """Acquired, renewed, published, released, forgotten and made anew: the highest is always the newest."""
    client = machine.client(tmp_path)
    seen = [0]

    def grown() -> None:
        seen.append(only(tmp_path).status.seq)
        assert seen[-1] > seen[-2]

    for _ in range(3):
        for after in (60, 90, 30):
            client.acquire("train", machine.until(after))
            grown()
        client.release("train")
        grown()
        client.close()
        machine.clock.jump(0.001)
        assert names(tmp_path) == []


def test_a_scope_made_anew_is_newer_than_any_forgotten_one(machine: Machine, tmp_path: Path) -> None:
    """It starts from the clock: it needs no memory of each, and stands an ``exec``, which forgets them all."""
    client = machine.client(tmp_path)
    for scope in ("busy", "busy", "busy", "other"):
        client.acquire(scope, machine.until(60))
    highest = leases(tmp_path)["busy"].status.seq
    client.release("busy")
    client.release("other")
    client.close()
    machine.clock.jump(0.001)
    client.acquire("other", machine.until(60))
    assert only(tmp_path).status.seq > highest


def test_count_is_how_often_it_was_acquired(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's progress: a renewal, a release and a write done twice don't count."""
    slow = [0.0]
    slowed(monkeypatch, machine, "rewrite", slow)
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    client = machine.client(tmp_path)
    for number in range(1, 4):
        with expires(60, "train", client) as lease:
            assert only(tmp_path).status.acquired == number
            lease.renew(90)
            slow.append(SLOW_WRITE + 1)
            lease.renew(120)
            lease.renew(10)
            assert only(tmp_path).status.acquired == number
    slow.append(SLOW_WRITE + 1)
    client.acquire("train", machine.until(300))
    assert only(tmp_path).status.acquired == 4


def test_since_is_when_it_was_acquired_after_not_being_held(machine: Machine, tmp_path: Path) -> None:
    """Renewals and publishes keep it; the release keeps it, too, for whoever reads what was."""
    client = machine.client(tmp_path)
    for _ in range(2):
        machine.clock.jump(100)
        began = machine.clock.wall
        for after in (60, 90, 30):
            client.acquire("train", machine.until(after))
            assert only(tmp_path).status.since == began
            machine.clock.jump(1)
        client.release("train")
        assert only(tmp_path).status.since == began


@pytest.mark.parametrize(
    "argv", [["x" * 1_000_000], ["--option"] * 100_000, ["\x01" * 5000]], ids=["one huge", "many", "control"]
)
@pytest.mark.parametrize(
    "scope", ["train", "\x01" * 1000, "x" * 10_000, "\udc80" * 1024], ids=["plain", "control", "long", "no UTF-8"]
)
def test_a_lease_fits_its_page_whatever_the_command_line(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], scope: str
) -> None:
    """A huge command line is cut, never the lease."""
    monkeypatch.setattr("sys.argv", argv)
    client = machine.client(tmp_path)
    client.acquire(scope, machine.until(60))
    assert only_file(tmp_path).stat().st_size <= PAGE
    assert only(tmp_path).status.held


def test_two_scopes_that_are_cut_alike_are_two_leases(machine: Machine, tmp_path: Path) -> None:
    """Their digests tell them apart."""
    client = machine.client(tmp_path)
    client.acquire("x" * 5000 + "a", machine.until(60))
    client.acquire("x" * 5000 + "b", machine.until(90))
    assert len(leases(tmp_path)) == 2
