"""``leasetimer show``."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from commands import call as call
from leasetimer.clock import CLOCK
from leasetimer.directory import Folder
from leasetimer.lease import Lease, Status, Worker, read_lease, write_identity, write_lease
from leasetimer.names import file_name
from leasetimer.postmortem import Incident
from leasetimer.process import PROCESSES


def put(root: Path, *, left: float = 600, held: bool = True, boot: str | None = None, **facts: Any) -> Path:
    worker = Worker("node", boot or PROCESSES.boot(), 1, 4242, 5)
    timens = PROCESSES.namespace("time")
    identity = write_identity(worker, "train", timens=timens, uid=7, signal=15, grace=90, tree=False, facts=facts)
    status = Status(held, 8, 3, 1.7e9, time.time() + left, max(0.0, time.monotonic() + left))
    folder = Folder(str(root), "node")
    name = file_name("node", 4242, "train")
    os.close(folder.publish(".new", name, write_lease(status, identity)))
    return Path(folder.join(name))


def read(path: Path) -> Lease:
    return read_lease(path.name, path.read_bytes(), 0)


def put_record(lease: Path) -> Path:
    incident = Incident(read(lease), "pending", CLOCK, overdue=0.75, others=[read(lease), read(lease)])
    incident.signalled(9)
    incident.end("reaped")
    path = lease.parent / incident.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(incident.record())
    return path


def test_a_lease_in_full(call: Command, tmp_path: Path) -> None:
    """How it stands, and every field, times and signals as a person reads them, also fields it does not know."""
    path = put(tmp_path, argv=["python", "train.py"], rank={"rank": "3"}, mood="fine")
    said = call("show", path)
    assert (said.code, said.err) == (0, "")
    head, stand, *fields = said.out.splitlines()
    assert (head, stand) == (f"lease {path}", "  held, 10m00s left")
    shown = {" ".join(line.split()) for line in fields}
    assert shown >= {
        "state held",
        "seq 8",
        "count 3",
        "since 2023-11-14 22:13:20.000 +0000",
        "pid 4242",
        "scope train",
        "signal 15 (SIGTERM)",
        "grace 1m30s",
        "tree False",
        "argv python train.py",
        "rank 3",
        "mood fine",
    }


@pytest.mark.parametrize(
    ("lease", "stand"),
    [
        ({"left": -65}, "overdue by 1m05s"),
        ({"held": False}, "released"),
        ({"left": 65, "boot": "another"}, "held, 1m05s left"),
    ],
)
def test_how_a_lease_stands(call: Command, tmp_path: Path, lease: dict[str, Any], stand: str) -> None:
    """Of this boot by the monotonic clock, of another by the wall's."""
    assert call("show", put(tmp_path, **lease)).out.splitlines()[1] == f"  {stand}"


def test_a_record_in_full(call: Command, tmp_path: Path) -> None:
    """What is nested stands indented below it, a list one line an entry."""
    said = call("show", put_record(put(tmp_path)))
    shown = [" ".join(line.split()) for line in said.out.splitlines()]
    assert {"outcome reaped", "overdue 0.8s", "reason -", "lease", "others", "signals"} <= set(shown)
    assert any(line.startswith("- signal=9 (SIGKILL) name=SIGKILL time=20") for line in shown)
    assert sum(line.startswith("- scope=train state=held") for line in shown) == 2


def test_json_is_the_fields_as_they_are(call: Command, tmp_path: Path) -> None:
    """One object a line, whatever the file; ``file`` and ``kind`` tell them apart."""
    lease = put(tmp_path)
    record = put_record(lease)
    one, other = call("show", "--json", lease, record).objects
    assert (one["file"], one["kind"], one["state"], one["count"]) == (str(lease), "lease", "held", 3)
    assert other == {"file": str(record), "kind": "record"} | json.loads(record.read_text())


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("node,4242,train.lease", None),
        ("node,4242,train.lease.copy", None),
        (".node,4242,train.lease.abc.moved", None),
        ("copied", "whether name and content agree was not looked at"),
        ("node,4243,train.lease", "where it lies, it is skipped"),
    ],
)
def test_a_lease_copied_elsewhere_is_shown(call: Command, tmp_path: Path, name: str, note: str | None) -> None:
    """The name is part of a lease: where it can't be compared, or disagrees, that is said."""
    copy = tmp_path / name
    copy.write_bytes(put(tmp_path).read_bytes())
    said = call("show", copy)
    assert said.code == 0
    assert "  scope     train" in said.out
    if note:
        assert note in said.out.splitlines()[2]
    else:
        assert said.out.splitlines()[2].split()[0] == "owner"


def test_what_is_neither_lease_nor_record_is_one_line_and_the_others_are_shown(call: Command, tmp_path: Path) -> None:
    """Exit code 8, no traceback, no waiting for a FIFO."""
    lease = put(tmp_path)
    data = lease.read_bytes()
    bad = {
        "torn": data[:-9],
        "flipped": data.replace(b'"seq"', b'"sEq"'),
        "crc": data.replace(b'"count":           3', b'"count":           4'),
        "empty": b"",
        "other.json": b'{"a": 1}',
        "list.json": b"[1]",
        "binary": os.urandom(100),
        "deep": b"[" * 100_000,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(1 << 30)
    files = [tmp_path / name for name in [*bad, "fifo", "folder", "huge", "missing"]]
    said = call("show", *files, lease)
    assert said.code == 8
    assert [line.split(": ")[1] for line in said.err.splitlines()] == [str(file) for file in files]
    assert f"{tmp_path / 'huge'}: longer than 4194304 bytes\n" in said.err
    assert said.out.lstrip().startswith(f"lease {lease}\n")


def test_a_lease_of_a_newer_schema_is_reported_not_guessed_at(call: Command, tmp_path: Path) -> None:
    """A newer record is shown, with a word of warning: nobody acts on it."""
    lease = put(tmp_path)
    newer = tmp_path / "newer"
    newer.write_bytes(lease.read_bytes().replace(b'"schema":1', b'"schema":2'))
    said = call("show", newer)
    assert (said.code, said.out) == (8, "")
    assert "schema 2 is newer than 1" in said.err
    record = put_record(lease)
    record.write_bytes(record.read_bytes().replace(b'"schema": 1', b'"schema": 2'))
    assert "written by a newer leasetimer (schema 2)" in call("show", record).out


def test_no_control_character_reaches_the_terminal(call: Command, tmp_path: Path) -> None:
    """A record is somebody else's file."""
    path = tmp_path / "record"
    path.write_text(json.dumps({"outcome": "\x1b[2J", "a\nb": ["\r"], "c": [{"\x07": "\x07"}]}))
    out = call("show", path).out
    assert "\\x1b[2J" in out
    assert out.isascii()
    assert out.replace("\n", "").isprintable()


def test_it_takes_a_file(call: Command) -> None:
    """None is a mistake in how it was called."""
    assert call("show").code == 2
