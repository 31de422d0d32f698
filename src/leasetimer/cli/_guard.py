"""The server that guards a command of ``leasetimer run``, and whom it reaped below that command."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .. import log
from ..clock import CLOCK
from ..directory import POSTMORTEM, Folder
from ..errors import LeasetimerError, ServerRefused
from ..postmortem import read_record
from ..presence import live_server
from ..process import PROCESSES
from ..server import LeaseTimerServer
from ._patience import within
from .options import visible

START_PATIENCE = 5.0
"""Seconds that a server may take to say who it is, once it has the right to serve."""
TAKE_OVER_INTERVAL = 1.0
"""Seconds between two looks whether the other's server has ended: then this process serves."""
STOP_PATIENCE = 4.0
RECORD_PATIENCE = 0.3
"""Seconds after the end of a command in which another's server may still write a first record of who was reaped."""
LOOK_INTERVAL = 0.02
CLOCK_SLACK = 60.0
"""Seconds that a record's time may lie before the command's start: clocks get set."""


class Try(NamedTuple):
    """One run of the command: its pid, the token that its leases carry, when it began (seconds since the epoch).

    A run inside another run has ``OUTER.INNER``: its leases are the outer one's, too.
    """

    pid: int
    token: str
    began: float

    def owns(self, record: dict[str, Any]) -> bool:
        """Whether that incident's worker is the command, or runs below it."""
        run = f"{_below(record, 'lease').get('run')}."
        return run.startswith(f"{self.token}.") or self.pid in (
            record.get("pid"),
            _below(record, "process").get("parent"),
        )


class Reaped(NamedTuple):
    """Who was reaped, and where that is recorded; no path where the record could not be written."""

    pid: int
    scope: str
    path: str | None

    def __str__(self) -> str:
        record = f"record {self.path}" if self.path else "record not written"
        return f"pid {self.pid} was reaped in scope {visible(self.scope)} ({record})"


class Guard:
    """A server for as long as it is needed: the one that this host has, else this process' own; a ``with`` block.

    When the other's ends first, this process takes over. Raises ``ServerRefused`` where there is one that would not act
    for this user, another user's or another machine's, and ``DirectoryUnusable`` as ``LeaseTimerServer`` does.
    """

    def __init__(self, directory: str | None) -> None:
        self._told: list[dict[str, Any]] = []
        self._server = LeaseTimerServer(directory, actions=[self._told.append])
        self._own = False
        self._leaving = threading.Event()
        self._waiting = threading.Thread(target=self._take_over, name="leasetimer-run", daemon=True)

    @property
    def folder(self) -> Folder:
        """This host's folder in the directory."""
        return self._server.folder

    def __enter__(self) -> Guard:
        end = CLOCK.monotonic() + START_PATIENCE
        while not self._serves():
            time.sleep(LOOK_INTERVAL)
            if CLOCK.monotonic() > end:
                self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        if not within(STOP_PATIENCE, self._stop):
            log.warning(
                "not ended cleanly: a reap is under way, or the file system hangs",
                dir=self.folder.root,
                seconds=STOP_PATIENCE,
            )

    def _stop(self) -> None:
        if self._waiting.is_alive():
            self._waiting.join()
        self._server.stop()

    def _serves(self) -> bool:
        """Whether there is a server now."""
        try:
            self._server.start()
        except ServerRefused:
            other = live_server(self.folder, CLOCK, PROCESSES)
            if other is None:  # it may have begun just now
                return False
            if other.uid not in (0, os.geteuid()):
                raise
            log.info("another server guards", pid=other.pid, uid=other.uid, dir=self.folder.path)
            self._waiting.start()
        else:
            self._own = True
        return True

    def _take_over(self) -> None:
        said = None
        while not self._leaving.wait(TAKE_OVER_INTERVAL):
            try:
                self._server.start()
            except ServerRefused:
                continue
            except (LeasetimerError, OSError) as error:
                if said != str(error):
                    said = str(error)
                    log.warning("server not taken over, tried again", error=error)
            else:
                self._own = True
                log.info("server taken over", dir=self.folder.path)
                return

    # -- who was reaped

    def reaped(self, run: Try, patience: float, pause: Callable[[float], None]) -> Reaped | None:
        """The first worker of that run that was reaped, if one was; waits ``patience`` seconds for reaps under way.

        The run has ended: nobody of it is reaped any more who isn't being reaped now.
        """
        now = CLOCK.monotonic()
        settled, end = now + RECORD_PATIENCE, now + patience
        while True:
            now = CLOCK.monotonic()
            busy = bool(self._own and self._server.leases.busy)
            pending = False
            for path, record in self._records(run, told=not busy or now >= settled):
                if record.get("outcome") == "reaped":
                    return Reaped(record["pid"], record["scope"], path)
                pending |= record.get("outcome") == "pending"
            awaited = busy or pending or not (self._own or now >= settled)
            if not awaited or now >= end:
                return None
            pause(LOOK_INTERVAL)

    def _records(self, run: Try, *, told: bool) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """The records of that run: those on disk, then, for where that fails, those this server was ``told`` of."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(run.began - CLOCK_SLACK))
        folder = Folder(self.folder.path, POSTMORTEM)
        for name in sorted(folder.names()):
            if name >= stamp and name.endswith(".json") and run.owns(record := read_record(folder, name)):
                yield folder.join(name), record
        for record in self._told if told else ():
            if run.owns(record):
                yield None, record


def _below(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}
