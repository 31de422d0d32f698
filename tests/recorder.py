"""A timer client of somebody's own, and the clock that ``expires`` then goes by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import leasetimer
from fakes import FakeClock
from leasetimer import TimerClient


class Recorder(TimerClient):
    """A client of somebody's own: it knows each scope once, and fails when it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[tuple[str, str]] = []
        self.due: dict[str, float] = {}  # on the monotonic clock, as the clocks of a test go together
        self.fails: BaseException | None = None

    def acquire(self, scope_id: str, expiration_time: float) -> None:
        self.calls.append(("acquire", scope_id))
        if self.fails:
            raise self.fails
        self.due[scope_id] = expiration_time - self.clock.wall + self.clock.mono

    def release(self, scope_id: str) -> None:
        self.calls.append(("release", scope_id))
        if self.fails:
            raise self.fails
        self.due.pop(scope_id, None)


def use_clock(patch: pytest.MonkeyPatch, clock: FakeClock) -> FakeClock:
    patch.setattr("leasetimer.block.monotonic", clock.monotonic)
    patch.setattr("leasetimer.uses.CLOCK", clock)
    return clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return use_clock(monkeypatch, FakeClock())


@pytest.fixture
def client(clock: FakeClock) -> Iterator[Recorder]:
    """One that is configured."""
    recorder = Recorder(clock)
    leasetimer.configure(recorder)
    yield recorder
    leasetimer.configure(None)
