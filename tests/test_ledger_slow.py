"""Writes that take their time: what is on disk then, and what remains."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasetimer import expires
from leasetimer.directory import SLOW_WRITE
from ledgers import Machine, only, publishes, slowed
from ledgers import machine as machine


@pytest.mark.parametrize("late", [SLOW_WRITE + 0.1, 24.0])
def test_a_slow_renewal_is_written_again_with_a_fresh_clock(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """A file server that was away made it store the past: the deadline moves by the time the write took."""
    slowed(monkeypatch, machine, "rewrite", [late, 0.0])  # the first write is quick
    seen = publishes(monkeypatch)
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    client = machine.client(tmp_path)
    with expires(10, "train", client) as lease:
        lease.renew()
        start = machine.clock.mono
        lease.renew()
        assert machine.clock.mono == start + late
        assert only(tmp_path).status.deadline == pytest.approx(machine.clock.mono + 10)
        assert only(tmp_path).status.expires == pytest.approx(machine.clock.wall + 10, abs=0.001)
        assert lease.remaining == pytest.approx(10)
    assert len(seen) == 2


def test_a_write_that_is_quick_enough_is_written_once(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to half a second is no outage."""
    slowed(monkeypatch, machine, "rewrite", [], SLOW_WRITE)
    seen = publishes(monkeypatch)
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.acquire("train", machine.until(60))
    assert len(seen) == 1


def test_a_slow_publish_is_done_again(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a write is: what counts is the time the block has from the moment it runs."""
    slowed(monkeypatch, machine, "publish", [3.0, 2.0])
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    with expires(10, "train", machine.client(tmp_path)) as lease:
        assert only(tmp_path).status.deadline == pytest.approx(machine.clock.mono + 10)
        assert lease.remaining == pytest.approx(10)
        assert only(tmp_path).status.acquired == 1


def test_a_file_system_that_is_always_slow_does_not_hold_the_worker(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few tries, then the block runs with what was written last."""
    slowed(monkeypatch, machine, "publish", [], 2.0)
    seen = publishes(monkeypatch)
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    with expires(10, "train", machine.client(tmp_path)):
        assert only(tmp_path).status.held
    assert 1 < len(seen) <= 3


def test_what_remains_is_what_was_written(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last of the tries was slow: a block must not believe that it has longer than its lease."""
    slowed(monkeypatch, machine, "publish", [], 2.0)
    monkeypatch.setattr("leasetimer.block.monotonic", machine.clock.monotonic)
    with expires(10, "train", machine.client(tmp_path)) as lease:
        assert machine.clock.mono + lease.remaining == pytest.approx(only(tmp_path).status.deadline)
