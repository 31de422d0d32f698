"""The command ``leasetimer``, called in this process, or from a real shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from leasetimer import cli
from leasetimer.lease import Lease, read_lease

LEASETIMER = 'leasetimer() { "$PYTHON" -m leasetimer "$@"; }\n'
"""Ahead of a script: the command of this source tree, called straight by the shell."""


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What ``--json`` printed."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """``leasetimer ARGS`` in this process, with everything that comes between it and the exit code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *args: object) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["leasetimer", *map(str, args)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err
        code = end.value.code
        return Said(code if isinstance(code, int) else 0, said.out, said.err)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("LEASETIMER_HOST", "node")
    monkeypatch.setenv("TZ", "UTC")
    return Command(monkeypatch, capsys)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory, which every command finds in its environment; it is not there yet."""
    root = tmp_path / "root"
    monkeypatch.setenv("LEASETIMER_DIR", str(root))
    return root


def leases(root: Path) -> list[Lease]:
    """The leases of this host."""
    paths = sorted((root / "node").glob("*.lease")) if root.exists() else []
    return [read_lease(path.name, path.read_bytes(), path.stat().st_uid) for path in paths]


def environment(root: Path) -> dict[str, str]:
    """What a shell needs to call ``leasetimer`` for that directory."""
    return os.environ | {"PYTHON": sys.executable, "LEASETIMER_DIR": str(root), "LEASETIMER_HOST": "node"}


def shell(script: str, root: Path, command: Sequence[str] = ("bash", "-c")) -> Said:
    """A script as a shell runs it, in which ``leasetimer`` is this source tree's."""
    done = subprocess.run(
        [*command, LEASETIMER + script], env=environment(root), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return Said(done.returncode, done.stdout, done.stderr)
