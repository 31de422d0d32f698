"""The in-memory pair: requests travel through a ``multiprocessing`` queue to a server in the parent process."""

from __future__ import annotations

import os
import signal
import threading
from queue import Empty
from typing import TYPE_CHECKING, Any

from . import log
from .api import RequestQueue, TimerClient, TimerRequest, TimerServer
from .clock import CLOCK

if TYPE_CHECKING:
    import multiprocessing as mp

RELEASE = -1.0
"""The expiration time that stands for a release."""
TICK = 0.25
"""Seconds between two looks whether ``wake`` was called. A sentinel in the queue would do only while it can be put."""
CATCH_UP = 0.01
"""Seconds for requests on their way to arrive before a worker is judged."""


class LocalTimerClient(TimerClient):
    """The worker's side of ``LocalTimerServer``. The worker id is the pid of the process that calls."""

    def __init__(self, mp_queue: mp.Queue[Any]) -> None:
        super().__init__()
        self._mp_queue = mp_queue

    def acquire(self, scope_id: str, expiration_time: float) -> None:
        """Ask for ``scope_id`` to expire at ``expiration_time`` (seconds since the epoch)."""
        self._mp_queue.put(TimerRequest(os.getpid(), scope_id, expiration_time))

    def release(self, scope_id: str) -> None:
        """Ask for ``scope_id`` to expire no more."""
        self._mp_queue.put(TimerRequest(os.getpid(), scope_id, RELEASE))


class MultiprocessingRequestQueue(RequestQueue):
    """A request queue on top of a ``multiprocessing`` queue, which its owner closes."""

    def __init__(self, mp_queue: mp.Queue[Any]) -> None:
        super().__init__()
        self._mp_queue = mp_queue
        self._woken = threading.Event()
        self._lost = 0  # counted by the queue, but never sent: their writer was killed in between

    def size(self) -> int:
        """How many requests wait."""
        return max(0, self._mp_queue.qsize() - self._lost)

    def get(self, size: int, timeout: float) -> list[TimerRequest]:
        """Up to ``size`` requests within ``timeout`` seconds; fewer after ``wake``, or when no more come for a while.

        What has come is not kept waiting for what may never come: it may be due earlier than all that is known.
        """
        requests: list[TimerRequest] = []
        end = CLOCK.monotonic() + timeout
        while len(requests) < size and not self._woken.is_set():
            left = max(0.0, end - CLOCK.monotonic())
            try:
                requests.append(self._mp_queue.get(block=True, timeout=min(left, TICK)))
            except Empty:
                if left <= TICK:
                    break
                self._lost = self._mp_queue.qsize()
                if requests:
                    break
        self._woken.clear()
        return requests

    def wake(self) -> None:
        """End a ``get`` under way, within a quarter of a second; the next one, if there is none."""
        self._woken.set()


class LocalTimerServer(TimerServer):
    """Reaps (SIGKILL) child processes whose timers, acquired through ``LocalTimerClient``, have expired.

    It knows workers by their bare pid, as the original does: it can't tell a worker from a process that came to its pid
    later. A worker that is killed in the middle of a write to the queue breaks the queue for all. The lease pair has
    neither fault.
    """

    def __init__(self, mp_queue: mp.Queue[Any], max_interval: float = 60, daemon: bool = True) -> None:
        super().__init__(MultiprocessingRequestQueue(mp_queue), max_interval, daemon)
        self._timers: dict[tuple[Any, str], TimerRequest] = {}

    def register_timers(self, timer_requests: list[TimerRequest]) -> None:
        """Take in acquisitions and releases."""
        for request in timer_requests:
            key = (request.worker_id, request.scope_id)
            if request.expiration_time < 0:
                self._timers.pop(key, None)
            else:
                self._timers[key] = request

    def clear_timers(self, worker_ids: set[Any]) -> None:
        """Forget all timers of these pids."""
        self._timers = {key: timer for key, timer in self._timers.items() if key[0] not in worker_ids}

    def get_expired_timers(self, deadline: float) -> dict[Any, list[TimerRequest]]:
        """The timers whose expiration is at or before ``deadline``, by pid."""
        if self._expired(deadline):
            # A release or renewal that waits in the queue counts: a server that was busy or stopped finds many there.
            waiting = self._request_queue.get(self._request_queue.size(), CATCH_UP)
            self._note(waiting)
            self.register_timers(waiting)
        return self._expired(deadline)

    def _expired(self, deadline: float) -> dict[Any, list[TimerRequest]]:
        expired: dict[Any, list[TimerRequest]] = {}
        for timer in self._timers.values():
            if timer.expiration_time <= deadline:
                expired.setdefault(timer.worker_id, []).append(timer)
        return expired

    def _reap_worker(self, worker_id: Any) -> bool:
        if type(worker_id) is not int or worker_id <= 1:  # 0 and less are whole groups of processes, or all
            log.error("worker not killed, no pid of a worker", got=worker_id)
            return True
        try:
            os.kill(worker_id, signal.SIGKILL)
        except ProcessLookupError:
            log.info("worker is gone already", pid=worker_id)
        except OSError as error:
            log.error("worker not killed", pid=worker_id, error=error)
            return False
        return True
