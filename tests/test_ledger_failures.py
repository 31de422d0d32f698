"""What is on disk when an acquire, a renewal or a release fails half-way, or is interrupted there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeClock
from leasetimer import expires
from leasetimer.ledger import MOST_IDLE
from leasetimer.names import moved_name
from ledgers import Machine, around, full, held_files, leases, names, only, only_file, open_files
from ledgers import machine as machine


def test_a_failed_first_acquire_leaves_nothing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file nor a descriptor, and the next try is a new one."""
    broken = [True]
    around(monkeypatch, "publish", lambda real, *args: full() if broken else real(*args))
    client = machine.client(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        client.acquire("train", machine.until(60))
    assert (names(tmp_path), open_files(tmp_path)) == ([], 0)
    client.release("train")
    broken.clear()
    client.acquire("train", machine.until(90))
    assert only(tmp_path).status.deadline == machine.clock.mono + 90


def test_a_failed_publish_leaves_the_earlier_lease_in_force(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next write finds the file that stands, whichever that is."""
    broken: list[bool] = []
    around(monkeypatch, "publish", lambda real, *args: full() if broken else real(*args))
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    before = only(tmp_path)
    broken.append(True)
    with pytest.raises(OSError, match="No space left"):
        client.acquire("train", machine.until(30))
    assert only(tmp_path) == before
    broken.clear()
    client.acquire("train", machine.until(90))
    assert only(tmp_path).status.deadline == machine.clock.mono + 90


def test_a_rename_that_was_done_but_reported_failed_is_the_lease(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor is the file that stands, so that the release reaches it."""
    rename = os.rename

    def done_and_failed(old: str, new: str) -> None:
        rename(old, new)
        raise FileNotFoundError(2, "No such file or directory")

    client = machine.client(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", done_and_failed)
        client.acquire("train", machine.until(60))
        client.acquire("train", machine.until(30))
    assert only(tmp_path).status.deadline == machine.clock.mono + 30
    client.release("train")
    assert not only(tmp_path).status.held
    assert open_files(tmp_path) == 1


def test_after_a_publish_that_may_have_been_done_the_next_write_is_one(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which file stands there can't be told: a write in place might go to one that nobody sees any more."""
    rename = os.rename

    def done_and_failed(old: str, new: str) -> None:
        rename(old, new)
        patch.setattr(os, "stat", full)
        raise OSError(5, "Input/output error")

    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", done_and_failed)
        with pytest.raises(OSError, match="Input/output error"):
            client.acquire("train", machine.until(30))
    client.acquire("train", machine.until(90))
    assert only(tmp_path).status.deadline == machine.clock.mono + 90
    client.release("train")
    assert held_files(tmp_path) == []


def test_a_write_in_part_is_a_failure(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status cut off is no status: the block must not run on it, and the release is not done."""
    short: list[bool] = []
    around(monkeypatch, "rewrite", lambda real, fd, data, at: real(fd, data[:50] if short else data, at))
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    short.append(True)
    with pytest.raises(OSError, match="lease written in part"):
        client.acquire("train", machine.until(90))
    with pytest.raises(OSError, match="lease written in part"):
        client.release("train")
    short.clear()
    client.release("train")
    assert not only(tmp_path).status.held


def test_a_failed_release_can_be_tried_again(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is still in force, and still known."""
    broken: list[bool] = []
    around(monkeypatch, "rewrite", lambda real, *args: full() if broken else real(*args))
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    broken.append(True)
    with pytest.raises(OSError, match="No space left"):
        client.release("train")
    assert only(tmp_path).status.held
    broken.clear()
    client.release("train")
    assert not only(tmp_path).status.held


def test_an_acquire_that_fails_after_a_slow_publish_holds_nobody(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised, so the block never ran: what the first try wrote must not have the worker killed for it."""
    tries: list[int] = []

    def publish(real: Callable[..., int], *args: Any) -> int:
        tries.append(1)
        if len(tries) == 2:
            return full()
        fd = real(*args)
        machine.clock.jump(2)
        return fd

    around(monkeypatch, "publish", publish)
    client = machine.client(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        client.acquire("train", machine.until(60))
    assert held_files(tmp_path) == []


@pytest.mark.parametrize("how", ["removed", "moved aside"])
def test_an_acquire_that_fails_after_its_write_holds_nobody(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Written in place, the name gone, not published anew: the moved file says held, and a server would act on it."""
    broken: list[bool] = []
    around(monkeypatch, "publish", lambda real, *args: full() if broken else real(*args))
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.release("train")
    file = only_file(tmp_path)
    if how == "removed":
        file.unlink()
    else:
        file.rename(file.with_name(moved_name(file.name, "1")))
    broken.append(True)
    with pytest.raises(OSError, match="No space left"):
        client.acquire("train", machine.until(90))
    assert held_files(tmp_path) == []
    broken.clear()
    client.acquire("train", machine.until(90))
    assert only(tmp_path).status.held


def test_an_inner_block_that_fails_after_its_write_leaves_the_outer_one_its_deadline(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inner one never ran: the outer one must not be reaped at the inner one's deadline."""
    tries: list[int] = []

    def publish(real: Callable[..., int], *args: Any) -> int:
        tries.append(1)
        if len(tries) == 3:
            return full()
        fd = real(*args)
        if len(tries) == 2:
            machine.clock.jump(2)
        return fd

    around(monkeypatch, "publish", publish)
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    client = machine.client(tmp_path)
    with expires(60, "train", client) as outer:
        with pytest.raises(OSError, match="No space left"), expires(10, "train", client):
            pytest.fail("the block ran")
        assert only(tmp_path).status.deadline == pytest.approx(machine.clock.mono + outer.remaining)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["publish", "rewrite"])
def test_an_interrupted_acquire_holds_nobody(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    """Ctrl-C in the middle of an acquire: whoever goes on after it must not be killed for a block that never ran."""
    armed: list[bool] = []

    def hook(real: Callable[..., int], *args: Any) -> int:
        if armed and when == "before":
            armed.clear()
            raise KeyboardInterrupt
        result = real(*args)
        if armed:
            armed.clear()
            raise KeyboardInterrupt
        return result

    around(monkeypatch, call, hook)
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    client = machine.client(tmp_path)
    if call == "rewrite":
        with expires(60, "train", client):
            pass
    armed.append(True)
    with pytest.raises(KeyboardInterrupt), expires(60, "train", client):
        pytest.fail("the block ran")
    assert held_files(tmp_path) == []
    with expires(60, "train", client):
        assert only(tmp_path).status.held
    assert held_files(tmp_path) == []


@pytest.mark.parametrize("scope", ["train", "other", "idle 0"])
@pytest.mark.parametrize("moment", ["before the acquire", "after the acquire", "after the release"])
@pytest.mark.parametrize("after", [5, 600])
def test_a_signal_handler_may_hold_a_lease_in_the_middle_of_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, scope: str, after: float
) -> None:
    """The block is guarded all the same, and nobody once it is left; also where the handler's has others forgotten."""
    armed: list[str] = []

    def passing(here: str) -> None:
        if armed == [here]:
            armed.clear()
            with expires(after, scope, client):
                pass

    class Interrupted(FakeClock):
        def now(self) -> float:
            passing("before the acquire")
            return super().now()

    def hook(real: Callable[..., int], fd: int, data: bytes, at: int) -> int:
        written = real(fd, data, at)
        passing("after the acquire" if b'"held"' in data else "after the release")
        return written

    around(monkeypatch, "rewrite", hook)
    machine = Machine()
    machine.clock = machine.processes.clock = Interrupted()
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    client = machine.client(tmp_path)
    for name in ["train", *(f"idle {number}" for number in range(MOST_IDLE - 1))]:
        with expires(60, name, client):
            pass
    armed.append(moment)
    with expires(60, "train", client):
        assert bool(armed) == (moment == "after the release")
        assert leases(tmp_path)["train"].status.held
        assert leases(tmp_path)["train"].status.deadline == machine.clock.mono + 60
    assert armed == []
    assert held_files(tmp_path) == []
    with expires(60, "train", client):
        assert leases(tmp_path)["train"].status.held
