"""Leases held for another process of this host: a shell by ``leasetimer acquire``, a command by ``leasetimer run``.

There is no process that could keep a descriptor, so each change is a publish: a file of its own, renamed into place.
The commands for one directory take turns, so that a renewal never brings back what a release has ended meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from signal import SIGKILL, valid_signals

from .clock import CLOCK, LONGEST, Clock, check_after
from .directory import MOST_WRITES, SLOW_WRITE, Folder
from .errors import BadValue, LeaseUnreadable, NoLease, NotTheWorker
from .facts import facts
from .lease import Lease, Status, Worker, first_seq, read_lease, write_identity, write_lease
from .leasefiles import LeaseFiles
from .locks import lock_path, turn
from .names import check_scope, file_name, new_name
from .process import PROCESSES, Processes

AFTER = "after"
"""The field of the identity that says how long the lease was acquired for. Only leases made here have it."""


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
        with self._turn():
            try:
                before = self._there(scope)
            except LeaseUnreadable:
                before = None  # it guards nobody: what is published now takes its place
            count = before.status.acquired if before else 0
            since = before.status.since if before and before.status.held else None
            return self._publish(scope, self._identity(scope, after), after, self._seq(before), count + 1, since)

    def renew(self, scope: str, after: float | None = None) -> Lease:
        """``after`` seconds more from now; without it, as many as it was acquired for. Returns it as written.

        Raises ``NoLease`` if none is held.
        """
        check_scope(scope)
        if after is not None:
            check_after(after)
        with self._no_lease_without_root(scope), self._turn():
            before = self._held(scope)
            seconds = _acquired_for(before) if after is None else after
            status = before.status
            return self._publish(scope, _line(before), seconds, status.seq, status.acquired, status.since)

    def release(self, scope: str) -> None:
        """End the lease of ``scope``. Raises ``NoLease`` if none is held."""
        check_scope(scope)
        with self._no_lease_without_root(scope), self._turn():
            before = self._held(scope)
            self._write(before.name, before.status._replace(held=False, seq=before.status.seq + 1), _line(before))

    def held(self, scope: str) -> Lease | None:
        """The lease of ``scope`` that is held for the worker now, if one is. Changes nothing, takes no turn."""
        try:
            return self._held(scope)
        except (NoLease, NotTheWorker):
            return None

    def _turn(self) -> AbstractContextManager[None]:
        return turn(lock_path(self.folder, "turn"), self._clock)

    # -- what there is

    def _there(self, scope: str) -> Lease | None:
        """The worker's lease that counts, also where a server is just moving it aside to clear it; None without one."""
        files = LeaseFiles(self.folder)
        name = self._name(scope)
        lease = files.verdict(name, self.worker)
        if lease is None:
            files.listed()
            lease = files.verdict(name, self.worker)
        if lease is not None and AFTER not in lease.identity.fields:
            raise NotTheWorker(
                f"scope {scope!r} is a lease that pid {self.worker.pid} took itself, and only it can change it"
            )
        return lease

    def _held(self, scope: str) -> Lease:
        lease = self._there(scope)
        if lease is None or not lease.status.held:
            raise NoLease(self._none(scope))
        return lease

    @contextmanager
    def _no_lease_without_root(self, scope: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NoLease(self._none(scope)) from None

    def _none(self, scope: str) -> str:
        return f"no lease is held: scope={scope!r} worker={self.worker} dir={self.folder.root}"

    # -- what is written

    def _seq(self, before: Lease | None) -> int:
        """The seq to go on from: without a lease, the clock's, not 0.

        What a server still remembers of this scope's last lease, released and cleared since, must not look like a new
        one: it would be signalled on a decision about the old.
        """
        return before.status.seq if before else first_seq(self._clock)

    def _publish(self, scope: str, identity: bytes, after: float, seq: int, count: int, since: float | None) -> Lease:
        publishes = 0
        while True:
            publishes += 1
            now, begun = self._clock.now(), self._clock.monotonic()
            status = Status(True, seq + publishes, count, now if since is None else since, now + after, begun + after)
            lease = self._write(self._name(scope), status, identity)
            if self._clock.monotonic() - begun <= SLOW_WRITE or publishes == MOST_WRITES:
                return lease

    def _write(self, name: str, status: Status, identity: bytes) -> Lease:
        data = write_lease(status, identity)
        lease = read_lease(name, data, os.geteuid())  # before it replaces a sound one: others must be able to read it
        os.close(self.folder.publish(new_name(name, self.worker.start, os.getpid()), name, data))
        return lease

    def _identity(self, scope: str, after: float) -> bytes:
        return write_identity(
            self.worker,
            scope,
            timens=self._processes.namespace("time"),
            uid=os.geteuid(),
            signal=self._signal,
            grace=self._grace,
            tree=self._tree,
            facts={AFTER: after, **facts(self._processes.argv(self.worker.pid), os.environ)},
        )

    def _name(self, scope: str) -> str:
        return file_name(self.worker.host, self.worker.pid, scope)


def _line(lease: Lease) -> bytes:
    """The identity line as it was read, with the fields that this version doesn't know."""
    return json.dumps(lease.identity.fields, separators=(",", ":")).encode() + b"\n"


def _acquired_for(lease: Lease) -> float:
    after = lease.identity.fields[AFTER]
    try:
        return check_after(after)
    except (TypeError, BadValue) as error:
        raise LeaseUnreadable(f"{lease.name}: {error}") from None
