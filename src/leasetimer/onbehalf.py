"""Leases held for another process of this host: a shell by ``leasetimer acquire``, a command by ``leasetimer run``.

There is no process that could keep a descriptor, so each change is a publish: a file of its own, renamed into place.
The commands for one directory take turns, so that a renewal never brings back what a release has ended meanwhile.
"""

from __future__ import annotations

import os
from signal import SIGKILL, valid_signals
from typing import NoReturn

from .clock import CLOCK, LONGEST, Clock, check_after
from .directory import Folder
from .errors import BadValue, LeaseUnreadable, NoLease, NotTheWorker
from .facts import facts
from .lease import Lease, Status, Worker, read_lease, rewrite_identity, write_identity, write_lease
from .leasefiles import LeaseFiles
from .locks import lock_path, turn
from .names import check_scope, file_name, new_name
from .process import PROCESSES, Processes

AFTER = "after"
"""The field of the identity that says how long the lease was acquired for. Only leases made here have it."""
SLOW_PUBLISH = 0.5
"""Seconds after which a publish is done again with a fresh clock: a file server that was away made it store the past."""
MOST_PUBLISHES = 3
"""Publishes of one change, at most: a file system that is slow all the time must not hold the script for ever."""


class OnBehalf:
    """Leases held for ``worker``, another process of this host, in the directory ``root``.

    :param signal: what it gets first when a lease of it is overdue.
    :param grace: seconds from that signal to SIGKILL.
    :param tree: whether its descendants are signalled with it.

    A lease that the worker took itself, by ``expires``, is its own: it writes through a descriptor that it keeps, so
    nothing done here could last. Such a one is refused with ``NotTheWorker``. Every method raises ``BadValue`` for what
    can't be, ``OSError`` where the file can't be written: then what was in force before still is.
    """

    def __init__(
        self,
        root: str,
        host: str,
        worker: Worker,
        *,
        signal: int = SIGKILL,
        grace: float = 10.0,
        tree: bool = False,
        clock: Clock = CLOCK,
        processes: Processes = PROCESSES,
    ) -> None:
        if signal not in valid_signals():
            raise BadValue(f"signal must be a signal's number, got {signal!r}")
        if not 0 <= grace <= LONGEST:
            raise BadValue(f"grace must be 0 to {LONGEST:.0f} s, got {grace!r}")
        self.folder = Folder(root, host)
        self.worker = worker
        self._signal = int(signal)
        self._grace = float(grace)
        self._tree = tree
        self._clock = clock
        self._processes = processes

    def acquire(self, scope: str, after: float) -> Lease:
        """Hold the lease of ``scope`` for ``after`` seconds from now; a held one is replaced. Returns it as written."""
        check_scope(scope)
        check_after(after)
        self.folder.make()
        with turn(lock_path(self.folder, "turn"), self._clock):
            before = self._sound(scope)
            return self._publish(scope, before, self._identity(scope, after), after, acquired=1)

    def renew(self, scope: str, after: float | None = None) -> Lease:
        """``after`` seconds more from now; without it, as many as it was acquired for. Returns it as written.

        Raises ``NoLease`` if none is held.
        """
        check_scope(scope)
        if after is not None:
            check_after(after)
        try:
            with turn(lock_path(self.folder, "turn"), self._clock):
                before = self._held(scope)
                seconds = check_after(before.identity.fields[AFTER]) if after is None else after
                return self._publish(scope, before, rewrite_identity(before.identity), seconds, acquired=0)
        except FileNotFoundError:
            self._no_lease(scope)

    def release(self, scope: str) -> None:
        """End the lease of ``scope``. Raises ``NoLease`` if none is held."""
        check_scope(scope)
        try:
            with turn(lock_path(self.folder, "turn"), self._clock):
                before = self._held(scope)
                status = before.status._replace(held=False, seq=before.status.seq + 1)
                self._write(before.name, write_lease(status, rewrite_identity(before.identity)))
        except FileNotFoundError:
            self._no_lease(scope)

    # -- what there is

    def _there(self, scope: str) -> Lease | None:
        """The worker's lease that counts, also where a server is just moving it aside to clear it; None without one."""
        files = LeaseFiles(self.folder)
        name = file_name(self.worker.host, self.worker.pid, scope)
        lease = files.verdict(name)
        if lease is None:
            files.listed()
            lease = files.verdict(name)
        if lease is not None and lease.worker == self.worker and AFTER not in lease.identity.fields:
            raise NotTheWorker(
                f"scope {scope!r} of pid {self.worker.pid} is a lease that this process took itself: only it can change it"
            )
        return lease

    def _sound(self, scope: str) -> Lease | None:
        try:
            return self._there(scope)
        except LeaseUnreadable:
            return None  # it guards nobody: what is published now takes its place

    def _held(self, scope: str) -> Lease:
        lease = self._there(scope)
        if lease is None or not lease.status.held or lease.worker != self.worker:
            self._no_lease(scope)
        return lease

    def _no_lease(self, scope: str) -> NoReturn:
        raise NoLease(f"no lease is held: scope={scope!r} worker={self.worker} in {self.folder.root}") from None

    # -- what is written

    def _publish(self, scope: str, before: Lease | None, identity: bytes, after: float, *, acquired: int) -> Lease:
        name = file_name(self.worker.host, self.worker.pid, scope)
        now = self._clock.now()
        if before is None:
            # From the clock, not 1: what a server remembers of this worker's last lease, cleared since, is not this one.
            before_seq = int(self._clock.monotonic() * 1000)
        else:
            before_seq = before.status.seq
        mine = before is not None and before.worker == self.worker
        since = before.status.since if before is not None and mine and before.status.held else now
        count = acquired + (before.status.acquired if before is not None and mine else 0)
        for seq in range(before_seq + 1, before_seq + 1 + MOST_PUBLISHES):
            begun = self._clock.monotonic()
            status = Status(True, seq, count, since, self._clock.now() + after, begun + after)
            data = write_lease(status, identity)
            self._write(name, data)
            if self._clock.monotonic() - begun <= SLOW_PUBLISH:
                break
        return read_lease(name, data, os.geteuid())

    def _write(self, name: str, data: bytes) -> None:
        os.close(self.folder.publish(new_name(name, self.worker.start), name, data))

    def _identity(self, scope: str, after: float) -> bytes:
        stat = self._processes.stat(self.worker.pid)
        return write_identity(
            self.worker,
            scope,
            timens=self._processes.namespace("time"),
            uid=os.geteuid(),
            signal=self._signal,
            grace=self._grace,
            tree=self._tree,
            facts={AFTER: after, **facts([stat.name] if stat else [], os.environ)},
        )
