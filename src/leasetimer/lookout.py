"""A worker's look whether a server is there at all: a lease that nobody reads guards nobody."""

from __future__ import annotations

from . import log
from .clock import Clock
from .directory import Folder
from .errors import NoServer
from .presence import server_here
from .process import Processes

LOOK_INTERVAL = 1.0
"""Seconds that a server once found is taken to be there."""


class Lookout:
    """Looks for the live server of this host: where one is required each second at most, else until it has warned."""

    __slots__ = ("_clock", "_folder", "_found", "_processes", "_warned")

    def __init__(self, folder: Folder, clock: Clock, processes: Processes) -> None:
        self._folder = folder
        self._clock = clock
        self._processes = processes
        self._warned = False
        self._found = float("-inf")

    def look(self, *, required: bool) -> None:
        """Warn once if there is none, or raise ``NoServer`` where one is required."""
        now = self._clock.monotonic()
        if now - self._found < LOOK_INTERVAL or (self._warned and not required):
            return
        try:
            server = server_here(self._folder, self._clock, self._processes)
        except OSError as error:  # who can't be seen can't be counted on, but the lease may be written all the same
            log.warning("server.json not read", dir=self._folder.root, error=repr(error))
            server = None
        if server:
            self._found = now
        elif required:
            raise NoServer(f"no live server for host {self._folder.host} in {self._folder.root}: run leasetimer serve")
        else:
            self._warned = True
            log.warning("no live server, nobody will reap", host=self._folder.host, dir=self._folder.root)
