"""``leasetimer run``: a command under guard, run again when somebody in it was reaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from .. import log
from ..clock import CLOCK
from ..directory import Folder
from ..errors import LeasetimerError
from ..facts import RUN
from ..names import check_scope
from ..onbehalf import OnBehalf
from ..process import HOST_SPACE, identify, space
from ..reaper import KILL_PATIENCE
from . import text_of
from ._child import ENDING, Child, Signals, inherited
from ._guard import Guard, Reaped, Try
from .options import DURATION, SIGNAL, directory_option, log_to_stderr, visible

REAPED, OWN_FAILURE = 124, 125
"""Exit codes, as timeout(1) has them."""
SHORT = 0.05
"""Seconds that a command may run without a lease: one that ends at once must not be found dead holding it."""


PATIENCE = 5.0
"""Seconds beyond what a reap may take to wait for its record."""


class Failed(LeasetimerError):
    """The command was not run to its end, for a reason of leasetimer's own."""

    exit_code = OWN_FAILURE


class NotExecutable(Failed):
    """The command is there, but can't be executed."""

    exit_code = 126


class NotFound(Failed):
    """There is no such command."""

    exit_code = 127


class Command(click.Command):
    """Options that can't be are leasetimer's own failure: 2 would be the command's."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise Failed(error.format_message()) from error


@click.command(
    cls=Command,
    short_help="Run a command under guard, again if reaped.",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--after", type=DURATION, help="Hold a lease for the whole command: reap it, with its tree, past that.")
@click.option("--scope", help="The scope of that lease.  [default: the command's name]")
@click.option("--signal", "number", type=SIGNAL, default="TERM", show_default=True, help="What it gets first.")
@click.option("--kill-after", type=DURATION, default="10s", show_default=True, help="From that signal to KILL.")
@click.option(
    "--restarts", type=click.IntRange(0), default=0, show_default=True, help="How often it is run again when reaped."
)
@directory_option
@click.option("-v", "--verbose", is_flag=True, help="Say what goes as it should, too.")
@click.argument("argv", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    after: float | None,
    scope: str | None,
    number: int,
    kill_after: float,
    restarts: int,
    directory: str | None,
    *,
    verbose: bool,
    argv: Sequence[str],
) -> int:
    """Run CMD with a server beside it, if this host has none for the directory.

    CMD gets LEASETIMER_DIR and LEASETIMER_HOST, and the signals and the terminal of this process. It is run again, up
    to --restarts times, when it was reaped, or when it failed after somebody below it was.

    Ends with CMD's exit code (128+n for signal n), 124 if the last try was reaped, 125 if leasetimer itself failed, 126
    if CMD can't be executed, 127 if there is no CMD.
    """
    if scope is not None and after is None:
        raise Failed("--scope takes --after: without it the command holds no lease")
    if scope is None:
        scope = os.path.basename(argv[0]) or "run"
    fds = inherited()
    log_to_stderr(verbose=verbose)
    try:
        plan = Plan(argv, fds, check_scope(scope), after, number, kill_after)
        with Guard(directory) as guard, Signals() as signals:
            return _run(plan, guard, signals, restarts)
    except Failed:
        raise
    except (LeasetimerError, OSError) as error:
        raise Failed(text_of(error)) from error


class Plan(NamedTuple):
    """What is to be run, and how it is guarded."""

    argv: Sequence[str]
    fds: Sequence[int]
    scope: str
    after: float | None
    signal: int
    kill_after: float


def _run(plan: Plan, guard: Guard, signals: Signals, restarts: int) -> int:
    for again in range(1, restarts + 2):
        for number in signals.take():
            if number in ENDING:
                return 128 + number  # it came between two tries
        code, reaped, told_to_end = _try(plan, guard, signals)
        if reaped is None:
            return code
        if again > restarts or told_to_end:
            click.echo(f"leasetimer: {reaped}: exit {REAPED}", err=True)
            break
        click.echo(f"leasetimer: {reaped}: run again, {again} of {restarts}", err=True)
    return REAPED


def _try(plan: Plan, guard: Guard, signals: Signals) -> tuple[int, Reaped | None, bool]:
    """Run it once: its exit code, who was reaped if that is what ended it, and whether a signal told it to end."""
    token = ".".join(filter(None, (os.environ.get(RUN), os.urandom(4).hex())))
    folder = guard.folder
    ours = {"LEASETIMER_DIR": folder.root, "LEASETIMER_HOST": folder.host, HOST_SPACE: space(), RUN: token}
    environ = os.environ | ours
    began = CLOCK.now()
    with _start(plan, environ, signals) as child:
        lease = None
        if plan.after is not None and child.wait(min(SHORT, plan.after / 2)) is None:
            lease = CommandLease(plan, plan.after - min(SHORT, plan.after / 2), guard.folder, child.pid)
        code = child.wait() or 0
        overdue = lease is not None and lease.overdue
        if lease:
            lease.end()
        reaped = None
        if code or overdue:
            patience = plan.kill_after + KILL_PATIENCE + PATIENCE
            reaped = guard.reaped(Try(child.pid, token, began), patience, child.pause)
        if reaped and child.finish(plan.signal, plan.kill_after):
            log.warning("ended what was left of the command", group=child.pid)
        return code, reaped, bool(child.told_to_end)


def _start(plan: Plan, environ: dict[str, str], signals: Signals) -> Child:
    try:
        return Child(plan.argv, environ, signals, plan.fds)
    except (BlockingIOError, MemoryError):  # no process to be had: that is not the command's doing
        raise
    except OSError as error:
        failed = NotFound if isinstance(error, FileNotFoundError) else NotExecutable
        raise failed(f"can't run {visible(plan.argv[0])!r}: {error.strerror}") from error


class CommandLease:
    """The lease of the whole command."""

    def __init__(self, plan: Plan, after: float, folder: Folder, pid: int) -> None:
        worker = identify(pid, folder.host)
        if worker is None:
            raise Failed(f"/proc does not show pid {pid}: leases need /proc")
        holder = OnBehalf(folder.root, folder.host, worker, signal=plan.signal, grace=plan.kill_after, tree=True)
        self._folder = folder
        self._lease = holder.acquire(plan.scope, after)

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed."""
        return CLOCK.monotonic() >= self._lease.status.deadline

    def end(self) -> None:
        """Remove it: its worker is dead, and a released one would be left if the server ends before it is cleared."""
        try:
            self._folder.remove(self._lease.name)
        except OSError as error:  # changes nothing for the command, which has ended
            log.warning("lease of the command not removed", file=self._lease.name, error=error)
