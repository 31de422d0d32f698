"""A lease file's name and content: two lines of JSON, the status and the identity. Pure: bytes in, bytes out.

The status line has a fixed width, because it is rewritten in place; its checksum covers it and the identity, so that a
write caught half-way, a flipped bit and a status under somebody else's identity are all told.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from zlib import crc32

from .clock import LONGEST, Clock
from .errors import BadValue, LeaseNewer, LeaseTorn, LeaseUnreadable
from .names import check_scope, file_name, fit_scope, split_name

SCHEMA = 1
PAGE = 4096
"""A lease is at most this long, in bytes: one page, so that it is read and written as a whole."""

HELD = b'{"state":"held",    "seq":%16d,"count":%12d,"since":%14.3f,"expires":%14.3f,"deadline":%18.6f'
RELEASED = b'{"state":"released","seq":%16d%b'
"""A released status keeps what the held one said from ``TIMES`` on, so that it is cheap to write."""
CHECKSUM = b',"crc":%10d}\n'
TIMES = len(RELEASED % (1, b""))
WIDTH = len(HELD % (1, 1, 1, 1, 1) + CHECKSUM % 1)
"""Bytes of the status line, its newline included."""


def first_seq(clock: Clock) -> int:
    """The seq that a lease made anew starts above: the clock's, in microseconds, which is faster than one can write.

    So it is above all that the same process has written before: under a scope forgotten since, before an ``exec``, by
    commands of a shell. The highest seq is the newest, also where a moved file of the past still lies about.
    """
    return int(clock.monotonic() * 1e6)


class Worker(NamedTuple):
    """Who holds a lease: never a bare pid. ``start`` is in clock ticks since boot (field 22 of /proc/PID/stat)."""

    host: str
    boot: str
    pidns: int
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Status(NamedTuple):
    """The first line. Times in seconds: ``since`` and ``expires`` since the epoch, ``deadline`` monotonic.

    ``acquired`` is how often it was acquired, the worker's progress: ``count`` in the file.
    """

    held: bool
    seq: int
    acquired: int
    since: float
    expires: float
    deadline: float

    def fields(self) -> dict[str, Any]:
        """As the file and the records name them."""
        state = "held" if self.held else "released"
        names = ("seq", "count", "since", "expires", "deadline")
        return {"state": state, **dict(zip(names, self[1:], strict=True))}


class Identity(NamedTuple):
    """The second line. ``grace`` in seconds; ``fields`` is all of it, with what this version doesn't know."""

    worker: Worker
    timens: int
    uid: int
    scope: str
    signal: int
    grace: float
    tree: bool
    fields: dict[str, Any]


class Lease(NamedTuple):
    """A lease as read from a file of that ``name``, whose owner the file system shows as ``owner`` (a uid)."""

    name: str
    owner: int
    status: Status
    identity: Identity

    @property
    def worker(self) -> Worker:
        """Who holds it."""
        return self.identity.worker

    @property
    def scope(self) -> str:
        """The guarded block."""
        return self.identity.scope


def write_identity(
    worker: Worker, scope: str, *, timens: int, uid: int, signal: int, grace: float, tree: bool, facts: dict[str, Any]
) -> bytes:
    """The identity line. ``facts`` (argv, rank, Slurm) is cut, the longest first, until the lease fits its page."""
    import json

    fields = {
        "schema": SCHEMA,
        "host": worker.host,
        "pid": worker.pid,
        "start": worker.start,
        "boot": worker.boot,
        "pidns": worker.pidns,
        "timens": timens,
        "uid": uid,
        "scope": fit_scope(scope),
        "signal": signal,
        "grace": grace,
        "tree": tree,
        **facts,
    }
    while len(line := json.dumps(fields, separators=(",", ":")).encode() + b"\n") > PAGE - WIDTH:
        longest = max(facts, key=lambda key: len(json.dumps(fields[key])))
        value = fields[longest]
        if not value:
            raise LeaseUnreadable(f"identity of {len(line)} bytes does not fit {PAGE - WIDTH}")
        # argv, the only list, loses its last half; anything else is dropped whole
        fields[longest] = value[: len(value) // 2] if isinstance(value, (list, str)) else None
    return line


def write_status(status: Status, identity_crc: int) -> bytes:
    """The status line, for an identity line whose ``crc32`` is ``identity_crc``."""
    body = HELD % status[1:]
    if not status.held:
        body = RELEASED % (status.seq, body[TIMES:])
    return body + CHECKSUM % crc32(body, identity_crc)


def write_lease(status: Status, identity: bytes) -> bytes:
    """The whole file."""
    return write_status(status, crc32(identity)) + identity


_STATUS_LINE = re.compile(
    rb'\{"state":"(held|released)", *"seq": *(\d{1,16}),"count": *(\d{1,12}),"since": *(\d+\.\d+),'
    rb'"expires": *(\d+\.\d+),"deadline": *(\d+\.\d+),"crc": *(\d{1,10})\}\n'
)


def read_status(data: bytes) -> Status:
    """The status in the first line of a lease file, its checksum tried.

    Raises ``LeaseTorn`` where the checksum is wrong, ``LeaseUnreadable`` where it is no status line at all.
    """
    line = _STATUS_LINE.fullmatch(data[:WIDTH])
    if not line:
        raise LeaseTorn(f"no status line in {data[:40]!r}")  # a release caught half-way may look so
    state, seq, count, since, expires, deadline, crc = line.groups()
    if crc32(data[: data.rindex(b',"crc"', 0, WIDTH)], crc32(data[WIDTH:])) != int(crc):
        raise LeaseTorn("wrong checksum")
    status = Status(state == b"held", int(seq), int(count), float(since), float(expires), float(deadline))
    if max(status.expires, status.deadline) > 10 * LONGEST:
        raise LeaseUnreadable(f"expires {status.expires} is out of range")
    return status


def read_lease(name: str, data: bytes, owner: int) -> Lease:
    """The lease in a file of that name (its lease name, not a moved one) and content.

    Raises ``LeaseUnreadable`` (or ``LeaseTorn``, ``LeaseNewer``), whose message says what is wrong with it.
    """
    if len(data) > PAGE:
        raise LeaseUnreadable(f"longer than {PAGE} bytes")
    if len(data) <= WIDTH:
        raise LeaseUnreadable(f"{len(data)} bytes are too short")
    if data[-1:] != b"\n":
        raise LeaseTorn("cut off")
    identity = _read_identity(data[WIDTH:])  # first: a newer schema may have another status line
    status = read_status(data)
    worker = identity.worker
    if (worker.host, worker.pid) != split_name(name)[:2] or file_name(worker.host, worker.pid, identity.scope) != name:
        raise LeaseUnreadable(f"name and content disagree: it says host={worker.host!r} pid={worker.pid}")
    return Lease(name, owner, status, identity)


def _read_identity(line: bytes) -> Identity:
    import json

    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LeaseTorn(f"no identity line: {error}") from None
    if not isinstance(fields, dict):
        raise LeaseUnreadable("the identity is no object")
    schema = fields.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise LeaseNewer(f"schema {schema} is newer than {SCHEMA}, which this version reads")
    if type(schema) is not int or schema != SCHEMA:
        raise LeaseUnreadable(f"schema {schema!r} is none")
    try:
        worker = Worker(
            _of(fields, "host", str),
            _of(fields, "boot", str),
            _of(fields, "pidns", int),
            _pid(fields),
            _of(fields, "start", int),
        )
        grace = _of(fields, "grace", (int, float))
        if not 0 <= grace <= LONGEST:  # before float(), which an int of 400 digits overflows
            raise LeaseUnreadable(f"grace {grace} is out of range")
        identity = Identity(
            worker,
            _of(fields, "timens", int),
            _of(fields, "uid", int),
            check_scope(_of(fields, "scope", str)),
            _of(fields, "signal", int),
            float(grace),
            _of(fields, "tree", bool),
            fields,
        )
    except KeyError as missing:
        raise LeaseUnreadable(f"the identity lacks {missing}") from None
    except BadValue as bad:
        raise LeaseUnreadable(str(bad)) from None
    if not 0 < identity.signal < 65:
        raise LeaseUnreadable(f"signal {identity.signal} is none")
    return identity


def _of(fields: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    value = fields[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise LeaseUnreadable(f"{key} {value!r} is of the wrong kind")
    return value


def _pid(fields: dict[str, Any]) -> int:
    """A pid that may be signalled: never 0 (one's own group), negative (a group), 1, or past PID_MAX_LIMIT."""
    pid: int = _of(fields, "pid", int)
    if not 1 < pid <= 1 << 22:
        raise LeaseUnreadable(f"pid {pid} is none that holds a lease")
    return pid
