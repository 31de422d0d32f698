"""A server's presence: what it writes, and who believes it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fakes import BOOT, FakeMachine, FakeProcess
from leasetimer.presence import (
    STALE_AFTER,
    Presence,
    is_here,
    live_server,
    own_presence,
    read_presence,
    server_here,
    write_presence,
)

PID = 700
UID = os.geteuid()


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path)
    machine.processes.add(FakeProcess(PID, start=50))
    return machine


def presence(machine: FakeMachine, **change: Any) -> Presence:
    """A server that has just beaten."""
    return Presence("node1", PID, 50, BOOT, UID, True, 3, machine.clock.wall, machine.clock.mono, 10.0, {})._replace(
        **change
    )


def test_what_is_written_is_read(machine: FakeMachine) -> None:
    """All of it, and what else the server has to say."""
    written = presence(machine, fields={"leases": 2, "stages": []})
    write_presence(machine.folder, written)
    read = read_presence(machine.folder)
    assert read is not None
    assert read._replace(fields={}) == written._replace(fields={})
    assert read.fields["leases"] == 2
    assert f"pid 700 of uid {UID}" in read.describe()


def test_live_server_is_here(machine: FakeMachine) -> None:
    """Serving, its process running, its beat fresh."""
    write_presence(machine.folder, presence(machine))
    assert server_here(machine.folder, machine.clock, machine.processes) is not None


def test_no_file_is_no_server(machine: FakeMachine) -> None:
    """Neither a missing folder nor a missing file is an error."""
    assert read_presence(machine.folder) is None
    assert server_here(machine.folder, machine.clock, machine.processes) is None


def test_stopped_server_is_not_here(machine: FakeMachine) -> None:
    """It has said that it ended."""
    write_presence(machine.folder, presence(machine, serving=False))
    assert server_here(machine.folder, machine.clock, machine.processes) is None


@pytest.mark.parametrize(("uid", "guards"), [(0, True), (UID + 1000, False)])
def test_another_users_server_guards_nobody_here(machine: FakeMachine, uid: int, guards: bool) -> None:
    """It lives, but only root's and the user's own may signal this user's workers."""
    write_presence(machine.folder, presence(machine, uid=uid))
    assert live_server(machine.folder, machine.clock, machine.processes) is not None
    assert (server_here(machine.folder, machine.clock, machine.processes) is not None) is guards


def test_stale_server_is_not_here(machine: FakeMachine) -> None:
    """One that has not beaten for a minute hangs."""
    write_presence(machine.folder, presence(machine))
    machine.clock.jump(STALE_AFTER - 1)
    assert server_here(machine.folder, machine.clock, machine.processes) is not None
    machine.clock.jump(1)
    assert server_here(machine.folder, machine.clock, machine.processes) is None


def test_setting_the_wall_clock_makes_no_server_stale(machine: FakeMachine) -> None:
    """The monotonic clock decides."""
    write_presence(machine.folder, presence(machine))
    machine.clock.wall += 1e6
    assert server_here(machine.folder, machine.clock, machine.processes) is not None


@pytest.mark.parametrize("change", [{"boot": "another"}, {"pid": 701}, {"start": 51}])
def test_another_process_is_not_that_server(machine: FakeMachine, change: dict[str, Any]) -> None:
    """Boot, pid and start ticks all have to be the server's."""
    assert not is_here(presence(machine, **change), machine.processes)


def test_zombie_is_not_here(machine: FakeMachine) -> None:
    """A killed server that nobody has waited for serves nobody."""
    machine.processes.table[PID].state = "Z"
    assert not is_here(presence(machine), machine.processes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"state": "serving"}',
        *(
            json.dumps(
                {
                    "state": "serving",
                    "host": "node1",
                    "pid": PID,
                    "start": 50,
                    "boot": BOOT,
                    "uid": 0,
                    "beat": 1,
                    "time": 1.0,
                    "monotonic": 1.0,
                    "interval": 10.0,
                    **change,
                }
            )
            for change in ({"pid": 1}, {"pid": None}, {"monotonic": "soon"}, {"monotonic": -1})
        ),
    ],
)
def test_what_cannot_be_understood_is_no_server(machine: FakeMachine, text: str) -> None:
    """A garbled file neither stops a worker nor passes for a server."""
    machine.folder.make()
    Path(machine.folder.join("server.json")).write_text(text)
    assert read_presence(machine.folder) is None


def test_failing_file_system_is_told(machine: FakeMachine) -> None:
    """EIO is not the same as no server."""

    def fail(name: str) -> None:
        raise OSError(5, "Input/output error")

    machine.folder.on["read"] = fail
    with pytest.raises(OSError, match="Input/output error"):
        read_presence(machine.folder)


def test_own_presence_is_of_this_process(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next server can tell whether this very process still runs."""
    monkeypatch.setattr("os.getpid", lambda: PID)
    mine = own_presence(machine.folder, machine.processes, 10.0)
    assert is_here(mine, machine.processes)
    assert (mine.host, mine.beat, mine.serving) == ("node1", 0, True)
