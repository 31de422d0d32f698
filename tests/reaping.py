"""One reap at a time, run where the test is."""

import os
from typing import Any

from fakes import FakeMachine, FakeWorker
from leasetimer.leasefiles import LeaseFiles
from leasetimer.postmortem import Incident
from leasetimer.reaper import Reap, Rules


def overdue(machine: FakeMachine, worker: FakeWorker, scope: str = "train", by: float = 1, **options: Any) -> Reap:
    """The reap of a worker whose lease of 5 s is overdue ``by`` that many seconds."""
    lease = worker.lease(scope, 5)
    machine.clock.jump(5 + by)
    return reap_of(machine, lease, **options)


def reap_of(machine: FakeMachine, lease: Any, **options: Any) -> Reap:
    chosen = {"rules": Rules(), "owner": os.geteuid(), "publish": lambda incident: None, **options}
    incident = Incident(lease, "pending", machine.clock, overdue=1, others=[])
    return Reap(
        incident,
        lease.status.deadline,
        files=LeaseFiles(machine.folder),
        clock=machine.clock,
        processes=machine.processes,
        **chosen,
    )


def outcome(reap: Reap) -> tuple[str, list[str]]:
    """Run it; the outcome, and the signals that the record tells of."""
    assert reap.run()
    return reap.incident.outcome, [sent["name"] for sent in reap.incident.fields["signals"]]
