"""The contract of ``torch.distributed.elastic.timer``: the loop and the life of its servers."""

import queue
import time
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from pairs import Pair
from pairs import server_pair as server_pair


def third_party(timer: Any, max_interval: float) -> Any:
    """A pair that extends the contract's classes and nothing else; its workers are names, its reaps instants."""

    class Requests(timer.RequestQueue):  # type: ignore[misc]  # whichever implementation it is
        def __init__(self) -> None:
            self.queue: queue.Queue[Any] = queue.Queue()

        def size(self) -> int:
            return self.queue.qsize()

        def get(self, size: int, timeout: float) -> list[Any]:
            try:
                return [self.queue.get(timeout=timeout)]
            except queue.Empty:
                return []

    class Server(timer.TimerServer):  # type: ignore[misc]
        def __init__(self) -> None:
            self.requests = Requests()
            super().__init__(self.requests, max_interval)
            self.timers: dict[tuple[str, str], Any] = {}
            self.reaped: dict[str, float] = {}

        def register_timers(self, timer_requests: list[Any]) -> None:
            for request in timer_requests:
                self.timers[request.worker_id, request.scope_id] = request

        def clear_timers(self, worker_ids: set[str]) -> None:
            self.timers = {key: timer for key, timer in self.timers.items() if key[0] not in worker_ids}

        def get_expired_timers(self, deadline: float) -> dict[str, list[Any]]:
            return {key[0]: [timer] for key, timer in self.timers.items() if 0 <= timer.expiration_time <= deadline}

        def _reap_worker(self, worker_id: str) -> bool:
            self.reaped[worker_id] = time.time()
            return True

    return Server()


def test_a_turn_asks_for_what_there_is(server_pair: Pair) -> None:
    """One turn: size once, get with that size and ``max_interval``, register, and clear whom it reaped or tried to."""
    timer = server_pair.timer
    server = third_party(timer, max_interval=7)
    requests = [timer.TimerRequest(1, "a", time.time() + 60)]
    server._request_queue = MagicMock(spec=timer.RequestQueue)
    server._request_queue.size.return_value = 2
    server._request_queue.get.return_value = requests
    server.register_timers = MagicMock()
    server.clear_timers = MagicMock()
    server.get_expired_timers = MagicMock(return_value={name: [] for name in ("raises", "dies", "fails")})
    server._reap_worker = MagicMock(side_effect=[ValueError("no"), True, False])
    server._run_watchdog()
    assert server._request_queue.mock_calls == [call.size(), call.get(2, 7)]
    server.register_timers.assert_called_once_with(requests)
    server.get_expired_timers.assert_called_once_with(pytest.approx(time.time(), abs=2))
    server.clear_timers.assert_called_once_with({"raises", "dies"})


def test_an_empty_queue_is_asked_for_one(server_pair: Pair) -> None:
    """A queue of size 0 is waited on for the next request."""
    server = third_party(server_pair.timer, max_interval=3)
    server._request_queue = MagicMock(spec=server_pair.timer.RequestQueue)
    server._request_queue.size.return_value = 0
    server._request_queue.get.return_value = []
    server._run_watchdog()
    server._request_queue.get.assert_called_once_with(1, 3)


def test_detection_is_exact(server_pair: Pair) -> None:
    """A timer is acted on within milliseconds of its expiration, though ``max_interval`` is long."""
    server = third_party(server_pair.timer, max_interval=0.5)
    server.start()
    late = []
    for n in range(3):
        due = time.time() + 0.05
        server.requests.queue.put(server_pair.timer.TimerRequest(f"w{n}", "s", due))
        patience = time.monotonic() + 0.4
        while f"w{n}" not in server.reaped and time.monotonic() < patience:
            time.sleep(0.001)
        late.append(server.reaped.get(f"w{n}", due + 1) - due)
    server.stop()
    assert min(late) >= 0
    with server_pair.promise("detection is exact"):
        assert sorted(late)[1] < 0.02


def test_a_server_starts_once(server_pair: Pair) -> None:
    """A second start is refused while the first one runs, and the first one goes on."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=0.05)
    server.start()
    try:
        with server_pair.promise("start twice is refused"), pytest.raises(RuntimeError, match="already started"):
            server.start()
        assert server._watchdog_thread.is_alive()
    finally:
        server.stop()


def test_a_stop_is_idempotent(server_pair: Pair) -> None:
    """Stopping what never ran, or no longer runs, does nothing."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=0.05)
    server.stop()
    server.start()
    thread = server._watchdog_thread
    server.stop()
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_a_stopped_server_starts_again(server_pair: Pair) -> None:
    """After a stop, start watches again."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=0.05)
    server.start()
    server.stop()
    server.start()
    thread = server._watchdog_thread
    thread.join(0.1)
    with server_pair.promise("restart after stop works"):
        assert thread.is_alive()
    server.stop()


def test_a_stop_is_quick(server_pair: Pair) -> None:
    """A stop does not wait for the interval's end."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=2)
    server.start()
    begun = time.monotonic()
    server.stop()
    with server_pair.promise("a stop takes less than a second"):
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("daemon", [True, False])
def test_daemon_is_the_threads(daemon: bool, server_pair: Pair) -> None:
    """``daemon`` says whether the watching thread lets the process end."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), 0.05, daemon)
    server.start()
    assert server._watchdog_thread.daemon is daemon
    server.stop()
