"""This host's own locks: kernel locks on files in a node-local folder of the user's, freed with whoever holds them.

The worker's side of this loads the standard library only.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .clock import Clock
from .directory import Folder, make_root
from .errors import DirectoryUnusable

LOCKS = "/tmp"
PATIENCE = 10.0
"""Seconds to wait for a turn: whoever has it needs a millisecond, unless it is stopped or its file system is."""
LOOK_INTERVAL = 0.005
"""Seconds between two looks whether it is one's turn."""


def lock_path(folder: Folder, kind: str) -> str:
    """The lock file of that ``kind`` of a host id and ROOT, told by ROOT's device and inode: two paths to one are one.

    Raises ``DirectoryUnusable`` where the folder for locks belongs to somebody else, or is open to others, and
    ``FileNotFoundError`` where there is no ROOT.
    """
    locks = os.path.join(LOCKS, f"leasetimer-{os.geteuid()}")
    make_root(locks)
    found = os.lstat(locks)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise DirectoryUnusable(1, f"{locks} must be a directory of yours alone (0700): it holds leasetimer's locks")
    root = os.stat(folder.root)
    return os.path.join(locks, f"{folder.host},{root.st_dev:x},{root.st_ino:x}.{kind}")


@contextmanager
def turn(path: str, clock: Clock) -> Iterator[None]:
    """One at a time: hold the lock of that file inside the block. Raises ``TimeoutError`` past ``PATIENCE`` seconds."""
    fd = _locked(path, clock)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):  # a cleaner of /tmp may have been there
            os.unlink(path)  # while it is held: whoever waits sees it without a name, and begins anew
        os.close(fd)


def _locked(path: str, clock: Clock) -> int:
    end = clock.monotonic() + PATIENCE
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _stands(path, fd):
                return fd
        except BlockingIOError:
            if clock.monotonic() >= end:
                os.close(fd)
                raise TimeoutError(
                    110, f"another leasetimer command holds its lock for {PATIENCE:.0f} s", path
                ) from None
            _wait(clock)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _stands(path: str, fd: int) -> bool:
    """Whether the locked file still has its name: one that a cleaner of /tmp removed locks nobody else out."""
    try:
        return os.stat(path).st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _wait(clock: Clock) -> None:
    from threading import Event

    clock.wait(Event(), LOOK_INTERVAL)
