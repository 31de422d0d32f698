"""Threads for jobs that must begin at once."""

import threading

import pytest

from leasetimer.crew import SPARE, Crew

PATIENCE = 10.0


def test_jobs_run_beside_one_another() -> None:
    """A job that takes long keeps no other from beginning."""
    crew, release, begun = Crew(), threading.Event(), threading.Semaphore(0)

    def job() -> None:
        begun.release()
        release.wait(PATIENCE)

    for _ in range(3 * SPARE):
        crew.start(job)
    assert all(begun.acquire(timeout=PATIENCE) for _ in range(3 * SPARE))
    assert not crew.wait(0)
    release.set()
    assert crew.wait(PATIENCE)


def test_a_parked_thread_takes_the_next_job() -> None:
    """One after the other they need no more than one thread."""
    crew, seen = Crew(), set[int]()
    crew.begin()
    assert crew.wait(PATIENCE)
    for _ in range(5):
        while not crew._parked:
            assert crew.wait(PATIENCE)
        crew.start(lambda: seen.add(threading.get_ident()))
        assert crew.wait(PATIENCE)
    assert len(seen) == 1


def test_a_job_that_raises_is_logged_and_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """The next job is done all the same."""
    crew, done = Crew(), threading.Event()

    def fail() -> None:
        raise ValueError("what happened")

    crew.start(fail)
    assert crew.wait(PATIENCE)
    crew.start(done.set)
    assert done.wait(PATIENCE)
    assert "what happened" in caplog.text


def test_whoever_waits_does_not_wait_for_himself() -> None:
    """An action may stop the server from within a job."""
    crew, answers = Crew(), list[bool]()
    crew.start(lambda: answers.append(crew.wait(0)))
    assert crew.wait(PATIENCE)
    assert answers == [True]
