"""The worker's side in real processes: forks, spawned children, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from leasetimer import LeaseTimerClient, expires
from ledgers import HOST, every_lease, in_child, leases, names, only, open_files
from workers import REAL, program
from workers import _directory as _directory
from workers import root as root

pytestmark = REAL


# -- forks


def test_a_forked_child_holds_nothing_of_its_parents(root: Path) -> None:
    """Neither leases nor descriptors, and leaving the parent's block there leaves the parent's lease as it is."""
    with expires(60, "train") as lease:
        with expires(60, "idle"):
            pass
        before = {name: (root / HOST / name).read_bytes() for name in names(root)}

        def work() -> None:
            assert open_files(root) == 0
            with pytest.raises(RuntimeError, match="not held"):
                lease.renew()
            lease.__exit__()
            LeaseTimerClient().release("train")
            LeaseTimerClient().close()

        in_child(work)
        assert {name: (root / HOST / name).read_bytes() for name in names(root)} == before
    assert not leases(root)["train"].status.held


def test_a_forked_child_takes_leases_of_its_own(root: Path) -> None:
    """Under its own pid, in the very scope its parent holds, each with its own deadline."""
    with expires(60, "train"):

        def work() -> None:
            with expires(600, "train") as lease:
                files = [name for name in names(root) if name.startswith(f"{HOST},{os.getpid()},")]
                assert len(files) == 1
                assert lease.remaining > 500
            LeaseTimerClient().close()

        in_child(work)
        assert only(root).worker.pid == os.getpid()
        assert only(root).status.deadline < time.monotonic() + 61


def test_a_block_entered_before_a_fork_can_not_renew_the_childs_own(root: Path) -> None:
    """The parent's block is not one of the child's, whatever the scopes are called."""
    with expires(60, "train") as outer:

        def work() -> None:
            with expires(600, "train"):
                deadline = time.monotonic() + 600
                with pytest.raises(RuntimeError, match="not held"):
                    outer.renew(10)
                mine = next(lease for lease in every_lease(root) if lease.worker.pid == os.getpid())
                assert mine.status.deadline > deadline - 5

        in_child(work)


def test_a_child_forked_while_a_thread_holds_the_lock_works(root: Path) -> None:
    """The thread is not in the child, and would never let go of it there."""
    client = LeaseTimerClient()
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with client._uses.lock:
            locked.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    try:

        def work() -> None:
            signal.alarm(20)  # ends a child that waits for ever
            with expires(60, "train", client):
                assert only(root).worker.pid == os.getpid()

        in_child(work)
    finally:
        done.set()
        thread.join()


def test_the_parents_files_outlive_the_childs_exit(root: Path) -> None:
    """Also where the child ends as a program does, with all that is done at exit."""
    run = program(
        """
        import os, sys, leasetimer
        with leasetimer.expires(60, "held"):
            with leasetimer.expires(60, "idle"):
                pass
            before = sorted(os.listdir(sys.argv[1])) if len(sys.argv) > 1 else None
            folder = os.path.join(os.environ["LEASETIMER_DIR"], os.environ["LEASETIMER_HOST"])
            before = sorted(os.listdir(folder))
            if os.fork() == 0:
                with leasetimer.expires(60, "child"):
                    pass
                sys.exit(0)
            assert os.wait()[1] == 0
            assert sorted(os.listdir(folder)) == before, os.listdir(folder)
        """
    )
    assert (run.returncode, run.stderr.count("Traceback")) == (0, 0), run.stderr


# -- spawned children


def _spawned(name: str) -> None:
    with expires(60, name):
        [lease] = [lease for lease in every_lease(Path(os.environ["LEASETIMER_DIR"])) if lease.scope == name]
        assert lease.worker.pid == os.getpid()
        assert lease.status.held


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_multiprocessing_child_needs_only_the_environment(root: Path, method: str) -> None:
    """No configure: LEASETIMER_DIR says it all."""
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=_spawned, args=(method,))
    with expires(60, "parent"):
        child.start()
        child.join()
        assert child.exitcode == 0
        assert leases(root)["parent"].status.held


def _given(client: LeaseTimerClient) -> None:
    with expires(60, "given", client):
        _spawned("its own")


def test_a_client_may_be_handed_to_a_spawned_child(root: Path) -> None:
    """As the queue pair's may, also in the middle of a block: the child holds its own leases there."""
    client = LeaseTimerClient()
    with expires(60, "parent", client):
        child = multiprocessing.get_context("spawn").Process(target=_given, args=(client,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert leases(root)["parent"].status.held


# -- ends


def test_a_worker_that_ends_well_leaves_nothing(root: Path) -> None:
    """Its released files go with it."""
    run = program(
        """
        import leasetimer
        for step in range(5):
            with leasetimer.expires(60, f"step-{step}"):
                pass
        """
    )
    assert run.returncode == 0, run.stderr
    assert names(root) == []


@pytest.mark.parametrize(
    ("end", "code"),
    [("os.kill(os.getpid(), 9)", -9), ("os._exit(3)", 3), ("os.abort()", -6)],
)
def test_a_worker_that_dies_in_a_block_leaves_its_lease(root: Path, end: str, code: int) -> None:
    """So that a server finds it, and there is a record of who died where."""
    run = program(f"import os, leasetimer\nwith leasetimer.expires(60, 'train'):\n    {end}")
    assert run.returncode == code
    assert only(root).status.held


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "raise KeyError", "signal.raise_signal(signal.SIGINT)"])
def test_a_worker_that_raises_out_of_a_block_has_released(root: Path, end: str) -> None:
    """The exception is the program's own to the end, and nothing is left."""
    run = program(f"import signal, leasetimer\nwith leasetimer.expires(60, 'train'):\n    {end}")
    assert run.returncode != 0
    assert "leasetimer/" not in run.stderr
    assert names(root) == []


def test_a_worker_without_a_server_says_so_on_stderr(root: Path) -> None:
    """Once, in one line, with no logging configured."""
    run = program("import leasetimer\nfor s in 'ab':\n    with leasetimer.expires(60, s):\n        pass")
    assert run.stderr == f"leasetimer: no live server, nobody will reap: host={HOST} dir={root}\n"


def test_the_descriptor_is_not_inherited_by_programs_it_starts(root: Path) -> None:
    """A child that outlives the worker must not keep the file open."""
    with expires(60, "train"):
        shown = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], check=True, capture_output=True, text=True, close_fds=False
        )
    assert ".lease" not in shown.stdout
