"""The leases of one host, as its server knows them: read, guarded, in trouble. Used by the server's thread only."""

from __future__ import annotations

import os

from . import log
from .clock import Clock
from .deadlines import Deadlines
from .errors import LeaseUnreadable
from .known import Known, Memory
from .lease import Lease, Worker
from .leasefiles import LeaseFiles
from .names import split_name
from .pace import Pace
from .process import Processes
from .trouble import Trouble

LOOK_AGAIN = 1.0
"""Seconds until a lease that could not be read when it was due is looked at again."""
SLACK = 1.0
"""Seconds added to a gap: those who stood still with the server are not all woken at once."""
HANDLED_INTERVAL = 10.0
"""Seconds between two looks whether a worker that lives on after an incident has made a new promise."""
MISSED_SCANS = 2
"""Scans in a row that don't list a lease until it is forgotten: a name may be away for a moment."""


class Leases:
    """All leases in a folder. ``dead`` collects what looks find of workers that are gone, until somebody takes it."""

    def __init__(self, files: LeaseFiles, clock: Clock, processes: Processes, pace: Pace) -> None:
        self.busy: set[Worker] = set()  # being reaped: their leases are left alone until that is over
        self.dead: dict[Worker, list[Lease]] = {}
        self.trouble = Trouble(files.folder)
        self._files = files
        self._clock = clock
        self._processes = processes
        self._pace = pace
        self._boot = processes.boot()
        self._spaces = (processes.namespace("pid"), processes.namespace("time"))
        self._known = Memory()
        self._deadlines: Deadlines[str] = Deadlines()
        self._overdue: dict[str, Lease] = {}
        self._alive: dict[Worker, bool] = {}

    def __len__(self) -> int:
        return len(self._known)

    def earliest(self) -> float | None:
        """When the first lease is due, on the monotonic clock."""
        return self._deadlines.earliest()

    def expect(self, name: str, deadline: float) -> None:
        """Look at that lease when ``deadline`` is due."""
        self._deadlines.put(name, deadline)

    def expected(self, lease: Lease) -> bool:
        """Whether that lease will be looked at when it is due anyway."""
        looked_at = self._deadlines.get(lease.name)
        return looked_at is not None and looked_at <= self.due(lease)

    def dismiss(self, name: str) -> None:
        """Look at that lease no more before the next scan."""
        self._deadlines.remove(name)
        self._overdue.pop(name, None)

    def names(self, worker: Worker) -> list[str]:
        """The names of all leases of that worker."""
        return self._known.names(worker)

    def of(self, worker: Worker) -> list[Lease]:
        """The leases of that worker as last read, held or not: first those just found overdue, each by deadline."""
        mine = self._known.of(worker)
        mine.sort(key=lambda known: (known.lease.name not in self._overdue, known.deadline))
        return [known.lease for known in mine]

    def deadline(self, lease: Lease) -> float:
        """The deadline that counts for a lease as read: what was written, moved by the gaps since."""
        known = self._known.get(lease.name)
        if known is None or known.lease.status.seq != lease.status.seq:
            return lease.status.deadline
        return known.deadline

    def due(self, lease: Lease) -> float:
        """When that lease is to be acted on: at its deadline, or later where that was put off."""
        known = self._known.get(lease.name)
        return max(self.deadline(lease), known.again if known else 0.0)

    # -- looking

    def begin_scan(self) -> list[str]:
        """The names of all leases there are, to be looked at one by one. What nobody makes any more is removed."""
        leases, new = self._files.listed()
        self._alive.clear()
        for name, dotted in new:
            try:
                stat = self._processes.stat(split_name(dotted.lease)[1])
                if stat is None or f"{stat.start:x}" != dotted.token:
                    self._files.folder.remove(name)
            except (LeaseUnreadable, OSError) as error:
                self.trouble.say(name, "leftover not removed", error)
        for name in self._known:
            if name not in leases and (known := self._known.get(name)):
                known.missing += 1
                if known.missing >= MISSED_SCANS:
                    self.forget(name)
        self.trouble.keep(leases | {name for name, _ in new})
        return sorted(leases)

    def look(self, name: str) -> Lease | None:
        """Read a lease and do what its state asks for; returned where it is held and to be guarded."""
        leases = self._fresh(name)
        if leases is None:
            return None
        if not leases:
            self.forget(name)
            return None
        return [self._judge(lease) for lease in leases][-1]

    def _fresh(self, name: str) -> list[Lease] | None:
        """A fresh read; None where it failed, which is neither a release nor an expiry: said once, and tried again."""
        try:
            return self._files.read(name)
        except (LeaseUnreadable, OSError) as error:
            self.trouble.say(name, "lease not read, tried again", error)
            self._deadlines.put(name, self._clock.monotonic() + LOOK_AGAIN)
            return None
        finally:
            self._pace.mark()

    def _judge(self, lease: Lease) -> Lease | None:
        name, worker = lease.name, lease.worker
        doubt = self._doubt(lease)
        if doubt:
            self.trouble.say(name, "lease not guarded", doubt)
            return None
        if worker in self.busy:
            return None
        if not self._lives(worker):
            if lease.status.held and not self._is_handled(lease):
                self.dead.setdefault(worker, []).append(lease)
            else:
                self.remove(lease)
            return None
        known = self._remember(lease)
        if not lease.status.held:
            return self._clear(name)
        self.trouble.pop(name, None)
        return None if known.has_handled(lease) else lease

    def _doubt(self, lease: Lease) -> str | None:
        """Why this lease must be left alone, if so: neither judged nor cleared."""
        worker = lease.worker
        if worker.boot != self._boot:
            return None  # nothing of another boot lives
        if (worker.pidns, lease.identity.timens) != self._spaces:
            return "its worker is in another pid or time namespace, pids and clocks can't be compared"
        if worker.pid == os.getpid() and self._lives(worker):
            return "its worker is this server's own process"
        return None

    def _lives(self, worker: Worker) -> bool:
        if worker.boot != self._boot:
            return False
        alive = self._alive.get(worker)
        if alive is None:
            try:
                alive = self._alive[worker] = self._processes.alive(worker)
            except OSError as error:  # in doubt it lives: nothing of it is removed
                log.warning("worker not looked at", worker=worker, error=error)
                return True
        return alive

    def _remember(self, lease: Lease) -> Known:
        known, displaced = self._known.keep(lease)
        if displaced and displaced.lease.status.held and not displaced.has_handled(displaced.lease):
            self.dead.setdefault(displaced.lease.worker, []).append(displaced.lease)
        return known

    def _is_handled(self, lease: Lease) -> bool:
        known = self._known.get(lease.name)
        return known is not None and known.has_handled(lease)

    # -- when they are due

    def overdue(self, now: float) -> list[Lease]:
        """The leases that a fresh read says are held past their deadline, those of the last call that nobody took too.

        A released one is cleared, a renewed one goes back on the heap, and so does one that can't be read.
        """
        names = [*self._overdue, *self._deadlines.pop_due(now)]
        self._overdue.clear()
        for name in names:
            lease = self._due(name)
            if lease is None:
                continue
            if self.due(lease) > now:
                self._deadlines.put(name, self.next_look(lease))
            else:
                self._overdue[name] = lease
        if self._pace.gap:  # a read stood still: nothing that was decided counts before the gap is dealt with
            for name in self._overdue:
                self._deadlines.put(name, now)
            self._overdue.clear()
        return list(self._overdue.values())

    def next_look(self, lease: Lease) -> float:
        """When to look at that lease again: before it is due, if that was put off. It may get a deadline in between."""
        due, now = self.due(lease), self._clock.monotonic()
        return due if due <= lease.status.deadline else min(due, now + max(LOOK_AGAIN, (due - now) / 8))

    def _due(self, name: str) -> Lease | None:
        leases = self._fresh(name)
        if not leases or leases[-1].worker in self.busy:  # none: gone, or away for a moment; scans will tell
            return None
        lease = leases[-1]
        if not lease.status.held or self._doubt(lease) or lease.worker.boot != self._boot:
            return self._judge(lease)
        self._remember(lease)
        if self._is_handled(lease):
            self._deadlines.put(name, self._clock.monotonic() + HANDLED_INTERVAL)
            return None
        return lease

    def handled(self, lease: Lease) -> None:
        """This promise has been acted on: never again. Whether there is a new one is looked for now and then."""
        self._remember(lease).handled = lease.status.deadline
        self.dismiss(lease.name)
        self._deadlines.put(lease.name, self._clock.monotonic() + HANDLED_INTERVAL)

    def put_off(self, worker: Worker, instant: float) -> None:
        """What that worker has overdue now is not acted on before ``instant`` on the monotonic clock."""
        now = self._clock.monotonic()
        for known in self._known.of(worker):
            if known.deadline <= now:
                known.again = instant

    def shift(self, gap: float) -> None:
        """The server stood still for ``gap`` seconds: every deadline as it is on disk now moves by that, once."""
        names = set(self._known)
        try:
            names |= self._files.listed()[0]  # what was published meanwhile, and not seen yet, stood still as well
        except OSError as error:
            log.warning("folder not listed after standing still", dir=self._files.folder.path, error=error)
        # A listing that took long belongs to this gap: or it would be the next one, and so for ever.
        self._pace.mark()
        gap += self._pace.take()
        for name in names:
            new = self._known.get(name) is None
            try:
                lease = self._files.verdict(name)
            except (LeaseUnreadable, OSError) as error:
                self.trouble.say(name, "lease not read after standing still", error)
                lease = None
            self._pace.mark()
            if lease is not None and not self._doubt(lease):
                self._remember(lease)
            known = self._known.get(name)
            if known is None:
                continue
            known.move(gap + SLACK, self._clock.monotonic())
            if self._overdue.pop(name, None) or name in self._deadlines or new:
                self._deadlines.put(name, self.next_look(known.lease))
        log.warning("server stood still, deadlines moved", seconds=gap, leases=len(self._known))

    # -- clearing

    def _clear(self, name: str) -> Lease | None:
        try:
            lease = self._files.clear(name)
        except (LeaseUnreadable, OSError) as error:
            self.trouble.say(name, "released lease not cleared, tried again", error)
            self._deadlines.put(name, self._clock.monotonic() + LOOK_AGAIN)
            return None
        if lease is None:
            self.forget(name)
            return None
        self._remember(lease)
        return lease

    def remove(self, lease: Lease) -> None:
        """Remove the files of a lease whose worker is gone; tried again at each scan, if that fails."""
        try:
            self._files.remove(lease.name, lease.worker)
        except (LeaseUnreadable, OSError) as error:
            self.trouble.say(lease.name, "lease of a dead worker not removed, tried again", error)
            self._remember(lease).handled = lease.status.deadline  # or it would be told again, and again
            self.dismiss(lease.name)
            return
        known = self._known.get(lease.name)
        if known is None or known.lease.worker == lease.worker:
            self.forget(lease.name)

    def forget(self, name: str) -> None:
        """Remember nothing of that lease."""
        self._known.forget(name)
        self.dismiss(name)
