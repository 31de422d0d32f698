"""The queue pair: its client, its queue and its server, without processes."""

import os
import queue
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from fakes import FakeClock
from leasetimer import LocalTimerClient, LocalTimerServer, TimerRequest, local
from leasetimer.local import MultiprocessingRequestQueue

NOBODY = 1 << 30  # as a pid: no kernel gives one so high

Kill = list[tuple[int, int]]


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kill:
    """The signals sent, as (pid, number); none is."""
    sent: Kill = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.fixture
def requests() -> Any:
    """What stands for the multiprocessing queue: the standard library's own has the same methods."""
    return queue.Queue()


def put(requests: Any, *items: TimerRequest) -> None:
    for item in items:
        requests.put(item)


def past(pid: int, scope: str) -> TimerRequest:
    return TimerRequest(pid, scope, time.time() - 60)


def future(pid: int, scope: str) -> TimerRequest:
    return TimerRequest(pid, scope, time.time() + 60)


def release(pid: int, scope: str) -> TimerRequest:
    return TimerRequest(pid, scope, -1)


# -- the client


def test_a_client_names_its_own_process(requests: Any) -> None:
    """Acquire and release are one request each, with the caller's pid; a release is a negative expiration."""
    client = LocalTimerClient(requests)
    client.acquire("s", 12.5)
    client.release("s")
    assert [requests.get(), requests.get()] == [
        TimerRequest(os.getpid(), "s", 12.5),
        TimerRequest(os.getpid(), "s", -1),
    ]


# -- the queue


def test_the_size_is_the_number_of_requests_that_wait(requests: Any) -> None:
    """Size counts what was put, and as many are had with no patience at all."""
    waiting = MultiprocessingRequestQueue(requests)
    assert waiting.size() == 0
    put(requests, TimerRequest(1, "a", 5), TimerRequest(2, "b", -1))
    assert waiting.size() == 2
    assert waiting.get(2, timeout=0) == [TimerRequest(1, "a", 5), TimerRequest(2, "b", -1)]
    assert waiting.size() == 0


def test_no_more_than_asked_for_are_taken(requests: Any) -> None:
    """Get leaves in the queue what goes beyond its size."""
    put(requests, past(1, "a"), past(2, "b"), past(3, "c"))
    waiting = MultiprocessingRequestQueue(requests)
    assert len(waiting.get(2, timeout=0)) == 2
    assert waiting.size() == 1


def test_an_empty_queue_gives_nothing_in_time(requests: Any) -> None:
    """Get waits for as long as it was told to, no shorter and not much longer."""
    begun = time.monotonic()
    assert MultiprocessingRequestQueue(requests).get(1, timeout=0.02) == []
    assert 0.02 <= time.monotonic() - begun < 0.2


class Slow:
    """A queue whose items come one by one: each a wait of so many seconds after the last, on the clock given."""

    def __init__(self, clock: FakeClock, *waits: float) -> None:
        self.clock = clock
        self.waits = list(waits)
        self.claims = len(waits)
        self.asked: list[float] = []

    def qsize(self) -> int:
        return self.claims

    def get(self, block: bool, timeout: float) -> TimerRequest:
        self.asked.append(timeout)
        if not self.waits or self.waits[0] > timeout:
            self.clock.jump(timeout)
            if self.waits:
                self.waits[0] -= timeout
            raise queue.Empty
        self.clock.jump(self.waits.pop(0))
        self.claims -= 1
        return TimerRequest(1, "s", 5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(local, "CLOCK", clock)
    return clock


def test_all_that_come_in_time_are_waited_for(clock: FakeClock) -> None:
    """Requests that trickle in are gathered until the size or the time is reached."""
    assert len(MultiprocessingRequestQueue(Slow(clock, *[0.1] * 10)).get(10, timeout=1.1)) == 10  # type: ignore[arg-type]
    assert len(MultiprocessingRequestQueue(Slow(clock, *[0.1] * 10)).get(10, timeout=0.55)) == 5  # type: ignore[arg-type]


def test_a_request_does_not_wait_for_one_that_never_comes(clock: FakeClock) -> None:
    """A writer killed before it sent what the queue has counted does not hold up what the others send."""
    slow = Slow(clock, 3.0)
    slow.claims = 5  # four were counted, but never sent
    waiting = MultiprocessingRequestQueue(slow)  # type: ignore[arg-type]
    begun = clock.mono
    assert len(waiting.get(waiting.size(), timeout=60)) == 1
    assert clock.mono - begun <= 3.0 + local.TICK
    assert waiting.size() == 0  # from then on they are not counted


def test_a_wait_is_cut_into_ticks(clock: FakeClock) -> None:
    """No single wait is longer than a tick, so that a wake needs nothing from the queue; together they are exact."""
    slow = Slow(clock)
    begun = clock.mono
    assert MultiprocessingRequestQueue(slow).get(1, timeout=0.6) == []  # type: ignore[arg-type]
    assert max(slow.asked) == local.TICK
    assert clock.mono - begun == pytest.approx(0.6)


def test_a_wake_ends_a_get(requests: Any) -> None:
    """Wake, from another thread, ends a get that would wait for a minute, and leaves nothing in the queue."""
    waiting = MultiprocessingRequestQueue(requests)
    waiting.wake()
    begun = time.monotonic()
    assert waiting.get(1, timeout=60) == []
    assert time.monotonic() - begun < 1
    assert requests.qsize() == 0
    put(requests, past(1, "a"))
    assert len(waiting.get(1, timeout=0)) == 1


# -- the server


def test_all_timers_of_a_reaped_process_are_forgotten(requests: Any, kills: Kill) -> None:
    """One expired timer ends its process, by SIGKILL, and with it all others of that process, but of no other."""
    server = LocalTimerServer(requests)
    put(requests, past(NOBODY, "a"), future(NOBODY, "b"), future(NOBODY - 1, "b"))
    server._run_watchdog()
    assert kills == [(NOBODY, signal.SIGKILL)]
    assert server._timers.keys() == {(NOBODY - 1, "b")}


def test_released_and_future_timers_kill_nobody(requests: Any, kills: Kill) -> None:
    """A release ends its timer, one of no timer does nothing, and a timer that is not due stays."""
    server = LocalTimerServer(requests)
    put(requests, future(NOBODY, "a"), release(NOBODY, "a"), release(NOBODY, "b"), future(NOBODY, "c"))
    server._run_watchdog()
    assert server._timers.keys() == {(NOBODY, "c")}
    assert kills == []


def test_a_release_that_waits_in_the_queue_counts(requests: Any, kills: Kill) -> None:
    """A server that finds a timer expired looks for its release or renewal first: it was behind, not the worker."""
    server = LocalTimerServer(requests)
    server.register_timers([past(NOBODY, "a"), past(NOBODY - 1, "a"), past(NOBODY - 2, "a")])
    put(requests, *[future(NOBODY - 3, str(n)) for n in range(100)], release(NOBODY, "a"), future(NOBODY - 1, "a"))
    assert server.get_expired_timers(time.time()).keys() == {NOBODY - 2}
    assert server._timers.keys() >= {(NOBODY - 1, "a"), (NOBODY - 3, "99")}
    assert server._patience() <= 60  # what was found waiting is guarded, too
    assert (NOBODY - 3, "99") in server._expirations


def test_a_process_that_is_gone_counts_as_reaped(requests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to do about a process that ended by itself."""
    monkeypatch.setattr(os, "kill", raising(ProcessLookupError()))
    assert LocalTimerServer(requests)._reap_worker(NOBODY)


def test_a_process_that_may_not_be_killed_is_tried_again(requests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel refuses is not a success: the timers stay."""
    monkeypatch.setattr(os, "kill", raising(PermissionError(1, "Operation not permitted")))
    server = LocalTimerServer(requests)
    put(requests, past(NOBODY, "a"))
    server._run_watchdog()
    assert server._timers.keys() == {(NOBODY, "a")}
    assert 0 < server._patience() <= 1


def raising(error: Exception) -> Callable[..., None]:
    def function(*_: object) -> None:
        raise error

    return function
