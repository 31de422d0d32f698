"""The contract's server: its loop begins, fails, ends and begins again."""

import threading
import time
from typing import Any

import pytest

from fakes import FakeClock
from leasetimer import TimerRequest, api
from scripted import Server, acquire
from scripted import clock as clock


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
