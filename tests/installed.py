"""``leasetimer`` as it is installed, each time a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

LEASETIMER = os.path.join(sysconfig.get_path("scripts"), "leasetimer")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory, which every process here finds in its environment, and a working directory beside it."""
    monkeypatch.setenv("LEASETIMER_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("LEASETIMER_HOST", "here")
    monkeypatch.delenv("LEASETIMER_RUN", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "root"


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts processes, each in a group of its own, and leaves none."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def worker(root: Path) -> str:
    """A shell command line: a worker that is stuck past its lease."""
    program = "import time, leasetimer\nwith leasetimer.expires(0.1, 'stuck'): time.sleep(60)"
    Path("worker.py").write_text(program)
    return f"{sys.executable} worker.py"


def leasetimer(*argv: str, fds: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run([LEASETIMER, *argv], capture_output=True, text=True, timeout=20, check=False, pass_fds=fds)


def run(*argv: str, fds: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    return leasetimer("run", *argv, fds=fds)


def patched(patch: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ``leasetimer run`` with that statement executed first: a machine that fails in a certain way."""
    first = "from leasetimer.cli import main, run, _child, _guard; from leasetimer.directory import Folder"
    program = f"{first}\n{patch}\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, "run", *argv], capture_output=True, text=True, timeout=20, check=False
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stdout
    return process.stdout.readline().strip()


def tries() -> int:
    """How often a command has run that leaves a line each time."""
    return len(Path("tries").read_text().splitlines())
