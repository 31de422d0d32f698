"""One server a host and directory: who may serve, and what it finds left behind."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import leasetimer.locks
from fakes import BOOT, FakeFolder, FakeMachine, FakeProcess
from leasetimer.errors import DirectoryUnusable, ServerRefused
from leasetimer.exclusive import WATCH_INTERVAL, Exclusive
from leasetimer.presence import Presence, write_presence

PID = 700
NEVER = threading.Event()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(leasetimer.locks, "LOCKS", str(tmp_path / "locks"))
    machine = FakeMachine(tmp_path / "root")
    machine.processes.add(FakeProcess(PID, start=50))
    return machine


def exclusive(machine: FakeMachine, folder: FakeFolder | None = None) -> Exclusive:
    return Exclusive(folder or machine.folder, machine.clock, machine.processes)


def leave(machine: FakeMachine, **change: Any) -> Presence:
    """What a server before, or elsewhere, has left in ``server.json``."""
    presence = Presence("node1", PID, 50, BOOT, os.geteuid(), True, 3, 0.0, 0.0, 10.0, {})._replace(**change)
    write_presence(machine.folder, presence)
    return presence


def test_second_server_is_refused_and_told_who_has_it(machine: FakeMachine) -> None:
    """Also where the first has another path to the directory; free again, the second gets it."""
    first, link = exclusive(machine), machine.root.parent / "link"
    first.take(NEVER)
    link.symlink_to(machine.root)
    leave(machine)
    second = exclusive(machine, FakeFolder(str(link), "node1"))
    with pytest.raises(ServerRefused, match=r"already served for host node1 by pid 700 of uid \d+"):
        second.take(NEVER)
    leave(machine, serving=False)
    first.free()
    second.take(NEVER)
    second.free()


def test_a_server_that_has_not_said_who_it_is_refuses_too(machine: FakeMachine) -> None:
    """The lock counts, not what the file says."""
    first = exclusive(machine)
    first.take(NEVER)
    with pytest.raises(ServerRefused, match="has not said who it is"):
        exclusive(machine).take(NEVER)
    first.free()


def test_other_hosts_and_directories_are_others_to_serve(machine: FakeMachine) -> None:
    """One lock a host id and directory."""
    folders = [machine.folder, FakeFolder(machine.folder.root, "node2"), FakeFolder(f"{machine.folder.root}2", "node1")]
    servers = [exclusive(machine, folder) for folder in folders]
    for server in servers:
        server.take(NEVER)
    for server in servers:
        server.free()


def test_free_without_take_is_fine(machine: FakeMachine) -> None:
    """Nothing was taken, nothing is given back."""
    exclusive(machine).free()


def test_another_users_server_is_refused(machine: FakeMachine) -> None:
    """Its lock is in another folder, so its presence tells: two users in one directory."""
    leave(machine, uid=os.geteuid() + 1)
    with pytest.raises(ServerRefused, match=f"uid {os.geteuid() + 1}"):
        exclusive(machine).take(NEVER)


def test_a_refused_server_holds_no_lock(machine: FakeMachine) -> None:
    """Once the other one is gone, it can be taken."""
    leave(machine, uid=os.geteuid() + 1)
    with pytest.raises(ServerRefused):
        exclusive(machine).take(NEVER)
    leave(machine, serving=False)
    again = exclusive(machine)
    again.take(NEVER)
    again.free()


@pytest.mark.parametrize(
    "change", [{"pid": 701}, {"start": 51}, {"serving": False}, {"boot": "another", "serving": False}]
)
def test_what_a_server_left_that_is_gone_keeps_nobody_waiting(machine: FakeMachine, change: dict[str, Any]) -> None:
    """Killed on this boot, or ended as it should: the next one serves at once."""
    leave(machine, **change)
    server = exclusive(machine)
    server.take(NEVER)
    assert machine.clock.waits == []
    server.free()


def test_what_this_very_process_left_keeps_nobody_waiting(machine: FakeMachine) -> None:
    """A server that could not say that it ended may start again in the same process."""
    machine.processes.add(FakeProcess(os.getpid(), start=50))
    leave(machine, pid=os.getpid())
    server = exclusive(machine)
    server.take(NEVER)
    server.free()


@pytest.mark.parametrize("change", [{"beat": 4}, {"beat": 3, "boot": "a third"}])
def test_another_machine_of_the_same_name_is_told_by_its_beat(machine: FakeMachine, change: dict[str, Any]) -> None:
    """Its beat goes on: refused, and told how to get out of it."""
    leave(machine, boot="another")
    wait = machine.clock.wait

    def waiting(event: threading.Event, timeout: float) -> bool:
        if len(machine.clock.waits) == 8:
            leave(machine, **{"boot": "another", **change})
        return wait(event, timeout)

    machine.clock.wait = waiting  # type: ignore[method-assign]
    with pytest.raises(ServerRefused, match=r"another machine named node1 .* LEASETIMER_HOST"):
        exclusive(machine).take(NEVER)
    assert len(machine.clock.waits) == 9


def test_a_machine_that_went_down_without_a_word_is_watched_and_then_followed(machine: FakeMachine) -> None:
    """No beat for twice its interval: nobody else serves here."""
    leave(machine, boot="another")
    server, begun = exclusive(machine), machine.clock.mono
    server.take(NEVER)
    assert machine.clock.mono - begun == pytest.approx(20 + WATCH_INTERVAL)
    server.free()


@pytest.mark.parametrize(("interval", "watched"), [(0.01, 3), (1e9, 121)])
def test_no_interval_makes_it_watch_too_short_or_for_ever(machine: FakeMachine, interval: float, watched: int) -> None:
    """Whatever the file says, it is watched for seconds at least and two minutes at most."""
    leave(machine, boot="another", interval=interval)
    server, begun = exclusive(machine), machine.clock.mono
    server.take(NEVER)
    assert machine.clock.mono - begun == pytest.approx(watched)
    server.free()


def test_stop_ends_the_watching(machine: FakeMachine) -> None:
    """A server that is stopped while it watches another's beat doesn't keep its caller."""
    leave(machine, boot="another")
    stopping = threading.Event()
    stopping.set()
    server, begun = exclusive(machine), machine.clock.mono
    server.take(stopping)
    assert machine.clock.mono == begun
    server.free()


@pytest.mark.parametrize("bad", ["a file", "a link", "open to others"])
def test_a_folder_for_locks_that_others_can_touch_is_refused(machine: FakeMachine, bad: str) -> None:
    """Somebody else's lock could keep us from serving, or let two of us serve."""
    locks = Path(leasetimer.locks.LOCKS) / f"leasetimer-{os.geteuid()}"
    if bad == "a file":
        locks.touch(0o600)
    elif bad == "a link":
        (locks.parent / "elsewhere").mkdir(0o700)
        locks.symlink_to("elsewhere")
    else:
        locks.mkdir()
        locks.chmod(0o770)
    with pytest.raises(DirectoryUnusable):
        exclusive(machine).take(NEVER)
