"""Folders that take long to list: who is stuck is reaped all the same."""

import signal

import pytest

from serving import FakeHost, FakeWatcher, Make
from serving import host as host
from serving import make as make

KILL = signal.SIGKILL


@pytest.mark.parametrize("events", [True, False], ids=["events", "no events"])
@pytest.mark.parametrize("took", [1.5, 20.0])
def test_a_worker_is_reaped_though_every_listing_is_a_gap(
    make: Make, monkeypatch: pytest.MonkeyPatch, events: bool, took: float
) -> None:
    """Deadlines move by what the listings take, but these take a tenth of the time at most."""
    monkeypatch.setattr(FakeWatcher, "works", events)
    host = make()
    worker = host.worker(events=events)
    worker.acquire("train", 30)
    host.folder.on["names"] = lambda _: host.clock.jump(took)
    host.run(30 + 10 * took)
    assert worker.process.signals == [KILL]


def test_a_worker_is_reaped_though_every_listing_takes_long_and_fails(host: FakeHost) -> None:
    """A file server that is away answers late, with an error; the lease itself may still be read."""
    worker = host.worker()
    worker.acquire("train", 30)
    host.run(1)

    def time_out(name: str) -> None:
        host.clock.jump(20)
        raise OSError(5, "Input/output error")

    host.folder.on["names"] = time_out
    host.run(300)
    assert worker.process.signals == [KILL]
