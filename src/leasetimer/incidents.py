"""What a server does about its overdue and orphaned leases: reap, record, act, and only then let go of the files."""

from __future__ import annotations

import os
import queue
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from . import log
from .clock import Clock
from .crew import Crew
from .lease import Worker
from .leasefiles import LeaseFiles
from .leases import LOOK_AGAIN, Leases
from .postmortem import ENDED, Incident, Recorder, obituary
from .process import Processes
from .reaper import Reap, Rules

Action = Callable[[dict[str, Any]], None]
"""What else is done about an incident: it is handed the record once the outcome is known, in a thread of its own."""


class Incidents:
    """All incidents of one server. What is public is the loop's to call; what threads leave waits for ``settle``.

    :param wake: wakes the loop, from any thread.
    :param look_at: has the loop look at leases again.
    :param spare_interval: seconds until a worker spared for its debugger is tried again.
    """

    def __init__(
        self,
        leases: Leases,
        files: LeaseFiles,
        rules: Rules,
        actions: Sequence[Action],
        *,
        crew: Crew,
        clock: Clock,
        processes: Processes,
        wake: Callable[[], None],
        look_at: Callable[[Iterable[str]], None],
        spare_interval: float,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.owner = os.geteuid()  # of the server's own files in the directory, as the file system shows it
        self._leases = leases
        self._files = files
        self._rules = rules
        self._actions = actions
        self._crew = crew
        self._clock = clock
        self._processes = processes
        self._wake = wake
        self._look_at = look_at
        self._spare_interval = spare_interval
        self._spared: set[tuple[str, float]] = set()  # promises whose worker was under a debugger: told once
        self._recorder = Recorder(files.folder, clock)
        self._settling: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def start(self) -> None:
        """Begin to write records."""
        self._recorder = Recorder(self._files.folder, self._clock)
        self._recorder.start()

    def stop(self, timeout: float) -> None:
        """Give reaps under way, and then records not yet written, ``timeout`` seconds each."""
        if not self._crew.wait(timeout):
            log.warning("reaps not seen through before the end", dir=self._files.folder.path)
        if not self._recorder.stop(timeout):
            log.error("records not written before the end", dir=self._files.folder.path)

    def reap(self, worker: Worker) -> bool:
        """Reap that worker, in a thread of its own; False if none can be had."""
        held = [lease for lease in self._leases.of(worker) if lease.status.held]
        if not held:
            return True
        first, *others = held
        due = self._leases.deadline(first)
        incident = Incident(first, "pending", self._clock, overdue=self._clock.monotonic() - due, others=others)
        reap = Reap(
            incident,
            due,
            rules=self._rules,
            owner=self.owner,
            files=self._files,
            clock=self._clock,
            processes=self._processes,
            publish=self._recorder.publish,
        )
        return self._begin({worker}, partial(self._run, reap))

    def _begin(self, workers: set[Worker], job: Callable[[], None]) -> bool:
        """Do that in a thread of its own; whether one could be had. These workers are busy until it is settled."""
        self._leases.busy |= workers
        try:
            self._crew.start(job)
        except RuntimeError as error:  # a limit of processes; or these workers would be busy for ever
            log.error("no thread to be had, tried again", workers=len(workers), error=error)
            self._leases.busy -= workers
            return False
        return True

    def _run(self, reap: Reap) -> None:
        try:
            if reap.run():
                self._conclude(reap.incident)
                return
        except Exception:  # noqa: BLE001 - logged; or the worker would count as being reaped for ever
            log.error("reap failed, tried again", trace=True, worker=reap.worker)
        # Whatever held up this reap held up the worker as well: it gets as much time again.
        again = self._clock.monotonic() + LOOK_AGAIN + reap.lost
        self._later(partial(self._release, reap.worker, again))

    def bury(self, boot: str) -> None:
        """Record and clear the leases of the dead; ``boot`` is this one."""
        dead, self._leases.dead = self._leases.dead, {}
        if not dead:
            return
        now = self._clock.monotonic()
        incidents = []
        for worker, leases in dead.items():
            known = [lease for lease in self._leases.of(worker) if lease.status.held]
            named = {lease.name: lease for lease in [*known, *leases]}
            held = sorted(named.values(), key=lambda lease: lease.status.deadline)
            if worker.boot == boot:
                overdue, why = now - self._leases.deadline(held[0]), "its worker is dead"
            else:
                overdue, why = -1.0, "its worker ran before this machine's last boot"
            incidents.append(obituary(held, why, overdue, self._clock))
        self._begin(set(dead), partial(self._conclude_all, incidents))

    def _conclude_all(self, incidents: list[Incident]) -> None:
        """Their actions last: one that hangs must not keep the other dead from being cleared."""
        told = []
        for incident in incidents:
            try:
                if self._tell(incident):
                    told.append(incident)
            except Exception:  # noqa: BLE001 - logged; the others are buried all the same, this one at the next scan
                log.error("burying failed, tried again", trace=True, worker=incident.lease.worker)
                self._later(partial(self._leases.busy.discard, incident.lease.worker))
        for incident in told:
            self._act(incident)

    def _conclude(self, incident: Incident) -> None:
        if self._tell(incident):
            self._act(incident)

    def _tell(self, incident: Incident) -> bool:
        """The outcome is known: publish the record, and only then let go of the leases. False: it was told before."""
        settle = partial(self._later, partial(self._settle, incident))
        promise = (incident.lease.name, incident.lease.status.deadline)
        if (incident.outcome in ("gone", "abandoned") and incident.told_before(self._files.folder)) or (
            incident.outcome == "spared" and promise in self._spared
        ):
            settle()
            return False
        if incident.outcome == "spared":
            self._spared.add(promise)
        else:
            self._spared.discard(promise)
        self._later(lambda: self.counters.update([incident.outcome]))
        log.warning("incident", **incident.summary())
        if incident.outcome in ENDED:
            self._recorder.publish(incident, settle)
        else:
            self._recorder.publish(incident)
            settle()  # the worker lives: its leases are guarded again, also while no record can be written
        return True

    def _act(self, incident: Incident) -> None:
        for action in self._actions:
            try:
                action(incident.fields)
            except Exception:  # noqa: BLE001 - logged; somebody else's code
                log.error("action failed", trace=True, action=action, scope=incident.lease.scope)

    # -- in the loop's thread again

    def settle(self) -> None:
        """Do what threads have left for the loop to do."""
        while not self._settling.empty():
            self._settling.get()()

    def _later(self, job: Callable[[], None]) -> None:
        self._settling.put(job)
        self._wake()

    def _settle(self, incident: Incident) -> None:
        lease, worker, outcome = incident.lease, incident.lease.worker, incident.outcome
        if outcome in ENDED:
            self._leases.busy.discard(worker)
            for gone in [incident.lease, *incident.others, *self._leases.of(worker)]:
                self._leases.remove(gone)
            self._look_at({gone.name for gone in [incident.lease, *incident.others]} - self._leases.trouble.keys())
            return
        if outcome not in ("recovered", "spared"):
            self._leases.handled(lease)
        self._release(worker, self._clock.monotonic() + self._spare_interval if outcome == "spared" else None)

    def _release(self, worker: Worker, again: float | None) -> None:
        """The reap is over and the worker lives: guard its leases again, what is overdue not before ``again``."""
        self._leases.busy.discard(worker)
        if again is not None:
            self._leases.put_off(worker, again)
        self._look_at(self._leases.names(worker))
