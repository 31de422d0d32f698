"""The lease that a block yields, and what the block leaves on its client."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeClock
from leasetimer import expires
from ledgers import Machine, only
from recorder import Recorder, use_clock
from recorder import client as client
from recorder import clock as clock

# -- the lease it yields


def test_it_yields_the_lease(client: Recorder) -> None:
    """How long is left, whether that is nothing, and of which scope."""
    with expires(60, "train") as lease:
        assert (lease.scope, lease.remaining, lease.expired) == ("train", 60, False)
        client.clock.jump(59)
        assert (lease.remaining, lease.expired) == (1, False)
        client.clock.jump(1)
        assert (lease.remaining, lease.expired) == (0, True)
        client.clock.jump(5)
        assert (lease.remaining, lease.expired) == (-5, True)


def test_renewing_gives_it_as_long_again(client: Recorder) -> None:
    """From now on, as many seconds as at first, or as it is told; the number at first stays the default."""
    with expires(60, "train") as lease:
        client.clock.jump(50)
        lease.renew()
        assert lease.remaining == 60
        lease.renew(5)
        assert lease.remaining == 5
        assert client.due == {"train": client.clock.mono + 5}
        lease.renew()
        assert client.due == {"train": client.clock.mono + 60}
    assert client.calls.count(("release", "train")) == 1


@pytest.mark.parametrize(
    ("after", "error"), [(0, ValueError), (-1, ValueError), (float("nan"), ValueError), ("5", TypeError)]
)
def test_a_renewal_that_can_not_be_changes_nothing(client: Recorder, after: Any, error: type[Exception]) -> None:
    """The deadline in force stays."""
    with expires(60, "train") as lease:
        with pytest.raises(error, match="after must be"):
            lease.renew(after)
        assert (lease.remaining, client.due) == (60, {"train": client.clock.mono + 60})


def test_a_failed_renewal_leaves_the_deadline_as_it_was(client: Recorder) -> None:
    """The block is told, and what remains is what is in force."""
    with expires(60, "train") as lease:
        client.clock.jump(10)
        client.fails = OSError("stale")
        with pytest.raises(OSError, match="stale"):
            lease.renew()
        assert lease.remaining == 50
        client.fails = None


def test_outside_its_block_a_lease_is_nothing(client: Recorder) -> None:
    """Neither before nor after: a renewal that renews nothing would be a promise that nobody keeps."""
    block = expires(60, "train")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not held: scope='train'; renew works inside its block"):
            block.renew()
        with pytest.raises(RuntimeError, match="not held: scope='train'; remaining is known inside its block"):
            _ = block.remaining
        with pytest.raises(RuntimeError, match="not held"):
            _ = block.expired
        with block:
            pass
    assert client.due == {}


def test_it_may_be_left_without_having_been_entered(client: Recorder) -> None:
    """As an ExitStack in trouble may do."""
    expires(60, "train").__exit__(None, None, None)
    assert client.calls == []


# -- what it leaves on the client


def test_a_client_can_still_be_pickled_after_use(clock: FakeClock) -> None:
    """A program may hand its client to a process that it spawns: what expires keeps on it must not get in the way."""
    import pickle

    recorder = Recorder(clock)
    with expires(60, "train", recorder):
        copy = pickle.loads(pickle.dumps(recorder))
        with expires(30, "train", copy):
            assert copy.due["train"] == clock.mono + 30
    assert recorder.due == {}


def test_a_client_that_stands_for_another_has_its_own_blocks(client: Recorder) -> None:
    """Two clients share nothing unless they say so."""
    other = Recorder(client.clock)
    with expires(60, "train"), expires(10, "train", other):
        assert client.due == {"train": client.clock.mono + 60}
    assert other.due == {}


def test_a_lease_client_is_used_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One block is one held lease, whose file says so, and every acquire is counted, a renewal is not."""
    caplog.set_level(logging.ERROR, "leasetimer")
    machine = Machine()
    use_clock(monkeypatch, machine.clock)
    client = machine.client(tmp_path)
    for acquired in (1, 2):
        with expires(60, "train", client) as lease:
            lease.renew()
            status = only(tmp_path).status
            assert (status.held, status.acquired) == (True, acquired)
            assert status.deadline == machine.clock.mono + 60
        assert not only(tmp_path).status.held
