"""Processes come in here: who a process is, whether it is still the same, and what is done to it.

Identity is boot id, pid namespace, pid and start ticks (``psutil.Process.create_time()`` moves when the clock is set).
The worker's side of this loads the standard library only.
"""

from __future__ import annotations

import os
import re
import select
import signal
from typing import Any, NamedTuple

from .errors import BadValue, CannotReap
from .lease import Worker

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""The inode of the machine's own pid namespace (PROC_PID_INIT_INO of the kernel)."""
HOST_SPACE = "LEASETIMER_HOST_SPACE"
"""For which space of pids ``LEASETIMER_HOST`` was set, if that is known; ``leasetimer run`` says it."""
_HOST = re.compile(r"[\w-][\w.-]*", re.ASCII)
_LONGEST_HOST = 80


class Stat(NamedTuple):
    """What /proc/PID/stat says: ``state`` is the kernel's letter (R, S, D, T, t, Z, X …), ``start`` in ticks."""

    name: str
    state: str
    parent: int
    start: int


class Processes:
    """The processes of this machine, as this one sees them. The object that tests replace."""

    def prepare(self) -> None:
        """Load what a reap needs, or the first one waits 10 ms for it. Raises ``CannotReap`` where none can work."""
        import psutil  # noqa: F401 - for descendants

        try:
            pidfd = os.pidfd_open(os.getpid())
            try:
                signal.pidfd_send_signal(pidfd, 0)
            finally:
                os.close(pidfd)
        except (AttributeError, OSError) as error:
            raise CannotReap(f"a server takes pidfds (Linux 5.3, no sandbox that hides them), got {error}") from None

    def boot(self) -> str:
        """The boot id of this machine."""
        return _read("/proc/sys/kernel/random/boot_id").strip()

    def namespace(self, kind: str, pid: int | str = "self") -> int:
        """The inode of that process' ``pid`` or ``time`` namespace; 0 where the kernel has none of that kind."""
        try:
            return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
        except FileNotFoundError:
            return 0

    def stat(self, pid: int) -> Stat | None:
        """What the kernel says of a process, or None if there is none of that pid."""
        try:
            line = _read(f"/proc/{pid}/stat")
        except (FileNotFoundError, ProcessLookupError):
            return None
        name, _, rest = line.partition("(")[2].rpartition(")")
        fields = rest.split()
        return Stat(name, fields[0], int(fields[1]), int(fields[19]))

    def uid(self, pid: int) -> int | None:
        """The real uid of a process, or None if it is gone."""
        words = self.status(pid).get("Uid", "").split()
        return int(words[0]) if words else None

    def status(self, pid: int) -> dict[str, str]:
        """/proc/PID/status, empty if the process is gone."""
        try:
            lines = _read(f"/proc/{pid}/status").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return {}
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def argv(self, pid: int) -> list[str]:
        """The command line of a process; empty if it is gone, or has none that may be read."""
        try:
            return _read(f"/proc/{pid}/cmdline").split("\0")[:-1]
        except OSError:
            return []

    def program(self, pid: int) -> str | None:
        """The path of the program that a process runs; None where that may not be read."""
        try:
            return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
        except OSError:
            return None

    def alive(self, worker: Worker) -> bool:
        """Whether that very process still runs. A zombie, whose threads are all gone, does not."""
        stat = self.stat(worker.pid)
        if stat is None or stat.start != worker.start:
            return False
        if stat.state not in "ZX":
            return True
        process = self.open(worker)  # a zombie main thread may have living threads: only a pidfd tells
        if process is None:
            return False
        with process:
            return not process.gone(0)

    def open(self, worker: Worker) -> Process | None:
        """A hold on that very process that no pid reuse can turn on another; None if it is gone.

        Raises ``OSError`` where the kernel refuses a pidfd for another reason.
        """
        try:
            pidfd = os.pidfd_open(worker.pid)
        except ProcessLookupError:
            return None
        try:
            stat = self.stat(worker.pid)  # after the pidfd is open: what it holds can't change any more
        except BaseException:
            os.close(pidfd)
            raise
        if stat is None or stat.start != worker.start:
            os.close(pidfd)
            return None
        return Process(pidfd, worker.pid, worker.start)

    def describe(self, pid: int) -> dict[str, Any]:
        """What a post-mortem says of a process, as far as it may be read; empty if it is gone."""
        stat, status = self.stat(pid), self.status(pid)
        if stat is None or not status:
            return {}
        try:
            wchan = _read(f"/proc/{pid}/wchan")
        except OSError as error:
            wchan = str(error.strerror)
        return {
            "name": stat.name,
            "state": stat.state,
            "parent": stat.parent,
            "uid": int(status["Uid"].split()[0]),
            "threads": int(status["Threads"]),
            "memory": status.get("VmRSS"),
            "tracer": int(status["TracerPid"]),
            "wchan": wchan,
        }

    def descendants(self, worker: Worker) -> list[tuple[Worker, Process]]:
        """All living children of that process and theirs, each with a hold on it, to be closed by the caller.

        Those who left it (double fork) can't be known. That the process at ``worker.pid`` is the worker is for the
        caller to make sure, afterwards.
        """
        import psutil

        try:
            children = psutil.Process(worker.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        found = []
        for child in children:
            stat = self.stat(child.pid)
            member = worker._replace(pid=child.pid, start=stat.start) if stat and stat.state not in "ZX" else None
            process = self.open(member) if member else None
            if member is None or process is None:
                continue
            if child.is_running():  # or its pid has come again since it was listed
                found.append((member, process))
            else:
                process.close()
        return found


class Process:
    """A pidfd on one process. Close it, or leave its ``with`` block."""

    def __init__(self, pidfd: int, pid: int, start: int) -> None:
        self.pidfd = pidfd
        self.pid = pid
        self.start = start

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        os.close(self.pidfd)

    def signal(self, number: int) -> None:
        """Send it that signal. Raises ``ProcessLookupError`` if it is gone, ``PermissionError`` if one may not."""
        signal.pidfd_send_signal(self.pidfd, number)

    def gone(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until every thread of it has ended; whether that is so."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(max(0, timeout) * 1000))


PROCESSES = Processes()
"""The machine's own."""


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGTERM; a real-time one between the first and the last is SIGRTMIN+n."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def space(processes: Processes = PROCESSES) -> str:
    """The space of pids that this process sees: its boot and its pid namespace."""
    return f"{processes.boot()}:{processes.namespace('pid')}"


def host_id(processes: Processes = PROCESSES) -> str:
    """``LEASETIMER_HOST``, else the host name, with the pid namespace where that is not the machine's own.

    One host id is one space of pids: a ``LEASETIMER_HOST`` that says it is of another one is not taken. Raises
    ``BadValue`` for a name that can't be a folder's.
    """
    host = os.environ.get("LEASETIMER_HOST")
    meant_for = os.environ.get(HOST_SPACE)
    if meant_for and meant_for != space(processes):
        host = None  # inherited from another machine, as by srun, or into a container: its pids are not ours
    if not host:
        host = os.uname().nodename
        namespace = processes.namespace("pid")
        if namespace not in (0, _INITIAL_PID_NAMESPACE):
            host += f"-pid{namespace}"
    return check_host(host)


def check_host(host: str) -> str:
    """``host`` itself, if it can be a host id. Raises ``BadValue``."""
    if not _HOST.fullmatch(host) or len(host) > _LONGEST_HOST:
        raise BadValue(f"host must be letters, digits, '-', '_' and '.', at most {_LONGEST_HOST}, got {host!r}")
    return host


def identify(pid: int, host: str, processes: Processes = PROCESSES) -> Worker | None:
    """The worker that process is, under that host id; None if there is no such process."""
    stat = processes.stat(pid)
    if stat is None:
        return None
    return Worker(host, processes.boot(), processes.namespace("pid"), pid, stat.start)


def _read(path: str) -> str:
    """A file of /proc. By bare system calls: half the time of ``open``, and a reap makes several."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "surrogateescape")
