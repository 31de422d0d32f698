"""A lease file's content: what is written is read, and fits its page."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leasetimer.errors import LeaseUnreadable
from leasetimer.facts import facts
from leasetimer.lease import (
    PAGE,
    WIDTH,
    Status,
    Worker,
    read_lease,
    write_identity,
    write_lease,
    write_status,
)
from leasetimer.names import file_name, fit_scope
from sound import (
    CHARACTERS,
    FIELDS,
    SOUND,
    STATUS,
    STATUSES,
    WORKER,
    WORKERS,
    identity,
    lease_with,
    read,
)

# -- what is written is read


@given(WORKERS, STATUSES, st.text(CHARACTERS, min_size=1, max_size=60), st.sampled_from(range(1, 65)), st.booleans())
def test_what_is_written_is_read(worker: Worker, status: Status, scope: str, signal: int, tree: bool) -> None:
    """Every field comes back; times to the millisecond, the deadline to the microsecond."""
    line = write_identity(worker, scope, timens=5, uid=1, signal=signal, grace=0.5, tree=tree, facts={})
    lease = read_lease(file_name(worker.host, worker.pid, scope), write_lease(status, line), 77)
    assert lease.status[:3] == status[:3]
    assert lease.status[3:5] == pytest.approx(status[3:5], abs=0.00051, rel=0)
    assert lease.status.deadline == pytest.approx(status.deadline, abs=0.000002, rel=0)
    assert (lease.worker, lease.scope, lease.owner) == (worker, scope, 77)
    assert (lease.identity.timens, lease.identity.uid, lease.identity.grace) == (5, 1, 0.5)
    assert (lease.identity.signal, lease.identity.tree) == (signal, tree)


@given(STATUSES)
def test_every_status_is_as_wide_as_any_other(status: Status) -> None:
    """It is rewritten in place: neither a longer nor a shorter one may leave a rest behind."""
    line = write_status(status, 0)
    assert len(line) == WIDTH
    assert line.endswith(b"\n")


def test_a_lease_is_two_lines_of_json() -> None:
    """``jq .`` and ``cat`` read it."""
    status, about = map(json.loads, SOUND.splitlines())
    assert list(status) == ["state", "seq", "count", "since", "expires", "deadline", "crc"]
    assert status == {
        "state": "held",
        "seq": 7,
        "count": 3,
        "since": 1_700_000_000.125,
        "expires": 1_700_000_060.25,
        "deadline": 1_060.5,
        "crc": status["crc"],
    }
    assert about == FIELDS
    assert FIELDS == {
        "schema": 1,
        "host": "node1",
        "pid": 4242,
        "start": 500,
        "boot": "b007",
        "pidns": 4026531836,
        "timens": 4026531834,
        "uid": 1000,
        "scope": "train",
        "signal": 15,
        "grace": 2.5,
        "tree": True,
    }


def test_the_released_line_keeps_the_times() -> None:
    """Who held it until when can still be read after the release."""
    released = read(write_lease(STATUS._replace(held=False, seq=8), identity()))
    assert released.status == STATUS._replace(held=False, seq=8)


def test_a_worker_is_named_by_host_and_pid() -> None:
    """That is how a person tells workers apart."""
    assert str(WORKER) == "node1:4242"


# -- it fits its page


@given(
    st.one_of(
        st.text(CHARACTERS, min_size=1, max_size=1500),
        st.builds(lambda character, n: character * n, CHARACTERS, st.integers(1, 10_000)),
    ),
    st.lists(st.text(CHARACTERS, max_size=300), max_size=60),
    st.dictionaries(
        st.sampled_from(["RANK", "WORLD_SIZE", "SLURM_JOB_ID", "SLURMD_NODENAME"]), st.text(CHARACTERS, min_size=100)
    ),
)
@example("\x01" * 1000, ["x" * 1_000_000], {})
@example("\x01" * 511, ["\x01"] * 100_000, {"RANK": "\x01" * 128})
@example("é" * 512, [], {})
@example("\U0001f600" * 256, [], {})
@example('"' * 1024, ["a"] * 3000, {})
def test_a_lease_fits_its_page(scope: str, argv: list[str], environ: dict[str, str]) -> None:
    """Whatever the scope, the command line and the environment are, and the scope is never what gives way."""
    worker = WORKER._replace(host="h" * 80, pid=1 << 22, start=(1 << 64) - 1, boot="f" * 36)
    data = write_lease(STATUS, identity(worker, scope, facts(argv, environ)))
    assert len(data) <= PAGE
    assert read_lease(file_name(worker.host, worker.pid, scope), data, 0).scope == fit_scope(scope)


def test_facts_that_fit_are_kept_whole() -> None:
    """Nothing is cut without need."""
    told = facts(["python", "train.py"], {"RANK": "3", "SLURM_JOB_ID": "9"})
    assert read(lease_with(identity(told=told))).identity.fields == FIELDS | told


def test_a_long_command_line_keeps_its_beginning() -> None:
    """The program is named first, and rank and job stay when arguments go."""
    told = facts(["python", "train.py", *["--option"] * 5000], {"RANK": "3"})
    fields = read(lease_with(identity(told=told))).identity.fields
    assert fields["argv"][:3] == ["python", "train.py", "--option"]
    assert fields["rank"] == {"rank": "3"}


def test_an_identity_that_can_not_fit_is_refused() -> None:
    """No lease is written that nobody could read."""
    with pytest.raises(LeaseUnreadable, match="does not fit"):
        identity(WORKER._replace(boot="b" * PAGE), told={"argv": []})
