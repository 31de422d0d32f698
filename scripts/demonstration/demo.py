"""What scripts/demo shows: the server, four workers, and who holds what, live; then the record of the one that hung."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from subprocess import PIPE, STDOUT
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from leasetimer.cli.options import brief
from leasetimer.clock import CLOCK
from leasetimer.directory import Folder
from leasetimer.errors import LeaseUnreadable
from leasetimer.lease import Lease
from leasetimer.leasefiles import LeaseFiles
from leasetimer.presence import server_here
from leasetimer.process import PROCESSES, host_id

WORKERS, STEPS, STUCK, STUCK_AT = 4, 10, 2, 3
REFRESH = 0.1
LONGEST = 60.0

console = Console(highlight=False)
picture = Console(highlight=False, record=True, file=io.StringIO(), width=100)
seen_overdue = False


def main(svg: str | None) -> int:
    """Run it; 0 only if everything it promises was seen to happen. ``svg``: the file that its picture goes to."""
    root = tempfile.mkdtemp(prefix="leasetimer-demo-")
    environment = {**os.environ, "LEASETIMER_DIR": root, "LEASETIMER_HOST": host_id()}
    folder = Folder(root, environment["LEASETIMER_HOST"])
    console.print(f"leases in [bold]{folder.path}[/], served by [bold]leasetimer serve[/]")
    server = subprocess.Popen(
        [sys.executable, "-m", "leasetimer", "serve"],
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo, which then ends all
    )
    reader = threading.Thread(target=relay, args=(server,), daemon=True)
    reader.start()
    workers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        wait_for_server(folder, server)
        for number in range(1, WORKERS + 1):
            stuck_at = STUCK_AT if number == STUCK else 0
            argv = [sys.executable, str(Path(__file__).with_name("worker.py")), str(number), str(STEPS), str(stuck_at)]
            workers[f"worker {number}"] = subprocess.Popen(argv, env=environment, start_new_session=True)
        watch(LeaseFiles(folder), workers)
        records = wait_for_records(Path(folder.path, "postmortem"))
    finally:
        for process in workers.values():
            if process.poll() is None:
                process.kill()  # one of them ignores anything less
        if server.poll() is None:
            server.terminate()
        ended = server.wait(10)
        reader.join(1)
    problems = check(workers, records, ended, folder)
    for path, record in records.items():
        show(path, record)
    for problem in problems:
        console.print(f"[bold red]not as promised:[/] {problem}")
    tell("[red]the demo failed[/]" if problems else "[bold green]all as promised[/]")
    if svg:
        drawn = picture.export_svg(title="scripts/demo")
        # Without the fonts that it would load from the network: whoever opens the page has one.
        Path(svg).write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))
    return 1 if problems else 0


def relay(server: subprocess.Popen[str]) -> None:
    """Print what the server says above the table, not through it."""
    for line in server.stdout or ():
        console.print(f"[dim]{escape(line.rstrip())}[/]", soft_wrap=True)


def tell(what: str | Table) -> None:
    """Show it, in the picture, too."""
    console.print(what, soft_wrap=True)
    picture.print(what)


def wait_for_server(folder: Folder, server: subprocess.Popen[str]) -> None:
    """Until it serves."""
    while server_here(folder, CLOCK, PROCESSES) is None:
        if server.poll() is not None:
            sys.exit(f"demo: the server ended with {server.returncode}")
        time.sleep(REFRESH / 4)


def watch(files: LeaseFiles, workers: dict[str, subprocess.Popen[bytes]]) -> None:
    """Show who holds what until all workers have ended, and say who ends how."""
    ended: set[str] = set()
    taken = False
    with Live(console=console, refresh_per_second=1 / REFRESH, transient=False) as live:
        end = time.monotonic() + LONGEST
        while len(ended) < len(workers) and time.monotonic() < end:
            shown, overdue = table(files, workers)
            live.update(shown)
            if overdue > 1 and not taken:  # what the picture is about
                taken = True
                picture.print(shown)
            for name, process in workers.items():
                if name not in ended and process.poll() is not None:
                    ended.add(name)
                    how = "finished" if process.returncode == 0 else f"ended by signal {-process.returncode}"
                    live.console.print(f"{name} (pid {process.pid}) {how}")
            time.sleep(REFRESH)
        shown, _ = table(files, workers)
        live.update(shown)
    if not console.is_terminal:
        console.print()  # where nothing is redrawn the table ends without one
    picture.print("", shown)


def table(files: LeaseFiles, workers: dict[str, subprocess.Popen[bytes]]) -> tuple[Table, float]:
    """One line a worker: what it holds, and how long it has left; and by how much the latest of them is overdue."""
    global seen_overdue
    overdue = 0.0
    names, _ = files.listed()
    leases = [lease for name in names if (lease := read(files, name)) is not None and lease.status.held]
    shown = Table("worker", "pid", "holds", "acquired", "time left", box=None, padding=(0, 2))
    for name, process in workers.items():
        held = [lease for lease in leases if lease.worker.pid == process.pid]
        if process.poll() is not None:
            shown.add_row(name, str(process.pid), "[dim]finished[/]" if process.returncode == 0 else "[red]reaped[/]")
        elif not held:
            shown.add_row(name, str(process.pid), "[dim]nothing[/]")
        for lease in held if process.poll() is None else ():
            left = lease.status.deadline - time.monotonic()
            seen_overdue |= left < 0
            overdue = max(overdue, -left)
            style = "bold red" if left < 0 else "green"
            words = f"overdue by {brief(-left)}" if left < 0 else brief(left)
            shown.add_row(name, str(process.pid), lease.scope, str(lease.status.acquired), f"[{style}]{words}[/]")
    return shown, overdue


def read(files: LeaseFiles, name: str) -> Lease | None:
    """A lease, unless it goes away just now."""
    try:
        return files.verdict(name)
    except (OSError, LeaseUnreadable):
        return None


def wait_for_records(folder: Path) -> dict[Path, dict[str, Any]]:
    """The records, once the last is complete; after some seconds whatever there is."""
    records: dict[Path, dict[str, Any]] = {}
    for _ in range(50):
        records = {path: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
        if records and all(record["outcome"] != "pending" for record in records.values()):
            break
        time.sleep(REFRESH)
    return records


def check(
    workers: dict[str, subprocess.Popen[bytes]], records: dict[Path, dict[str, Any]], server: int, folder: Folder
) -> list[str]:
    """What did not happen as promised."""
    stuck = workers[f"worker {STUCK}"]
    others = [process.returncode for process in workers.values() if process is not stuck]
    promised = {
        "the stuck worker was seen overdue": seen_overdue,
        "it ended by SIGKILL, having ignored SIGTERM": stuck.returncode == -9,
        "the others finished": others == [0] * (WORKERS - 1),
        "one record was left, of the stuck worker, as reaped": [
            (record["pid"], record["outcome"], record["scope"]) for record in records.values()
        ]
        == [(stuck.pid, "reaped", "all_reduce")],
        "no lease was left behind": not LeaseFiles(folder).listed()[0],
        "the server ended cleanly": server == 0,
    }
    return [promise for promise, kept in promised.items() if not kept]


def show(path: Path, record: dict[str, Any]) -> None:
    """What a person wants to know of a record, and where it is."""
    tell(
        f"\n[bold]post-mortem[/] {record['scope']} of pid {record['pid']}: {record['outcome']}, "
        f"acquired {record['count']} times, noticed {record['overdue'] * 1e3:.1f} ms after its deadline"
    )
    for sent in record["signals"]:
        tell(f"  {sent['name']} {brief(sent['time'] - record['expires'])} after the deadline")
    tell(f"  gone {brief(record['gone'] - record['expires'])} after the deadline")
    console.print(f"  {path}", soft_wrap=True)
    picture.print(f"  …/postmortem/{path.name}")


def leave(number: int, _: FrameType | None) -> None:
    """A terminal that was closed, or somebody who ends the demo, leaves no process behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, leave)
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
