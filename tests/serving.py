"""One host in one directory, driven turn by turn: its server, workers, clock and processes. Nothing runs beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import leasetimer.incidents
import leasetimer.leasequeue
import leasetimer.server
from fakes import NODE, FakeFolder, FakeMachine, FakeWorker
from leasetimer.crew import Crew
from leasetimer.lease import Lease
from leasetimer.leasefiles import LeaseFiles
from leasetimer.leases import Leases
from leasetimer.pace import Pace
from leasetimer.postmortem import Incident, Recorder
from leasetimer.server import LeaseTimerServer


class Leasing(FakeMachine):
    """A host with the leases that its server knows."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pace = Pace(self.clock)
        self.begin()

    def begin(self) -> None:
        self.leases = Leases(LeaseFiles(self.folder), self.clock, self.processes, self.pace)

    def scan(self) -> list[Lease]:
        """Look at every lease there is, and guard what is held."""
        held = [lease for name in self.leases.begin_scan() if (lease := self.leases.look(name))]
        for lease in held:
            self.leases.expect(lease.name, self.leases.deadline(lease))
        return held

    def later(self, seconds: float) -> None:
        """The clock goes on, and the server has waited for it."""
        self.clock.jump(seconds)
        self.pace.mark(seconds)

    def overdue(self) -> list[str]:
        return [lease.name for lease in self.leases.overdue(self.clock.mono)]


@pytest.fixture
def machine(tmp_path: Path) -> Leasing:
    return Leasing(tmp_path)


class InlineCrew(Crew):
    """Does a job when it is started: reaps happen in the turn that begins them. ``running``: whether in one now."""

    running = False

    def begin(self) -> None:
        return

    def start(self, job: Callable[[], None]) -> None:
        InlineCrew.running = True
        try:
            job()
        finally:
            InlineCrew.running = False

    def wait(self, seconds: float) -> bool:
        return True


class InlineRecorder(Recorder):
    """Writes a record when it is published; one that fails stays, with all after it, until ``flush``."""

    def start(self) -> None:
        self.stuck: list[tuple[Incident, bytes, Callable[[], None] | None]] = []

    def publish(self, incident: Incident, then: Callable[[], None] | None = None) -> None:
        self.stuck.append((incident, incident.record(), then))
        self.flush()

    def flush(self) -> None:
        while self.stuck and self._write(*self.stuck[0][:2]):
            _, _, then = self.stuck.pop(0)
            if then:
                then()

    def stop(self, timeout: float) -> bool:
        return not self.stuck


class FakeWatcher:
    """File events that come when a test says so: ``seen(name)``. ``works``: whether they can be had."""

    works = True

    def __init__(self, path: str, seen: Callable[[str], None]) -> None:
        self.seen = seen
        self.place: tuple[int, int] | None = None
        self.watches = 0

    def start(self) -> bool:
        return self.works

    def follow(self, place: tuple[int, int] | None) -> bool:
        if place != self.place:
            self.place = place
            self.watches += 1
        return self.works

    def stop(self) -> None:
        self.works = False


class FakeHost(FakeMachine):
    """The server and all that it serves. ``options`` are the server's."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, **options: Any) -> None:
        super().__init__(root)
        patch.setattr(leasetimer.server, "Folder", FakeFolder)
        patch.setattr(leasetimer.incidents, "Recorder", InlineRecorder)
        patch.setattr(leasetimer.server, "Crew", InlineCrew)
        patch.setattr(leasetimer.leasequeue, "Watcher", FakeWatcher)
        self.options = {"max_interval": 10, **options}
        self.restart()

    def restart(self) -> None:
        """The server, if there was one, was killed; another one begins."""
        self.server = LeaseTimerServer(self.root, host=NODE, clock=self.clock, processes=self.processes, **self.options)
        assert isinstance(self.server.folder, FakeFolder)
        self.folder = self.server.folder
        self.server.begin()
        self.recorder = self.server._incidents._recorder
        assert isinstance(self.recorder, InlineRecorder)

    def worker(self, pid: int = 4242, start: int = 500, *, events: bool = True, **options: Any) -> FakeWorker:
        """A new worker; ``events``: whether what it publishes raises file events."""
        worker = super().worker(pid, start, **options)
        if events:
            worker.published = lambda name: self.see(name)
        return worker

    def see(self, name: str) -> None:
        """A file event."""
        watcher: FakeWatcher = self.server._queue._watcher  # type: ignore[assignment]
        watcher.seen(name)

    def turn(self) -> None:
        """One turn of the loop; it moves the clock by what the server sleeps."""
        self.server._run_watchdog()

    def run(self, seconds: float) -> None:
        """Turns until so much time is over. A server that spins fails the test."""
        end, turns = self.clock.mono + seconds, 0
        self.clock.until = end
        while self.clock.mono < end - 1e-6:
            self.turn()
            turns += 1
            assert turns < 20 * seconds + 50, "the loop spins"
        self.clock.until = math.inf

    def records(self) -> list[dict[str, Any]]:
        """Every record there is, oldest first."""
        return [json.loads(path.read_text()) for path in sorted((self.root / NODE / "postmortem").glob("*.json"))]

    def outcomes(self) -> list[str]:
        """What every incident came to, oldest first."""
        return [record["outcome"] for record in self.records()]


Make = Callable[..., FakeHost]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda **options: FakeHost(tmp_path, monkeypatch, **options)


@pytest.fixture
def host(make: Make) -> FakeHost:
    return make()


def fail(name: str) -> None:
    raise OSError(28, "No space left on device")


def full(host: FakeHost) -> None:
    """No record can be written any more; presence can."""
    host.folder.on["replace"] = lambda name: fail(name) if "postmortem" in name else None
