"""From the deadline to the signal, while 1,000 leases are held."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from harness import PATIENCE, Crew, Desk, Options, Row, Server, holders, lease_directory, percentile, spread, torchside

MILLI = 1e3
KINDS = ("published", "renewed", "reacquired")
BATCH = 50
"""Workers forked at a time: the forks are over before the first of them is due, as they would disturb the server."""
LEAD = 0.7
"""Seconds from the end of the forks to the first deadline."""
SPACING = 0.04
"""Seconds between two deadlines."""
EARLIER = 0.2
"""Seconds by which the deadline that is renewed comes earlier: the server has looked, and has it back on its heap."""


def measure(options: Options) -> list[Row]:
    """Both intervals, each way that a lease gets its last deadline."""
    samples = options.choose(200, 10)
    rows = []
    for max_interval in (1, 60):
        with lease_directory(options) as root, Crew() as crew, Server(root, max_interval) as server:
            holders(crew, root, 8, 125)
            time.sleep(1.5)  # until all are guarded, and the scan that comes with the start is over
            for kind in KINDS:
                late = _sample(root, server, kind, samples)
                name = f"detection-{max_interval}-{kind}"
                rows.append(_row(f"{name}-p50", late, 0.50))
                rows.append(_row(f"{name}-p99", late, 0.99, at_most=2.0))
        rows += _torch(options, max_interval)
    return rows


def _torch(options: Options, max_interval: int) -> list[Row]:
    if options.quick and max_interval > 1:
        return []
    theirs = torchside(options, "detection", max_interval, options.choose(20, 5), 8, 125)
    if theirs is None:
        return []
    late = [MILLI * seconds for seconds in theirs["late"]]
    note = "deadlines spread over one interval, no other requests"
    name = f"detection-{max_interval}-torch"
    return [_row(f"{name}-p50", late, 0.50, note=note), _row(f"{name}-p99", late, 0.99, note=note)]


def _row(name: str, late: list[float], share: float, **more: Any) -> Row:
    return Row(name, percentile(late, share), "ms", repetitions=len(late), spread=spread(late), **more)


def _sample(root: Path, server: Server, kind: str, samples: int) -> list[float]:
    """How late so many workers were signalled, in milliseconds."""
    late: list[float] = []
    while len(late) < samples:
        with Crew() as crew:
            for number in range(min(BATCH, samples - len(late))):
                wait = LEAD + SPACING * (number + random.random() / 2)
                crew.fork(lambda desk, wait=wait: _hang(desk, root, kind, wait))  # type: ignore[misc]
            crew.hear()
            crew.call(time.monotonic())
            waiting = {pid for pid in crew.hear() if pid}
            end = time.monotonic() + PATIENCE
            while waiting:
                said = server.hear()
                if time.monotonic() > end:
                    raise TimeoutError(f"{len(waiting)} hung workers not reaped; the server says {said}")
                if said.get("pid") in waiting:
                    if said["outcome"] != "reaped":
                        raise RuntimeError(f"a hung worker was not reaped: {said}")
                    waiting.remove(said["pid"])
                    late.append(MILLI * said["late"])
    return late


def _hang(desk: Desk, root: Path, kind: str, wait: float) -> None:
    from leasetimer import LeaseTimerClient, expires

    client, monotonic = LeaseTimerClient(root), time.monotonic
    desk.tell("ready")
    due = (desk.called() or 0.0) + wait
    if monotonic() > due - 1.5 * EARLIER:
        desk.tell(None)  # the machine is too busy: its deadline would be past before the server knows of it
        return
    if kind == "reacquired":
        with expires(due - EARLIER - monotonic(), "sample", client):
            pass
    early = EARLIER if kind == "renewed" else 0.0
    with expires(due - early - monotonic(), "sample", client) as lease:
        if kind == "renewed":
            lease.renew(due - monotonic())
        desk.tell(os.getpid())
        desk.called()
