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
        self._busy: set[int] = set()

    def begin(self) -> None:
        """Park a first thread, so that the first job finds one."""
        self.start(lambda: None)

    def start(self, job: Job) -> None:
        """Begin that job now. Raises ``RuntimeError`` where no thread can be had."""
        with self._lock:
            if self._parked:
                self._parked -= 1
                self._jobs.put(job)
                return
        threading.Thread(target=self._work, args=(job,), name="leasetimer-crew", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until no job is under way but the caller's own, ``seconds`` at most; whether that is so."""
        me = {threading.get_ident()}
        with self._lock:
            return self._lock.wait_for(lambda: not self._busy - me, seconds)

    def _work(self, job: Job) -> None:
        me = threading.get_ident()
        while True:
            with self._lock:
                self._busy.add(me)
            try:
                job()
            except Exception:  # noqa: BLE001 - logged; what it leaves undone is the job's to think of
                log.error("job failed", trace=True)
            with self._lock:
                self._busy.discard(me)
                self._lock.notify_all()
                if self._parked >= SPARE:
                    return
                self._parked += 1
            job = self._jobs.get()
