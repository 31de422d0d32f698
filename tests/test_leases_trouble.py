"""Leases that can't be judged or read, or whose folder is gone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import NAME
from leasetimer.leases import LOOK_AGAIN
from serving import Leasing
from serving import machine as machine

# -- what can't be judged


@pytest.mark.parametrize("kind", ["pid", "time"])
def test_worker_in_another_namespace_is_left_alone(machine: Leasing, kind: str) -> None:
    """Pids, or clocks, that can't be compared: neither judged nor cleared, and said once."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.process.state = "X"
    machine.processes.namespaces[kind] += 1
    machine.begin()
    assert machine.scan() == []
    assert machine.files() == [NAME]
    assert "namespace" in machine.leases.trouble[NAME]


def test_known_lease_from_another_namespace_is_not_reaped(machine: Leasing) -> None:
    """The look at the deadline asks for the namespace again: the file may be another process' by now."""
    machine.worker().acquire("train", 5)
    machine.scan()
    os.unlink(machine.folder.join(NAME))
    machine.processes.namespaces["pid"] += 1
    machine.worker().acquire("train", 0)
    machine.later(6)
    assert machine.overdue() == []
    assert "namespace" in machine.leases.trouble[NAME]


def test_lease_of_the_servers_own_process_is_left_alone(machine: Leasing) -> None:
    """A server does not judge itself."""
    worker = machine.worker(pid=os.getpid())
    worker.acquire("train", 5)
    assert machine.scan() == []
    assert "own process" in machine.leases.trouble[worker.name("train")]


Spoil = Callable[[Path], object]


def instead(make: Spoil) -> Spoil:
    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


def linked(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


BAD: dict[str, Spoil] = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "no newline": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "newer": lambda path: path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":9')),
    "10 MiB": lambda path: path.write_bytes(bytes(10 << 20)),
    "wrong checksum": lambda path: path.write_bytes(path.read_bytes().replace(b'"grace":10.0', b'"grace":99.0')),
    "FIFO": instead(os.mkfifo),
    "directory": instead(Path.mkdir),
    "symlink": linked,
    "dangling symlink": instead(lambda path: path.symlink_to("nowhere")),
    "hard link": lambda path: os.link(path, path.parent / "second"),
    "other pid": lambda path: path.rename(path.parent / NAME.replace("4242", "4243")),
    "other scope": lambda path: path.rename(path.parent / NAME.replace("train", "test")),
    "pid 1": lambda path: path.rename(path.parent / NAME.replace("4242", "1")),
    "no pid": lambda path: path.rename(path.parent / NAME.replace("4242", "x")),
    "not UTF-8": lambda path: path.rename(os.fsdecode(os.fsencode(path)[:-6] + b"\xff.lease")),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_sound_lease_is_skipped_and_said_once(
    machine: Leasing, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """It is told once, whatever it is, stays where it is, and the others are served as if it weren't there."""
    for pid in (4000, 4242, 5000):
        machine.worker(pid).acquire("train", 5)
    BAD[kind](Path(machine.folder.join(NAME)))
    before = machine.files()
    caplog.clear()
    for _ in range(3):
        assert [lease.worker.pid for lease in machine.scan()] == [4000, 5000]
    assert len(caplog.records) == 1
    assert len(machine.leases.trouble) == 1
    assert machine.files() == before


def test_a_file_that_is_mended_is_guarded(machine: Leasing) -> None:
    """Trouble is over when the file can be read, or is gone."""
    machine.worker().acquire("train", 5)
    path = Path(machine.folder.join(NAME))
    whole = path.read_bytes()
    path.write_bytes(b"")
    machine.scan()
    assert list(machine.leases.trouble) == [NAME]
    path.write_bytes(whole)
    assert len(machine.scan()) == 1
    assert machine.leases.trouble == {}
    path.write_bytes(b"")
    machine.scan()
    path.unlink()
    machine.scan()
    assert machine.leases.trouble == {}


def test_a_lease_that_cannot_be_read_when_due_is_tried_again(machine: Leasing) -> None:
    """EIO and ESTALE are no release: it is looked at a second later."""
    machine.worker().acquire("train", 5)
    machine.scan()
    machine.later(6)

    def fail(name: str) -> None:
        raise OSError(116, "Stale file handle")

    machine.folder.on["read"] = fail
    assert machine.overdue() == []
    assert machine.leases.earliest() == pytest.approx(machine.clock.mono + LOOK_AGAIN)
    machine.folder.on.clear()
    machine.later(LOOK_AGAIN)
    assert machine.overdue() == [NAME]


def test_the_overdue_lease_comes_before_one_that_cannot_be_read(machine: Leasing) -> None:
    """A broken file of the same worker, due earlier, does not keep it from being reaped for the sound one."""
    worker = machine.worker()
    worker.acquire("a", 3)
    worker.acquire("train", 5)
    machine.scan()
    Path(machine.folder.join(worker.name("a"))).write_bytes(b"")
    machine.later(6)
    assert machine.overdue() == [NAME]
    assert [lease.scope for lease in machine.leases.of(worker.worker)] == ["train", "a"]


# -- files that can't be removed


@pytest.mark.parametrize("call", ["move_aside", "remove"])
def test_clearing_that_fails_is_tried_again(machine: Leasing, call: str) -> None:
    """A failing file system costs a scan, not the lease."""
    worker = machine.worker()
    worker.acquire("train", 5)
    worker.release("train")

    def fail(name: str) -> None:
        raise OSError(5, "Input/output error")

    machine.folder.on[call] = fail
    assert machine.scan() == []
    assert len(machine.files()) == 1
    machine.folder.on.clear()
    machine.scan()
    assert machine.files() == []


def test_removing_that_fails_is_tried_again(machine: Leasing) -> None:
    """The lease of a dead worker stays known until its file is really gone."""
    worker = machine.worker()
    worker.acquire("train", 5)
    (lease,) = machine.scan()

    def fail(name: str) -> None:
        raise OSError(5, "Input/output error")

    machine.folder.on["remove"] = fail
    machine.leases.remove(lease)
    assert len(machine.leases) == 1
    machine.folder.on.clear()
    machine.leases.remove(lease)
    assert (len(machine.leases), machine.files()) == (0, [])
