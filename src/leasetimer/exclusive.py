"""One server a host id and directory: a kernel lock in a node-local folder, and a look who else is in the directory.

A lock file in ROOT would not do: filelock's soft lock of a killed holder was never taken over on NFS, which lacks the
rename that it needs.
"""

from __future__ import annotations

import contextlib
import os
import threading

from filelock import FileLock, Timeout

from . import log
from .clock import Clock
from .directory import Folder, make_root
from .errors import ServerRefused
from .locks import lock_path
from .presence import Presence, is_here, read_presence, same_space
from .process import Processes

WATCH_INTERVAL = 1.0
"""Seconds between two looks whether another machine's server still beats."""


class Exclusive:
    """The right to serve one host id in one directory. The kernel takes it back when the process ends."""

    def __init__(self, folder: Folder, clock: Clock, processes: Processes) -> None:
        self._folder = folder
        self._clock = clock
        self._processes = processes
        self._lock: FileLock | None = None

    def take(self, stopping: threading.Event) -> None:
        """Take it, or raise ``ServerRefused`` that says who has it.

        Where the last server here was of another boot and never said that it stopped, this watches its beat first, for
        twice its interval: if it changes, another machine of that name serves this directory. ``stopping`` ends that.
        """
        make_root(self._folder.root)
        lock = FileLock(lock_path(self._folder, "server"), timeout=0, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise self._refused(read_presence(self._folder)) from None
        self._lock = lock
        try:
            self._look_for_others(stopping)
        except BaseException:
            self.free()
            raise

    def free(self) -> None:
        """Give it back; fine if it was not taken."""
        if self._lock is not None:
            with contextlib.suppress(FileNotFoundError):  # a cleaner of /tmp may have been there
                os.unlink(self._lock.lock_file)  # while it is held: whoever waits sees it without a name, begins anew
            self._lock.release()
            self._lock = None

    def _look_for_others(self, stopping: threading.Event) -> None:
        other = read_presence(self._folder)
        if other is None or not other.serving:
            return
        if is_here(other, self._processes):
            if (other.pid, other.uid) != (os.getpid(), os.geteuid()):
                raise self._refused(other)  # another user's, whose lock is in another folder
            return
        if other.boot == self._processes.boot() and same_space(other, self._processes):
            return  # it was killed on this boot
        log.info("watching the beat of another boot, or container", host=other.host, seconds=2 * other.interval)
        end = self._clock.monotonic() + 2 * min(max(other.interval, WATCH_INTERVAL), 60.0) + WATCH_INTERVAL
        while self._clock.monotonic() < end and not self._clock.wait(stopping, WATCH_INTERVAL):
            now = read_presence(self._folder)
            if now is not None and now.serving and (now.boot, now.beat) != (other.boot, other.beat):
                raise ServerRefused(
                    f"another machine named {other.host} serves {self._folder.root} ({now.describe()}): "
                    "give this one a name of its own with LEASETIMER_HOST"
                )

    def _refused(self, other: Presence | None) -> ServerRefused:
        who = other.describe() if other else "a process that has not said who it is yet"
        return ServerRefused(f"{self._folder.root} is already served for host {self._folder.host} by {who}")
