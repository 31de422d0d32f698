"""The shared directory: the only module that touches ROOT. A folder is the object that tests replace or make fail.

Everything here is one or two system calls with a name. Nothing is cached, no error is hidden: what a failing file
system says reaches the caller as ``OSError``.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
from typing import NamedTuple

from .errors import DirectoryUnusable, LeaseUnreadable
from .lease import PAGE
from .names import moved_name

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PART = re.compile(r"\..+\.([0-9a-f]+)\.part", re.DOTALL)
_numbers = itertools.count()
PRESENCE = "server.json"
POSTMORTEM = "postmortem"
SLOW_WRITE = 0.5
"""Seconds after which a write is done again with a fresh clock: a file server that was away made it store the past."""
MOST_WRITES = 3
"""Writes of one publish, at most: a file system that is slow all the time must not hold the worker for ever."""


class Content(NamedTuple):
    """What a file held, up to a byte more than was asked for, and who owns it as the file system shows it."""

    data: bytes
    owner: int


class Folder:
    """One host's folder in ROOT, by path. Made on demand; survives being removed and made again."""

    rewrite = staticmethod(os.pwrite)
    """In place, on a kept descriptor. It is ``os.pwrite`` itself: a wrapper would cost a worker 60 ns each time."""
    stands = staticmethod(os.access)
    """Whether a path still stands: ``stands(path, os.F_OK)``. ``os.stat`` would flush on NFS: one WRITE each time."""

    def __init__(self, root: str, host: str) -> None:
        self.root = root
        self.host = host
        self.path = os.path.join(root, host)

    def __repr__(self) -> str:
        return f"Folder({self.path!r})"

    def join(self, name: str) -> str:
        """The path of a name in the folder."""
        return os.path.join(self.path, name)

    def make(self) -> None:
        """Make the folder, and ROOT, where they are missing. Raises ``DirectoryUnusable``."""
        make_root(self.root)
        try:
            os.mkdir(self.path, 0o700)
            # Whoever may write into ROOT may write here: root's server serves everybody's workers in one folder.
            os.chmod(self.path, stat.S_IMODE(os.stat(self.root).st_mode) & 0o3777)
        except FileExistsError:
            _check_folder(self.path)
        except OSError as error:
            raise unusable(self.path, error) from error

    def place(self) -> tuple[int, int] | None:
        """Device and inode of the folder that now stands at the path; None if there is none."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    # -- the worker's side

    def publish(self, temporary: str, name: str, data: bytes) -> int:
        """Make or replace the file ``name`` in one step, by way of ``temporary``, and keep its descriptor open.

        No fsync: on NFS the rename itself shows other hosts the content, elsewhere it would cost 50 times as much and
        save leases only from a crash of the machine, which no worker survives.
        """
        fd, path = self._create(temporary)
        try:
            _write_all(fd, data)
            self._rename(fd, path, self.join(name))
        except BaseException as error:
            os.close(fd)
            self.remove(temporary)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = self.join(name)  # what the write itself does not say
            raise
        return fd

    def _rename(self, fd: int, path: str, new: str) -> None:
        try:
            os.rename(path, new)
        except OSError:
            if not self.shows(new, fd):  # done but reported failed, as FUSE and retried NFS requests may?
                raise

    def shows(self, name: str, fd: int) -> bool:
        """Whether the name is the very file that the descriptor holds; False where that can't be told."""
        try:
            return os.path.samestat(os.stat(self.join(name)), os.fstat(fd))
        except OSError:
            return False

    def _create(self, temporary: str) -> tuple[int, str]:
        path = self.join(temporary)
        for made in (False, True, True):
            try:
                return os.open(path, _CREATE, 0o644), path
            except (FileNotFoundError, NotADirectoryError):
                if made:
                    raise
                self.make()  # says what is wrong with ROOT, if it can't
            except FileExistsError:  # left by a publish of this very process that failed half-way
                self.remove(temporary)
        return os.open(path, _CREATE, 0o644), path

    # -- the server's side

    def names(self) -> list[str]:
        """Every name in the folder; none where there is no folder."""
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []

    def read(self, name: str, most: int = PAGE) -> Content:
        """A fresh look at a file, of ``most`` bytes and one at most. Never follows a link, never blocks on a FIFO.

        Raises ``FileNotFoundError``, ``LeaseUnreadable`` for what is no plain file of one name, or another ``OSError``.
        """
        try:
            fd = os.open(self.join(name), _READ)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise LeaseUnreadable("not a regular file") from None
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise LeaseUnreadable("not a regular file")
            if found.st_nlink > 1:
                raise LeaseUnreadable(f"a hard link, {found.st_nlink} names for one file")
            return Content(os.read(fd, most + 1), found.st_uid)
        finally:
            os.close(fd)

    def owner(self, name: str) -> int | None:
        """The uid that a file has, as the file system shows it; None if it is not there."""
        try:
            return os.stat(self.join(name), follow_symlinks=False).st_uid
        except FileNotFoundError:
            return None

    def move_aside(self, name: str) -> str | None:
        """Rename a lease to a name of its own for clearing; None if it was gone."""
        aside = moved_name(name, os.urandom(8).hex())
        try:
            os.rename(self.join(name), self.join(aside))
        except FileNotFoundError:
            return None
        return aside

    def remove(self, name: str) -> None:
        """Unlink a name; nothing happens if it is gone."""
        try:
            os.unlink(self.join(name))
        except (FileNotFoundError, NotADirectoryError):
            return

    def _make_below(self, path: str) -> None:
        """Make this folder and one below it, as open as this one is: whoever may write leases may leave records."""
        self.make()
        if path == self.path:
            return
        try:
            os.mkdir(path, 0o700)
            os.chmod(path, stat.S_IMODE(os.stat(self.path).st_mode))
        except FileExistsError:
            return

    def parts(self) -> list[tuple[str, int]]:
        """What a ``replace`` has half-done, or left so: the name, and the pid of the process that did it."""
        found: list[tuple[str, int]] = []
        for below in ("", POSTMORTEM):
            folder = self.join(below)
            names = os.listdir(folder) if os.path.isdir(folder) else []
            matches = ((name, _PART.fullmatch(name)) for name in names)
            found += [(os.path.join(below, name), int(match[1], 16)) for name, match in matches if match]
        return sorted(found)

    def replace(self, name: str, data: bytes) -> int:
        """Write a whole small file so that a reader sees the old one or the new one, never a part.

        Returns the uid that the file system gives it: a squashed root's is another's.
        """
        path = self.join(name)
        ours = f"{next(_numbers):x}.{os.getpid():x}"  # two threads may write the same file
        temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(name)}.{ours}.part")
        try:
            fd = os.open(temporary, _CREATE, 0o644)
        except FileNotFoundError:
            self._make_below(os.path.dirname(path))
            fd = os.open(temporary, _CREATE, 0o644)
        try:
            try:
                _write_all(fd, data)
                owner = os.fstat(fd).st_uid
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except BaseException:
            self.remove(temporary)
            raise
        return owner


def make_root(root: str) -> None:
    """Make ROOT, for its user only (0700), where it is missing. Raises ``DirectoryUnusable``."""
    try:
        os.makedirs(root, 0o700)
    except FileExistsError:
        _check_directory(root)
    except OSError as error:
        raise unusable(root, error) from error


def root_path(directory: str | os.PathLike[str] | None = None) -> str:
    """The absolute path of ROOT: ``directory``, else ``LEASETIMER_DIR``, else ``$XDG_STATE_HOME/leasetimer``."""
    if directory is None:
        directory = os.environ.get("LEASETIMER_DIR") or os.path.join(
            os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "leasetimer"
        )
    root = os.fspath(directory)
    if not root:
        raise unusable("''", FileNotFoundError(errno.ENOENT, "no directory named"))
    return os.path.realpath(root)


def hosts(root: str) -> list[str]:
    """The host ids that have a folder in ROOT, sorted. Raises ``DirectoryUnusable`` where there is no ROOT."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError as error:
        raise DirectoryUnusable(error.errno, f"no directory {root}: the first lease makes it") from error
    except OSError as error:
        raise unusable(root, error) from error


def unusable(path: str, error: OSError) -> DirectoryUnusable:
    """That error as one line that names the directory and what it takes."""
    return DirectoryUnusable(
        error.errno, f"directory {path} can't be used: {error.strerror or error}; it takes a writable directory"
    )


def _check_directory(path: str) -> None:
    if not os.path.isdir(path):
        raise unusable(path, NotADirectoryError(errno.ENOTDIR, "it is a file"))


def _check_folder(path: str) -> None:
    if os.path.islink(path):  # planted by somebody, it would lead the server into a folder of their choice
        raise unusable(path, NotADirectoryError(errno.ENOTDIR, "it is a link"))
    _check_directory(path)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    if written != len(data):  # a full file system takes what fits, and says so only the next time
        raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written")
