"""``leasetimer ls``: who holds what, on every host of a directory."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..directory import root_path
from ..overview import Holding, Host, Server, overview
from ..process import host_id
from .options import brief, brief_scope, directory_option, json_option, print_json, visible

HEADINGS = ("SCOPE", "WORKER", "STATE", "TIME", "COUNT", "SERVER")
STYLES = {"overdue": "bold red", "held": "green", "released": "dim"}


@click.command(short_help="List the leases of all hosts.")
@click.option("--host", metavar="HOST", help="Of this host only.")
@click.option("--state", type=click.Choice(["held", "released", "overdue"]), help="In this state only.")
@directory_option
@json_option
def command(host: str | None, state: str | None, directory: str | None, as_json: bool) -> None:
    """List the leases of all hosts in the directory, the most urgent first.

    COUNT is how often a lease was acquired. For this host, times and servers are exact; of others it says what their
    files say, by this host's clock. What can't be read is named on stderr.
    """
    root = root_path(directory)
    found = overview(root, host)
    rows = [(of, holding) for of in found for holding in of.holdings if state in (None, holding.state)]
    if as_json:
        for of, holding in rows:
            print_json(as_fields(of, holding))
    else:
        _print(rows)
        if not rows:
            click.echo(f"no {state + ' ' if state else ''}leases in {root}")
        for line in _remarks(found, rows):
            click.echo(line)
    unread = [one for of in found for one in of.unread]
    if unread:
        click.echo(f"leasetimer: {len(unread)} not read:", err=True)
    for one in unread:
        click.echo(f"leasetimer: {visible(one.path)}: {visible(one.problem)}", err=True)


def as_fields(host: Host, holding: Holding) -> dict[str, Any]:
    """A lease as ``--json`` shows it."""
    lease, status = holding.lease, holding.lease.status
    return {
        "host": host.name,
        "pid": lease.worker.pid,
        "scope": lease.scope,
        "state": holding.state,
        "left": None if holding.state == "released" else round(holding.left, 3),
        "count": status.acquired,
        "since": status.since,
        "expires": status.expires,
        "alive": holding.alive,
        "server": host.server.state,
        "beat_age": None if host.server.beat_age is None else round(host.server.beat_age, 3),
        "file": lease.name,
    }


def as_row(host: Host, holding: Holding) -> tuple[str, ...]:
    """A lease as a line of the table."""
    lease = holding.lease
    worker = f"{lease.worker} (dead)" if holding.alive is False else str(lease.worker)
    time = "-"
    if holding.state != "released":
        time = f"{brief(holding.left)} left" if holding.left > 0 else f"{brief(-holding.left)} over"
    return (
        brief_scope(lease.scope),
        worker,
        holding.state,
        time,
        str(lease.status.acquired),
        describe(host.server),
    )


def describe(server: Server) -> str:
    """A server's state, with the age of its last beat where that is all one knows of it."""
    if server.beat_age is None or server.state in ("stopped", "killed") or (server.exact and server.state == "serving"):
        return server.state
    if server.beat_age < 0:
        return f"{server.state} (beat {brief(-server.beat_age)} ahead)"
    return f"{server.state} (beat {brief(server.beat_age)} ago)"


def _remarks(found: list[Host], rows: list[tuple[Host, Holding]]) -> list[str]:
    shown = {host.name for host, _ in rows}
    lines = [
        f"{host.name}: {'none of these' if host.holdings else 'no leases'}, server {describe(host.server)}"
        for host in found
        if host.name not in shown and host.server.state != "none"
    ]
    here = host_id()
    if any(host.name != here and (host.holdings or host.server.beat_age is not None) for host in found):
        lines.append(f"Times and beats of other hosts are by the clock of {here}.")
    return lines


def _print(rows: list[tuple[Host, Holding]]) -> None:
    if not rows:
        return
    lines = [as_row(*row) for row in rows]
    if sys.stdout.isatty():
        _print_table(lines)
        return
    widths = [max(len(line[column]) for line in [HEADINGS, *lines]) for column in range(len(HEADINGS))]
    for line in [HEADINGS, *lines]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_table(lines: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold", justify="right" if heading in ("TIME", "COUNT") else "left")
    for line in lines:
        style = STYLES[line[2]]
        table.add_row(*[Text(cell, style=style if cell is line[2] else "") for cell in line])
    Console().print(table)
