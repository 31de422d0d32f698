"""Waiting for a crew is waiting for every job that was handed to it."""

import queue
import threading
from typing import Any

from leasetimer.crew import Crew

PATIENCE = 10.0


def test_a_job_that_a_parked_thread_has_not_begun_is_waited_for() -> None:
    """Or a server that ends right then would leave a reap behind."""
    handed: queue.SimpleQueue[Any] = queue.SimpleQueue()
    crew, awake, done = Crew(), threading.Event(), threading.Event()

    class Slow:
        """A thread that takes a job from here wakes late."""

        put = staticmethod(handed.put)

        @staticmethod
        def get() -> Any:
            job = handed.get()
            assert awake.wait(PATIENCE)
            return job

    crew._jobs = Slow()  # type: ignore[assignment]
    crew.begin()
    assert crew.wait(PATIENCE)
    while not crew._parked:
        crew.wait(0)
    crew.start(done.set)
    assert not crew.wait(0)
    awake.set()
    assert crew.wait(PATIENCE)
    assert done.is_set()
