"""A folder to sweep: what lies in it, who lives, and time that a test moves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fakes import BOOT, PIDNS, TIMENS, FakeClock, FakeProcess, FakeProcesses
from leasetimer.directory import Folder
from leasetimer.lease import Status, Worker, write_identity, write_lease
from leasetimer.names import file_name
from leasetimer.sweep import Sweep

LIVING = Worker("node", BOOT, PIDNS, 4242, 500)
DEAD = Worker("node", BOOT, PIDNS, 99, 500)
BEFORE = Worker("node", "before", PIDNS, 4242, 500)


class Scene:
    """A host's folder, one living worker, and time that a test moves."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.processes = FakeProcesses(self.clock, FakeProcess(4242))
        self.folder = Folder(str(root), "node")

    def lease(self, worker: Worker, scope: str = "train", *, left: float = 60, held: bool = True, seq: int = 1) -> str:
        identity = write_identity(worker, scope, timens=TIMENS, uid=0, signal=9, grace=1, tree=False, facts={})
        now = self.clock.now()
        status = Status(held, seq, 3, now - 5, now + left, max(0.0, self.clock.monotonic() + left))
        name = file_name(worker.host, worker.pid, scope)
        os.close(self.folder.publish(".new", name, write_lease(status, identity)))
        return name

    def record(self, name: str, *, ago: float, outcome: str = "reaped") -> str:
        inside = f"postmortem/{name}.json"
        self.folder.replace(inside, json.dumps({"outcome": outcome, "noticed": self.clock.now() - ago}).encode())
        return inside

    def sweep(self, **how: Any) -> Sweep:
        return Sweep(self.folder, clock=self.clock, processes=self.processes, **how)

    def swept(self, **how: Any) -> list[str]:
        """The files removed by a sweep of leases."""
        sweep = self.sweep(**how)
        sweep.leases()
        return [one.file for one in sweep.done]

    def names(self) -> set[str]:
        path = Path(self.folder.path)
        return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}

    def records(self) -> list[dict[str, Any]]:
        found = sorted(Path(self.folder.join("postmortem")).glob("*.json"))
        return [json.loads(path.read_text()) for path in found]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)
