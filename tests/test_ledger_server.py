"""Whether a worker finds that somebody serves its directory, and what it does if not."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leasetimer.directory import Folder
from leasetimer.errors import NoServer
from leasetimer.lookout import LOOK_INTERVAL
from ledgers import HOST, Machine, around, leases, only
from ledgers import machine as machine


def serve(machine: Machine, root: Path, **fields: Any) -> None:
    """A server of this host says that it is there: this very process."""
    stat = machine.processes.stat(os.getpid())
    assert stat is not None
    presence = {
        "schema": 1,
        "state": "serving",
        "host": HOST,
        "pid": os.getpid(),
        "start": stat.start,
        "boot": machine.processes.boot(),
        "uid": os.geteuid(),
        "beat": 1,
        "time": machine.clock.wall,
        "monotonic": machine.clock.mono,
        "interval": 10,
    }
    (root / HOST).mkdir(parents=True, exist_ok=True)
    (root / HOST / "server.json").write_text(json.dumps(presence | fields))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_where_nobody_serves_it_warns_once(machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The lease is written all the same: a server started later finds it."""
    for client in (machine.client(tmp_path), machine.client(tmp_path)):
        for scope in ("one", "two"):
            client.acquire(scope, machine.until(60))
            machine.clock.jump(10 * LOOK_INTERVAL)
    assert warnings(caplog) == [f"no live server, nobody will reap: host={HOST} dir={tmp_path}"]
    assert set(leases(tmp_path)) == {"one", "two"}


def test_where_somebody_serves_it_says_nothing(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither then nor later."""
    serve(machine, tmp_path)
    machine.client(tmp_path).acquire("train", machine.until(60))
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "fields",
    [{"state": "stopped"}, {"boot": "another"}, {"start": 1}, {"pid": 0}, {"monotonic": 900.0}, {"pid": "x"}],
    ids=["stopped", "another boot", "another process", "nobody", "no beat for a minute", "nonsense"],
)
def test_a_server_that_is_not_there_is_none(machine: Machine, tmp_path: Path, fields: dict[str, Any]) -> None:
    """What it left behind says who it was, not that it is."""
    serve(machine, tmp_path, **fields)
    with pytest.raises(NoServer) as caught:
        machine.client(tmp_path, require_server=True).acquire("train", machine.until(60))
    assert str(caught.value) == f"no live server for host {HOST} in {tmp_path}: run leasetimer serve"
    assert leases(tmp_path) == {}


def test_a_required_server_that_comes_is_found(machine: Machine, tmp_path: Path) -> None:
    """Each try looks again."""
    client = machine.client(tmp_path, require_server=True)
    with pytest.raises(NoServer):
        client.acquire("train", machine.until(60))
    serve(machine, tmp_path)
    client.acquire("train", machine.until(60))
    assert only(tmp_path).status.held


def test_a_required_server_that_has_gone_is_missed_by_the_next_publish(machine: Machine, tmp_path: Path) -> None:
    """Looking costs a read: it is done once a second at most."""
    serve(machine, tmp_path)
    client = machine.client(tmp_path, require_server=True)
    client.acquire("one", machine.until(60))
    (tmp_path / HOST / "server.json").unlink()
    client.acquire("two", machine.until(60))
    machine.clock.jump(LOOK_INTERVAL)
    with pytest.raises(NoServer):
        client.acquire("three", machine.until(60))


def test_a_required_server_that_has_gone_is_missed_by_an_acquire_in_place(machine: Machine, tmp_path: Path) -> None:
    """A dead server clears nothing, so every later acquire is in place: it must not go unguarded for ever."""
    serve(machine, tmp_path)
    client = machine.client(tmp_path, require_server=True)
    client.acquire("train", machine.until(60))
    client.release("train")
    (tmp_path / HOST / "server.json").unlink()
    machine.clock.jump(LOOK_INTERVAL)
    with pytest.raises(NoServer):
        client.acquire("train", machine.until(60))
    assert not only(tmp_path).status.held


def test_a_required_server_that_is_missing_is_only_said_where_it_only_warns(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """on_error="warn" lets the block run unguarded."""
    machine.client(tmp_path, require_server=True, on_error="warn").acquire("train", machine.until(60))
    assert len(warnings(caplog)) == 1
    assert leases(tmp_path) == {}


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")], ids=repr
)
def test_a_presence_that_can_not_be_read_does_not_stop_a_worker(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """It is only a hint: the lease is written, and a server that is there will see it."""

    def read(real: Callable[..., object], folder: Folder, name: str) -> object:
        raise error

    around(monkeypatch, "read", read)
    machine.client(tmp_path).acquire("train", machine.until(60))
    assert only(tmp_path).status.held


@pytest.mark.parametrize(
    "text",
    ['{"pid": Infinity}', "[" * 4000, '{"pid": 1e400}', '{"monotonic": "5"}', '{"pid": [5]}', '{"monotonic": null}'],
    ids=["infinite pid", "deep", "huge pid", "text for a time", "list for a pid", "no time"],
)
def test_a_presence_made_to_trip_the_reader_does_not_stop_a_worker(machine: Machine, tmp_path: Path, text: str) -> None:
    """Whoever may write into the folder could else stop every worker of the host."""
    serve(machine, tmp_path)
    file = tmp_path / HOST / "server.json"
    sound = json.loads(file.read_text())
    file.write_text(text if text.startswith("[") else json.dumps(sound)[:-1] + "," + text[1:])
    machine.client(tmp_path).acquire("train", machine.until(60))
    assert only(tmp_path).status.held
