"""What the server costs: for renewals, for nothing at all, and until it guards what it finds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from harness import Crew, Desk, Options, Row, Server, holders, lease_directory, row

MILLI = 1e3
RENEWALS = 100_000
WORKERS = 8
BURST = 25
"""Renewals a worker does at once where they are paced: a worker that wakes for each would measure the scheduler."""


def renewals(options: Options) -> list[Row]:
    """Processor time for 100,000 renewals, beyond that of as long a time without any: at once, and over 10 s."""
    share = options.choose(RENEWALS, RENEWALS // 100) // WORKERS
    over = options.choose(10, 1)
    return [
        _renewals(options, "renewals", share, 0.0, options.choose(9, 5)),
        _renewals(options, "renewals-paced", share, over, options.choose(5, 2)),
    ]


def _renewals(options: Options, name: str, share: int, over: float, repetitions: int) -> Row:
    # Where they are paced, twice as long as their time: some deadlines are due on the way, and the server looks again.
    after = 2.5 * over or 60.0
    beyond, idle = [], []
    with lease_directory(options) as root, Server(root) as server, Crew() as crew:
        for _ in range(WORKERS):
            crew.fork(lambda desk: _renew(desk, root, share, over, after))
        crew.hear()
        time.sleep(1.5)
        for _ in range(repetitions):
            begun, before = time.monotonic(), server.cpu()
            crew.call()
            crew.hear()
            took, used = time.monotonic() - begun, server.cpu() - before
            before = server.cpu()
            time.sleep(took)
            idle.append(MILLI * (server.cpu() - before))
            beyond.append(MILLI * used - idle[-1])
    each = f"{share * WORKERS:,} by {WORKERS} workers, {'in ' + str(over) + ' s' if over else 'at once'}"
    return row(name, beyond, "ms", at_most=5.0, note=f"{each}; idle for as long: {sorted(idle)[len(idle) // 2]:.2f} ms")


def _renew(desk: Desk, root: Path, share: int, over: float, after: float) -> None:
    from leasetimer import LeaseTimerClient, expires

    with expires(after, "train", LeaseTimerClient(root)) as lease:
        desk.tell("held")
        while desk.called() is not None:
            begun = time.monotonic()
            for number in range(share):
                if over and number % BURST == 0:
                    time.sleep(max(0.0, begun + over * number / share - time.monotonic()))
                lease.renew()
            desk.tell("done")


def idle(options: Options) -> list[Row]:
    """A server that has nothing to do, with 1,000 leases held."""
    seconds, repetitions = options.choose(20, 1), options.choose(5, 5)
    shares = []
    with lease_directory(options) as root, Crew() as crew, Server(root, command=serve(root)) as server:
        holders(crew, root, 8, 125)
        time.sleep(options.choose(12, 2))  # its first scan, and the next
        for _ in range(repetitions):
            begun, before = time.monotonic(), server.cpu()
            time.sleep(seconds)
            shares.append(100 * (server.cpu() - before) / (time.monotonic() - begun))
        memory = server.memory()
    return [
        row("idle-share", shares, "%", at_most=0.2, note=f"of a core, over {seconds} s each, max_interval 10"),
        Row("idle-memory", memory, "MiB", at_most=40.0, note="VmRSS"),
    ]


def serve(root: Path) -> list[str] | None:
    """``leasetimer serve``; None before there is one."""
    from importlib.util import find_spec

    if find_spec("leasetimer.cli.serve") is None:
        return None
    return [str(Path(sys.executable).with_name("leasetimer")), "serve", "--dir", str(root)]


def start(options: Options) -> list[Row]:
    """From the start of the server's process until all of 10,000 leases that it finds are guarded."""
    workers = options.choose(20, 4)
    leases = workers * 500
    taken, memory = [], 0.0
    with lease_directory(options) as root, Crew() as crew:
        holders(crew, root, workers, 500)
        for _ in range(options.choose(5, 2)):
            with Server(root, 10, str(leases)) as server:
                taken.append(server.guarded - server.begun)
                memory = server.memory()
    return [
        row(
            "start",
            taken,
            "s",
            at_most=2.0,
            note=f"{leases:,} leases of {workers} workers, {memory:.0f} MiB; its imports included",
        )
    ]
