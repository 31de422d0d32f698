"""A server's beat: its presence, written anew each interval, so that others see that it lives."""

from __future__ import annotations

import os
from errno import EACCES, EPERM, EROFS
from typing import Any

from . import log
from .clock import Clock
from .crew import Crew
from .directory import Folder, unusable
from .presence import BEAT_INTERVAL, Presence, own_presence, write_presence
from .process import Processes

SHORTEST_INTERVAL = 1.0


class Beat:
    """Writes ``server.json``: the first and the last time at once, else by the crew, never in the loop's own thread.

    Replacing a file took ext4 up to 127 ms, in which the loop would have reaped nobody.
    """

    def __init__(self, folder: Folder, clock: Clock, processes: Processes, crew: Crew, max_interval: float) -> None:
        self._folder = folder
        self._clock = clock
        self._processes = processes
        self._crew = crew
        self._interval = min(max(max_interval, SHORTEST_INTERVAL), BEAT_INTERVAL)
        self._presence = own_presence(folder, processes, self._interval)
        self._due = 0.0
        self._constant = {"pidns": processes.namespace("pid"), "stages": []}
        self._writing = False
        self._failed = False

    @property
    def boot(self) -> str:
        """The boot that this server runs on."""
        return self._presence.boot

    def first(self, **fields: Any) -> int:
        """Say that it serves, with these facts; the uid that the file system gives to what this server writes.

        Raises ``DirectoryUnusable`` where it may not write: it would serve leases that it can neither clear nor trust.
        """
        self._presence = own_presence(self._folder, self._processes, self._interval)
        try:
            return write_presence(self._folder, self._next(fields))
        except OSError as error:
            if error.errno in (EPERM, EACCES, EROFS):
                raise unusable(self._folder.path, error) from error
            log.warning("beat not written", dir=self._folder.path, error=error)
            return os.geteuid()

    def next(self, **fields: Any) -> None:
        """Say it again, if it is time, and the last one is through: a file system that hangs gets no second."""
        if self._clock.monotonic() < self._due or self._writing:
            return
        presence = self._next(fields)
        self._writing = True
        try:
            self._crew.start(lambda: self._write(presence))
        except RuntimeError as error:
            self._writing = False
            log.warning("beat not written", error=error)

    def last(self, **fields: Any) -> None:
        """Say that it has stopped."""
        self._write(self._next(fields)._replace(serving=False))

    def _next(self, fields: dict[str, Any]) -> Presence:
        now = self._clock.monotonic()
        self._due = now + self._interval
        self._presence = self._presence._replace(
            beat=self._presence.beat + 1, time=self._clock.now(), monotonic=now, fields={**fields, **self._constant}
        )
        return self._presence

    def _write(self, presence: Presence) -> None:
        try:
            write_presence(self._folder, presence)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("beat not written", dir=self._folder.path, error=error)
            self._failed = True
        finally:
            self._writing = False
