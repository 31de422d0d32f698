"""The leases of this process in one directory: files published by rename, then rewritten in place.

``hold`` and ``drop`` are the hot path, together two writes and one look at the name: they are written out flat on
purpose, and scripts/bench watches them.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
from errno import EIO
from typing import TYPE_CHECKING, Any
from zlib import crc32

from . import log
from .clock import CLOCK, Clock
from .directory import MOST_WRITES, SLOW_WRITE, Folder
from .errors import NoServer
from .facts import facts
from .held import Held
from .lease import CHECKSUM, HELD, WIDTH, Status, first_seq, write_identity, write_lease
from .lookout import Lookout
from .names import check_scope, file_name, new_name
from .process import PROCESSES, Processes, identify
from .uses import Uses

if TYPE_CHECKING:
    from .client import LeaseTimerClient
    from .lease import Worker

MOST_IDLE = 64
"""Released lease files, with a descriptor each, that a process keeps for their next acquire in one directory."""
NEARLY = 0.001
"""Seconds by which a deadline may be earlier than what the server waits for: the same instant, computed twice."""
F_OK = os.F_OK

_numbers = itertools.count()
_ledgers: dict[tuple[str, str], Ledger] = {}


class Ledger(Uses["LeaseTimerClient"]):
    """Every lease of this process in one directory under one host id. Made by ``ledger_of``."""

    __slots__ = (
        "_idle",
        "_leases",
        "_lookout",
        "_processes",
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
        self._worker: Worker | None = None
        self._lookout = Lookout(self.folder, self.clock, self._processes)

    def forked(self) -> None:
        """In the child of a fork: the parent's leases are the parent's, and so are their files."""
        for lease in self._leases.values():
            try:
                os.close(lease.fd)
            except OSError:  # forked while another thread was closing it
                continue
        super().forked()
        self._start_over()

    def __reduce__(self) -> tuple[Any, ...]:
        return ledger_of, (self.folder.root, self.folder.host)

    def hold(self, client: LeaseTimerClient, scope_id: str, deadline: float, acquired: int) -> float:
        """Acquire (``acquired`` 1) or renew (0) until ``deadline``: in place where that may be, else by a publish."""
        lease = self._leases.get(scope_id)
        if lease is None or deadline < lease.highest - NEARLY:
            return self._publish(client, scope_id, deadline, acquired)
        if client.require_server and acquired and not self._server_found(client, scope_id):
            return 0.0
        if fresh := not lease.held:  # first: a signal handler must neither forget it nor leave it held by nobody
            lease.held = True
            self._idle.pop(scope_id, None)
        begun, now = self.monotonic(), self.now()
        if fresh:
            lease.since = now
        lease.seq += 1
        if deadline > lease.highest:
            lease.highest = deadline
        body = HELD % (lease.seq, lease.acquired + acquired, lease.since, now + deadline - begun, deadline)
        line = body + CHECKSUM % crc32(body, lease.identity_crc)
        try:
            if self.rewrite(lease.fd, line, 0) != WIDTH:  # fd last: a signal handler may have published meanwhile
                raise OSError(EIO, "lease written in part")
        except OSError as error:
            if fresh:
                self._undo(scope_id, lease)
            client.excuse("lease not written, block unguarded", scope_id, error)
            return 0.0
        lease.body = body
        lease.acquired += acquired
        if (late := self.monotonic() - begun) > SLOW_WRITE:
            return late + self._publish(client, scope_id, deadline + late, 0, fresh)
        if not self.stands(lease.path, F_OK):
            return self._publish(client, scope_id, deadline, 0, fresh)
        return 0.0

    def drop(self, client: LeaseTimerClient, scope_id: str) -> None:
        """Release: one write in place. The file stays for the next acquire, or until a server clears it."""
        lease = self._leases.get(scope_id)
        if lease is None or not lease.held:
            return
        try:
            lease.end(self.rewrite)
        except OSError as error:
            client.excuse("lease not released, still in force", scope_id, error)
            return
        lease.held = False
        self._idle[scope_id] = lease
        if len(self._idle) > MOST_IDLE:
            self._forget(next(iter(self._idle)))

    def _undo(self, scope_id: str, lease: Held) -> None:
        """A first acquire failed or was interrupted: what it may have left on disk must hold nobody to it."""
        try:
            if lease.fd >= 0:
                lease.end(self.rewrite)
        except OSError as error:
            log.error("lease of a failed acquire not released", scope=scope_id, error=repr(error))
        lease.held = False
        self._leases[scope_id] = lease
        self._forget(scope_id)

    def _server_found(self, client: LeaseTimerClient, scope_id: str) -> bool:
        try:
            self._lookout.look(required=client.require_server)
        except NoServer as error:
            client.excuse("no live server, block unguarded", scope_id, error)
            return False
        return True

    def _publish(
        self, client: LeaseTimerClient, scope_id: str, deadline: float, acquired: int, fresh: bool = False
    ) -> float:
        """Make the lease's name, or make it anew: the only place where it is made, and what raises a file event."""
        lease = self._leases.get(scope_id)
        moved = 0.0
        fresh = fresh or lease is None or not lease.held
        try:
            self._lookout.look(required=client.require_server and (fresh or acquired > 0))
            if lease is None:
                lease = self._describe(client, scope_id)
            for left in reversed(range(MOST_WRITES)):
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
                    new_name(lease.name, self._me().start, next(_numbers)),
                    lease.name,
                    write_lease(status, lease.identity),
                )
                self._adopt(scope_id, lease, fd, status)
                acquired = 0
                if (late := self.monotonic() - begun) <= SLOW_WRITE or not left:
                    break
                moved += late
        except BaseException as error:
            if lease is not None:
                if lease.fd < 0 or not self.folder.shows(lease.name, lease.fd):
                    lease.highest = float("inf")  # which file stands there is not sure: the next write is a publish
                if fresh:
                    self._undo(scope_id, lease)
            if not isinstance(error, (OSError, NoServer)):
                raise
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
        return Held(name, self.folder.join(name), identity, first_seq(self.clock))

    def _adopt(self, scope_id: str, lease: Held, fd: int, status: Status) -> None:
        # Swapped before it is closed: a signal handler that publishes in between must not close it, too.
        replaced, mark = lease.fd, lease.released() if lease.held else None
        lease.fd, lease.seq, lease.held = fd, max(lease.seq, status.seq), True
        lease.acquired = max(lease.acquired, status.acquired)
        lease.since, lease.highest = status.since, status.deadline
        lease.body = HELD % status[1:]
        self._idle.pop(scope_id, None)
        other = self._leases.get(scope_id, lease)
        self._leases[scope_id] = lease
        lease.give_up(self.rewrite, replaced, mark)
        if other is not lease:  # a signal handler's first acquire, in the middle of this first one
            other.give_up(self.rewrite, other.fd, other.released() if other.held else None)

    def _me(self) -> Worker:
        if self._worker is None:
            worker = identify(os.getpid(), self.folder.host, self._processes)
            if worker is None:
                raise OSError(2, "/proc does not show this process: leases need /proc")
            self._worker = worker
        return self._worker

    def _forget(self, scope_id: str) -> None:
        """Let a released lease go: its descriptor, and its name if the server has not taken that already."""
        lease = self._leases.pop(scope_id)
        self._idle.pop(scope_id, None)
        fd, lease.fd = lease.fd, -1
        if fd >= 0:
            os.close(fd)
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


def ledger_of(root: str, host: str, clock: Clock = CLOCK, processes: Processes = PROCESSES) -> Ledger:
    """The one ledger of this process for that directory and host id."""
    ledger = _ledgers.get((root, host))
    if ledger is None:  # in one step: of two threads that both see none, one's would write over the other's leases
        ledger = _ledgers.setdefault((root, host), Ledger(Folder(root, host), clock, processes))
    if (ledger.clock, ledger._processes) != (clock, processes):
        ledger = _ledgers[root, host] = Ledger(Folder(root, host), clock, processes)
    return ledger


@atexit.register
def _tidy() -> None:
    for ledger in _ledgers.values():
        ledger.tidy()
