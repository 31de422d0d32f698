"""Time and processes that a test moves by hand. The file system is real: a folder in tmp_path answers in no time."""

from __future__ import annotations

import math
import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from leasetimer.client import LeaseTimerClient
from leasetimer.clock import Clock
from leasetimer.directory import Content, Folder
from leasetimer.lease import CHECKSUM, PAGE, WIDTH, Lease, Worker, read_lease
from leasetimer.ledger import Ledger
from leasetimer.names import file_name
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
        self.until = math.inf  # no wait goes past it

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
            self.jump(min(timeout, max(0.0, self.until - self.mono)))
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

    def argv(self, pid: int) -> list[str]:
        return [self.table[pid].name] if pid in self.table else []

    def program(self, pid: int) -> str | None:
        return f"/usr/bin/{self.table[pid].name}" if pid in self.table else None

    def describe(self, pid: int) -> dict[str, Any]:
        stat, uid = self.stat(pid), self.uid(pid)
        if stat is None or uid is None:
            return {}
        return {"name": stat.name, "state": stat.state, "uid": uid, "tracer": self.table[pid].tracer}

    def open(self, worker: Worker) -> Process | None:
        process = self.table.get(worker.pid)
        if process is None or process.start != worker.start or process.dead(self.clock.mono):
            return None
        return FakePidfd(process, self.clock)

    def descendants(self, worker: Worker) -> list[tuple[Worker, Process]]:
        found: list[tuple[Worker, Process]] = []
        todo = list(self.table[worker.pid].children)
        while todo:
            child = todo.pop()
            member = worker._replace(pid=child.pid, start=child.start)
            process = self.open(member)
            if process is not None:
                found.append((member, process))
            todo += child.children
        return found


class FakeFolder(Folder):
    """A real folder whose calls fail, or take their time, where a test says so: ``on["read"](name)`` runs first."""

    def __init__(self, root: str, host: str) -> None:
        super().__init__(root, host)
        self.on: dict[str, Callable[[str], None]] = {}

    def names(self) -> list[str]:
        self._before("names", "")
        return super().names()

    def read(self, name: str, most: int = PAGE) -> Content:
        self._before("read", name)
        content = super().read(name, most)
        self._before("read done", name)
        return content

    def move_aside(self, name: str) -> str | None:
        self._before("move_aside", name)
        return super().move_aside(name)

    def remove(self, name: str) -> None:
        self._before("remove", name)
        super().remove(name)

    def replace(self, name: str, data: bytes) -> int:
        self._before("replace", name)
        return super().replace(name, data)

    def _before(self, call: str, name: str) -> None:
        if call in self.on:
            self.on[call](name)


class FakeWorker:
    """A fake process that holds leases in the way a real worker does: through the client and a ledger of its own.

    ``published`` is called with the name of each lease that it renames into place: what a file event tells.
    """

    def __init__(
        self, folder: Folder, process: FakeProcess, clock: FakeClock, processes: FakeProcesses, **options: Any
    ) -> None:
        self.process = process
        self.worker = Worker(folder.host, processes.boot(), processes.namespace("pid"), process.pid, process.start)
        self.client = LeaseTimerClient(folder.root, host=folder.host, clock=clock, processes=processes, **options)
        self.client._uses = self.ledger = Ledger(Folder(folder.root, folder.host), clock, processes)
        self.ledger._worker = self.worker  # or it would be the process of the test
        self.published: Callable[[str], None] = lambda name: None

    def acquire(self, scope: str, after: float) -> None:
        """Acquire, or renew, until ``after`` seconds from now."""
        before = self._file(scope)
        self.client.acquire(scope, self.ledger.clock.now() + after)
        if self._file(scope) != before:
            self.published(self.name(scope))

    def release(self, scope: str) -> None:
        self.client.release(scope)

    def name(self, scope: str) -> str:
        return file_name(self.worker.host, self.worker.pid, scope)

    def lease(self, scope: str, after: float) -> Lease:
        """Acquire, and read what that wrote."""
        self.acquire(scope, after)
        content = self.ledger.folder.read(self.name(scope))
        return read_lease(self.name(scope), content.data, content.owner)

    def blind(self) -> None:
        """From now on it takes every name to stand, as one does that has just looked."""
        self.ledger.stands = lambda *_, **__: True

    def _file(self, scope: str) -> int | None:
        lease = self.ledger._leases.get(scope)
        return os.fstat(lease.fd).st_ino if lease else None


def forge(path: Path, old: bytes, new: bytes) -> None:
    """Change the identity in a lease file, under a checksum that is right."""
    data = path.read_bytes()
    assert old in data
    identity = data[WIDTH:].replace(old, new)
    body = data[: WIDTH - len(CHECKSUM % 1)]
    path.write_bytes(body + CHECKSUM % crc32(body, crc32(identity)) + identity)


NODE = "node1"
NAME = f"{NODE},4242,train.lease"  # the first that a worker acquires


class FakeMachine:
    """A host: its clock, its processes, and its folder in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.processes = FakeProcesses(self.clock)
        self.folder = FakeFolder(str(root), NODE)

    def worker(self, pid: int = 4242, start: int = 500, **options: Any) -> FakeWorker:
        """A new worker; ``options`` are its client's."""
        process = self.processes.add(FakeProcess(pid, start))
        return FakeWorker(self.folder, process, self.clock, self.processes, **options)

    def files(self) -> list[str]:
        """The names of all lease files; of those moved aside, without what makes them unique."""
        names = os.listdir(self.folder.path) if os.path.isdir(self.folder.path) else []
        return sorted(re.sub(r"[0-9a-f]{16}(?=\.moved)", "*", name) for name in names if ".lease" in name)


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)
