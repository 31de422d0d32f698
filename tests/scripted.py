"""A timer server of somebody's own, and the requests that come to it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fakes import FakeClock
from leasetimer import RequestQueue, TimerRequest, TimerServer


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
