"""What a guarded block costs the worker: acquire and release through ``with expires(60, "train")``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from harness import Crew, Desk, Options, Row, Server, lease_directory, row, torchside

MICRO = 1e6


def measure(options: Options) -> list[Row]:
    """Named and default scope, against two bare writes of the same width and against torch's queue client."""
    repetitions, blocks = options.choose(9, 5), options.choose(20_000, 1_000)
    with lease_directory(options) as root, Server(root), Crew() as crew:
        crew.fork(lambda desk: _work(desk, root, repetitions, blocks))
        (ours,) = crew.hear()
    theirs = torchside(options, "blocks", repetitions, blocks // 4)
    return [*_rows("named", 3.3, ours, theirs), *_rows("default", 4.0, ours, theirs)]


def _rows(kind: str, goal: float, ours: dict[str, list[float]], theirs: Any) -> list[Row]:
    block, pwrites = ours[kind], ours["pwrites"]
    rows = [
        row(f"block-{kind}", block, "µs", at_most=goal, ratio_at_least=6 if kind == "named" else None),
        row(
            f"block-{kind}-pwrites",
            pwrites,
            "µs",
            ratio=median(ours / bare for ours, bare in zip(block, pwrites, strict=True)),
            against="two bare os.pwrite",
            note="the ratio is that of the block",
        ),
    ]
    if theirs is None:
        rows[0].against = "torch: not installed"
        return rows
    loop, sent, cpu = (theirs[kind][what] for what in ("loop", "sent", "cpu"))
    rows[0].ratio = median(sent) / median(block)
    rows[0].against = "torch, until sent"
    note = "put() only enqueues: a thread of the worker pickles and writes"
    rows.append(
        row(f"block-{kind}-torch-sent", sent, "µs", note="until everything is sent: what the ratio is taken of")
    )
    rows.append(row(f"block-{kind}-torch-loop", loop, "µs", ratio=median(loop) / median(block), note=note))
    rows.append(
        row(
            f"block-{kind}-torch-cpu",
            cpu,
            "µs",
            ratio=median(cpu) / median(ours[f"{kind}-cpu"]),
            note="processor time of the worker; the ratio is to ours",
        )
    )
    return rows


def _work(desk: Desk, root: Path, repetitions: int, blocks: int) -> None:
    import leasetimer

    expires = leasetimer.expires
    leasetimer.configure(leasetimer.LeaseTimerClient(root))

    def named() -> None:
        for _ in range(blocks):
            with expires(60, "train"):
                pass

    def default() -> None:
        for _ in range(blocks):
            with expires(60):
                pass

    fd = os.open(root / "bare", os.O_RDWR | os.O_CREAT, 0o600)
    line = b"x" * _width()

    def pwrites() -> None:
        pwrite = os.pwrite
        for _ in range(blocks):
            pwrite(fd, line, 0)
            pwrite(fd, line, 0)

    taken: dict[str, list[float]] = {}
    # One after the other within each repetition, so that whatever else the machine does meets all of them.
    for _ in range(repetitions):
        for work in (named, default, pwrites):
            wall, cpu = _time(work)
            taken.setdefault(work.__name__, []).append(wall / blocks * MICRO)
            taken.setdefault(f"{work.__name__}-cpu", []).append(cpu / blocks * MICRO)
    desk.tell(taken)


def _time(work: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _width() -> int:
    from leasetimer.lease import WIDTH

    return WIDTH
