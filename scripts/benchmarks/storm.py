"""200 workers acquire and release at once, under a server that clears what it finds released: nothing may be lost."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from harness import Crew, Desk, Options, Row, Server, lease_directory

CHECK_EACH = 40
"""Blocks from one look at the disk to the next: looks cost a hundred times what a block does."""
REST = 0.1
"""Seconds that a worker rests after a look, at most: or the server would hardly find anything released to clear."""


def measure(options: Options) -> list[Row]:
    """Leases lost, and errors of workers and server."""
    workers, seconds = options.choose(200, 20), options.choose(5, 1)
    with lease_directory(options) as root, Server(root, 0.2) as server:
        with Crew() as crew:
            for _ in range(workers):
                crew.fork(lambda desk: _work(desk, root, seconds))
            crew.hear()
            crew.call()
            done = crew.hear()
        blocks, checks, publishes, lost = (
            sum(one[key] for one in done) for key in ("blocks", "checks", "made", "lost")
        )
        errors = [error for one in done for error in one["errors"]]
        errors += server.complaints()
    note = f"{workers} workers, {seconds} s: {blocks:,} blocks, {publishes:,} files made, {checks:,} looks at the disk"
    return [
        Row("storm-lost", lost, "leases", at_most=0, note=note),
        Row("storm-errors", len(errors), "errors", at_most=0, note="; ".join(errors[:3])),
    ]


def _work(desk: Desk, root: Path, seconds: float) -> None:
    from leasetimer import LeaseTimerClient, expires
    from leasetimer.leasefiles import LeaseFiles

    client = LeaseTimerClient(root)
    ledger = client._uses
    blocks = checks = made = lost = 0
    errors: list[str] = []
    desk.tell("ready")
    desk.called()
    end, last = time.monotonic() + seconds, -1
    while time.monotonic() < end:
        try:
            with expires(60, "train", client):
                blocks += 1
                held = ledger._leases["train"]
                inode = os.fstat(held.fd).st_ino
                made, last = made + (inode != last), inode
                if blocks % CHECK_EACH == 0:
                    checks += 1
                    lost += not _on_disk(LeaseFiles(ledger.folder), held.name, held.seq)
            if blocks % CHECK_EACH == 0:
                time.sleep(random.random() * REST)
        except Exception as error:  # noqa: BLE001 - counted, that is what this is for
            errors.append(repr(error)[:200])
    desk.tell({"blocks": blocks, "checks": checks, "made": made, "lost": lost, "errors": errors[:3]})


def _on_disk(files: object, name: str, seq: int) -> bool:
    """Whether the verdict on our held lease, by anybody who looks now, is that it is held, with its newest seq."""
    from leasetimer.leasefiles import LeaseFiles

    assert isinstance(files, LeaseFiles)
    lease = files.verdict(name)
    for _ in range(3):
        if lease is not None:
            break
        files.listed()  # the server has moved it aside: the moved name is part of the verdict
        lease = files.verdict(name)
    return lease is not None and lease.status.held and lease.status.seq == seq
