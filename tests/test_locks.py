"""Locks on this machine: commands for one directory take turns."""

import fcntl
import os
from pathlib import Path

import pytest

from leasetimer import locks
from leasetimer.directory import Folder
from leasetimer.errors import DirectoryUnusable
from shells import Bench
from shells import bench as bench


def test_a_turn_that_never_comes_is_an_error(bench: Bench) -> None:
    """A command that was stopped in the middle must not hold every other script for ever."""
    bench.folder.make()
    path = locks.lock_path(bench.folder, "turn")
    with locks.turn(path, bench.clock), pytest.raises(TimeoutError, match="another leasetimer command"):
        bench.behalf.acquire("train", 5)
    bench.behalf.acquire("train", 5)


def test_a_lock_file_that_lost_its_name_is_not_the_lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaners of /tmp remove old files: who then locks the old one would lock nobody out."""
    bench.folder.make()
    path = locks.lock_path(bench.folder, "turn")
    flock, tries = fcntl.flock, []

    def cleaned(fd: int, how: int) -> None:
        flock(fd, how)
        tries.append(fd)
        if len(tries) == 1:
            os.unlink(path)

    monkeypatch.setattr(fcntl, "flock", cleaned)
    with locks.turn(path, bench.clock):
        assert os.path.exists(path)
    assert len(tries) == 2


def test_locks_are_the_users_alone(bench: Bench) -> None:
    """A folder in /tmp that others may write would let them hold up every command."""
    bench.folder.make()
    os.mkdir(locks.LOCKS)
    os.mkdir(os.path.join(locks.LOCKS, f"leasetimer-{os.geteuid()}"), 0o755)
    with pytest.raises(DirectoryUnusable, match="yours alone"):
        locks.lock_path(bench.folder, "turn")


def test_one_directory_has_one_lock_whatever_its_path(bench: Bench, tmp_path: Path) -> None:
    """Two paths to one directory take turns; another host id, directory or kind of lock does not."""
    bench.folder.make()
    (tmp_path / "link").symlink_to(bench.root)
    (tmp_path / "other").mkdir()
    path = locks.lock_path(bench.folder, "turn")
    assert locks.lock_path(Folder(str(tmp_path / "link"), "node"), "turn") == path
    others = [
        locks.lock_path(Folder(bench.root, "node2"), "turn"),
        locks.lock_path(Folder(str(tmp_path / "other"), "node"), "turn"),
        locks.lock_path(bench.folder, "server"),
    ]
    assert len({path, *others}) == 4
