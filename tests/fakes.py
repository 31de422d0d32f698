"""Time and processes that a test moves by hand. The file system is real: a folder in tmp_path answers in no time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from leasetimer.clock import Clock
from leasetimer.lease import Worker
from leasetimer.process import Process, Processes, Stat

BOOT = "b007"
PIDNS = 4026531836
TIMENS = 4026531834


class FakeClock(Clock):
    """Stands still until it is told to jump, or until somebody waits."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self.wall = wall
        self.mono = monotonic
        self.waits: list[float] = []

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def jump(self, seconds: float) -> None:
        """Both clocks go on by that much."""
        self.wall += seconds
        self.mono += seconds

    def wait(self, event: threading.Event, timeout: float) -> bool:
        self.waits.append(timeout)
        if not event.is_set():
            self.jump(timeout)
        return event.is_set()


@dataclass
class FakeProcess:
    """A process: what the kernel says of it, and what it does when it is signalled."""

    pid: int
    start: int = 500
    state: str = "S"
    name: str = "python"
    uid: int = 0
    tracer: int = 0
    children: list[FakeProcess] = field(default_factory=list)
    deadly: frozenset[int] = frozenset({signal.SIGKILL, signal.SIGTERM})
    dies_after: float = 0.0
    on_signal: Callable[[int], None] | None = None
    refuses: bool = False
    signals: list[int] = field(default_factory=list)
    dies_at: float | None = None

    def dead(self, now: float) -> bool:
        return self.state in "XZ" or (self.dies_at is not None and now >= self.dies_at)


class FakePidfd(Process):
    """A hold on a fake process. Waiting for it moves the clock."""

    def __init__(self, process: FakeProcess, clock: FakeClock) -> None:
        super().__init__(-1, process.pid, process.start)
        self.process = process
        self.clock = clock

    def close(self) -> None:
        self.pidfd = -1

    def signal(self, number: int) -> None:
        if self.process.dead(self.clock.mono):
            raise ProcessLookupError
        if self.process.refuses:
            raise PermissionError("Operation not permitted")
        self.process.signals.append(number)
        if self.process.on_signal:
            self.process.on_signal(number)
        if number in self.process.deadly and self.process.dies_at is None:
            self.process.dies_at = self.clock.mono + self.process.dies_after

    def gone(self, timeout: float) -> bool:
        dies_at = self.process.dies_at
        if not self.process.dead(self.clock.mono) and timeout > 0:
            left = timeout if dies_at is None else min(timeout, dies_at - self.clock.mono)
            self.clock.jump(left)
        return self.process.dead(self.clock.mono)


class FakeProcesses(Processes):
    """A machine with these processes and no others."""

    def __init__(self, clock: FakeClock, *processes: FakeProcess) -> None:
        self.clock = clock
        self.table = {process.pid: process for process in processes}
        self.boot_id = BOOT
        self.namespaces = {"pid": PIDNS, "time": TIMENS}

    def add(self, process: FakeProcess) -> FakeProcess:
        self.table[process.pid] = process
        return process

    def boot(self) -> str:
        return self.boot_id

    def namespace(self, kind: str, pid: int | str = "self") -> int:
        return self.namespaces[kind]

    def stat(self, pid: int) -> Stat | None:
        process = self.table.get(pid)
        if process is None or (process.dead(self.clock.mono) and process.state != "Z"):
            return None
        return Stat(process.name, process.state, 1, process.start)

    def uid(self, pid: int) -> int | None:
        process = self.table.get(pid)
        return process.uid if process else None

    def status(self, pid: int) -> dict[str, str]:
        process = self.table.get(pid)
        return {"TracerPid": str(process.tracer), "Threads": "1"} if process else {}

    def describe(self, pid: int) -> dict[str, object]:
        stat = self.stat(pid)
        return {"name": stat.name, "state": stat.state} if stat else {}

    def open(self, worker: Worker) -> Process | None:
        process = self.table.get(worker.pid)
        if process is None or process.start != worker.start or process.dead(self.clock.mono):
            return None
        return FakePidfd(process, self.clock)

    def descendants(self, worker: Worker) -> list[Worker]:
        found: list[Worker] = []
        todo = list(self.table[worker.pid].children)
        while todo:
            child = todo.pop()
            found.append(worker._replace(pid=child.pid, start=child.start))
            todo += child.children
        return found
