"""Real workers that acquire and release as fast as they can, against a server that does nothing but clear."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from leasetimer import LeaseTimerClient, LeaseTimerServer
from leasetimer.directory import Folder
from leasetimer.lease import Lease
from leasetimer.leasefiles import LeaseFiles
from leasetimer.names import file_name, split_name

WORKERS = 4
ROUNDS = 25_000  # acquires and releases, of each worker
HOT, COLD = 3, 150  # scopes; the cold ones are more than a process keeps idle, so that evictions go on all the time
HOTNESS = 0.7  # how often a hot one is taken: the same name again while the server clears it
FORGETTING = 0.3  # how often all idle leases are given up
BURST = 8
AFTERS = (3.0, 10.0, 60.0)  # the next is as often an earlier deadline as not: a publish, where the name stands, too
LOOKS = 3
"""Looks for a lease that was not found: a listing may miss a name that is moved meanwhile. A lost one stays lost."""


def unlink_what_was_read_released(files: LeaseFiles, name: str) -> Lease | None:
    """The obvious wording of the clearing rule."""
    files.folder.remove(name)
    return None


def unlink_after_a_second_look(files: LeaseFiles, name: str) -> Lease | None:
    """The next one: it only makes the window smaller."""
    lease = files.verdict(name)
    if lease is not None and lease.status.held:
        return lease
    return unlink_what_was_read_released(files, name)


def unlink_without_reading_what_was_moved(files: LeaseFiles, name: str) -> Lease | None:
    """Moved aside, as it should be, but on the word of the read before that."""
    aside = files.folder.move_aside(name)
    if aside is not None:
        files.folder.remove(aside)
    return None


LOOSER: dict[str, Callable[[LeaseFiles, str], Lease | None]] = {
    rule.__name__: rule
    for rule in (
        unlink_what_was_read_released,
        unlink_after_a_second_look,
        unlink_without_reading_what_was_moved,
    )
}


def serve(root: str, looser: str) -> None:
    """Clear without a pause until standard input ends; then say what happened."""
    if looser:
        LeaseFiles.clear = LOOSER[looser]  # type: ignore[assignment, method-assign]  # the point of it
    server = LeaseTimerServer(root, max_interval=0.001)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    patience = time.monotonic() + 10
    while (left := leases_in(server.folder)) and time.monotonic() < patience:
        time.sleep(0.01)
    server.stop()
    print(json.dumps({"left": left, "counters": server.counters}))


def leases_in(folder: Folder) -> list[str]:
    """Every file that is or was a lease, or its making."""
    return [name for name in folder.names() if ".lease" in name]


def verdict(folder: Folder, name: str, wanted: Callable[[Lease | None], bool]) -> bool:
    """Whether the verdict on a lease, as whoever has just come would give it, is the wanted one."""
    for _ in range(LOOKS):
        files = LeaseFiles(folder)
        if wanted(files.verdict(name)):
            return True
        files.listed()
        if wanted(files.verdict(name)):
            return True
    return False


def held(seq: int) -> Callable[[Lease | None], bool]:
    """Held, by the write of that number."""
    return lambda lease: lease is not None and lease.status.held and lease.status.seq == seq


def not_held(lease: Lease | None) -> bool:
    """Released, or gone."""
    return lease is None or not lease.status.held


def work(root: str, seed: str) -> None:
    """Acquire and release, and look from time to time whether the files say so, until one of the workers lost one."""
    rng = random.Random(int(seed))
    client = LeaseTimerClient(root, require_server=True)
    folder = Folder(client.root, client.host)
    seen: Counter[str] = Counter()
    end = root + ".end"
    while seen["rounds"] < ROUNDS and not os.path.exists(end):
        scope = f"hot-{rng.randrange(HOT)}" if rng.random() < HOTNESS else f"cold-{rng.randrange(COLD)}"
        name = file_name(client.host, os.getpid(), scope)
        for left in range(rng.randrange(BURST), -1, -1):
            client.acquire(scope, time.time() + rng.choice(AFTERS))
            if left == 0 or rng.random() < 0.05:
                seen["looks"] += 1
                if not verdict(folder, name, held(client._uses._leases[scope].seq)):
                    seen["lost"] += 1
                    Path(end).touch()
            client.release(scope)
            seen["rounds"] += 1
        if rng.random() < FORGETTING:
            client.close()
    client.close()
    mine = {name for name in LeaseFiles(folder).listed()[0] if split_name(name)[1] == os.getpid()}
    seen["stale"] = sum(not verdict(folder, name, not_held) for name in mine)
    print(json.dumps(seen))


@contextmanager
def programs(*commands: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """This file as a program, once for each list of arguments; ended with the block."""
    with ExitStack() as stack:
        running = []
        for arguments in commands:
            command = [sys.executable, __file__, *arguments]
            running.append(
                stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            )
            stack.callback(running[-1].kill)
        yield running


def storm(root: str, looser: str = "") -> tuple[Counter[str], dict[str, Any]]:
    """What the workers saw, in all, and what the server says in the end."""
    seen: Counter[str] = Counter()
    with programs(["serve", root, looser]) as [server]:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with programs(*(["work", root, str(seed)] for seed in range(WORKERS))) as workers:
            for worker in workers:
                out, _ = worker.communicate()
                assert worker.returncode == 0
                seen.update(json.loads(out))
        out, _ = server.communicate()
        assert server.returncode == 0
    return seen, json.loads(out)


@pytest.mark.real
def test_no_lease_is_lost_in_a_storm(tmp_path: Path) -> None:
    """In 100,000 rounds each lease looked at is there with its newest seq, no worker is reaped, and nothing is left."""
    seen, end = storm(str(tmp_path / "root"))
    assert seen["rounds"] >= WORKERS * ROUNDS
    assert seen["looks"] > 10_000
    assert (seen["lost"], seen["stale"]) == (0, 0)
    end["counters"].pop("gaps", None)  # a machine that stood still is no fault of the rule's
    assert end == {"left": [], "counters": {}}


@pytest.mark.real
@pytest.mark.parametrize("looser", LOOSER)
def test_the_storm_finds_out_a_looser_rule(looser: str, tmp_path: Path) -> None:
    """The same storm loses a lease where the server clears by a looser rule."""
    seen, _ = storm(str(tmp_path / "root"), looser)
    assert seen["lost"] > 0


if __name__ == "__main__":
    {"serve": serve, "work": work}[sys.argv[1]](*sys.argv[2:])
