"""A shell whose leases a command holds on its behalf."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes import BOOT, PIDNS, TIMENS, FakeClock, FakeProcess, FakeProcesses
from leasetimer import locks
from leasetimer.lease import Lease, Status, Worker, write_identity, write_lease
from leasetimer.leasefiles import LeaseFiles
from leasetimer.names import file_name
from leasetimer.onbehalf import OnBehalf

SHELL = Worker("node", BOOT, PIDNS, 4242, 500)


NAME = file_name("node", 4242, "train")


class Bench:
    """A directory, a shell that lives, and time that a test moves."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.processes = FakeProcesses(self.clock, FakeProcess(4242, name="bash"))
        self.root = str(root)
        self.behalf = self.of(SHELL)
        self.folder = self.behalf.folder
        self.files = LeaseFiles(self.folder)

    def of(self, worker: Worker) -> OnBehalf:
        return OnBehalf(self.root, "node", worker, clock=self.clock, processes=self.processes)

    def read(self) -> Lease:
        """The lease as a server reads it."""
        self.files.listed()
        lease = self.files.verdict(NAME)
        assert lease is not None
        return lease

    def put(self, worker: Worker, *, seq: int, held: bool, name: str = NAME) -> None:
        """A lease that ``expires`` would write in that worker."""
        identity = write_identity(
            worker, "train", timens=TIMENS, uid=0, signal=9, grace=10.0, tree=False, facts={"argv": ["python"]}
        )
        os.close(self.folder.publish(".new", name, write_lease(Status(held, seq, 7, 1.0, 2.0, 3.0), identity)))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(locks, "LOCKS", str(tmp_path / "locks"))
    return Bench(tmp_path / "root")
