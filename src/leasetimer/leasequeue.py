"""A folder of leases as a request queue: what is new in it, told by file events and, whatever those miss, by scans."""

from __future__ import annotations

import collections
import random
import threading
from collections.abc import Iterable

from . import log
from .api import RequestQueue, TimerRequest
from .clock import Clock
from .directory import Folder
from .lease import Lease
from .leases import Leases
from .pace import Pace
from .watcher import Watcher

SLICE = 16
"""Leases looked at in one turn of a scan: half a millisecond, which is how much it may delay what is due."""
JITTER = 0.1
"""How much of an interval two scans may be nearer or farther: hosts started together must not beat together."""
LISTING_SHARE = 10
"""How many times as long as a listing takes, at least, until the next one: a slow one must not take all the time."""
POLL_INTERVAL = 1.0
"""Seconds between two scans where file events can't be had, and between two looks whether the folder still stands."""


class LeaseRequest(TimerRequest):
    """An acquisition read from a lease file. ``deadline`` is on this boot's monotonic clock, and exact."""

    __slots__ = ("deadline",)

    def __init__(self, lease: Lease, deadline: float) -> None:
        super().__init__(lease.worker, lease.scope, lease.status.expires)
        self.deadline = deadline


class LeaseQueue(RequestQueue):
    """Looks at leases, and hands on those that are to be guarded."""

    def __init__(self, folder: Folder, leases: Leases, clock: Clock, pace: Pace, max_interval: float) -> None:
        self._folder = folder
        self._leases = leases
        self._clock = clock
        self._pace = pace
        self._max_interval = max_interval
        self._news: collections.deque[str] = collections.deque()
        self._scanning: collections.deque[str] = collections.deque()
        self._woken = threading.Event()
        self._watcher: Watcher | None = None
        self._events = False
        self._scan_due = 0.0
        self._place_due = 0.0
        self._place: tuple[int, int] | None = None
        self._failed: str | None = None  # the error said last: a failing file system is not worth a line each second

    def start(self) -> None:
        """Begin to watch the folder; the first ``get`` scans it."""
        self._watcher = Watcher(self._folder.path, self._seen)
        self._watcher.start()
        self._scan_due = self._place_due = self._clock.monotonic()

    def stop(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()

    def wake(self) -> None:
        """End a ``get`` under way, from any thread."""
        self._woken.set()

    def look_at(self, names: Iterable[str]) -> None:
        """Look at these leases, as if they had just been published."""
        self._news.extend(names)
        self._woken.set()

    def size(self) -> int:
        """How many leases wait to be looked at."""
        return len(self._news) + len(self._scanning)

    def get(self, size: int, timeout: float) -> list[TimerRequest]:
        """Leases to be guarded from now on, as ``LeaseRequest``; waits ``timeout`` seconds at most for the first.

        A wait that took far longer is a gap, which the ``Pace`` keeps until the server deals with it.
        """
        self._pace.mark()
        if not self._news and not self._scanning:
            planned = max(0.0, min(timeout, self._scan_due - self._clock.monotonic()))
            self._clock.wait(self._woken, planned)
            self._pace.mark(planned)
        self._woken.clear()
        now = self._clock.monotonic()
        try:
            if now >= self._place_due:
                self._follow(now)
            if now >= self._scan_due and not self._scanning:
                self._scan_due = now + self._interval()
                self._scanning.extend(self._leases.begin_scan())
                took = self._clock.monotonic() - now
                self._scan_due = max(self._scan_due, now + took * LISTING_SHARE)
            self._failed = None
        except OSError as error:  # what is known is guarded all the same
            took = self._clock.monotonic() - now
            self._scan_due = now + max(POLL_INTERVAL, took * LISTING_SHARE)
            if str(error) != self._failed:
                self._failed = str(error)
                log.error("folder not looked over, tried again", dir=self._folder.path, error=error)
        found: list[TimerRequest] = []
        for source, most in ((self._news, min(size, SLICE)), (self._scanning, SLICE)):
            for _ in range(min(most, len(source))):
                lease = self._leases.look(source.popleft())
                if lease is not None and not self._leases.expected(lease):
                    found.append(LeaseRequest(lease, self._leases.next_look(lease)))
        return found

    def _interval(self) -> float:
        interval = self._max_interval if self._events else min(POLL_INTERVAL, self._max_interval)
        return interval * random.uniform(1 - JITTER, 1 + JITTER)

    def _follow(self, now: float) -> None:
        """Keep the watch on the folder that stands there now: one removed and made again is silently not watched."""
        self._place_due = now + POLL_INTERVAL
        place = self._folder.place()
        if place is None:
            self._folder.make()
            place = self._folder.place()
        if self._watcher is None:
            return
        before = self._watcher.watches
        self._events = self._watcher.follow(place)
        if place != self._place and self._place is not None:
            log.warning(
                "folder removed or replaced, its leases guard nobody before they are written again",
                dir=self._folder.path,
            )
        self._place = place
        if self._watcher.watches != before:
            self._scan_due = now  # what was published before the watch stood raised no event

    def _seen(self, name: str) -> None:
        if name.endswith(".lease") and not name.startswith("."):
            self._news.append(name)
            self._woken.set()
