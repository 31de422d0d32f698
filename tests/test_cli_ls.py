"""``leasetimer ls``."""

import os
import sys
import time
from pathlib import Path

import pytest

from commands import Command
from commands import call as call
from leasetimer.cli.ls import describe
from leasetimer.directory import Folder
from leasetimer.lease import Status, Worker, write_identity, write_lease
from leasetimer.names import file_name
from leasetimer.overview import Server
from leasetimer.presence import own_presence, write_presence
from leasetimer.process import PROCESSES, identify


def put(root: Path, scope: str, *, left: float = 600, held: bool = True, worker: Worker | None = None) -> Path:
    """A lease of this process, or of that worker."""
    worker = worker or identify(os.getpid(), "node")
    assert worker is not None
    timens = PROCESSES.namespace("time")
    identity = write_identity(worker, scope, timens=timens, uid=0, signal=9, grace=1, tree=False, facts={})
    status = Status(held, 1, 3, time.time(), time.time() + left, max(0.0, time.monotonic() + left))
    folder = Folder(str(root), worker.host)
    name = file_name(worker.host, worker.pid, scope)
    os.close(folder.publish(".new", name, write_lease(status, identity)))
    return Path(folder.join(name))


def test_a_table_of_all_hosts(call: Command, tmp_path: Path) -> None:
    """Scope, worker, state, time, count and server, aligned, the most urgent first; no ANSI into a pipe."""
    pid = os.getpid()
    put(tmp_path, "train")
    put(tmp_path, "eval", left=-65)
    put(tmp_path, "done", held=False)
    put(tmp_path, "far", worker=Worker("other", "another-boot", 1, 99, 5))
    said = call("ls", "--dir", tmp_path)
    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["SCOPE", "WORKER", "STATE", "TIME", "COUNT", "SERVER"],
        ["eval", f"node:{pid}", "overdue", "1m05s", "over", "3", "none"],
        ["train", f"node:{pid}", "held", "10m00s", "left", "3", "none"],
        ["done", f"node:{pid}", "released", "-", "3", "none"],
        ["far", "other:99", "held", "10m00s", "left", "3", "none"],
        ["Times", "and", "beats", "of", "other", "hosts", "are", "by", "the", "clock", "of", "node."],
    ]
    columns = {
        line.index(word) for line, word in zip(said.out.splitlines()[1:4], ("over", "held", "rele"), strict=True)
    }
    assert len(columns) == 1
    assert "\x1b" not in said.out


def test_json_is_one_object_a_line_with_stable_keys(call: Command, tmp_path: Path) -> None:
    """The keys that the reference documents, nothing else on stdout."""
    put(tmp_path, "a b\n")
    (lease,) = call("ls", "--dir", tmp_path, "--json").objects
    assert list(lease) == [
        *("host", "pid", "scope", "state", "left", "count", "since", "expires", "alive", "server", "beat_age", "file")
    ]
    assert (lease["scope"], lease["state"], lease["alive"], lease["server"]) == ("a b\n", "held", True, "none")
    assert 590 < lease["left"] <= 600


def test_it_lists_by_state_and_by_host(call: Command, tmp_path: Path) -> None:
    """Both can be given; what is none of the known is refused with what there is."""
    put(tmp_path, "train")
    put(tmp_path, "eval", left=-5)
    put(tmp_path, "far", worker=Worker("other", "another-boot", 1, 99, 5))
    assert [lease["scope"] for lease in call("ls", "--dir", tmp_path, "--state", "held", "--json").objects] == [
        "train",
        "far",
    ]
    only = call("ls", "--dir", tmp_path, "--state", "held", "--host", "other", "--json").objects
    assert [lease["scope"] for lease in only] == ["far"]
    assert call("ls", "--dir", tmp_path, "--state", "released").out.startswith(f"no released leases in {tmp_path}\n")
    said = call("ls", "--dir", tmp_path, "--host", "nobody")
    assert (said.code, said.out) == (2, "")
    assert said.err == f"leasetimer: host must be one of {tmp_path}, which has node, other; got 'nobody'\n"
    assert call("ls", "--dir", tmp_path, "--state", "lost").code == 2


def test_an_empty_directory_has_no_leases_and_a_missing_one_is_an_error(call: Command, tmp_path: Path) -> None:
    """One line each; the exit code tells them apart, and nothing is made."""
    assert call("ls", "--dir", tmp_path) == (0, f"no leases in {tmp_path}\n", "")
    missing = tmp_path / "missing"
    said = call("ls", "--dir", missing)
    assert said == (5, "", f"leasetimer: no directory {missing}: the first lease makes it\n")
    assert not missing.exists()
    (tmp_path / "file").touch()
    assert call("ls", "--dir", tmp_path / "file").code == 5


def test_a_directory_that_may_not_be_read_is_one_line(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exit code of a directory that can't be used, not that of a wrong option."""

    def denied(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "scandir", denied)
    said = call("ls", "--dir", tmp_path)
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
    assert f"directory {tmp_path} can't be used: Permission denied" in said.err


def test_a_long_scope_leaves_room_for_the_rest(call: Command, tmp_path: Path) -> None:
    """The table cuts it, JSON has all of it."""
    put(tmp_path, "x" * 900)
    assert len(call("ls", "--dir", tmp_path).out.splitlines()[1]) < 120
    assert call("ls", "--dir", tmp_path, "--json").objects[0]["scope"] == "x" * 900


def test_a_released_lease_has_no_time_left(call: Command, tmp_path: Path) -> None:
    """Its deadline counts no more; a number would be taken for one that does."""
    put(tmp_path, "done", held=False)
    assert call("ls", "--dir", tmp_path, "--json").objects[0]["left"] is None


def test_what_cannot_be_read_is_counted_and_named_on_stderr(call: Command, tmp_path: Path) -> None:
    """The sound leases are listed as if it weren't there, with exit code 0."""
    lease = put(tmp_path, "train")
    lease.with_name("node,1,torn.lease").write_bytes(lease.read_bytes()[:-5])
    os.mkfifo(lease.with_name("node,2,fifo.lease"))
    said = call("ls", "--dir", tmp_path)
    assert said.code == 0
    assert "train" in said.out
    first, *others = said.err.splitlines()
    assert first == "leasetimer: 2 not read:"
    assert [line.split(": ")[1] for line in others] == [
        str(lease.with_name("node,1,torn.lease")),
        str(lease.with_name("node,2,fifo.lease")),
    ]


def test_no_control_character_reaches_the_terminal(call: Command, tmp_path: Path) -> None:
    """A scope is free text: one that clears the screen or breaks the line is shown escaped."""
    put(tmp_path, "\x1b[2J\nx\udcff")
    out = call("ls", "--dir", tmp_path).out
    assert "\\x1b[2J\\nx\\udcff  " in out


def test_a_dead_worker_is_marked(call: Command, tmp_path: Path) -> None:
    """Without a server its lease stands there as if it were held."""
    me = identify(os.getpid(), "node")
    assert me is not None
    put(tmp_path, "train", worker=me._replace(start=1))
    assert f"node:{os.getpid()} (dead)" in call("ls", "--dir", tmp_path).out


def test_a_server_is_told_also_on_a_host_without_leases(call: Command, tmp_path: Path) -> None:
    """Who looks whether his jobs are guarded must see it before the first lease."""
    folder = Folder(str(tmp_path), "node")
    folder.make()
    write_presence(folder, own_presence(folder, PROCESSES, 10)._replace(monotonic=time.monotonic(), time=time.time()))
    assert call("ls", "--dir", tmp_path).out == f"no leases in {tmp_path}\nnode: no leases, server serving\n"
    put(tmp_path, "train")
    assert call("ls", "--dir", tmp_path).out.splitlines()[1].endswith("  serving")


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (Server("serving", 2.0, exact=True), "serving"),
        (Server("serving", 2.0, exact=False), "serving (beat 2.0s ago)"),
        (Server("serving", -3.0, exact=False), "serving (beat 3.0s ahead)"),
        (Server("silent", 90.0, exact=True), "silent (beat 1m30s ago)"),
        (Server("stopped", 90.0, exact=False), "stopped"),
        (Server("none"), "none"),
    ],
)
def test_a_server_is_described_by_what_can_be_known(server: Server, text: str) -> None:
    """Of another host only when its last beat was, by this host's clock; a beat from the future says so."""
    assert describe(server) == text


def test_a_terminal_gets_a_table_in_colour(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same cells, and a scope that looks like markup is shown as it is."""
    put(tmp_path, "[red]train[/red]", left=-65)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = call("ls", "--dir", tmp_path).out
    assert "[red]train[/red]" in out
    assert "\x1b[" in out
