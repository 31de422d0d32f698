"""A lease server for the bench: ``serverside.py DIR MAX_INTERVAL [GUARDED]``. Ends when it is sent a line, or closed.

Says on standard output, one JSON object a line: that it is ready (once GUARDED leases are guarded, if that is given),
then of each incident its pid, outcome and by how many seconds the signal came after the deadline.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from leasetimer import LeaseTimerServer
from leasetimer.lease import Worker
from leasetimer.process import Process, Processes

sent: dict[int, float] = {}
"""When each worker was first signalled, by pid, on the monotonic clock: read right before the system call, after which
the worker's end may be scheduled before we are."""


class TimedProcess(Process):
    def signal(self, number: int) -> None:
        sent.setdefault(self.pid, time.monotonic())
        super().signal(number)


class TimedProcesses(Processes):
    def open(self, worker: Worker) -> Process | None:
        process = super().open(worker)
        return process and TimedProcess(process.pidfd, process.pid, process.start)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def told(record: dict[str, Any]) -> None:
    pid = record["pid"]
    signalled = sent.pop(pid, None)
    late = None if signalled is None else signalled - record["lease"]["deadline"]
    say(pid=pid, scope=record["scope"], outcome=record["outcome"], late=late)


class Warnings(logging.Handler):
    """Says what the server logs as a warning or worse, except incidents, which ``told`` tells."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith("incident"):
            say(warning=record.getMessage())


def main() -> None:
    directory, max_interval, *guarded = sys.argv[1:]
    logger = logging.getLogger("leasetimer")
    logger.setLevel(logging.WARNING)
    logger.addHandler(Warnings())
    server = LeaseTimerServer(directory, float(max_interval), actions=[told], processes=TimedProcesses())
    server.start()
    while guarded and len(server.leases._deadlines) < int(guarded[0]):
        time.sleep(0.002)
    say(ready=time.monotonic())
    sys.stdin.readline()
    server.stop()


if __name__ == "__main__":
    main()
