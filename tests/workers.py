"""Real workers: what the tests of them share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import leasetimer
from ledgers import HOST

REAL = [
    pytest.mark.real,
    # a worker without a server is what most of this is about
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: mounting and other users take root")


@pytest.fixture(autouse=True)
def _directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("LEASETIMER_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("LEASETIMER_HOST", HOST)
    leasetimer.configure(None)
    yield
    leasetimer.configure(None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def program(source: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a worker to its end."""
    command = [sys.executable, "-c", textwrap.dedent(source)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)
