"""``leasetimer clear``: removes what belongs to nobody."""

from __future__ import annotations

import sys
import threading

import click

from ..clock import CLOCK
from ..directory import Folder, hosts, root_path
from ..errors import BadValue, ServerRefused
from ..exclusive import Exclusive
from ..overview import server_of
from ..presence import live_server
from ..process import PROCESSES, host_id
from ..sweep import Left, Sweep, Swept
from .options import DURATION, brief, directory_option, json_option, print_json, visible

FAILED = 5


@click.command(short_help="Remove what belongs to nobody.")
@click.option("--older-than", type=DURATION, help="Records noticed longer ago than that, too. Without it, no records.")
@click.option("--host", metavar="HOST", help="Of another host. It takes --lost.")
@click.option("--lost", is_flag=True, help="That other host is gone for good, and nothing runs on it any more.")
@click.option("--dry-run", is_flag=True, help="Change nothing, only say what would be removed.")
@directory_option
@json_option
def command(
    older_than: float | None, host: str | None, lost: bool, dry_run: bool, directory: str | None, as_json: bool
) -> None:
    """Remove what belongs to nobody on this host: leases of dead workers and other boots, and leftovers.

    A lease that was held gets its post-mortem record first. A living worker's lease is never removed. Where a server
    serves this host, it does all this itself: then only old records are looked at.
    """
    root = root_path(directory)
    here = host_id()
    name = here if host is None else host
    present = hosts(root)
    if host is not None and host not in present:
        raise BadValue(f"host must be one of {root}, which has {', '.join(present) or 'none'}; got {host!r}")
    if name == here and lost:
        raise BadValue(f"--lost is for another host, got --host {name}, which is this one")
    if name != here and not lost:
        raise BadValue(f"--host {name} is not this host ({here}): it takes --lost, if nothing runs on it any more")
    folder = Folder(root, name)
    sweep = Sweep(folder, lost=lost, dry=dry_run)
    served = False
    if lost:
        _sweep_lost(sweep)
    elif name in present:
        served = _sweep_here(sweep)
    if older_than is not None:
        sweep.records(older_than, pending=not served)
    if served:
        click.echo(f"leasetimer: a server serves {name} and clears its leases itself: only old records", err=True)
    for swept in sweep.done:
        _say(name, swept, dry_run, as_json)
    if not sweep.done and not as_json:
        click.echo(f"nothing to clear for host {name} in {root}")
    for left in sweep.left:
        _say_left(folder, left)
    if any(left.failed for left in sweep.left):
        sys.exit(FAILED)


def _sweep_here(sweep: Sweep) -> bool:
    """Sweep this host's leases, unless a server serves it; whether one does."""
    if live_server(sweep.folder, CLOCK, PROCESSES):
        return True
    if sweep.dry:
        sweep.leases()
        return False
    lock = Exclusive(sweep.folder, CLOCK, PROCESSES)
    try:
        lock.take(threading.Event())
    except ServerRefused:
        if live_server(sweep.folder, CLOCK, PROCESSES):
            return True  # started right now
        raise
    try:
        sweep.leases()
    finally:
        lock.free()
    return False


def _sweep_lost(sweep: Sweep) -> None:
    server = server_of(sweep.folder)
    if server.state == "serving" and server.beat_age is not None:
        raise ServerRefused(f"host {sweep.folder.host} is not lost: its server beat {brief(server.beat_age)} ago")
    sweep.leases()
    if not sweep.left:
        sweep.presence()


def _say(host: str, swept: Swept, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"host": host, "removed": not dry_run, **swept._asdict()})
        return
    record = f", record {visible(swept.record)}" if swept.record else ""
    verb = "would remove" if dry_run else "removed"
    click.echo(f"{verb} {swept.kind} {visible(swept.file)}: {swept.why}{record}")


def _say_left(folder: Folder, left: Left) -> None:
    click.echo(f"leasetimer: left alone: {visible(folder.join(left.file))}: {visible(left.why)}", err=True)
