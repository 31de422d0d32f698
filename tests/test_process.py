"""Identity on the real /proc, and pidfds on real children."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasetimer.lease import Worker
from leasetimer.process import PROCESSES, Processes, Stat, identify

NOBODY = 65534
SYS_EXIT = {"x86_64": 60, "aarch64": 93}


def worker(pid: int) -> Worker:
    found = identify(pid, "node1")
    assert found is not None
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def child(*command: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A child that says when it is ready, if it is a Python program; killed in the end."""
    command = command or ("sleep", "60")
    running = subprocess.Popen(command, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


# -- identity


def test_this_process_is_who_it_is() -> None:
    """Host, boot, pid namespace, pid and start ticks, each as the kernel shows it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert identify(os.getpid(), "node1") == Worker(
        "node1",
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        os.stat("/proc/self/ns/pid").st_ino,
        os.getpid(),
        int(fields[19]),
    )
    assert re.fullmatch(r"[0-9a-f-]{36}", PROCESSES.boot())


def test_nobody_is_nobody() -> None:
    """A pid without a process has no identity, no status and no facts."""
    free = int(Path("/proc/sys/kernel/pid_max").read_text()) - 1
    nobody = worker(os.getpid())._replace(pid=free)
    assert identify(free, "node1") is None
    assert PROCESSES.stat(free) is None
    assert PROCESSES.uid(free) is None
    assert PROCESSES.status(free) == {}
    assert PROCESSES.describe(free) == {}
    assert not PROCESSES.alive(nobody)
    assert PROCESSES.open(nobody) is None
    assert PROCESSES.descendants(nobody) == []


@pytest.mark.real
@pytest.mark.parametrize("name", ["a b", "x) S 1 (", "((", ") Z", "new\nline"])
def test_a_name_made_to_mislead_is_only_a_name(name: str, tmp_path: Path) -> None:
    """A program can call itself anything; its state and its parent are found all the same."""
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with child(str(program), "60") as sleeper:
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        found = PROCESSES.stat(sleeper.pid)
        assert found is not None
        assert (found.name, found.parent) == (name[:15], os.getpid())
        assert found.state in "RSD"
        assert PROCESSES.alive(worker(sleeper.pid))


def test_a_namespace_the_kernel_lacks_is_0() -> None:
    """Older kernels have no time namespaces: all their processes share one."""
    assert PROCESSES.namespace("pid") == os.stat("/proc/self/ns/pid").st_ino
    assert PROCESSES.namespace("unheard_of") == 0


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: another uid takes root")
def test_a_processes_uid_is_its_real_one() -> None:
    """Whose worker it is decides whose lease may have it signalled."""
    with child(user=NOBODY) as other:
        assert PROCESSES.uid(other.pid) == NOBODY
    assert PROCESSES.uid(os.getpid()) == 0


def test_what_a_record_says_of_a_process() -> None:
    """Name, state, parent, threads, memory, tracer, and where in the kernel it waits."""
    facts = PROCESSES.describe(os.getpid())
    assert facts["parent"] == os.getppid()
    assert facts["tracer"] == 0
    assert int(str(facts["threads"])) >= 1
    assert str(facts["memory"]).endswith(" kB")
    assert {"name", "state", "wchan"} <= facts.keys()


# -- a hold on it


@pytest.mark.real
def test_a_pidfd_signals_that_process_and_sees_it_end() -> None:
    """What was opened is signalled, and known to be gone when it has ended; also before anybody waits for it."""
    with child() as sleeper:
        held = PROCESSES.open(worker(sleeper.pid))
        assert held is not None
        with held:
            assert not held.gone(0)
            held.signal(signal.SIGTERM)
            assert held.gone(10)
            assert sleeper.wait() == -signal.SIGTERM
            with pytest.raises(ProcessLookupError):
                held.signal(signal.SIGTERM)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(held.pidfd)


@pytest.mark.real
def test_a_process_of_another_start_is_not_opened() -> None:
    """A pid that was taken over is somebody else: nothing to signal, and no descriptor is left."""
    with child() as sleeper:
        before = descriptors()
        other = worker(sleeper.pid)._replace(start=1)
        assert PROCESSES.open(other) is None
        assert not PROCESSES.alive(other)
        assert descriptors() == before


@pytest.mark.real
def test_a_zombie_is_gone() -> None:
    """It can still be signalled and still has its start ticks, but it runs no more."""
    with child() as sleeper:
        dead = worker(sleeper.pid)
        assert PROCESSES.alive(dead)
        sleeper.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        found = PROCESSES.stat(sleeper.pid)
        assert found is not None
        assert found.state == "Z"
        before = descriptors()
        assert not PROCESSES.alive(dead)
        assert descriptors() == before
        held = PROCESSES.open(dead)
        assert held is not None
        with held:
            assert held.gone(0)


LIVING_THREAD = """
import ctypes, threading, time
def say():
    print("ready", flush=True)
    time.sleep(60)
threading.Thread(target=say).start()
ctypes.CDLL(None).syscall({number}, 0)  # ends the main thread, and only that
"""


@pytest.mark.real
@pytest.mark.skipif(platform.machine() not in SYS_EXIT, reason="NOT TESTED: the number of exit is not known here")
def test_a_process_whose_main_thread_has_ended_may_live() -> None:
    """The kernel shows it as a zombie, while its other threads run and may hold what a stuck worker holds."""
    program = LIVING_THREAD.format(number=SYS_EXIT[platform.machine()])
    with child(sys.executable, "-c", program) as running:
        assert running.stdout
        assert running.stdout.readline() == b"ready\n"
        while (found := PROCESSES.stat(running.pid)) and found.state != "Z":
            assert running.poll() is None
        assert PROCESSES.alive(worker(running.pid))


@pytest.mark.real
def test_a_wait_that_runs_out_says_so() -> None:
    """A negative time is no wait at all, not one for ever."""
    with child() as sleeper:
        held = PROCESSES.open(worker(sleeper.pid))
        assert held is not None
        with held:
            assert not held.gone(0.001)
            assert not held.gone(-5)


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: another uid takes root")
def test_a_process_of_another_user_is_seen_but_not_signalled() -> None:
    """The kernel refuses, and that is told apart from a process that is gone."""
    with child() as sleeper:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setuid(NOBODY)
                held = PROCESSES.open(worker(sleeper.pid))
                assert held is not None
                try:
                    held.signal(signal.SIGTERM)
                except PermissionError:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert sleeper.poll() is None


@pytest.mark.real
def test_a_process_that_can_not_be_looked_at_leaves_no_descriptor() -> None:
    """A server that is short of descriptors must not lose one more with every try."""

    class Short(Processes):
        def stat(self, pid: int) -> Stat | None:
            raise OSError(24, "Too many open files")

    before = descriptors()
    with pytest.raises(OSError, match="Too many open files"):
        Short().open(Worker("node1", "b", 1, os.getpid(), 1))
    assert descriptors() == before


FAMILY = """
import os, sys
for generation in range(3):
    if os.fork():
        os.wait()
        os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.mark.real
def test_descendants_are_all_that_live_below() -> None:
    """Children and theirs, each with its own start ticks, and not the process itself."""
    with child(sys.executable, "-c", FAMILY, stdin=subprocess.PIPE) as running:
        assert running.stdout
        youngest = int(running.stdout.readline())
        opened = PROCESSES.descendants(worker(running.pid))
        for _, member in opened:
            member.close()
        found = [descendant for descendant, _ in opened]
        assert len(found) == 3
        assert youngest in {descendant.pid for descendant in found}
        assert found == [worker(descendant.pid) for descendant in found]
