"""Real workers and servers as programs of their own, and what a test waits for."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

HOST = "node1"
PATIENCE = 20.0
LATE = 1.0  # seconds: what a machine under load may be late; the bench measures what it really is

WORKER = """
import os, signal, subprocess, sys, time
from leasetimer import LeaseTimerClient
root, after, options = sys.argv[1], float(sys.argv[2]), eval(sys.argv[3])
how = options.pop("how", "stuck")
if how == "ignores TERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
client = LeaseTimerClient(root, host="node1", **options)
child = subprocess.Popen(["sleep", "600"]) if how == "parent" else None
client.acquire("train", time.time() + after)
print("held", time.monotonic() + after, child.pid if child else 0, flush=True)
if how == "ends":
    os._exit(0)
while True:
    time.sleep(0.05)
    if how == "renews":
        client.acquire("train", time.time() + after)
"""
SERVER = """
import sys, time
from leasetimer import LeaseTimerServer
server = LeaseTimerServer(sys.argv[1], max_interval=float(sys.argv[2]), host="node1")
server.start()
print("serving", flush=True)
while True:
    time.sleep(1)
"""


class Program:
    """A Python program of the test's, its first words read."""

    def __init__(self, source: str, *args: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, args)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().split()

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self, within: float = PATIENCE) -> tuple[int, float]:
        """Its exit code, and when that was seen, on the monotonic clock."""
        return self.process.wait(within), time.monotonic()

    def runs(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Program]


def eventually(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    pytest.fail(f"never: {what}")


def records(root: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((root / HOST / "postmortem").glob("*.json"))]


def told(root: Path, *outcomes: str) -> list[dict[str, Any]]:
    """The records, once they have these outcomes."""
    eventually(lambda: sorted(record["outcome"] for record in records(root)) == sorted(outcomes), f"{outcomes}")
    return records(root)


def leases(root: Path) -> list[str]:
    return [name for name in os.listdir(root / HOST) if ".lease" in name]


def state(pid: int) -> str:
    """The kernel's letter, X if there is no such process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def lives(pid: int) -> bool:
    return state(pid) not in "ZX"


@contextmanager
def starting() -> Iterator[Start]:
    """Start programs; each is killed in the end."""
    programs: list[Program] = []

    def begin(source: str, *args: object) -> Program:
        programs.append(Program(source, *args))
        return programs[-1]

    try:
        yield begin
    finally:
        for program in programs:
            program.close()
