"""The worker's side in real threads, tasks and signal handlers, and on disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasetimer import LeaseTimerClient, expires
from ledgers import HOST, every_lease, in_child, leases, only, open_files
from workers import AS_ROOT, NOBODY, REAL
from workers import _directory as _directory
from workers import root as root

pytestmark = REAL


# -- threads and tasks


def test_threads_in_one_scope_and_in_their_own(root: Path) -> None:
    """Many at once: at the end everything is released, counted, and no descriptor is left but the idle ones."""
    rounds, workers = 200, 6
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(rounds):
                with expires(60 + number, "shared"), expires(30, f"own-{number}") as lease:
                    lease.renew()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = leases(root)
    assert len(found) == workers + 1
    assert not any(lease.status.held for lease in found.values())
    assert found["shared"].status.acquired == rounds * workers
    assert all(found[f"own-{number}"].status.acquired == rounds for number in range(workers))
    assert open_files(root) == workers + 1
    LeaseTimerClient().close()


def test_tasks_in_one_scope(root: Path) -> None:
    """A hundred tasks in the one scope are one lease, due when the first of them is."""

    async def work(number: int, everybody: asyncio.Barrier) -> None:
        async with expires(60 + number, "shared"):
            await everybody.wait()

    async def main() -> None:
        everybody = asyncio.Barrier(101)
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(work(number, everybody))
            await asyncio.sleep(0.01)
            status = only(root).status
            assert (status.held, status.acquired) == (True, 100)
            assert status.deadline < time.monotonic() + 61
            await everybody.wait()

    asyncio.run(main())
    assert not only(root).status.held


def test_a_signal_handler_may_use_it(root: Path) -> None:
    """A real signal, thousands of times, in the middle of whatever is done: nothing deadlocks or stays held."""
    handled: list[int] = []

    def handler(number: int, frame: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})  # Python runs a handler again in the middle of itself
        with expires(60, "handler"):
            handled.append(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            with expires(60, "main") as lease:
                lease.renew()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(handled) > 100
    assert not any(lease.status.held for lease in leases(root).values())
    assert open_files(root) == 2


# -- disks and directories


@contextlib.contextmanager
def mounted(where: Path, size: str) -> Iterator[None]:
    where.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(where)], check=False, capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"NOT TESTED: no tmpfs can be mounted here: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@AS_ROOT
def test_a_full_disk_raises_and_leaves_what_is_held_in_force(root: Path) -> None:
    """A new lease can't be written; the one there is stays, is renewed in place, and is released."""
    with mounted(root, "64k"):
        with expires(60, "held") as lease:
            fill(root)
            with pytest.raises(OSError, match="No space left on device"), expires(60, "new"):
                pytest.fail("the block ran")
            lease.renew(90)
            status = only(root).status
            assert status.held
            assert status.deadline > time.monotonic() + 80
            (root / "filler").unlink()
            with expires(60, "new"):
                assert set(leases(root)) == {"held", "new"}
        assert not leases(root)["held"].status.held
        LeaseTimerClient().close()


@AS_ROOT
def test_a_failed_inner_block_on_a_full_disk_does_not_keep_the_outer_one_from_renewing(root: Path) -> None:
    """What can be written in place still is: the file that stands is the one whose descriptor is kept."""
    with mounted(root, "64k"):
        with expires(60, "held") as lease:
            fill(root)
            with pytest.raises(OSError, match="No space left on device"), expires(10, "held"):
                pytest.fail("the block ran")
            assert only(root).status.deadline > time.monotonic() + 50
            lease.renew(90)
            assert only(root).status.deadline > time.monotonic() + 80
        assert not only(root).status.held
        LeaseTimerClient().close()


def fill(root: Path) -> None:
    with open(root / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


@AS_ROOT
def test_a_read_only_directory_raises(root: Path) -> None:
    """Before the block runs; made writable again, everything works on."""
    with mounted(root, "64k"):
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        with pytest.raises(OSError, match="Read-only file system"), expires(60, "train"):
            pytest.fail("the block ran")
        subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
        with expires(60, "train"):
            assert only(root).status.held
        LeaseTimerClient().close()


@AS_ROOT
def test_a_directory_that_may_not_be_written_raises(root: Path) -> None:
    """Another user's: the error names the place, and on_error="warn" lets the block run."""
    root.mkdir(mode=0o755)
    os.chmod(root.parent, 0o755)

    def work() -> None:
        os.setuid(NOBODY)
        with pytest.raises(OSError, match="Permission denied") as caught, expires(60, "train"):
            pytest.fail("the block ran")
        assert str(root) in str(caught.value)
        with expires(60, "train", LeaseTimerClient(on_error="warn")) as lease:
            assert lease.remaining > 0

    reach(root)
    in_child(work)
    assert os.listdir(root) == []


def reach(path: Path) -> None:
    """Let everybody through to a folder that pytest made for its user only."""
    for parent in [path, *path.parents]:
        if str(parent) in ("/", "/tmp"):
            return
        os.chmod(parent, 0o755)


@AS_ROOT
def test_two_users_share_a_directory_that_is_open_to_both(root: Path) -> None:
    """A folder that one of them made takes the other's leases, each owned by its own."""
    root.mkdir()
    reach(root)
    os.chmod(root, 0o1777)
    with expires(60, "roots"):

        def work() -> None:
            os.setuid(NOBODY)
            LeaseTimerClient().acquire("nobodys", time.time() + 60)

        in_child(work)
    owners = {lease.scope: lease.identity.uid for lease in every_lease(root)}
    assert owners == {"roots": 0, "nobodys": NOBODY}


@pytest.mark.parametrize("what", ["root", "folder"])
def test_a_directory_removed_while_it_is_used_is_made_again(root: Path, what: str) -> None:
    """The block goes on, and its next renewal stands again."""
    with expires(60, "train") as lease:
        shutil.rmtree(root if what == "root" else root / HOST)
        lease.renew()
        assert only(root).status.held
        shutil.rmtree(root if what == "root" else root / HOST)
    with expires(60, "train"):
        assert only(root).status.held


def test_a_directory_that_is_a_file_raises(root: Path) -> None:
    """Before the block runs."""
    root.touch()
    with pytest.raises(OSError, match=r"it is a file|Not a directory"), expires(60, "train"):
        pytest.fail("the block ran")
