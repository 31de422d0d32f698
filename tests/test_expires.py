"""``expires`` over any client: one block, how it is entered and left. Several at once: test_nesting.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import leasetimer
from leasetimer import expires
from leasetimer.errors import NotConfigured
from ledgers import leases
from recorder import Recorder
from recorder import client as client
from recorder import clock as clock

# -- one block


def test_a_block_is_acquired_on_entry_and_released_on_exit(client: Recorder) -> None:
    """The client is told once each, with the expiration in seconds since the epoch."""
    with expires(after=60, scope="train"):
        assert client.due == {"train": client.clock.mono + 60}
    assert client.calls == [("acquire", "train"), ("release", "train")]


def test_the_client_passed_wins_over_the_one_configured(client: Recorder) -> None:
    """As in the original."""
    other = Recorder(client.clock)
    with expires(60, "train", other):
        assert (len(other.calls), len(client.calls)) == (1, 0)


def test_without_any_client_it_says_what_to_do() -> None:
    """The error names both ways out, before the block runs."""
    with pytest.raises(RuntimeError) as caught, expires(60):
        pytest.fail("the block ran")
    assert isinstance(caught.value, NotConfigured)
    assert str(caught.value) == "no timer client: call leasetimer.configure(client) first, or set LEASETIMER_DIR"


def test_the_environment_configures_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LEASETIMER_DIR alone is enough, and the client made from it stays."""
    monkeypatch.setenv("LEASETIMER_DIR", str(tmp_path))
    monkeypatch.setenv("LEASETIMER_HOST", "node1")
    try:
        with expires(60, "one"), expires(60, "two"):
            assert set(leases(tmp_path)) == {"one", "two"}
    finally:
        leasetimer.configure(None)


def test_a_client_that_was_configured_before_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, client: Recorder
) -> None:
    """What the program says counts more than what its launcher says."""
    monkeypatch.setenv("LEASETIMER_DIR", "/nonexistent")
    with expires(60, "train"):
        assert client.due


def test_a_client_that_counts_as_false_is_a_client(client: Recorder) -> None:
    """One with a __len__ of 0, say: it is configured all the same."""

    class Empty(Recorder):
        def __len__(self) -> int:
            return 0

    empty = Empty(client.clock)
    leasetimer.configure(empty)
    with expires(60, "train"):
        assert empty.due


@pytest.mark.parametrize(
    ("after", "error"),
    [
        *((after, ValueError) for after in (0, -1, float("nan"), float("inf"), 1e12)),
        ("5", TypeError),
        (None, TypeError),
    ],
)
def test_a_duration_that_can_not_be_raises_before_the_block_runs(
    client: Recorder, after: Any, error: type[Exception]
) -> None:
    """Nothing is acquired for it."""
    with pytest.raises(error, match="after must be"), expires(after, "train"):
        pytest.fail("the block ran")
    assert client.calls == []


def test_a_failed_acquire_raises_before_the_block_runs(client: Recorder) -> None:
    """The worker must know that it is not guarded; and the next block of the scope starts from nothing."""
    client.fails = OSError("disk full")
    with pytest.raises(OSError, match="disk full"), expires(60, "train"):
        pytest.fail("the block ran")
    client.fails = None
    with expires(90, "train"):
        assert client.due == {"train": client.clock.mono + 90}
    assert client.due == {}


class Mine(Exception):
    """Raised by a block."""


def leave(client: Recorder, raised: BaseException, fails: Exception | None) -> None:
    """Leave a block by an exception, while the client fails to release."""
    with expires(60, "train"):
        client.fails = fails
        raise raised


class Unprintable(Exception):
    """An exception of somebody's, that can't even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


@pytest.mark.parametrize(
    "raised", [Mine(), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError()], ids=repr
)
@pytest.mark.parametrize("fails", [None, OSError("stale"), ValueError()], ids=repr)
def test_the_blocks_exception_passes_unchanged(
    client: Recorder, raised: BaseException, fails: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever release meets on the way out, which is logged."""
    with pytest.raises(type(raised)) as caught:
        leave(client, raised, fails)
    assert caught.value is raised
    assert caught.value.__context__ is None
    assert client.calls[-1] == ("release", "train")
    assert len(caplog.records) == bool(fails)


@pytest.mark.parametrize("fails", [None, OSError("stale")], ids=repr)
def test_an_async_blocks_exception_passes_unchanged(client: Recorder, fails: Exception | None) -> None:
    """``async with`` is no different."""

    async def main() -> None:
        async with expires(60, "train"):
            client.fails = fails
            raise Mine

    with pytest.raises(Mine):
        asyncio.run(main())


def test_an_exception_that_can_not_be_shown_passes_too(client: Recorder) -> None:
    """What is logged about a failed release must not itself fail."""
    with pytest.raises(Unprintable):
        leave(client, Unprintable(), OSError("stale"))


def test_a_failed_release_of_a_block_that_went_well_raises(client: Recorder) -> None:
    """The lease may still be in force: whoever goes on without knowing is killed for it."""
    with pytest.raises(OSError, match="stale"), expires(60, "train"):
        client.fails = OSError("stale")


def test_a_failed_release_does_not_stay(client: Recorder) -> None:
    """The next block of the scope has its own deadline, not an old one."""
    with pytest.raises(OSError, match="stale"), expires(10, "train"):
        client.fails = OSError("stale")
    client.fails = None
    with expires(60, "train"):
        assert client.due == {"train": client.clock.mono + 60}
    assert client.due == {}


def test_one_object_can_be_entered_again_but_not_twice_at_once(client: Recorder) -> None:
    """One object holds one deadline. Refusing the second entry leaves the first as it is."""
    block = expires(60, "train")
    for _ in range(2):
        with block:
            client.clock.jump(1)
            with pytest.raises(RuntimeError, match="this block is already entered: scope='train'"), block:
                pytest.fail("the block ran")
            assert client.due == {"train": client.clock.mono + 59}
    assert client.due == {}
