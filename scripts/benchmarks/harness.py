"""What the measurements share: rows of the table, forked workers, a server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import statistics
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CALL = struct.Struct("d")
PATIENCE = 60.0
"""Seconds that a worker or server may take to answer: a bench that hangs must not hang for ever."""


@dataclass
class Options:
    """What the command line said. ``directory`` is on the disk to be measured; ``torch`` is a Python that has it."""

    quick: bool
    directory: Path
    torch: str | None

    def choose(self, full: int, quick: int) -> int:
        """How many, or how long."""
        return quick if self.quick else full


@dataclass
class Row:
    """One figure, and the goals it is held against: at most so much, and a ratio that is at most or at least so much.

    ``spread`` is the interquartile range over the ``repetitions``, in the figure's unit.
    """

    name: str
    value: float | None
    unit: str = ""
    at_most: float | None = None
    ratio: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    against: str = ""
    repetitions: int = 1
    spread: float | None = None
    note: str = ""

    @property
    def goal(self) -> str:
        """All goals, in words; empty where there is none."""
        goals = []
        if self.at_most is not None:
            goals.append(f"≤ {self.at_most:g} {self.unit}".rstrip())
        if self.ratio_at_most is not None:
            goals.append(f"≤ {self.ratio_at_most:g} ×")
        if self.ratio_at_least is not None:
            goals.append(f"≥ {self.ratio_at_least:g} ×")
        return ", ".join(goals)

    @property
    def met(self) -> bool | None:
        """Whether every goal is met whose figure is there; None where nothing can be said."""
        pairs = [
            (self.value, self.at_most, 1),
            (self.ratio, self.ratio_at_most, 1),
            (self.ratio, self.ratio_at_least, -1),
        ]
        checks = [sign * figure <= sign * goal for figure, goal, sign in pairs if None not in (figure, goal)]  # type: ignore[operator]
        return all(checks) if checks else None


def row(name: str, values: list[float], unit: str, **more: Any) -> Row:
    """A row of the median of ``values``."""
    return Row(name, statistics.median(values), unit, repetitions=len(values), spread=spread(values), **more)


def spread(values: list[float]) -> float | None:
    """The interquartile range."""
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def percentile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of them (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


class Lines:
    """Lines of JSON from a pipe, each waited for no longer than ``PATIENCE`` seconds."""

    def __init__(self, fd: int, whose: str) -> None:
        self._fd = fd
        self._whose = whose
        self._data = b""

    def __next__(self) -> Any:
        while b"\n" not in self._data:
            if not select.select([self._fd], [], [], PATIENCE)[0]:
                raise TimeoutError(f"{self._whose} said nothing for {PATIENCE:.0f} s")
            chunk = os.read(self._fd, 1 << 16)
            if not chunk:
                raise EOFError(f"{self._whose} ended too early")
            self._data += chunk
        line, _, self._data = self._data.partition(b"\n")
        return json.loads(line)

    def pending(self) -> list[Any]:
        """Those that are there already."""
        found = []
        while b"\n" in self._data or select.select([self._fd], [], [], 0)[0]:
            found.append(next(self))
        return found


class Desk:
    """A worker's end of its crew: what it tells, and when it is called."""

    def __init__(self, calls: int, told: int) -> None:
        self._calls = calls
        self._told = told

    def tell(self, what: object) -> None:
        """Tell the crew that. At most 4 KiB of JSON, so that workers don't write into each other's lines."""
        os.write(self._told, json.dumps(what).encode() + b"\n")

    def called(self) -> float | None:
        """Wait for the next call, and the number that comes with it; None: dismissed, or the parent is dead."""
        call = os.read(self._calls, CALL.size)
        return CALL.unpack(call)[0] if call else None


class Crew:
    """Workers forked from this process, which is warm: leasetimer is loaded. They end with the crew, or with us."""

    def __init__(self) -> None:
        self._hearing, self._told = os.pipe()
        self._lines = Lines(self._hearing, "a worker")
        self._calls: list[int] = []  # a pipe for each: from one for all, a quick worker would take a slow one's call
        self.pids: list[int] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._calls:
            os.close(call)
        end = time.monotonic() + 5
        for pid in self.pids:
            while not os.waitpid(pid, os.WNOHANG)[0]:
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.001)
        os.close(self._hearing)
        os.close(self._told)

    def fork(self, work: Callable[[Desk], None]) -> int:
        """Fork one that does that work and ends; its pid."""
        sys.stdout.flush()
        calls, call = os.pipe()
        self._calls.append(call)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                for call in self._calls:
                    os.close(call)  # or none of them would see it closed by the parent
                work(Desk(calls, self._told))
                code = 0
            except BaseException:  # noqa: BLE001 - shown; a worker must not go on as a second bench
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(calls)
        self.pids.append(pid)
        return pid

    def call(self, number: float = 0.0) -> None:
        """Call each of them once."""
        for call in self._calls:
            os.write(call, CALL.pack(number))

    def hear(self, count: int | None = None) -> list[Any]:
        """What they tell: as many things as there are workers, or ``count``."""
        return [next(self._lines) for _ in range(len(self.pids) if count is None else count)]


def holders(crew: Crew, root: Path, workers: int, scopes: int) -> None:
    """Let workers hold that many scopes each, for an hour, until the crew is dismissed."""

    def hold(desk: Desk) -> None:
        from leasetimer import LeaseTimerClient

        client = LeaseTimerClient(root)
        for number in range(scopes):
            client.acquire(f"held-{number}", time.time() + 3600)
        desk.tell("held")
        desk.called()

    for _ in range(workers):
        crew.fork(hold)
    crew.hear(workers)


class Server:
    """A lease server in a process of its own, run by serverside.py unless there is a ``command``."""

    def __init__(self, root: Path, max_interval: float = 10, *more: str, command: list[str] | None = None) -> None:
        ours = [sys.executable, str(HERE / "serverside.py"), str(root), str(max_interval), *more]
        self._command = command or ours
        self._talks = command is None

    def __enter__(self) -> Server:
        self.begun = time.monotonic()
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout.fileno(), "the server")
        self.guarded = self.hear()["ready"] if self._talks else self.begun
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        if self._talks:  # a line, as closing may end nothing: workers forked since have that pipe, too
            self._process.stdin.write(b"\n")
        else:
            self._process.terminate()
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def hear(self) -> Any:
        """The next thing it says, which is of an incident, or a warning."""
        return next(self._lines)

    def complaints(self) -> list[str]:
        """All that it has said and nobody has heard."""
        return [str(said) for said in self._lines.pending()]

    def cpu(self) -> float:
        """Seconds of processor time that it has used so far, exact to the nanosecond, threads that ended included."""
        return time.clock_gettime((~self._process.pid << 3) | 2)  # the kernel's clock id of another process (CPUCLOCK)

    def memory(self) -> float:
        """MiB resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextlib.contextmanager
def lease_directory(options: Options) -> Iterator[Path]:
    """A new directory for leases, removed afterwards."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=options.directory, prefix="leasetimer-bench-") as path:
        yield Path(path)


def torchside(options: Options, *arguments: object) -> Any:
    """What torchside.py measures, or None where there is no torch."""
    if options.torch is None:
        return None
    command = [options.torch, "-W", "ignore", str(HERE / "torchside.py"), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def quiet() -> None:
    """Workers without a server warn once each, which is nothing new here."""
    logging.getLogger("leasetimer").setLevel(logging.ERROR)
