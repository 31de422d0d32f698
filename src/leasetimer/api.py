"""The contract of ``torch.distributed.elastic.timer``: what a timer client, a request queue and a timer server are.

Whoever writes another pair extends ``TimerClient`` and ``TimerServer``, and nothing else; ``expires`` (block.py)
works with any client.
"""

from __future__ import annotations

import abc
import threading
from typing import Any

from . import log
from .clock import CLOCK, Clock
from .deadlines import Deadlines

RETRY_INTERVAL = 0.5
"""Seconds until what failed is tried again, at most: it must not spin, nor look like a gap in the server's pace."""
STOP_SLACK = 1.0
"""Seconds beyond ``max_interval`` that ``stop`` waits for a turn: what it does after its wait."""
CLOCK_SET = 0.05
"""Seconds by which the wall clock must be off to count as set: less is what lies between two reads of the clocks."""


class TimerRequest:
    """An acquisition of a timer, or its release when ``expiration_time`` (seconds since the epoch) is negative.

    ``worker_id`` is whatever the pair tells workers by. Compares by value.
    """

    __slots__ = ("expiration_time", "scope_id", "worker_id")
    __hash__ = None  # type: ignore[assignment]  # mutable and compared by value, as in the original

    def __init__(self, worker_id: Any, scope_id: str, expiration_time: float) -> None:
        self.worker_id = worker_id
        self.scope_id = scope_id
        self.expiration_time = expiration_time

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TimerRequest):
            return (self.worker_id, self.scope_id, self.expiration_time) == (
                other.worker_id,
                other.scope_id,
                other.expiration_time,
            )
        return False

    def __repr__(self) -> str:
        return f"TimerRequest({self.worker_id!r}, {self.scope_id!r}, {self.expiration_time!r})"


class TimerClient(abc.ABC):
    """The worker's side: acquires and releases timers."""

    @abc.abstractmethod
    def acquire(self, scope_id: str, expiration_time: float) -> None:
        """Acquire the timer of ``scope_id`` until ``expiration_time`` (seconds since the epoch).

        Acquiring a held scope again replaces its expiration; one ``release`` ends it.
        """

    @abc.abstractmethod
    def release(self, scope_id: str) -> None:
        """Release the timer of ``scope_id``: it is in effect no longer."""


class RequestQueue(abc.ABC):
    """Acquisitions and releases on their way to the server."""

    @abc.abstractmethod
    def size(self) -> int:
        """How many requests wait. It may have grown by the time ``get`` is called, but it does not shrink."""

    @abc.abstractmethod
    def get(self, size: int, timeout: float) -> list[TimerRequest]:
        """Up to ``size`` requests; waits no longer than ``timeout`` seconds for them."""

    def wake(self) -> None:  # noqa: B027 - optional on purpose
        """End a ``get`` under way, from another thread. Where a queue can't, ``stop`` waits longer."""


class TimerServer(abc.ABC):
    """Watches timers in a thread of its own, and reaps the workers whose timers have expired.

    Its loop sleeps until the next request, but no longer than ``max_interval`` seconds, nor past the earliest
    expiration it has passed to ``register_timers``: so detection is exact, whatever ``max_interval`` is. ``daemon``:
    whether the thread lets the process end. What happens to an expired worker is for ``_reap_worker`` to say.
    """

    _clock: Clock = CLOCK

    def __init__(self, request_queue: RequestQueue, max_interval: float, daemon: bool = True) -> None:
        super().__init__()
        self._request_queue = request_queue
        self._max_interval = max_interval
        self._daemon = daemon
        self._watchdog_thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._expirations: Deadlines[tuple[Any, str]] = Deadlines()
        self._epoch = self._clock.now() - self._clock.monotonic()

    @abc.abstractmethod
    def register_timers(self, timer_requests: list[TimerRequest]) -> None:
        """Take in acquisitions, and releases (those with a negative ``expiration_time``)."""

    @abc.abstractmethod
    def clear_timers(self, worker_ids: set[Any]) -> None:
        """Forget all timers of these workers."""

    @abc.abstractmethod
    def get_expired_timers(self, deadline: float) -> dict[Any, list[TimerRequest]]:
        """The timers whose expiration is at or before ``deadline`` (seconds since the epoch), by worker."""

    @abc.abstractmethod
    def _reap_worker(self, worker_id: Any) -> bool:
        """Reap that worker: True if that is done, False to be asked again.

        An exception counts as done, and the worker's timers are cleared: a worker that can't be reaped must not keep
        the others from it.
        """

    def start(self) -> None:
        """Start to watch, in a thread. Raises ``RuntimeError`` if it runs already."""
        if self._watchdog_thread is not None and self._watchdog_thread.is_alive():
            raise RuntimeError(f"{type(self).__name__} is already started")
        self._stopping.clear()
        self._watchdog_thread = threading.Thread(
            target=self._watchdog_loop, name=type(self).__name__, daemon=self._daemon
        )
        self._watchdog_thread.start()
        log.info("server started", kind=type(self).__name__, max_interval=self._max_interval, daemon=self._daemon)

    def stop(self) -> None:
        """Stop watching. Waits little more than ``max_interval`` for the turn under way; twice is fine."""
        self._stopping.set()
        thread = self._watchdog_thread
        if thread is None or thread is threading.current_thread():
            return
        if wake := getattr(self._request_queue, "wake", None):  # which the original's queues don't have
            wake()
        thread.join(self._max_interval + STOP_SLACK)
        if not thread.is_alive():  # else start must be refused: it would set both of them going
            self._watchdog_thread = None
        log.info("server stopped", kind=type(self).__name__, ended=not thread.is_alive())

    @property
    def _stop_signaled(self) -> bool:
        return self._stopping.is_set()

    def _watchdog_loop(self) -> None:
        while not self._stop_signaled:
            try:
                self._run_watchdog()
            except Exception:  # noqa: BLE001 - logged; the loop must outlive a poison request
                log.error("turn of the server failed", trace=True, kind=type(self).__name__)
                self._stopping.wait(min(RETRY_INTERVAL, self._max_interval))

    def _run_watchdog(self) -> None:
        """One turn: take in what has come, reap whom it is time for."""
        queue = self._request_queue
        requests = queue.get(max(1, queue.size()), self._patience())
        self._note(requests)
        self.register_timers(requests)
        now = self._now()  # one instant for both: what is no longer waited for is asked about
        self._expirations.pop_due(now)
        reaped = set()
        for worker_id, timers in self.get_expired_timers(now).items():
            log.info("timer expired", worker=worker_id, scopes=[timer.scope_id for timer in timers])
            if self._reap_worker_no_throw(worker_id):
                reaped.add(worker_id)
                continue
            log.error("worker not reaped, tried again", worker=worker_id)
            again = self._now() + min(RETRY_INTERVAL, self._max_interval)
            for timer in timers:
                self._expirations.put((worker_id, timer.scope_id), again)
        self.clear_timers(reaped)

    def _patience(self) -> float:
        """How long the loop may sleep, in seconds."""
        earliest = self._expirations.earliest()
        if earliest is None:
            return self._max_interval
        return max(0.0, min(self._max_interval, earliest - self._now()))

    def _now(self) -> float:
        """Seconds since the epoch, by a clock that nobody can set: the wall clock as this server found it."""
        return self._clock.monotonic() + self._epoch

    def _note(self, requests: list[TimerRequest]) -> None:
        """Sleep no longer than these allow. They were made by the wall clock: if it was set, they are put right."""
        moved = self._clock.now() - self._now()
        for request in requests:
            key = (request.worker_id, request.scope_id)
            if not request.expiration_time >= 0:  # NaN, too: on the heap it would hide what is due behind it
                self._expirations.remove(key)
                continue
            if abs(moved) > CLOCK_SET:
                request.expiration_time -= moved
            self._expirations.put(key, request.expiration_time)

    def _reap_worker_no_throw(self, worker_id: Any) -> bool:
        try:
            return self._reap_worker(worker_id)
        except Exception:  # noqa: BLE001 - logged; the contract says so
            log.error("reaping raised, worker counts as reaped", trace=True, worker=worker_id)
            return True
