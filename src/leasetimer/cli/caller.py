"""Whom a shell command is about: the shell that calls it, or the process of ``--pid``."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from ..clock import CLOCK
from ..directory import Folder, root_path
from ..errors import BadValue, LeasetimerError, NoLease, NotTheWorker
from ..lease import Lease, Worker
from ..onbehalf import OnBehalf
from ..process import PROCESSES, Processes, host_id, identify
from .options import brief, brief_scope, print_json, visible

SHELLS = frozenset(
    ["ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "osh", "pwsh", "sh", "tcsh", "yash", "zsh"]
)
BOXES = frozenset(["busybox", "toybox"])
"""One program that is a shell, ``timeout`` or ``make`` by the name that it is called by."""
MOST_PID = 1 << 22

scope_argument = click.argument("scope")
pid_option = click.option("--pid", type=int, help="The worker, instead of the calling shell. In a subshell: --pid $$.")


class Caller:
    """The worker, its name for a person, and the directory.

    With ``scope``, this very process is the worker if it holds a lease of that: a shell turns into its last command, as
    in ``bash -c 'leasetimer acquire …; …; leasetimer release …'``, and keeps its pid.
    """

    def __init__(
        self, directory: str | None, pid: int | None, scope: str | None = None, processes: Processes = PROCESSES
    ) -> None:
        self.folder = Folder(root_path(directory), host_id(processes))
        self._named = pid is not None
        if pid is None:
            pid = os.getpid() if scope and self._is_worker(scope, processes) else calling_shell(processes)
        self.worker = _worker(pid, self.folder.host, processes)
        stat = processes.stat(pid)
        self.name = f"{stat.name if stat else '?'}[{pid}]"

    def _is_worker(self, scope: str, processes: Processes) -> bool:
        me = identify(os.getpid(), self.folder.host, processes)
        try:
            return me is not None and OnBehalf(self.folder.root, self.folder.host, me).held(scope) is not None
        except (LeasetimerError, OSError):
            return False  # nothing that it could have acquired

    def behalf(self, **rules: Any) -> OnBehalf:
        """Its leases."""
        return OnBehalf(self.folder.root, self.folder.host, self.worker, **rules)

    def no_lease(self, error: NoLease) -> NoLease:
        """The same, with what helps those who call from a subshell, which is a process of its own."""
        hint = "" if self._named else "; in a subshell, name the script itself: --pid $$"
        return NoLease(f"{error}{hint}")

    def say(self, done: str, scope: str, lease: Lease | None, *, as_json: bool) -> None:
        """What was done, for whom, and until when."""
        status = lease.status if lease else None
        if as_json:
            print_json(
                {
                    "did": done,
                    "scope": scope,
                    "host": self.worker.host,
                    "pid": self.worker.pid,
                    "count": status.acquired if status else None,
                    "since": status.since if status else None,
                    "expires": status.expires if status else None,
                }
            )
            return
        until = f" expires in {brief(max(0.0, status.deadline - CLOCK.monotonic()))}" if status else ""
        click.echo(f"{done}: scope={brief_scope(scope)} worker={visible(self.name)}{until}")


def calling_shell(processes: Processes = PROCESSES) -> int:
    """The pid of the shell that called this command. Raises ``NotTheWorker`` if it was no shell."""
    pid = os.getppid()
    program = program_of(pid, processes)
    if pid > 1 and program in SHELLS:
        return pid
    who = f"{program}[{pid}]" if pid else "a process outside of this pid namespace"
    raise NotTheWorker(
        f"called by {visible(who)}, which is no shell: the lease would be its own; name the worker with --pid PID"
    )


def program_of(pid: int, processes: Processes = PROCESSES) -> str:
    """What program a process runs: a script's interpreter, ``sh`` of busybox. The kernel's short name at worst."""
    path, stat = processes.program(pid), processes.stat(pid)
    program = _plain(path or (stat.name if stat else "?"))
    if program in BOXES:
        program = _plain((processes.argv(pid) or [program])[0])
    return program


def _plain(path: str) -> str:
    """``-bash``, ``/bin/bash`` and ``bash-5.2`` are ``bash``; ``ksh93`` is ``ksh``."""
    return re.sub(r"[-.\d]+$", "", os.path.basename(path).removeprefix("-")) or path


def _worker(pid: int, host: str, processes: Processes) -> Worker:
    """That process, if it can hold a lease. Raises ``BadValue`` or ``NotTheWorker``."""
    if not 1 < pid <= MOST_PID:
        raise BadValue(f"pid must be a process' of yours, 2 to {MOST_PID}, got {pid}")
    worker = identify(pid, host, processes)
    if worker is None or not processes.alive(worker):
        raise NotTheWorker(f"no process of pid {pid} runs here")
    process = int(processes.status(pid).get("Tgid", pid))
    if process != pid:
        raise NotTheWorker(f"pid {pid} is a thread of pid {process}, which can hold a lease")
    uid = processes.uid(pid)
    if uid != os.geteuid():
        raise NotTheWorker(f"pid {pid} is uid {uid}'s, this command runs as uid {os.geteuid()}: no lease for others")
    return worker
