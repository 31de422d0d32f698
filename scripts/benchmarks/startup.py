"""What it costs to begin: the import, and a command called from a shell. Against ``python -c pass``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from harness import Options, Row, Server, lease_directory, row

MILLI = 1e3
PASS = "pass"
IMPORT = "import leasetimer"
WORKER = "import leasetimer; leasetimer.expires; leasetimer.LeaseTimerClient"


def imports(options: Options) -> list[Row]:
    """``import leasetimer`` alone, and with what a worker loads on its first block."""
    taken: dict[str, list[float]] = {PASS: [], IMPORT: [], WORKER: []}
    for _ in range(options.choose(31, 5)):
        for code, times in taken.items():
            times.append(MILLI * _run([sys.executable, "-c", code]))
    bare = median(taken[PASS])
    names = {PASS: "python-pass", IMPORT: "import", WORKER: "import-worker"}
    rows = [row(names[code], times, "ms") for code, times in taken.items()]
    for one in rows[1:]:
        assert one.value is not None
        one.ratio, one.against = one.value / bare, "python -c pass"
    rows[1].ratio_at_most = 2.0
    rows[2].note = "with expires and LeaseTimerClient"
    return rows


def acquire(options: Options) -> list[Row]:
    """``leasetimer acquire`` called by a shell."""
    from importlib.util import find_spec

    if find_spec("leasetimer.cli.acquire") is None:
        return [Row("acquire", None, "ms", ratio_at_most=6.0, note="there is no leasetimer acquire yet")]
    leasetimer = Path(sys.executable).with_name("leasetimer")
    shell = shutil.which("dash") or "/bin/sh"
    ours, bare = [], []
    with (
        lease_directory(options) as root,
        Server(root),
        subprocess.Popen([shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker,
    ):
        for _ in range(options.choose(31, 5)):
            bare.append(MILLI * _call(worker, f"{sys.executable} -c pass"))
            ours.append(MILLI * _call(worker, f"{leasetimer} acquire train --after 60 --dir {root}"))
        _call(worker, f"{leasetimer} release train --dir {root}")
    against = f"python -c pass ({median(bare):.1f} ms)"
    ratio = median(ours) / median(bare)
    return [row("acquire", ours, "ms", ratio=ratio, ratio_at_most=6.0, against=against, note=f"from {shell}")]


def _call(shell: subprocess.Popen[str], command: str) -> float:
    """Seconds that this shell takes for a command."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    begun = time.perf_counter()
    shell.stdin.write(f"{command} >/dev/null && echo done || echo failed\n")
    shell.stdin.flush()
    said = shell.stdout.readline()
    taken = time.perf_counter() - begun
    if said != "done\n":
        raise RuntimeError(f"the shell said {said!r} to: {command}")
    return taken


def _run(command: list[str]) -> float:
    """Seconds from before it is spawned until it has ended."""
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status = os.waitpid(pid, 0)
    taken = time.perf_counter() - begun
    if status:
        raise RuntimeError(f"failed with status {status}: {command}")
    return taken
