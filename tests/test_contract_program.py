"""A whole program written for ``torch.distributed.elastic.timer``, run over each pair."""

import subprocess
import sys
from pathlib import Path

import pytest

from pairs import needs_torch

PROGRAM = """
import multiprocessing
import time

import {module} as timer

def work(rank, queue):
    timer.configure(timer.LocalTimerClient(queue))
    with timer.expires(after=30):
        time.sleep(0.1)
    if rank == 1:
        with timer.expires(after=0.3):
            time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server = timer.LocalTimerServer(queue, max_interval=0.1)
    server.start()
    workers = [context.Process(target=work, args=(rank, queue)) for rank in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    server.stop()
    print(*[worker.exitcode for worker in workers])
"""

LEASE_PAIR = {
    "timer.LocalTimerClient(queue)": "timer.LeaseTimerClient(queue)",
    "context.Queue()": "__file__ + '.leases'",
    "timer.LocalTimerServer(queue, max_interval=0.1)": "timer.LeaseTimerServer(queue)",
}


@pytest.mark.real
@pytest.mark.parametrize("kind", ["queue", "lease", pytest.param("torch", marks=needs_torch)])
def test_a_program_for_the_original_runs(kind: str, tmp_path: Path) -> None:
    """With another import alone, or another pair besides: the stuck worker is killed, the others end well."""
    text = PROGRAM.format(module="torch.distributed.elastic.timer" if kind == "torch" else "leasetimer")
    for old, new in LEASE_PAIR.items() if kind == "lease" else ():
        assert old in text
        text = text.replace(old, new)
    program = tmp_path / "program.py"
    program.write_text(text)
    run = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == ["0", "-9", "0"]
