"""Lease files by name and moved aside, and what happens between two steps of a server."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import NAME, FakeFolder, FakeMachine
from leasetimer.leasefiles import LeaseFiles

MOVED = f".{NAME}.*.moved"


@pytest.fixture
def files(machine: FakeMachine) -> LeaseFiles:
    return LeaseFiles(machine.folder)


def once(folder: FakeFolder, call: str, hook: Any) -> None:
    """Run ``hook`` right before the next ``call`` of the folder."""

    def run(name: str) -> None:
        del folder.on[call]
        hook()

    folder.on[call] = run


def leave_moved(machine: FakeMachine, *uses: bool) -> None:
    """Moved files of one worker, one a use, left held where that is true."""
    worker = machine.worker()
    for held in uses:
        worker.acquire("train", 5)
        if not held:
            worker.release("train")
        machine.folder.move_aside(NAME)
        if held:
            worker.ledger._leases["train"].held = False  # or it would mark the file it gives up
            worker.ledger._idle["train"] = worker.ledger._leases["train"]
