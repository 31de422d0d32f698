"""What standing still must not cost: neither an innocent worker's life, nor that a stuck one is ever reaped."""

import signal
from collections.abc import Callable

from serving import FakeHost
from serving import make as make


def test_time_before_the_start_is_no_gap(make: Callable[..., FakeHost]) -> None:
    """A server made long before it begins, as for a take-over, moves no deadline by that time."""
    host = make()
    worker = host.worker()
    worker.acquire("train", 5)
    host.clock.jump(3600)
    host.restart()
    host.clock.jump(0.5)
    host.run(3)
    assert worker.process.signals == [signal.SIGKILL]


def test_a_lease_is_reaped_although_every_listing_is_slow(make: Callable[..., FakeHost]) -> None:
    """A listing that takes longer than a gap must not move the deadlines faster than time goes."""
    host = make()
    worker = host.worker()
    worker.acquire("train", 30)
    host.folder.on["names"] = lambda _: host.clock.jump(1.5)
    end = host.clock.mono + 200
    while host.clock.mono < end and not worker.process.signals:
        host.turn()
    assert worker.process.signals == [signal.SIGKILL]


def test_a_renewal_after_a_gap_is_looked_at_in_time(make: Callable[..., FakeHost]) -> None:
    """In place, to a deadline before the one that the gap has put off, with scans far apart."""
    host = make(max_interval=600)
    worker = host.worker()
    worker.acquire("train", 100)
    host.run(50)
    host.clock.jump(300)
    host.turn()
    host.turn()
    worker.acquire("train", 10)
    host.run(60)
    assert worker.process.signals == [signal.SIGKILL]
    assert host.records()[0]["overdue"] < 1
