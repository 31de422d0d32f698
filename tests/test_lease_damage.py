"""A lease file that was damaged, or made on purpose: never a sound lease, never another error."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leasetimer.errors import LeaseNewer, LeaseTorn, LeaseUnreadable
from leasetimer.lease import (
    PAGE,
    WIDTH,
    Status,
    read_lease,
    read_status,
    write_lease,
    write_status,
)
from leasetimer.names import file_name
from sound import (
    FIELDS,
    JSON,
    SOUND,
    STATUS,
    identity,
    lease_saying,
    lease_with,
    read,
)

# -- damage


def test_a_flipped_bit_is_told() -> None:
    """Not one bit of the file can flip unnoticed, but in a blank before the checksum, where nothing changes."""
    sound = read(SOUND)
    for place in range(len(SOUND) * 8):
        damaged = bytearray(SOUND)
        damaged[place // 8] ^= 1 << place % 8
        try:
            lease = read(bytes(damaged))
        except LeaseUnreadable:
            continue
        assert lease == sound, place


def test_a_file_cut_off_anywhere_is_told() -> None:
    """As a full disk or a crash may leave it."""
    for length in range(len(SOUND)):
        with pytest.raises(LeaseUnreadable):
            read(SOUND[:length])


@given(st.binary(min_size=1, max_size=200))
@example(b"\n")
@example(b"\0" * 100)
@example(SOUND)
def test_a_file_with_something_behind_is_told(rest: bytes) -> None:
    """The checksum covers all of the file, not only what is understood."""
    with pytest.raises(LeaseUnreadable):
        read(SOUND + rest)


@pytest.mark.parametrize(
    "after",
    [
        STATUS._replace(seq=8, deadline=2_000.0),
        STATUS._replace(held=False, seq=8),
        STATUS._replace(seq=999_999, acquired=123_456),
    ],
    ids=["renewed", "released", "acquired"],
)
def test_a_status_written_half_way_is_never_taken(after: Status) -> None:
    """Wherever a write is caught, it reads as what was there before, as what comes after, or as unreadable."""
    new = write_lease(after, identity())
    for split in range(WIDTH + 1):
        for mixed in (new[:split] + SOUND[split:], SOUND[:split] + new[split:]):
            try:
                lease = read(mixed)
            except LeaseUnreadable:
                continue
            assert lease in (read(SOUND), read(new))


@pytest.mark.parametrize(
    "after", [STATUS._replace(seq=8), STATUS._replace(held=False, seq=8)], ids=["renewed", "released"]
)
def test_a_status_written_half_way_reads_as_torn(after: Status) -> None:
    """Torn is what is read again at once: a release caught half-way is no reason to report a bad file."""
    new = write_lease(after, identity())
    for split in range(WIDTH + 1):
        for mixed in (new[:split] + SOUND[split:], SOUND[:split] + new[split:]):
            if mixed not in (SOUND, new):
                with pytest.raises(LeaseTorn):
                    read(mixed)


def test_a_status_over_another_identity_is_told() -> None:
    """The checksum ties the two lines together: a deadline never reaches another worker's name."""
    other = write_lease(STATUS, identity(scope="other"))
    with pytest.raises(LeaseTorn, match="wrong checksum"):
        read(other[:WIDTH] + SOUND[WIDTH:])


@given(st.binary(max_size=PAGE + 100))
@example(b"")
@example(b"\n" * PAGE)
def test_noise_is_no_lease(data: bytes) -> None:
    """Whatever stands in a lease's place, reading it ends in a lease or in one error."""
    with pytest.raises(LeaseUnreadable):
        read(data)


@given(st.binary(max_size=300))
@example(b"[" * 3000)
@example(b'{"a":' * 700)
@example(b"\xff\xfe{")
@example(b"1" * 3000)
@example(b'{"pid":' + b"1" * 3000 + b"}")
@example(b"null")
@example(b"NaN")
def test_noise_under_a_right_checksum_is_no_lease(line: bytes) -> None:
    """Somebody who writes a file with a good checksum gets no further than one who doesn't."""
    with pytest.raises(LeaseUnreadable):
        read(lease_with(line + b"\n"))


def test_a_file_longer_than_its_page_is_refused() -> None:
    """Nobody needs to read 10 MiB to know that it is no lease."""
    line = json.dumps(FIELDS | {"more": "x" * (PAGE - len(SOUND) - 10)}, separators=(",", ":")).encode() + b"\n"
    assert len(lease_with(line)) == PAGE
    assert read(lease_with(line)).scope == "train"
    with pytest.raises(LeaseUnreadable, match="longer than 4096 bytes"):
        read(lease_with(line[:-3] + b'x"}\n'))


# -- a sound checksum, a bad content


@pytest.mark.parametrize("pid", [0, 1, -1, -4242, (1 << 22) + 1, 10**30, True, None, 4242.0, "4242", [4242]])
def test_a_pid_that_may_not_be_signalled_is_refused(pid: object) -> None:
    """0 is one's own group, -1 everybody, 1 init: no lease names them, also where its name agrees."""
    with pytest.raises(LeaseUnreadable, match=r"is none that holds a lease|is of the wrong kind"):
        read_lease(f"node1,{pid},train.lease", lease_saying(pid=pid), 1000)


IMPOSSIBLE: dict[str, Sequence[object]] = {
    "signal": [0, -9, 65, 10**30, True, None, 9.0, "KILL"],
    "grace": [-1, math.nan, math.inf, -math.inf, 2e9, True, None, "10"],
    "tree": [0, 1, None, "yes"],
    "scope": ["", None, 5, True, ["train"]],
    "host": ["", "node2", None, 5],
    "boot": [None, 5, []],
    **dict.fromkeys(["start", "pidns", "timens", "uid"], (None, True, 1.5, "5", [])),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in IMPOSSIBLE.items() for value in values],
    ids=str,
)
def test_a_field_that_can_not_be_is_refused(field: str, value: object) -> None:
    """A wrong type is never converted, a number out of range is never clipped."""
    with pytest.raises(LeaseUnreadable):
        read(lease_saying(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("grace", 10**400), ("scope", "\ud800"), ("schema", True), ("schema", 1.0)],
    ids=["huge grace", "half a surrogate", "true schema", "fractional schema"],
)
def test_a_field_made_to_trip_the_reader_is_refused(field: str, value: object) -> None:
    """A file that somebody made on purpose is one bad file, not a failed turn of the server."""
    with pytest.raises(LeaseUnreadable):
        read(lease_saying(**{field: value}))


def test_a_number_too_big_for_a_float_is_refused() -> None:
    """1e400 is infinity to JSON."""
    line = json.dumps(FIELDS).replace('"grace": 2.5', '"grace": 1e400').encode() + b"\n"
    with pytest.raises(LeaseUnreadable, match="grace inf is out of range"):
        read(lease_with(line))


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "schema"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    """The report says what the lease lacks."""
    line = json.dumps({key: value for key, value in FIELDS.items() if key != field}).encode() + b"\n"
    with pytest.raises(LeaseUnreadable, match=f"the identity lacks '{field}'"):
        read(lease_with(line))


@given(st.sampled_from(list(FIELDS)), JSON)
def test_any_value_anywhere_ends_in_a_lease_or_one_error(field: str, value: object) -> None:
    """No content of a field makes the reader fail otherwise."""
    data = lease_saying(**{field: value})
    try:
        assert read(data).identity.fields[field] == value
    except LeaseUnreadable:
        assert FIELDS[field] != value or isinstance(value, bool | float)


@pytest.mark.parametrize("schema", [2, 999, 10**30])
def test_a_newer_schema_is_said_to_be_newer(schema: int) -> None:
    """Reported, never guessed at; also where its status line is another."""
    with pytest.raises(LeaseNewer, match=f"schema {schema} is newer than 1"):
        read(lease_saying(schema=schema))
    with pytest.raises(LeaseNewer):
        read(b"x" * (WIDTH - 1) + b"\n" + json.dumps({"schema": schema}).encode() + b"\n")


@pytest.mark.parametrize("schema", [0, -1, None, "1", 1.5, [], math.nan])
def test_a_schema_that_is_none_is_refused(schema: object) -> None:
    """A lease says which schema it has."""
    with pytest.raises(LeaseUnreadable, match="schema"):
        read(lease_saying(schema=schema))


def test_fields_it_does_not_know_are_kept() -> None:
    """A later version may say more in the same schema."""
    assert read(lease_saying(colour={"deep": [1]})).identity.fields["colour"] == {"deep": [1]}


def test_of_a_key_given_twice_the_last_counts() -> None:
    """Name and content are compared by what is then acted on, so no other pid can hide behind the first."""
    line = json.dumps(FIELDS).encode()
    assert read(lease_with(b'{"pid":9999,' + line[1:] + b"\n")).worker.pid == 4242
    with pytest.raises(LeaseUnreadable, match="name and content disagree"):
        read(lease_with(line[:-1] + b',"pid":9999}\n'))


@pytest.mark.parametrize(
    "name",
    [file_name("node1", 4243, "train"), file_name("node2", 4242, "train"), file_name("node1", 4242, "other"), "x"],
)
def test_a_name_that_says_otherwise_is_refused(name: str) -> None:
    """A lease copied to another name is not that other worker's."""
    with pytest.raises(LeaseUnreadable):
        read_lease(name, SOUND, 1000)


@pytest.mark.parametrize(("expires", "deadline"), [(2e10, 5.0), (5.0, 2e10)])
def test_a_time_out_of_range_is_refused(expires: float, deadline: float) -> None:
    """A deadline 600 years away guards nothing."""
    line = (
        write_status(STATUS, 0)
        .replace(b"1700000060.250", b"%14.2f" % expires)
        .replace(b"       1060.500000", b"%18.6f" % deadline)
    )
    body = line[: line.rindex(b',"crc"')]
    with pytest.raises(LeaseUnreadable, match="out of range"):
        read_status(body + b',"crc":%10d}\n' % crc32(body, 0))
