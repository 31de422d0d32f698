"""``LeaseTimerServer``: the loop that watches one host's leases, and what it does about them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from typing import Any

from . import log
from .api import TimerRequest, TimerServer
from .beat import Beat
from .clock import CLOCK, Clock, check_after
from .crew import Crew
from .directory import POSTMORTEM, Folder, root_path, unusable
from .exclusive import Exclusive
from .incidents import Action, Incidents
from .lease import Worker
from .leasefiles import LeaseFiles
from .leasequeue import LeaseQueue, LeaseRequest
from .leases import Leases
from .names import file_name
from .pace import Pace
from .process import PROCESSES, Processes, check_host, host_id
from .reaper import Rules

TICK = 1.0
"""Seconds that the loop sleeps at most: what makes a gap visible, whatever ``max_interval`` is."""
RECORD_PATIENCE = 10.0
"""Seconds that ``once`` waits for records when nothing else is left to do."""
ABORT_PATIENCE = 0.5
"""The same in seconds, for a start that failed: there is nothing to wait for but an idle thread."""
STOP_PATIENCE = 3.0
"""Seconds that ``stop`` waits for the turn under way, and again for records not yet written."""


class LeaseTimerServer(TimerServer):
    """Serves the leases of this host in ``directory``: clears the released, reaps the workers of those that ran out.

    :param directory: ROOT; without it ``LEASETIMER_DIR``, else ``$XDG_STATE_HOME/leasetimer``. Made (0700) if missing.
    :param max_interval: seconds between two looks over the whole folder. It bounds how late a lost file event is
        noticed; it does not bound how late an expiry is, which is a matter of a millisecond.
    :param daemon: whether the thread lets the process end.
    :param tree: signal the worker's descendants, as they are before the first signal, with it.
    :param observe: report only, signal nobody.
    :param spare_traced: leave a worker under a debugger alone, and try again each ``max_interval``.
    :param actions: called with the record of each incident.
    :param host: the host id, instead of ``LEASETIMER_HOST`` or the host name.

    ``start`` raises ``ServerRefused`` where another server serves this host id in this directory, ``DirectoryUnusable``
    where the directory can't be used. It promises to signal only the very process that wrote a lease, and only if a
    read right before the signal says that it is overdue. It can't promise that the worker dies of it (``unkillable``).
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        max_interval: float = 10,
        daemon: bool = True,
        *,
        host: str | None = None,
        tree: bool = False,
        observe: bool = False,
        spare_traced: bool = True,
        actions: Sequence[Action] = (),
        clock: Clock = CLOCK,
        processes: Processes = PROCESSES,
    ) -> None:
        check_after(max_interval, "max_interval")
        self._clock = clock
        self._processes = processes
        self.root = root_path(directory)
        self.host = host_id(processes) if host is None else check_host(host)
        self.folder = Folder(self.root, self.host)
        self._pace = Pace(clock)
        self._files = LeaseFiles(self.folder)
        self.leases = Leases(self._files, clock, processes, self._pace)
        self._queue = LeaseQueue(self.folder, self.leases, clock, self._pace, max_interval)
        super().__init__(self._queue, max_interval, daemon)
        self._pid = os.getpid()
        self._exclusive = Exclusive(self.folder, clock, processes)
        self._crew = Crew()
        self._incidents = Incidents(
            self.leases,
            self._files,
            Rules(tree, observe, spare_traced),
            actions,
            crew=self._crew,
            clock=clock,
            processes=processes,
            wake=self._queue.wake,
            look_at=self._queue.look_at,
            spare_interval=max_interval,
        )
        self._beat = Beat(self.folder, clock, processes, self._crew, max_interval)
        self.counters = self._incidents.counters

    # -- life

    def start(self) -> None:
        """Take the right to serve this host here, look over all leases, then watch in a thread."""
        if self._watchdog_thread is not None and self._watchdog_thread.is_alive():
            raise RuntimeError("LeaseTimerServer is already started")
        self._stopping.clear()
        self._exclusive.take(self._stopping)
        if self._stopping.is_set():  # while it watched another machine's beat
            self._exclusive.free()
            return
        self._begin_or_free()
        try:
            super().start()
        except RuntimeError:  # no thread to be had
            self.end()
            raise

    def _begin_or_free(self) -> None:
        try:
            self.begin()
        except BaseException:
            self._queue.stop()
            self._incidents.stop(ABORT_PATIENCE)
            self._exclusive.free()
            raise

    def begin(self) -> None:
        """What comes before the first turn: the folder, its events, its first beat."""
        self._pid = os.getpid()
        self.folder.make()
        for name, pid in self.folder.parts():
            if self._processes.stat(pid) is None:
                self._sweep(name)
        self._processes.prepare()
        self._queue.start()
        self._incidents.start()
        self._crew.begin()
        self._incidents.owner = self._beat.first(**self._facts())
        self._pace.begin()

    def _sweep(self, name: str) -> None:
        try:
            self.folder.remove(name)
        except OSError as error:  # another user's, in a folder for all: no reason not to serve
            log.warning("leftover not removed", file=self.folder.join(name), error=error)

    def stop(self) -> None:
        """Stop watching, within seconds, and say so in ``server.json``. Reaps under way end with the process."""
        if os.getpid() != self._pid:
            return  # the child of a fork: what serves is the parent's
        self._stopping.set()
        self._queue.wake()
        thread = self._watchdog_thread
        if thread is None:
            return
        if thread is not threading.current_thread():
            thread.join(STOP_PATIENCE)
        if not thread.is_alive():
            self._watchdog_thread = None
        self.end(clean=not thread.is_alive())

    def once(self) -> None:
        """Instead of ``start``: look the whole folder over, clear and reap what is due now, see it through, and end.

        Raises as ``start`` does, and ``DirectoryUnusable`` where a record can't be written.
        """
        self._exclusive.take(self._stopping)
        self._begin_or_free()
        try:
            self._queue.wake()
            self._run_watchdog()
            stuck = self._clock.monotonic() + RECORD_PATIENCE
            while self._queue.size() or self.leases.busy:
                self._run_watchdog()
                if not self._crew.wait(0):  # a reap is under way, which may take its lease's grace
                    stuck = self._clock.monotonic() + RECORD_PATIENCE
                if self._clock.monotonic() > stuck:
                    raise unusable(self.folder.join(POSTMORTEM), OSError(errno.EIO, "records can't be written"))
        finally:
            self.end()

    def end(self, *, clean: bool = True) -> None:
        """What comes after the last turn. ``clean``: the loop has ended, it does not hang in the file system."""
        if os.getpid() != self._pid:
            return  # the child of a fork: what serves is the parent's
        self._queue.stop()
        self._incidents.stop(STOP_PATIENCE)
        if clean:
            self._incidents.settle()
            self._beat.last(**self._facts())
        self._exclusive.free()
        log.info("server stopped", host=self.host, dir=self.root, **self.counters)

    def _run_watchdog(self) -> None:
        super()._run_watchdog()
        self._incidents.bury(self._beat.boot)
        self._incidents.settle()
        self._beat.next(**self._facts())

    def _note(self, requests: list[TimerRequest]) -> None:
        """Nothing: what is due when is for the leases to say, who forget what was released."""

    def _patience(self) -> float:
        earliest = self.leases.earliest()
        now = self._clock.monotonic()
        if earliest is None:
            return min(TICK, super()._patience())
        return max(0.0, min(TICK, super()._patience(), earliest - now))

    # -- the contract

    def register_timers(self, timer_requests: list[TimerRequest]) -> None:
        """Look at these leases when they are due; what the file of that ``Worker`` says then is what counts."""
        ahead = self._clock.monotonic() - self._now()
        for request in timer_requests:
            worker: Worker = request.worker_id
            name = file_name(worker.host, worker.pid, request.scope_id)
            if request.expiration_time < 0:
                self.leases.dismiss(name)
            elif isinstance(request, LeaseRequest):
                self.leases.expect(name, request.deadline)
            else:
                self.leases.expect(name, request.expiration_time + ahead)

    def clear_timers(self, worker_ids: set[Any]) -> None:
        """Look at the leases of these workers no more before the next scan."""
        for worker in worker_ids:
            for name in self.leases.names(worker):
                self.leases.dismiss(name)

    def get_expired_timers(self, deadline: float) -> dict[Any, list[TimerRequest]]:
        """The leases that a fresh read says are held past ``deadline`` (seconds since the epoch), by worker."""
        horizon = self._clock.monotonic() + (deadline - self._now())
        if gap := self._pace.take():
            self.counters["gaps"] += 1
            self.leases.shift(gap)
        expired: dict[Any, list[TimerRequest]] = {}
        for lease in self.leases.overdue(horizon):
            expired.setdefault(lease.worker, []).append(LeaseRequest(lease, self.leases.deadline(lease)))
        return expired

    def _reap_worker(self, worker_id: Worker) -> bool:
        """Reap that worker, in a thread of its own: True means that this has begun, False that it could not."""
        return self._incidents.reap(worker_id)

    def _facts(self) -> dict[str, Any]:
        return {"leases": len(self.leases), "trouble": len(self.leases.trouble), "counters": dict(self.counters)}
