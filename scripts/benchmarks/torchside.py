"""The same measurements of torch's own timers, by a Python that has torch. Prints one JSON object.

``torchside.py version`` · ``blocks REPETITIONS BLOCKS`` · ``detection MAX_INTERVAL SAMPLES HOLDERS SCOPES``
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed.elastic.timer as timer

FORK = multiprocessing.get_context("fork")
MICRO = 1e6


def blocks(repetitions: int, count: int) -> dict[str, Any]:
    """Microseconds a block: until the loop ends, until its last byte is in the pipe, and of processor time."""
    queue: Any = FORK.Queue()
    results, end = FORK.Pipe(duplex=False)
    worker = FORK.Process(target=lambda: end.send(_work(queue, repetitions, count)))
    worker.start()
    timer.LocalTimerServer(queue, max_interval=60).start()
    taken: dict[str, Any] = results.recv()
    worker.join()
    return taken


def _work(queue: Any, repetitions: int, count: int) -> dict[str, Any]:
    expires = timer.expires
    timer.configure(timer.LocalTimerClient(queue))

    def named(count: int) -> None:
        for _ in range(count):
            with expires(60, "train"):
                pass

    def default(count: int) -> None:
        for _ in range(count):
            with expires(60):
                pass

    taken: dict[str, Any] = {}
    # The default scope walks the stack and its source files, at up to milliseconds a block: a few of them will do.
    for work, number in ((named, count), (default, max(1, count // 20))):
        taken[work.__name__] = {"loop": [], "sent": [], "cpu": []}
        _once(work, number, queue)
        for _ in range(repetitions):
            for what, seconds in _once(work, number, queue).items():
                taken[work.__name__][what].append(seconds / number * MICRO)
    return taken


def _once(work: Callable[[int], None], number: int, queue: Any) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work(number)
    loop = time.perf_counter() - wall
    while queue._buffer:  # what put() took and its feeder thread has not yet pickled and written
        time.sleep(0.0005)
    return {"loop": loop, "sent": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


class TimedServer(timer.LocalTimerServer):  # type: ignore[misc]  # torch is not there to be checked against
    """Notes when each worker was killed, in seconds since the epoch, right before the system call."""

    def __init__(self, queue: Any, max_interval: float) -> None:
        super().__init__(queue, max_interval)
        self.killed: dict[int, float] = {}

    def _reap_worker(self, worker_id: int) -> bool:
        self.killed[worker_id] = time.time()
        return bool(super()._reap_worker(worker_id))


def detection(max_interval: float, samples: int, holders: int, scopes: int) -> dict[str, Any]:
    """Seconds from deadline to SIGKILL, deadlines spread evenly over one ``max_interval``, no other requests."""
    queue: Any = FORK.Queue()
    # Forked before the server's thread is there, so that none of them is made with a lock of its queue held.
    begin = time.time() + 2.0
    due = [begin + max_interval * (number + 0.5) / samples for number in range(samples)]
    workers = [_fork(queue, [at]) for at in due]
    keepers = [_fork(queue, [begin + 3600] * scopes) for _ in range(holders)]
    time.sleep(max(0.0, begin - 0.5 - time.time()))
    server = TimedServer(queue, max_interval)
    server.start()
    end = begin + 2 * max_interval + 5
    while len(server.killed) < samples and time.time() < end:
        time.sleep(0.01)
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
    for pid in (*workers, *keepers):
        os.waitpid(pid, 0)
    late = [server.killed[pid] - at for pid, at in zip(workers, due, strict=True) if pid in server.killed]
    return {"late": late, "missed": samples - len(late)}


def _fork(queue: Any, deadlines: list[float]) -> int:
    pid = os.fork()
    if pid:
        return pid
    client = timer.LocalTimerClient(queue)
    for number, at in enumerate(deadlines):
        client.acquire(f"scope-{number}", at)
    while os.getppid() != 1:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "version":
        result: dict[str, Any] = {"version": torch.__version__}
    elif what == "blocks":
        result = blocks(int(arguments[0]), int(arguments[1]))
    else:
        interval, *counts = arguments
        result = detection(float(interval), *map(int, counts))
    print(json.dumps(result), flush=True)
    os._exit(0)  # the server's thread would outlive main, in a get() of up to its max_interval


if __name__ == "__main__":
    main()
