import threading
import time
from typing import Any

import pytest

from fakes import FakeClock
from leasetimer import RequestQueue, TimerRequest, TimerServer, api
from leasetimer.api import RETRY_INTERVAL


class Script(RequestQueue):
    """Hands out what was written down, each at its time; a wait moves the clock. Remembers how it was asked."""

    def __init__(self, clock: FakeClock, *script: tuple[float, TimerRequest]) -> None:
        self.clock = clock
        self.script = list(script)
        self.asked: list[tuple[int, float]] = []

    def size(self) -> int:
        return len([at for at, _ in self.script if at <= self.clock.wall])

    def get(self, size: int, timeout: float) -> list[TimerRequest]:
        self.asked.append((size, timeout))
        end = self.clock.wall + timeout
        if not self.size():
            self.clock.jump(min([end, *(at for at, _ in self.script)]) - self.clock.wall)
        found = [request for _, request in self.script[: min(size, self.size())]]
        del self.script[: len(found)]
        return found


class Server(TimerServer):
    """Somebody's own server: it knows nothing but the contract. ``answers``: what its reaps come to."""

    def __init__(self, clock: FakeClock, *script: tuple[float, TimerRequest], max_interval: float = 60) -> None:
        self._clock = clock
        self.queue = Script(clock, *script)
        super().__init__(self.queue, max_interval)
        self.timers: dict[tuple[Any, str], TimerRequest] = {}
        self.reaped: list[tuple[Any, float]] = []
        self.answers: dict[Any, list[Any]] = {}
        self.marks: list[float] = []
        self.stuck, self.free = threading.Event(), threading.Event()

    def register_timers(self, timer_requests: list[TimerRequest]) -> None:
        for request in timer_requests:
            self.timers[request.worker_id, request.scope_id] = request
            if request.expiration_time < 0:
                del self.timers[request.worker_id, request.scope_id]

    def clear_timers(self, worker_ids: set[Any]) -> None:
        self.timers = {key: timer for key, timer in self.timers.items() if key[0] not in worker_ids}

    def get_expired_timers(self, deadline: float) -> dict[Any, list[TimerRequest]]:
        expired: dict[Any, list[TimerRequest]] = {}
        for timer in self.timers.values():
            if timer.expiration_time <= deadline:
                expired.setdefault(timer.worker_id, []).append(timer)
        return expired

    def _reap_worker(self, worker_id: Any) -> bool:
        self.reaped.append((worker_id, self._clock.now()))
        answer = self.answers.get(worker_id, []).pop(0) if self.answers.get(worker_id) else True
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def run(self, seconds: float) -> int:
        """Turns until that much time has gone by; how many."""
        end, turns = self._clock.now() + seconds, 0
        while self._clock.now() < end:
            self._run_watchdog()
            turns += 1
            assert turns < 1000, "a busy loop"
        return turns


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def acquire(clock: FakeClock, worker: Any, scope: str, after: float, at: float = 0.0) -> tuple[float, TimerRequest]:
    """In ``at`` seconds from now, a timer of ``after`` seconds."""
    return clock.wall + at, TimerRequest(worker, scope, clock.wall + at + after)


def release(clock: FakeClock, worker: Any, scope: str, at: float) -> tuple[float, TimerRequest]:
    return clock.wall + at, TimerRequest(worker, scope, -1)


# -- requests


def test_a_request_shows_itself() -> None:
    """Its repr is how it is made."""
    assert eval(repr(TimerRequest(1, "s", 2.5))) == TimerRequest(1, "s", 2.5)


def test_a_request_is_not_hashable() -> None:
    """It compares by value and can be changed: as a key it would get lost."""
    request: object = TimerRequest(1, "s", 2.5)
    with pytest.raises(TypeError, match="unhashable"):
        hash(request)


# -- how long the loop sleeps


def test_a_server_with_no_timers_sleeps_for_its_interval(clock: FakeClock) -> None:
    """Nothing registered: one turn each ``max_interval``."""
    server = Server(clock)
    assert server.run(600) == 10
    assert server.queue.asked == [(1, 60)] * 10


def test_a_timer_is_acted_on_the_moment_it_expires(clock: FakeClock) -> None:
    """The loop sleeps until the earliest expiration, in any order of acquisition, and not a turn more."""
    begun = clock.wall
    server = Server(clock, acquire(clock, 1, "a", 20), acquire(clock, 2, "b", 5), acquire(clock, 3, "c", 0.2, at=1))
    assert server.run(30) <= 7
    assert [(worker, round(at - begun, 3)) for worker, at in server.reaped] == [(3, 1.2), (2, 5), (1, 20)]


def test_the_loop_does_not_wake_for_what_was_released(clock: FakeClock) -> None:
    """A released timer is forgotten by the sleep, too."""
    server = Server(clock, acquire(clock, 1, "a", 5), release(clock, 1, "a", at=1))
    assert server.run(60) == 3
    assert server.queue.asked[-1] == (1, 60.0)
    assert server.reaped == []


def test_an_acquisition_again_replaces_the_expiration(clock: FakeClock) -> None:
    """The last acquisition counts, later or earlier."""
    begun = clock.wall
    server = Server(
        clock,
        acquire(clock, 1, "later", 5),
        acquire(clock, 1, "later", 30, at=2),
        acquire(clock, 2, "earlier", 40),
        acquire(clock, 2, "earlier", 1, at=3),
    )
    server.queue.script.sort(key=lambda entry: entry[0])
    server.run(60)
    assert [(worker, round(at - begun, 3)) for worker, at in server.reaped] == [(2, 4), (1, 32)]


def test_the_interval_bounds_the_sleep(clock: FakeClock) -> None:
    """A timer far away does not keep the loop from its turn each ``max_interval``."""
    server = Server(clock, acquire(clock, 1, "a", 1000), max_interval=10)
    server.run(100)
    assert max(timeout for _, timeout in server.queue.asked) == 10


def test_a_clock_that_is_set_moves_no_deadline(clock: FakeClock) -> None:
    """Set back, the wall clock makes no timer late; set on, it reaps nobody; and later acquisitions are put right."""
    begun = clock.mono
    server = Server(clock, acquire(clock, 1, "a", 50), max_interval=1000)
    server._run_watchdog()
    clock.wall -= 3600
    server.queue.script += [acquire(clock, 2, "b", 20)]
    server._run_watchdog()
    clock.wall += 7200
    while len(server.reaped) < 2:
        server._run_watchdog()
        server.marks.append(clock.mono - begun)
    assert [worker for worker, _ in server.reaped] == [2, 1]
    assert server.marks == [pytest.approx(20, abs=0.01), pytest.approx(50, abs=0.01)]


def test_the_loop_waits_again_for_what_it_was_too_early_for(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause between two reads of the clocks does not make a timer late by an interval."""
    server = Server(clock, acquire(clock, 1, "a", 5))
    due = clock.mono + 5

    pauses = [0.002]

    def paused() -> float:
        clock.jump(pauses.pop() if pauses else 0)
        return clock.wall

    monkeypatch.setattr(clock, "now", paused)
    while not server.reaped:
        server._run_watchdog()
        clock.jump(1e-6)
    assert clock.mono - due < 0.1


def test_a_timer_without_a_time_hides_nobody(clock: FakeClock) -> None:
    """NaN, which compares with nothing, never expires; the others do."""
    begun = clock.wall
    server = Server(clock, (clock.wall, TimerRequest(1, "a", float("nan"))), acquire(clock, 2, "a", 5))
    server.run(10)
    assert [(worker, round(at - begun, 3)) for worker, at in server.reaped] == [(2, 5)]


# -- reaping


def test_a_failed_reap_is_tried_again_without_a_busy_loop(clock: FakeClock) -> None:
    """False means again, an interval later, until it is True; then the timers are cleared."""
    begun = clock.wall
    server = Server(clock, acquire(clock, 1, "a", 5), acquire(clock, 1, "b", 5), acquire(clock, 2, "a", 500))
    server.answers = {1: [False, False, True]}
    assert server.run(20) <= 20
    assert [round(at - begun, 3) for _, at in server.reaped] == [5 + n * RETRY_INTERVAL for n in range(3)]
    assert server.timers.keys() == {(2, "a")}


def test_an_exception_counts_as_reaped(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A reap that raises is logged, clears the worker's timers, and keeps nobody else from being reaped."""
    server = Server(clock, acquire(clock, 1, "a", 5), acquire(clock, 1, "b", 50), acquire(clock, 2, "a", 5))
    server.answers = {1: [ValueError("what happened")]}
    server.run(10)
    assert [worker for worker, _ in server.reaped] == [1, 2]
    assert server.timers == {}
    assert "what happened" in caplog.text


# -- life


class Broken(Server):
    """Its first turns fail."""

    failures = 2

    def register_timers(self, timer_requests: list[TimerRequest]) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise KeyError("poison")
        self._stopping.set()
        super().register_timers(timer_requests)


def test_the_loop_outlives_a_turn_that_fails(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A turn that raises is logged, and the next one is taken."""
    server = Broken(clock, max_interval=0.001)
    server._watchdog_loop()
    assert caplog.text.count("turn of the server failed") == 2
    assert server.failures == -1


class Plain:
    """A queue that knows the original's two methods only."""

    def size(self) -> int:
        return 0

    def get(self, size: int, timeout: float) -> list[TimerRequest]:
        time.sleep(timeout)
        return []


def test_a_queue_without_wake_is_waited_for() -> None:
    """A queue that extends nothing works, as with the original; a stop waits for its ``get``."""
    server = Server(FakeClock(), max_interval=0.01)
    server._request_queue = Plain()  # type: ignore[assignment]  # that is the point
    server.start()
    thread = server._watchdog_thread
    server.stop()
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()


class Stuck(Server):
    """Its reap does not return before it is free."""

    def _reap_worker(self, worker_id: Any) -> bool:
        self.stuck.set()
        return self.free.wait(30)


def test_a_server_that_has_not_ended_is_not_started_again(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a stop did not wait for the end of a turn, start is refused: two loops would run."""
    monkeypatch.setattr(api, "STOP_SLACK", 0.0)
    server = Stuck(clock, acquire(clock, 1, "a", 1), max_interval=0.01)
    server.start()
    thread = server._watchdog_thread
    assert server.stuck.wait(5)
    server.stop()
    with pytest.raises(RuntimeError, match="already started"):
        server.start()
    server.free.set()
    assert thread is not None
    thread.join(5)
    server.start()
    server.stop()


class Finished(Server):
    """Ends itself with its first reap."""

    def _reap_worker(self, worker_id: Any) -> bool:
        self.stop()
        return True


def test_a_stop_from_the_servers_own_thread_returns(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A reap may stop the server it belongs to, which must not wait for itself."""
    server = Finished(clock, acquire(clock, 1, "a", 1))
    server._watchdog_thread = threading.current_thread()
    server._watchdog_loop()
    assert server.timers == {}
    assert caplog.text == ""
