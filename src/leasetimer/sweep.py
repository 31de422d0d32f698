"""Removes what belongs to nobody in a host's folder: what its server would clear if there were one, and old records.

Never the lease of a living worker. Of another host only what its leases say can be known, so somebody must have said
that it is lost.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from .clock import CLOCK, Clock
from .directory import POSTMORTEM, PRESENCE, Folder
from .errors import LeaseUnreadable
from .lease import Lease, Worker
from .leasefiles import LeaseFiles
from .names import split_name
from .postmortem import Incident, obituary
from .process import PROCESSES, Processes

Kind = Literal["lease", "leftover", "record", "presence"]
_NOTICED = re.compile(rb'"noticed": (\d+\.\d+)')


class Swept(NamedTuple):
    """A file that was removed (or would be), by its name in the folder; ``record`` is the one written about it."""

    kind: Kind
    file: str
    why: str
    record: str | None = None


class Left(NamedTuple):
    """A file that was left alone, and why; ``failed``: it should have been removed."""

    file: str
    why: str
    failed: bool = False


class Sweep:
    """One sweep of a folder. ``lost``: all that ran on that host is dead. ``dry``: change nothing, only tell.

    ``done`` and ``left`` say what became of what.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        lost: bool = False,
        dry: bool = False,
        clock: Clock = CLOCK,
        processes: Processes = PROCESSES,
    ) -> None:
        self.folder = folder
        self.done: list[Swept] = []
        self.left: list[Left] = []
        self._lost = lost
        self.dry = dry
        self._clock = clock
        self._processes = processes
        self._boot = processes.boot()
        self._spaces = (processes.namespace("pid"), processes.namespace("time"))

    # -- leases

    def leases(self) -> None:
        """Remove the leases of the dead, after a record of what they held, and what was never finished.

        To be called by one who holds the server's lock, so that nobody else clears meanwhile.
        """
        files = LeaseFiles(self.folder)
        names, making = files.listed()
        dead: dict[Worker, list[Lease]] = {}
        for name in sorted(names):
            try:
                leases = files.read(name)
            except (LeaseUnreadable, OSError) as error:
                self._leave(name, error)
                continue
            for lease in leases:
                if self._is_dead(lease):
                    dead.setdefault(lease.worker, []).append(lease)
        for worker, leases in dead.items():
            self._bury(files, worker, leases)
        for name, dotted in making:
            try:
                pid = split_name(dotted.lease)[1]
            except LeaseUnreadable as error:
                self._leave(name, error)
                continue
            stat = self._processes.stat(pid)
            if self._lost or stat is None or f"{stat.start:x}" != dotted.token:
                self._remove("leftover", name, "never finished, and its worker is gone")
        self._parts()

    def presence(self) -> None:
        """Remove the server's ``server.json``, which says nothing any more on a host that is lost."""
        if self.folder.owner(PRESENCE) is not None:
            self._remove("presence", PRESENCE, "its host is lost")

    def _is_dead(self, lease: Lease) -> bool:
        worker = lease.worker
        if self._lost:
            left = lease.status.expires - self._clock.now()
            if lease.status.held and left > 0:
                self.left.append(Left(lease.name, f"not due for {left:.0f} s more: its worker may live"))
                return False
            return True
        if worker.boot != self._boot:
            return True
        if (worker.pidns, lease.identity.timens) != self._spaces:
            self.left.append(Left(lease.name, "its worker is in another pid or time namespace"))
            return False
        return not self._processes.alive(worker)

    def _bury(self, files: LeaseFiles, worker: Worker, leases: list[Lease]) -> None:
        held = sorted((lease for lease in leases if lease.status.held), key=lambda lease: lease.status.deadline)
        if self._lost:
            why = "its host is lost"
        elif worker.boot != self._boot:
            why = "its worker ran before this machine's last boot"
        else:
            why = "its worker is dead"
        record = None
        if held:
            incident = self._incident(held, why)
            record = incident.name
            try:
                if not self.dry and not incident.told_before(self.folder):
                    self.folder.replace(incident.name, incident.record())
            except OSError as error:
                for lease in leases:
                    self._leave(lease.name, error, failed=True)
                return
        for lease in leases:
            try:
                if not self.dry:
                    files.remove(lease.name, worker)
            except (LeaseUnreadable, OSError) as error:
                self._leave(lease.name, error, failed=True)
            else:
                self.done.append(Swept("lease", lease.name, why, record if lease.status.held else None))

    def _incident(self, held: list[Lease], why: str) -> Incident:
        """As a server would have told it: ``gone`` where the lease had run out before it was found, else abandoned."""
        same_boot = held[0].worker.boot == self._boot and not self._lost
        overdue = self._clock.monotonic() - held[0].status.deadline if same_boot else -1.0
        return obituary(held, f"{why}; found by leasetimer clear", overdue, self._clock)

    def _parts(self) -> None:
        for name, pid in self.folder.parts():
            if self._lost or self._processes.stat(pid) is None:
                self._remove("leftover", name, "never finished, and its writer is gone")

    # -- records

    def records(self, older_than: float, *, pending: bool) -> None:
        """Remove records noticed more than ``older_than`` seconds ago, ``pending`` ones, too, if they are nobody's."""
        folder = Folder(self.folder.path, POSTMORTEM)
        for name in sorted(folder.names()):
            if name.startswith(".") or not name.endswith(".json"):
                continue
            inside = f"{POSTMORTEM}/{name}"
            try:
                data = folder.read(name).data
            except (LeaseUnreadable, OSError) as error:
                self._leave(inside, error)
                continue
            noticed = _NOTICED.search(data)
            if noticed is None:
                self.left.append(Left(inside, "no record"))
            elif self._clock.now() - float(noticed[1]) > older_than and (
                pending or b'"outcome": "pending"' not in data
            ):
                self._remove("record", inside, "old")
                stack = name.removesuffix(".json") + ".stack"
                if folder.owner(stack) is not None:
                    self._remove("record", f"{POSTMORTEM}/{stack}", "old")

    # -- one file

    def _remove(self, kind: Kind, file: str, why: str) -> None:
        try:
            if not self.dry:
                self.folder.remove(file)
        except OSError as error:
            self._leave(file, error, failed=True)
        else:
            self.done.append(Swept(kind, file, why))

    def _leave(self, file: str, error: Exception, *, failed: bool = False) -> None:
        self.left.append(Left(file, getattr(error, "strerror", None) or str(error), failed))
