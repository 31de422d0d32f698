"""The post-mortem record: one JSON file an incident, pending first, replaced when it is known what really happened."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from . import log
from .clock import Clock
from .directory import POSTMORTEM, Folder
from .errors import LeaseUnreadable
from .lease import Lease
from .names import split_name
from .process import signal_name

SCHEMA = 1
Outcome = Literal["pending", "reaped", "gone", "abandoned", "recovered", "refused", "spared", "unkillable", "observed"]
_OUTCOME = re.compile(rb'"outcome": "(\w+)"')
LONGEST = 1 << 20
"""Bytes of a record that are read, at most."""
RETRY_INTERVAL = 1.0
"""Seconds until a record that could not be written is tried again."""


ENDED = ("reaped", "gone", "abandoned")
"""Outcomes after which the worker is no more."""


class Incident:
    """One incident, as it unfolds: what is known of it goes into ``fields``, which is the record.

    Its file is named by the lease's expiration: the same for whoever finds the same incident again, so that a server
    that was killed in the middle is followed up in the same file.
    """

    def __init__(
        self, lease: Lease, outcome: Outcome, clock: Clock, *, overdue: float | None, others: list[Lease]
    ) -> None:
        status, worker = lease.status, lease.worker
        self.lease = lease
        self.others = others
        self.before: list[Any] | None = None  # signals of a reap that was not seen through; looked up by the recorder
        self._clock = clock
        at = status.expires
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(at)) + f".{int(at % 1 * 1e3):03d}Z"
        self.name = f"{POSTMORTEM}/{stamp},{worker.pid},{split_name(lease.name)[2]}.json"
        self.fields: dict[str, Any] = {
            "schema": SCHEMA,
            "outcome": outcome,
            "reason": None,
            "host": worker.host,
            "pid": worker.pid,
            "scope": lease.scope,
            "count": status.acquired,
            "overdue": overdue,
            "since": status.since,
            "expires": status.expires,
            "noticed": clock.now(),
            "signals": [],
            "gone": None,
            "lease": {"file": lease.name, "owner": lease.owner, **status.fields(), **lease.identity.fields},
            "others": [{"scope": other.scope, **other.status.fields()} for other in others],
            "process": {},
            "tree": [],
        }

    @property
    def outcome(self) -> Outcome:
        """What it came to, so far."""
        outcome: Outcome = self.fields["outcome"]
        return outcome

    def signalled(self, number: int) -> None:
        """A signal was just sent."""
        self.fields["signals"].append({"signal": number, "name": signal_name(number), "time": self._clock.now()})

    def end(self, outcome: Outcome, reason: str | None = None) -> None:
        """What really happened, and why it was no more."""
        self.fields.update(outcome=outcome, reason=reason)
        if outcome in ENDED:
            self.fields["gone"] = self._clock.now()

    def summary(self) -> dict[str, object]:
        """The facts of a log line."""
        return {key: self.fields[key] for key in ("outcome", "host", "pid", "scope", "overdue", "reason")}

    def told_before(self, folder: Folder) -> bool:
        """Whether its record tells the worker's end: a server before this one was killed before it cleared up."""
        try:
            found = _OUTCOME.search(folder.read(self.name).data)
        except (OSError, LeaseUnreadable):
            return False
        return found is not None and found[1].decode() in ENDED

    def record(self) -> bytes:
        """The record as it is now."""
        return _encoded(self.fields)


def _encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, ensure_ascii=True).encode() + b"\n"


def read_record(folder: Folder, name: str) -> dict[str, Any]:
    """A record; empty where there is none that can be read. Raises ``OSError`` where the file system fails."""
    try:
        record = json.loads(folder.read(name, most=LONGEST).data)
    except (FileNotFoundError, LeaseUnreadable, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _signals_before(folder: Folder, name: str) -> list[Any]:
    """The signals in a record that was left pending: by a server that was killed, or a reap that was put off."""
    record = read_record(folder, name)
    signals = record.get("signals")
    return signals if record.get("outcome") == "pending" and isinstance(signals, list) else []


def obituary(held: list[Lease], why: str, overdue: float, clock: Clock) -> Incident:
    """The incident of a worker found dead: gone if its first lease was ``overdue``, by 0 s or more, else abandoned."""
    first, *others = held
    late = overdue >= 0
    incident = Incident(first, "pending", clock, overdue=overdue if late else None, others=others)
    incident.end("gone" if late else "abandoned", why)
    return incident


class Recorder:
    """Writes records from a thread of its own: reaping never waits for a file system. What fails is tried again."""

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._jobs: queue.SimpleQueue[tuple[Incident, bytes, Callable[[], None] | None] | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._failed: set[str] = set()
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="leasetimer-recorder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def publish(self, incident: Incident, then: Callable[[], None] | None = None) -> None:
        """Write the record as it is now; call ``then``, from the thread, once it stands."""
        with self._lock:
            self._waiting[incident.name] += 1
            self._jobs.put((incident, incident.record(), then))

    def stop(self, timeout: float) -> bool:
        """Write what is left, for ``timeout`` seconds at most; whether all of it stands."""
        self._hurry.set()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            incident, data, then = job
            if self._write(incident, data):
                if then:
                    then()
            elif not self._hurry.is_set():  # once more, after the others: one that can't be written must not stop them
                self._clock.wait(self._hurry, RETRY_INTERVAL)
                with self._lock:
                    # A later one of the same record takes its place: behind that it would undo it.
                    if self._waiting[incident.name] == 1 or then:
                        self._jobs.put(job)
                        continue
            with self._lock:
                self._waiting[incident.name] -= 1
                self._waiting += Counter()  # without those that are at 0

    def _write(self, incident: Incident, data: bytes) -> bool:
        try:
            if incident.before is None:
                incident.before = _signals_before(self._folder, incident.name)
            if incident.before:
                fields = json.loads(data)
                fields["signals"] = incident.before + fields["signals"]
                data = _encoded(fields)
            self._folder.replace(incident.name, data)
        except Exception as error:  # noqa: BLE001 - logged, with the whole record: nothing is lost if this process ends
            if incident.name not in self._failed:
                log.error("record not written, tried again", file=incident.name, error=error, record=data.decode())
            self._failed.add(incident.name)
            return False
        self._failed.discard(incident.name)
        return True
