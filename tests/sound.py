"""A sound lease, and how to make one that is not."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from leasetimer.lease import Lease, Status, Worker, read_lease, write_identity, write_lease
from leasetimer.names import file_name

WORKER = Worker("node1", "b007", 4026531836, 4242, 500)
STATUS = Status(True, 7, 3, 1_700_000_000.125, 1_700_000_060.25, 1_060.5)
NAME = file_name("node1", 4242, "train")
CHARACTERS = st.one_of(st.characters(codec="utf-8"), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
TIMES = st.floats(0, 9.9e9)
STATUSES = st.builds(Status, st.booleans(), st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1), TIMES, TIMES, TIMES)
WORKERS = st.builds(
    Worker,
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,79}", fullmatch=True),
    st.text("0123456789abcdef-", max_size=36),
    st.integers(0, 1 << 32),
    st.integers(2, 1 << 22),
    st.integers(0, 1 << 63),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


def identity(worker: Worker = WORKER, scope: str = "train", told: dict[str, Any] | None = None) -> bytes:
    return write_identity(worker, scope, timens=4026531834, uid=1000, signal=15, grace=2.5, tree=True, facts=told or {})


FIELDS = json.loads(identity())
SOUND = write_lease(STATUS, identity())


def lease_with(line: bytes) -> bytes:
    """A lease whose checksum is right, whatever its identity line says."""
    return write_lease(STATUS, line)


def lease_saying(**fields: Any) -> bytes:
    return lease_with(json.dumps(FIELDS | fields).encode() + b"\n")


def read(data: bytes) -> Lease:
    return read_lease(NAME, data, 1000)
