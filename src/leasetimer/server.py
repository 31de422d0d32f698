"""``LeaseTimerServer``: the loop that watches one host's leases, and what it does about them."""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from . import log
from .api import TimerRequest, TimerServer
from .clock import CLOCK, Clock, check_after
from .directory import PRESENCE, Folder, root_path
from .exclusive import Exclusive
from .lease import Lease, Worker
from .leasefiles import LeaseFiles
from .leasequeue import LeaseQueue, LeaseRequest
from .leases import LOOK_AGAIN, Leases
from .names import file_name
from .pace import Pace
from .postmortem import Incident, Recorder
from .presence import BEAT_INTERVAL, Presence, own_presence, write_presence
from .process import PROCESSES, Processes, check_host, host_id
from .reaper import Reap, Rules

Action = Callable[[dict[str, Any]], None]
"""What else is done about an incident: it is handed the record, in the reap's own thread, once the outcome is known."""

TICK = 1.0
"""Seconds that the loop sleeps at most: what makes a gap visible, whatever ``max_interval`` is."""
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
        check_after(max_interval)
        self._clock = clock
        self._processes = processes
        self._rules = Rules(tree, observe, spare_traced)
        self._actions = actions
        self.root = root_path(directory)
        self.host = host_id(processes) if host is None else check_host(host)
        self.folder = Folder(self.root, self.host)
        self._pace = Pace(clock)
        self._files = LeaseFiles(self.folder)
        self.leases = Leases(self._files, clock, processes, self._pace)
        self._queue = LeaseQueue(self.folder, self.leases, clock, self._pace, max_interval)
        super().__init__(self._queue, max_interval, daemon)
        self._exclusive = Exclusive(self.folder, clock, processes)
        self._recorder = Recorder(self.folder, clock)
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._presence = own_presence(self.folder, processes, min(max_interval, BEAT_INTERVAL))
        self._beat_due = 0.0
        self._owner = os.geteuid()
        self._reaps: set[threading.Thread] = set()
        self.counters: Counter[str] = Counter()

    # -- life

    def start(self) -> None:
        """Take the right to serve this host here, look over all leases, then watch in a thread."""
        if self._watchdog_thread is not None:
            raise RuntimeError("LeaseTimerServer is already started")
        self._stopping.clear()
        self._exclusive.take(self._stopping)
        try:
            self.begin()
            super().start()
        except BaseException:
            self._exclusive.free()
            raise

    def begin(self) -> None:
        """What comes before the first turn: the folder, its events, its first beat."""
        self.folder.make()
        self._queue.start()
        self._recorder = Recorder(self.folder, self._clock)
        self._recorder.start()
        self._presence = own_presence(self.folder, self._processes, self._presence.interval)
        self._beat()
        owner = self.folder.owner(PRESENCE)
        self._owner = os.geteuid() if owner is None else owner

    def stop(self) -> None:
        """Stop watching, within seconds, and say so in ``server.json``. Reaps under way end with the process."""
        self._stopping.set()
        self._queue.wake()
        thread, self._watchdog_thread = self._watchdog_thread, None
        if thread is None:
            return
        thread.join(STOP_PATIENCE)
        self.end(clean=not thread.is_alive())

    def end(self, *, clean: bool = True) -> None:
        """What comes after the last turn. ``clean``: the loop has ended, it does not hang in the file system."""
        self._queue.stop()
        for reap in list(self._reaps):
            reap.join(STOP_PATIENCE / len(self._reaps or [1]))
        if not self._recorder.stop(STOP_PATIENCE):
            log.error("records not written before the end", dir=self.folder.path)
        if clean:
            self._catch_up()
            self._write_presence(self._presence._replace(serving=False))
        self._exclusive.free()
        log.info("server stopped", host=self.host, dir=self.root, **self.counters)

    def _run_watchdog(self) -> None:
        super()._run_watchdog()
        self._bury()
        self._catch_up()
        if self._clock.monotonic() >= self._beat_due:
            self._beat()

    def _patience(self) -> float:
        earliest = self.leases.earliest()
        now = self._clock.monotonic()
        if earliest is None:
            return min(TICK, super()._patience())
        return max(0.0, min(TICK, super()._patience(), earliest - now))

    # -- the contract

    def register_timers(self, timer_requests: list[TimerRequest]) -> None:
        """Look at these leases when they are due; what the file of that ``Worker`` says then is what counts."""
        ahead = self._clock.monotonic() - self._clock.now()
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
        horizon = self._clock.monotonic() + (deadline - self._clock.now())
        if gap := self._pace.take():
            self.counters["gaps"] += 1
            self.leases.shift(gap)
        expired: dict[Any, list[TimerRequest]] = {}
        for lease in self.leases.overdue(horizon):
            expired.setdefault(lease.worker, []).append(LeaseRequest(lease, self.leases.deadline(lease)))
        return expired

    def _reap_worker(self, worker_id: Worker) -> bool:
        """Reap that worker, in a thread of its own: True means that this has begun."""
        held = self.leases.of(worker_id)
        if not held:
            return True
        lease = held[0]
        due = self.leases.deadline(lease)
        incident = Incident(lease, "pending", self._clock, overdue=self._clock.monotonic() - due, others=held[1:])
        reap = Reap(
            incident,
            due,
            rules=self._rules,
            owner=self._owner,
            files=self._files,
            clock=self._clock,
            processes=self._processes,
            publish=self._recorder.publish,
        )
        self.leases.busy.add(worker_id)
        thread = threading.Thread(target=self._reap, args=(reap,), name=f"leasetimer-reap-{worker_id.pid}", daemon=True)
        self._reaps.add(thread)
        thread.start()
        return True

    # -- incidents

    def _reap(self, reap: Reap) -> None:
        try:
            decided = reap.run()
        except Exception:  # noqa: BLE001 - logged; or the worker would count as being reaped for ever
            log.error("reap failed, tried again", trace=True, worker=reap.worker)
            decided = False
        if decided:
            self._conclude(reap.incident)
        else:
            self._later(lambda: self._release(reap.lease, self._clock.monotonic() + LOOK_AGAIN))
        self._reaps.discard(threading.current_thread())

    def _bury(self) -> None:
        """Record and clear those whose workers are dead."""
        dead, self.leases.dead = self.leases.dead, {}
        now = self._clock.monotonic()
        for worker, leases in dead.items():
            first, *others = sorted(leases, key=lambda lease: lease.status.deadline)
            same_boot = worker.boot == self._presence.boot
            late = now - self.leases.deadline(first) if same_boot else -1.0
            incident = Incident(first, "pending", self._clock, overdue=late if late >= 0 else None, others=others)
            if not same_boot:
                incident.end("abandoned", "its worker ran before this machine's last boot")
            elif late >= 0:
                incident.end("gone", "its worker was dead already")
            else:
                incident.end("abandoned", "its worker died while it held the lease")
            self.leases.busy.add(worker)
            self._conclude(incident)

    def _conclude(self, incident: Incident) -> None:
        """The outcome stands: publish the record, do what else is to be done, and only then let go of the leases."""
        if incident.outcome in ("gone", "abandoned") and incident.told_before(self.folder):
            self._later(lambda: self._settle(incident))
            return
        self._later(lambda: self.counters.update([incident.outcome]))
        log.warning("incident", **incident.summary())
        for action in self._actions:
            try:
                action(incident.fields)
            except Exception:  # noqa: BLE001 - logged; somebody else's code
                log.error("action failed", trace=True, action=action, scope=incident.lease.scope)
        self._recorder.publish(incident, lambda: self._later(lambda: self._settle(incident)))

    def _settle(self, incident: Incident) -> None:
        lease, worker, outcome = incident.lease, incident.lease.worker, incident.outcome
        if outcome in ("reaped", "gone", "abandoned"):
            self.leases.busy.discard(worker)
            for name in self.leases.names(worker):
                self.leases.remove(name)
            return
        if outcome != "recovered":
            self.leases.handled(lease)
        self._release(lease, self._clock.monotonic() + self._max_interval if outcome == "spared" else None)

    def _release(self, lease: Lease, again: float | None) -> None:
        """The reap is over and the worker lives: guard its leases again."""
        self.leases.busy.discard(lease.worker)
        self._queue.look_at(self.leases.names(lease.worker))
        if again is not None:
            self.leases.unhandled(lease, again)

    def _catch_up(self) -> None:
        while not self._done.empty():
            self._done.get()()

    def _later(self, job: Callable[[], None]) -> None:
        """Do that in the loop's own thread."""
        self._done.put(job)
        self._queue.wake()

    # -- presence

    def _beat(self) -> None:
        now = self._clock.monotonic()
        self._beat_due = now + self._presence.interval
        fields = {
            "leases": len(self.leases),
            "trouble": len(self.leases.trouble),
            "counters": dict(self.counters),
            "stages": [],
        }
        self._presence = self._presence._replace(
            beat=self._presence.beat + 1, time=self._clock.now(), monotonic=now, fields=fields
        )
        self._write_presence(self._presence)

    def _write_presence(self, presence: Presence) -> None:
        try:
            write_presence(self.folder, presence)
        except OSError as error:
            self.counters["beats missed"] += 1
            log.warning("beat not written", dir=self.folder.path, error=error)
