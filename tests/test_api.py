"""The contract's server loop: how long it sleeps, and whom it reaps."""

import pytest

from fakes import FakeClock
from leasetimer import TimerRequest
from leasetimer.api import RETRY_INTERVAL
from scripted import Server, acquire, release
from scripted import clock as clock

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
