"""What is on disk when an acquire, a renewal or a release fails half-way, or is interrupted there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes import FakeClock
from ledgers import (
    Machine,
    around,
    full,
    held_files,
    names,
    only,
    open_files,
)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> FakeClock:
    return machine.clock


# -- failures


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
