"""What every test gets: no lease directory or host id of the caller's, and a state folder of its own."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LEASETIMER_DIR", "LEASETIMER_HOST", "SLURM", "TORCHELASTIC")) or name in (
            "RANK",
            "LOCAL_RANK",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
