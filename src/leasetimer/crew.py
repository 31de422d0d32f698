"""Threads for jobs that must begin at once and may take long. One is always parked, waiting for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from . import log

Job = Callable[[], None]
SPARE = 2
"""Threads kept parked. On a busy machine a new one took 3 ms to begin its first job, a parked one 0.1."""


class Crew:
    """Runs each job in a daemon thread of its own, a parked one if there is any. A job that raises is logged."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._parked = 0
        self._under_way = 0
        self._threads: set[int] = set()

    def begin(self) -> None:
        """Park a first thread, so that the first job finds one."""
        self.start(lambda: None)

    def start(self, job: Job) -> None:
        """Begin that job now. Raises ``RuntimeError`` where no thread can be had."""
        with self._lock:
            self._under_way += 1
            if self._parked:
                self._parked -= 1
                self._jobs.put(job)
                return
        try:
            threading.Thread(target=self._work, args=(job,), name="leasetimer-crew", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._under_way -= 1
            raise

    def wait(self, seconds: float) -> bool:
        """Wait until no job is under way but the caller's own, ``seconds`` at most; whether that is so."""
        with self._lock:
            mine = int(threading.get_ident() in self._threads)
            return self._lock.wait_for(lambda: self._under_way <= mine, seconds)

    def _work(self, job: Job) -> None:
        me = threading.get_ident()
        self._threads.add(me)
        while True:
            try:
                job()
            except Exception:  # noqa: BLE001 - logged; what it leaves undone is the job's to think of
                log.error("job failed", trace=True)
            with self._lock:
                self._under_way -= 1
                self._lock.notify_all()
                if self._parked >= SPARE:
                    self._threads.discard(me)
                    return
                self._parked += 1
            job = self._jobs.get()
