"""How many files a worker keeps, who shares them, and what a server may take away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leasetimer.ledger
from leasetimer import LeaseTimerClient
from leasetimer.directory import Folder
from leasetimer.ledger import MOST_IDLE
from leasetimer.names import moved_name
from ledgers import HOST, Machine, around, full, leases, names, only, open_files, publishes
from ledgers import machine as machine

# -- few files, few descriptors


def test_ten_thousand_scopes_leave_a_bounded_number_of_files(machine: Machine, tmp_path: Path) -> None:
    """Scopes such as step-123456 leak neither files nor descriptors, and what is held is never forgotten."""
    client = machine.client(tmp_path)
    client.acquire("run", machine.until(1e6))
    for step in range(10_000):
        client.acquire(f"step-{step}", machine.until(60))
        client.release(f"step-{step}")
    found = leases(tmp_path)
    assert found.pop("run").status.held
    assert len(names(tmp_path)) == MOST_IDLE + 1
    assert open_files(tmp_path) == MOST_IDLE + 1
    assert set(found) == {f"step-{step}" for step in range(10_000 - MOST_IDLE, 10_000)}
    client.close()
    assert len(names(tmp_path)) == open_files(tmp_path) == 1


def test_those_used_last_are_kept(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scope used in every step stays in place, however many others come and go."""
    seen = publishes(monkeypatch)
    client = machine.client(tmp_path)
    for step in range(3 * MOST_IDLE):
        for scope in ("every step", f"step-{step}"):
            client.acquire(scope, machine.until(60))
            client.release(scope)
    assert sum("every%20step" in name for name in seen) == 1


def test_many_held_at_once_are_all_kept(machine: Machine, tmp_path: Path) -> None:
    """Only what is released may be forgotten."""
    client = machine.client(tmp_path)
    scopes = [f"scope-{number}" for number in range(3 * MOST_IDLE)]
    for scope in scopes:
        client.acquire(scope, machine.until(60))
    assert all(lease.status.held for lease in leases(tmp_path).values())
    assert len(leases(tmp_path)) == len(scopes)
    for scope in scopes:
        client.release(scope)
    assert len(names(tmp_path)) == open_files(tmp_path) == MOST_IDLE


def test_publishing_again_and_again_leaks_no_descriptor(machine: Machine, tmp_path: Path) -> None:
    """The descriptor of the file that was replaced is closed."""
    client = machine.client(tmp_path)
    for after in range(100, 10, -1):
        client.acquire("train", machine.until(after))
    assert open_files(tmp_path) == 1


def test_a_file_that_can_not_be_removed_is_said(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tidying up never fails a worker."""
    around(monkeypatch, "remove", full)
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.release("train")
    client.close()
    assert "released lease not removed: name=node1," in caplog.text
    assert open_files(tmp_path) == 0


def test_at_exit_released_leases_are_removed_and_held_ones_stay(machine: Machine, tmp_path: Path) -> None:
    """A worker that ends in the middle of a block is worth a record; one that ends well leaves nothing."""
    client = machine.client(tmp_path)
    client.acquire("held", machine.until(60))
    client.acquire("released", machine.until(60))
    client.release("released")
    leasetimer.ledger._tidy()
    assert list(leases(tmp_path)) == ["held"]


# -- threads


def test_clients_made_at_once_by_two_threads_share_their_leases(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one would write over the other's files, whose deadlines then stand nowhere: a worker nobody wakes."""
    both = threading.Barrier(2)
    make = Folder.__init__

    def slowly(self: Folder, root: str, host: str) -> None:
        make(self, root, host)
        try:
            both.wait(0.3)
        except threading.BrokenBarrierError:  # one at a time is fine, too
            return

    monkeypatch.setattr(Folder, "__init__", slowly)
    clients: list[LeaseTimerClient] = []
    threads = [threading.Thread(target=lambda: clients.append(machine.client(tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = clients
    one.acquire("train", machine.until(60))
    other.acquire("train", machine.until(90))
    one.release("train")
    assert not only(tmp_path).status.held
    assert open_files(tmp_path) == 1


# -- everything at once


@settings(deadline=None)  # it writes files, and the disk may be busy
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["acquire", "acquire", "release", "jump", "clear", "steal", "tidy"]),
            st.sampled_from(["one", "two", "three"]),
            st.integers(1, 50),
        ),
        max_size=40,
    )
)
def test_whatever_a_server_takes_away_the_lease_that_counts_is_right(
    steps: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After each step: what the client holds stands on disk, with its deadline; what it released is held nowhere.

    The verdict is the design's: the file of the name, else the moved one of the highest seq. And a file whose deadline
    is earlier than one that this inode had before would never be looked at in time.
    """
    machine, root = Machine(), tmp_path_factory.mktemp("root")
    client = machine.client(root)
    due: dict[str, float] = {}
    seqs: dict[str, int] = {}
    published: dict[str, tuple[int, float]] = {}  # inode of the file that stands, and the highest deadline it had
    for number, (step, scope, seconds) in enumerate(steps):
        if step == "acquire":
            client.acquire(scope, machine.until(seconds))
            due[scope] = machine.clock.mono + seconds
        elif step == "release":
            client.release(scope)
            due.pop(scope, None)
        elif step == "jump":
            machine.clock.jump(seconds)
        elif step == "tidy":
            client.close()
            machine.clock.jump(0.001)  # no process writes faster than its clock counts, which seq begins with
            published.clear()  # an inode that was freed may come again
        elif (lease := leases(root).get(scope)) is not None:
            file = root / HOST / lease.name
            if step == "steal" and not lease.status.held:
                file.rename(file.with_name(moved_name(lease.name, f"{number:x}")))
            elif step == "clear" and not lease.status.held:
                file.unlink()
        held = {name: lease for name, lease in leases(root).items() if lease.status.held}
        assert {name: lease.status.deadline for name, lease in held.items()} == pytest.approx(due)
        for name, lease in leases(root).items():
            assert lease.status.seq >= seqs.get(name, 0)
            seqs[name] = lease.status.seq
            inode = (root / HOST / lease.name).stat().st_ino
            before, highest = published.get(name, (0, 0.0))
            if lease.status.held and inode == before and (step, name) == ("acquire", scope):
                assert lease.status.deadline >= highest - 0.001
            published[name] = inode, max(lease.status.deadline, highest if inode == before else 0)
