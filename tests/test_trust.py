"""What a server makes sure of before it serves: that it may write, whose files are its own, that it can reap."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import leasetimer.locks
from fakes import BOOT, NODE, PIDNS, FakeFolder, FakeMachine, FakeProcess
from fakes import machine as machine
from leasetimer.directory import PRESENCE, Folder
from leasetimer.errors import CannotReap, DirectoryUnusable, ServerRefused
from leasetimer.exclusive import Exclusive
from leasetimer.presence import Presence, is_here, write_presence
from leasetimer.server import LeaseTimerServer
from serving import FakeHost, Make
from serving import host as host
from serving import make as make

SQUASHED = 65534  # nobody, whom some file servers take root for
OTHER_SPACE = PIDNS + 1


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From now on nothing can be replaced."""

    def refuse(self: Folder, name: str, data: bytes) -> int:
        raise OSError(number, os.strerror(number), self.join(name))

    monkeypatch.setattr(FakeFolder, "replace", refuse)


# -- that it may write


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EROFS])
def test_where_it_may_not_write_a_server_refuses_to_start(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It would serve leases that it can neither clear nor trust."""
    failing(monkeypatch, number)
    with pytest.raises(DirectoryUnusable, match=os.strerror(number)):
        make()


def test_a_full_disk_keeps_no_server_from_starting(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so later: reaping needs no space. Whoever wrote the file that stands there is not who is trusted."""
    with monkeypatch.context() as patch:
        failing(patch, errno.ENOSPC)
        patch.setattr(Folder, "owner", lambda self, name: SQUASHED)
        host.restart()
    assert host.server._incidents.owner == os.geteuid()
    worker = host.worker()
    worker.acquire("train", 5)
    host.run(6)
    assert host.outcomes() == ["reaped"]


# -- whose files are its own


def test_a_server_trusts_the_owner_of_what_it_wrote_itself(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file system shows it: a squashed root's files are nobody's, and so are its workers' leases."""
    monkeypatch.setattr(FakeFolder, "replace", lambda self, name, data: SQUASHED)
    host.restart()
    assert host.server._incidents.owner == SQUASHED


def test_replacing_tells_the_owner_of_the_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file that was written, whatever stands under the name a moment later."""
    folder = Folder(str(tmp_path), NODE)
    folder.make()
    rename = os.rename
    written: list[int] = []

    def steal(source: Any, target: Any, **options: Any) -> None:
        written.append(os.stat(source).st_uid)
        rename(source, target, **options)
        os.unlink(target)

    monkeypatch.setattr(os, "rename", steal)
    monkeypatch.setattr(os, "replace", steal)
    assert [folder.replace(PRESENCE, b"{}")] == written


# -- that it can reap


def without_pidfds(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_a_server_that_cannot_reap_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nowhere that it serves, and keeps nobody else from it."""
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(leasetimer.locks, "LOCKS", str(tmp_path / "locks"))
    server = LeaseTimerServer(tmp_path / "root", host=NODE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", without_pidfds)
        with pytest.raises(CannotReap, match="takes pidfds"):
            server.start()
    assert not (tmp_path / "root" / NODE / PRESENCE).exists()
    server.start()  # the lock is free again
    server.stop()


@pytest.mark.real
def test_serve_ends_with_9_where_it_cannot_reap(tmp_path: Path) -> None:
    """In one line that names what is missing."""
    program = "import os; del os.pidfd_open; from leasetimer.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(said)) == (9, "", 1)
    assert "takes pidfds" in said[0]


# -- which server is another machine's


def left(machine: FakeMachine, **change: Any) -> Presence:
    """What a server of this boot left, whose pid is taken by a process of the same start."""
    machine.processes.add(FakeProcess(700, start=50))
    fields = {"pidns": OTHER_SPACE}
    presence = Presence(NODE, 700, 50, BOOT, os.geteuid(), True, 3, 0.0, 0.0, 10.0, fields)._replace(**change)
    write_presence(machine.folder, presence)
    return presence


def test_a_pid_in_another_pid_namespace_is_nobody_here(machine: FakeMachine) -> None:
    """A container's pids say nothing about the processes that are seen from here."""
    presence = left(machine)
    assert not is_here(presence, machine.processes)
    assert is_here(presence._replace(fields={"pidns": PIDNS}), machine.processes)


def test_a_server_in_another_container_of_this_name_is_watched(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one of another machine is: on the same boot, but nothing here can tell whether it lives, except its beat."""
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(leasetimer.locks, "LOCKS", str(tmp_path / "locks"))
    left(machine)
    wait = machine.clock.wait

    def waiting(event: Any, timeout: float) -> bool:
        left(machine, beat=4)
        return wait(event, timeout)

    machine.clock.wait = waiting  # type: ignore[method-assign]
    with pytest.raises(ServerRefused, match="LEASETIMER_HOST"):
        Exclusive(machine.folder, machine.clock, machine.processes).take(threading.Event())


def test_a_server_tells_its_pid_namespace(host: FakeHost) -> None:
    """With each beat: or nobody could tell it from a process of its own container."""
    for _ in range(2):
        assert json.loads((host.root / NODE / PRESENCE).read_text())["pidns"] == PIDNS
        host.run(30)
