"""The leases of this process in one directory: files published by rename, then rewritten in place.

``hold`` and ``drop`` are the hot path, 4 us together with two writes and one look at the name: they are written out
flat on purpose, and scripts/bench watches them.
"""

from __future__ import annotations

import atexit
import os
import sys
from errno import EIO
from typing import TYPE_CHECKING
from zlib import crc32

from . import log
from .clock import Clock
from .directory import Folder
from .errors import NoServer
from .facts import facts
from .lease import CHECKSUM, HELD, RELEASED, TIMES, WIDTH, Status, write_identity, write_lease
from .names import check_scope, file_name, new_name
from .presence import server_here
from .process import Processes, identify
from .uses import Uses

if TYPE_CHECKING:
    from .client import LeaseTimerClient
    from .lease import Worker

MOST_IDLE = 64
"""Released lease files, with a descriptor each, that a process keeps for their next acquire in one directory."""
SLOW_WRITE = 0.5
"""Seconds after which a write is done again with a fresh clock: a file server that was away made it store the past."""
NEARLY = 0.001
"""Seconds by which a deadline may be earlier than what the server waits for: the same instant, computed twice."""
MOST_WRITES = 3
"""Writes of one publish, at most: a file system that is slow all the time must not hold the worker for ever."""
SERVER_CHECK_INTERVAL = 1.0
"""Seconds between two looks whether a server is there, at most one a publish."""
F_OK = os.F_OK

_ledgers: dict[tuple[str, str], Ledger] = {}


class Held:
    """A lease file of this process, held or released (idle): its descriptor stays open for the next write."""

    __slots__ = (
        "acquired",
        "body",
        "fd",
        "held",
        "highest",
        "identity",
        "identity_crc",
        "kept",
        "name",
        "path",
        "seq",
        "since",
    )

    def __init__(self, name: str, path: str, identity: bytes, seq: int) -> None:
        self.name = name
        self.path = path
        self.identity = identity
        self.identity_crc = crc32(identity)
        self.seq = seq
        self.acquired = 0
        self.since = 0.0
        self.fd = -1
        self.held = False
        self.kept = False  # the name is the server's to clear: an older file of this lease may still say held
        self.highest = 0.0  # the highest deadline written since the last publish: what the server may wait for
        self.body = b""


class Ledger(Uses["LeaseTimerClient"]):
    """Every lease of this process in one directory under one host id. Made by ``ledger_of``."""

    __slots__ = (
        "_checked",
        "_floor",
        "_idle",
        "_leases",
        "_processes",
        "_warned",
        "_worker",
        "clock",
        "folder",
        "monotonic",
        "now",
        "rewrite",
        "stands",
    )

    def __init__(self, folder: Folder, clock: Clock, processes: Processes) -> None:
        self.folder = folder
        self.clock = clock
        self.rewrite = folder.rewrite
        self.stands = folder.stands
        self.now = clock.now
        self.monotonic = clock.monotonic
        self._processes = processes
        self._leases: dict[str, Held] = {}
        super().__init__()
        self._start_over()

    def _start_over(self) -> None:
        self._leases = {}
        self._idle: dict[str, Held] = {}
        self._floor = 0  # seq of a lease made anew starts above every one of this process: the highest is the newest
        self._worker: Worker | None = None
        self._warned = False
        self._checked = float("-inf")

    def forked(self) -> None:
        """In the child of a fork: the parent's leases are the parent's, and so are their files."""
        for lease in self._leases.values():
            os.close(lease.fd)
        super().forked()
        self._start_over()

    def hold(self, client: LeaseTimerClient, scope_id: str, deadline: float, acquired: int) -> float:
        """Acquire (``acquired`` 1) or renew (0) until ``deadline``: in place where that may be, else by a publish."""
        lease = self._leases.get(scope_id)
        if lease is None or deadline < lease.highest - NEARLY:
            return self._publish(client, scope_id, deadline, acquired)
        begun, now = self.monotonic(), self.now()
        if not lease.held:
            lease.since = now
        lease.seq += 1
        if deadline > lease.highest:
            lease.highest = deadline
        body = HELD % (lease.seq, lease.acquired + acquired, lease.since, now + deadline - begun, deadline)
        try:
            if self.rewrite(lease.fd, body + CHECKSUM % crc32(body, lease.identity_crc), 0) != WIDTH:
                raise OSError(EIO, "lease written in part")
        except OSError as error:
            client.excuse("lease not written, block unguarded", scope_id, error)
            return 0.0
        lease.body = body
        lease.acquired += acquired
        if not lease.held:
            lease.held = True
            del self._idle[scope_id]
        if (late := self.monotonic() - begun) > SLOW_WRITE:
            return late + self._publish(client, scope_id, deadline + late, 0)
        if not self.stands(lease.path, F_OK):
            return self._publish(client, scope_id, deadline, 0)
        return 0.0

    def drop(self, client: LeaseTimerClient, scope_id: str) -> None:
        """Release: one write in place. The file stays for the next acquire, or until a server clears it."""
        lease = self._leases.get(scope_id)
        if lease is None or not lease.held:
            return
        lease.seq += 1
        body = RELEASED % (lease.seq, lease.body[TIMES:])
        try:
            if self.rewrite(lease.fd, body + CHECKSUM % crc32(body, lease.identity_crc), 0) != WIDTH:
                raise OSError(EIO, "lease written in part")
        except OSError as error:
            client.excuse("lease not released, still in force", scope_id, error)
            return
        lease.held = False
        self._idle[scope_id] = lease
        if len(self._idle) > MOST_IDLE:
            self._forget(next(iter(self._idle)))

    def _publish(self, client: LeaseTimerClient, scope_id: str, deadline: float, acquired: int) -> float:
        """Make the lease's name, or make it anew: the only place where it is made, and what raises a file event."""
        lease = self._leases.get(scope_id)
        moved = 0.0
        try:
            self._look_for_server(client)
            if lease is None:
                lease = self._describe(client, scope_id)
            for _ in range(MOST_WRITES):
                begun, now = self.monotonic(), self.now()
                since = lease.since if lease.held else now
                status = Status(
                    True,
                    lease.seq + 1,
                    lease.acquired + acquired,
                    since,
                    now + deadline + moved - begun,
                    deadline + moved,
                )
                fd = self.folder.publish(
                    new_name(lease.name, self._me().start), lease.name, write_lease(status, lease.identity)
                )
                self._adopt(scope_id, lease, fd, status)
                acquired = 0
                if (late := self.monotonic() - begun) <= SLOW_WRITE:
                    break
                moved += late
        except (OSError, NoServer) as error:
            if lease is not None:
                lease.highest = float("inf")  # which file stands there now is not sure: the next write is a publish
            client.excuse("lease not published, block unguarded", scope_id, error)
        return moved

    def _describe(self, client: LeaseTimerClient, scope_id: str) -> Held:
        check_scope(scope_id)
        worker = self._me()
        identity = write_identity(
            worker,
            scope_id,
            timens=self._processes.namespace("time"),
            uid=os.geteuid(),
            signal=client.signal,
            grace=client.grace,
            tree=client.tree,
            facts=facts(sys.argv if client.argv else [], os.environ),
        )
        name = file_name(worker.host, worker.pid, scope_id)
        return Held(name, self.folder.join(name), identity, self._floor)

    def _adopt(self, scope_id: str, lease: Held, fd: int, status: Status) -> None:
        if lease.fd >= 0:
            self._give_up(lease)
        lease.fd, lease.seq, lease.acquired, lease.held = fd, status.seq, status.acquired, True
        lease.since, lease.highest = status.since, status.deadline
        lease.body = HELD % status[1:]
        self._idle.pop(scope_id, None)
        self._leases[scope_id] = lease

    def _give_up(self, lease: Held) -> None:
        """Let go of the file that a publish has replaced. If the server has moved it, it must not be seen as held.

        Or it would be the verdict again once the new file is forgotten. After the publish, or none is held.
        """
        if lease.held:
            body = RELEASED % (lease.seq, lease.body[TIMES:])
            try:
                self.rewrite(lease.fd, body + CHECKSUM % crc32(body, lease.identity_crc), 0)
            except OSError as error:
                lease.kept = True
                log.warning("replaced lease file not marked released", name=lease.name, error=repr(error))
        os.close(lease.fd)

    def _me(self) -> Worker:
        if self._worker is None:
            worker = identify(os.getpid(), self.folder.host, self._processes)
            if worker is None:
                raise OSError(2, "/proc does not show this process: leases need /proc")
            self._worker = worker
        return self._worker

    def _look_for_server(self, client: LeaseTimerClient) -> None:
        now = self.monotonic()
        if now - self._checked < SERVER_CHECK_INTERVAL or (self._warned and not client.require_server):
            return
        server = server_here(self.folder, self.clock, self._processes)
        if server:
            self._checked = now
        elif client.require_server:
            raise NoServer(f"no live server for host {self.folder.host} in {self.folder.root}: run leasetimer serve")
        else:
            self._warned = True
            log.warning("no live server, nobody will reap", host=self.folder.host, dir=self.folder.root)

    def _forget(self, scope_id: str) -> None:
        """Let a released lease go: its descriptor, and its name if the server has not taken that already."""
        lease = self._leases.pop(scope_id)
        self._idle.pop(scope_id, None)
        self._floor = max(self._floor, lease.seq)
        os.close(lease.fd)
        try:
            if not lease.kept:
                self.folder.remove(lease.name)
        except OSError as error:
            log.warning("released lease not removed", name=lease.name, error=repr(error))

    def tidy(self) -> None:
        """Forget every released lease. Held ones stay: if this process dies with them, that is worth a record."""
        with self.lock:
            for scope_id in list(self._idle):
                self._forget(scope_id)


def ledger_of(root: str, host: str, clock: Clock, processes: Processes) -> Ledger:
    """The one ledger of this process for that directory and host id."""
    ledger = _ledgers.get((root, host))
    if ledger is None or (ledger.clock, ledger._processes) != (clock, processes):
        ledger = _ledgers[root, host] = Ledger(Folder(root, host), clock, processes)
    return ledger


@atexit.register
def _tidy() -> None:
    for ledger in _ledgers.values():
        ledger.tidy()
