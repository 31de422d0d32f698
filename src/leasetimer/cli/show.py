"""``leasetimer show``: a lease or a record, in full."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from typing import Any, NamedTuple

import click

from ..clock import CLOCK
from ..errors import LeaseUnreadable
from ..lease import WIDTH, Lease, read_lease
from ..names import file_name, split_dotted, split_name
from ..postmortem import SCHEMA
from ..process import PROCESSES, signal_name
from .options import brief, json_option, print_json, visible

LONGEST = 1 << 22
"""Bytes of a record that are read: one lists a worker's other leases, and its tree, so it may be longer than a page."""
UNREADABLE = 8
TIMES = frozenset(["since", "expires", "noticed", "gone", "time"])
SPANS = frozenset(["overdue", "grace", "after"])


class Document(NamedTuple):
    """A lease or a record as read: its fields, and what a person should know of it beside them."""

    kind: str
    fields: dict[str, Any]
    notes: list[str]


@click.command(short_help="Show lease files or records in full.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(readable=False))
@json_option
def command(files: tuple[str, ...], as_json: bool) -> None:
    """Show each FILE, a lease or a post-mortem record, in full, also one that was copied elsewhere.

    A file that is neither is named on stderr; the exit code is then 8, and the others are shown all the same.
    """
    unreadable = False
    for number, file in enumerate(files):
        try:
            document = read(file)
        except (OSError, LeaseUnreadable) as error:
            problem = getattr(error, "strerror", None) or str(error)
            click.echo(f"leasetimer: {visible(file)}: {visible(problem)}", err=True)
            unreadable = True
            continue
        if as_json:
            print_json({"file": file, "kind": document.kind, **document.fields})
            continue
        if number:
            click.echo()
        click.echo(f"{document.kind} {visible(file)}")
        for line in [*document.notes, *lines(document.fields)]:
            click.echo(f"  {line}")
    if unreadable:
        sys.exit(UNREADABLE)


def read(path: str) -> Document:
    """What stands in a file. Raises ``LeaseUnreadable`` for what is neither lease nor record, or ``OSError``."""
    data, owner = _contents(path)
    if data.startswith(b'{"state"'):
        return _lease(os.path.basename(path), data, owner)
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or "outcome" not in fields:
        raise LeaseUnreadable("neither a lease nor a record")
    schema = fields.get("schema")
    newer = isinstance(schema, int) and schema > SCHEMA
    notes = [f"written by a newer leasetimer (schema {schema}): some of it may mean something else"] if newer else []
    return Document("record", fields, notes)


def _contents(path: str) -> tuple[bytes, int]:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)  # a FIFO must not block it
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise LeaseUnreadable("not a regular file")
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise LeaseUnreadable(f"longer than {LONGEST} bytes")
    return data, found.st_uid


def _lease(name: str, data: bytes, owner: int) -> Document:
    dotted = split_dotted(name)
    named = dotted.lease if dotted else name.removesuffix(".copy")
    notes = []
    try:
        lease = read_lease(named, data, owner)
    except LeaseUnreadable:
        lease = read_lease(_own_name(data), data, owner)  # again: what is wrong with it apart from its name is raised
        try:
            split_name(named)
            notes.append("its name says something else: where it lies, it is skipped")
        except LeaseUnreadable:
            notes.append("not under the name of a lease: whether name and content agree was not looked at")
    return Document(
        "lease", {"owner": owner, **lease.status.fields(), **lease.identity.fields}, [_stand(lease), *notes]
    )


def _own_name(data: bytes) -> str:
    """The name that a lease of that content has."""
    try:
        fields = json.loads(data[WIDTH:])
        return file_name(fields["host"], fields["pid"], fields["scope"])
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ""


def _stand(lease: Lease) -> str:
    """How it stands now. The monotonic deadline is worth something on its own boot only."""
    if not lease.status.held:
        return "released"
    if lease.worker.boot == PROCESSES.boot() and lease.identity.timens == PROCESSES.namespace("time"):
        left = lease.status.deadline - CLOCK.monotonic()
    else:
        left = lease.status.expires - CLOCK.now()
    return f"held, {brief(left)} left" if left > 0 else f"overdue by {brief(-left)}"


def lines(fields: dict[str, Any], indent: str = "") -> list[str]:
    """Every field on a line of its own, what it holds below it, for a person."""
    width = max((len(str(key)) for key in fields), default=0)
    found = []
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            found += [f"{indent}{visible(key)}", *lines(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            found.append(f"{indent}{visible(key)}")
            found += [
                f"{indent}  - {'  '.join(f'{visible(k)}={_plain(k, v)}' for k, v in one.items())}" for one in value
            ]
        else:
            found.append(f"{indent}{visible(key):{width}}  {_plain(key, value)}")
    return found


def _plain(key: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and key in TIMES and 0 < value < 1e11:
        day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
        return f"{day}.{int(value % 1 * 1000):03d} {time.strftime('%z', time.localtime(value))}"
    if number and key in SPANS:
        return brief(value)
    if key == "signal" and type(value) is int and value in signal.valid_signals():
        return f"{value} ({signal_name(value)})"
    if isinstance(value, list):
        return " ".join(_plain("", one) for one in value) or "-"
    if value is None or value in ({}, ""):
        return "-"
    return visible(str(value))
