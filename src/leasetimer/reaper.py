"""An overdue lease becomes an outcome: the only place where a worker is signalled, and every guard before that.

Each reap runs in a thread of its own, so that none delays another. When in doubt it does not kill.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import NamedTuple

from . import log
from .clock import Clock
from .errors import LeaseUnreadable
from .lease import Lease, Worker
from .leasefiles import LeaseFiles
from .pace import GAP, Pace
from .postmortem import Incident, Outcome
from .process import Process, Processes

FRESH = 0.05
"""Seconds that the last read of a lease may be old when the signal goes out."""
FRESH_TRIES = 5
"""Reads until one was quick enough. On a file system that is always slower the last may take up to a gap's length."""
KILL_PATIENCE = 30.0
"""Seconds after SIGKILL until a worker counts as unkillable."""
CLOCK_STEP = 0.5
"""Seconds between two looks at a worker that was signalled: how late a stop of this server is noticed."""


class Rules(NamedTuple):
    """What a server may do. ``tree``: descendants, too; ``observe``: only report; ``spare_traced``: no debuggee."""

    tree: bool = False
    observe: bool = False
    spare_traced: bool = True


class Postponed(Exception):
    """Not now: the server stood still or can't read the lease. The loop decides again, later."""


class Reap:
    """One reap of one worker, from its overdue lease to what became of it.

    :param due: the deadline that counts for the lease, on the monotonic clock, gaps included.
    :param owner: the uid that the server's own files in the directory have: whose leases it trusts.
    :param publish: takes the incident while it is pending; tried, not waited for.
    """

    def __init__(
        self,
        incident: Incident,
        due: float,
        *,
        rules: Rules,
        owner: int,
        files: LeaseFiles,
        clock: Clock,
        processes: Processes,
        publish: Callable[[Incident], None],
    ) -> None:
        self.incident = incident
        self.lease: Lease = incident.lease
        self.due = due
        self.rules = rules
        self._owner = owner
        self._files = files
        self._clock = clock
        self._processes = processes
        self._publish = publish
        self._pace = Pace(clock)
        self._tree: list[tuple[Worker, Process]] = []

    @property
    def worker(self) -> Worker:
        """Whom it is about."""
        return self.lease.worker

    @property
    def lost(self) -> float:
        """Seconds that this reap stood still."""
        return self._pace.gap

    def run(self) -> bool:
        """Do it; whether it came to an outcome, which then stands in the incident. False: decide again."""
        try:
            outcome, reason = self._decide()
        except PermissionError as error:
            outcome, reason = "refused", f"the kernel refused it: {error}"
        except (Postponed, OSError) as why:
            log.warning("reap postponed", worker=self.worker, scope=self.lease.scope, why=why)
            return False
        finally:
            self._let_tree_go()
        self.incident.end(outcome, reason)
        return True

    def _decide(self) -> tuple[Outcome, str | None]:
        if self.worker.pid == os.getpid():
            return "refused", "the worker is this server's own process"
        process = self._processes.open(self.worker)
        if process is None:
            return "gone", "its worker was dead already"
        with process:
            facts = self.incident.fields["process"] = self._processes.describe(self.worker.pid)
            refusal = self._refusal(facts.get("uid"))
            if refusal:
                return "refused", refusal
            if self.rules.observe:
                return "observed", "this server only observes"
            tracer = facts.get("tracer")
            if tracer and self.rules.spare_traced:
                return "spared", f"traced by pid {tracer}, most likely a debugger"
            self._publish(self.incident)
            if self.rules.tree or self.lease.identity.tree:
                self._find_tree(process)
            return self._kill(process)

    def _refusal(self, uid: int | None) -> str | None:
        """Why this server may not signal the worker, whose real uid this is, on the word of this lease, if so."""
        if uid is None:
            return None  # it went just now, and nothing that takes its pid can be hit
        owner, root = self.lease.owner, os.geteuid() == 0
        if not root and owner == self._owner:
            return None
        # A squashed root's files are nobody's: a file of nobody's may then name root's own workers, no others.
        if root and (owner in (0, uid) or (owner == self._owner and uid == 0)):
            return None
        return f"the lease is uid {owner}'s, its worker is uid {uid}'s, this server's files are uid {self._owner}'s"

    def _find_tree(self, process: Process) -> None:
        for child, member in self._processes.descendants(self.worker):
            if child.pid == os.getpid():
                member.close()  # started by the worker: a server does not kill itself
            else:
                self._tree.append((child, member))
        if process.gone(0):
            self._let_tree_go()  # its pid may have come again while they were listed: they may be anybody's
        self.incident.fields["tree"] = [{"pid": child.pid, "start": child.start} for child, _ in self._tree]

    def _let_tree_go(self) -> None:
        for _, member in self._tree:
            member.close()
        self._tree.clear()

    # -- signals

    def _kill(self, process: Process) -> tuple[Outcome, str | None]:
        identity = self.lease.identity
        first = identity.signal
        if first != signal.SIGKILL:
            if not self._signal(process, first):
                return self._spared_by_release(process)
            if self._wait(process, identity.grace):
                return self._reaped()
            if not self._signal(process, signal.SIGKILL):
                return self._spared_by_release(process)
        elif not self._signal(process, signal.SIGKILL):
            return self._spared_by_release(process)
        if self._wait(process, KILL_PATIENCE):
            return self._reaped()
        if process.gone(0):
            left = [child.pid for child, member in self._tree if not member.gone(0)]
            return "reaped", f"descendants still there {KILL_PATIENCE:.0f} s after SIGKILL: {left}"
        state = self._processes.describe(self.worker.pid)
        self.incident.fields["process"] = state
        return "unkillable", f"still there {KILL_PATIENCE:.0f} s after SIGKILL, in state {state.get('state')}"

    def _signal(self, process: Process, number: int) -> bool:
        """Send it, if a read no older than ``FRESH`` still says overdue. False: it doesn't."""
        for tries in range(1, FRESH_TRIES + 1):
            if self._pace.mark():
                raise Postponed("this server stood still")
            if process.gone(0):
                return False  # whatever became of its lease: nobody is left to be asked
            asked = self._clock.monotonic()
            if not self._still_overdue():
                return False
            # Where every read is slow the last one has to do, if it took less than a gap.
            if self._clock.monotonic() - asked > (FRESH if tries < FRESH_TRIES else GAP):
                continue
            try:
                process.signal(number)
                self.incident.signalled(number)
                self._publish(self.incident)  # or a server after this one would not know of it
            except ProcessLookupError:
                if not self.incident.fields["signals"]:
                    self._let_tree_go()  # it ended by itself: nobody is signalled
            self._signal_tree(number)
            return True
        raise Postponed(f"no read of the lease took less than {GAP} s")

    def _still_overdue(self) -> bool:
        try:
            lease = self._files.verdict(self.lease.name, self.worker)
        except (LeaseUnreadable, OSError) as error:
            raise Postponed(f"the lease can't be read: {error}") from error
        if lease is None:
            raise Postponed("the lease has vanished, which is no release")
        # The same deadline with another seq is the same promise: another block of the scope was entered or left.
        promised = lease.status.held and lease.status.deadline <= self.lease.status.deadline
        return promised and self._clock.monotonic() >= self.due

    def _signal_tree(self, number: int) -> None:
        for child, process in self._tree:
            try:
                process.signal(number)
            except ProcessLookupError:
                continue
            except OSError as error:
                log.warning("descendant not signalled", pid=child.pid, worker=self.worker, error=error)

    def _wait(self, process: Process, seconds: float) -> bool:
        """Wait for the worker, and its tree, to be gone; whether they are."""
        end = self._clock.monotonic() + seconds
        while True:
            left = end - self._clock.monotonic()
            everybody = [process, *(member for _, member in self._tree)]
            waited_for = next((one for one in everybody if not one.gone(0)), None)
            if waited_for is None:
                return True
            if left <= 0:
                return False
            waited_for.gone(min(left, CLOCK_STEP))
            if self._pace.mark(CLOCK_STEP):
                end = self._clock.monotonic() + left  # this server stood still, and so may the worker have

    def _reaped(self) -> tuple[Outcome, str | None]:
        return ("reaped", None) if self.incident.fields["signals"] else ("gone", "it ended by itself")

    def _spared_by_release(self, process: Process) -> tuple[Outcome, str | None]:
        if process.gone(0):
            if self.incident.fields["signals"]:
                self._signal_tree(signal.SIGKILL)  # the worker released on its way out: its tree goes with it
            return self._reaped()
        sent = len(self.incident.fields["signals"])
        return "recovered", f"released or renewed before {'SIGKILL' if sent else 'the first signal'}"
