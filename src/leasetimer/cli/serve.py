"""``leasetimer serve``: a server in the foreground, until it is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable

import click

from .. import log
from ..server import LeaseTimerServer
from ._patience import within
from .options import DURATION, directory_option, log_to_stderr

STOP_PATIENCE = 4.0
"""Seconds given to a clean end. A file system that hangs must not keep the process, nor whoever waits for it."""


@click.command(short_help="Serve this host's leases, in the foreground.")
@directory_option
@click.option(
    "--max-interval",
    type=DURATION,
    default="10s",
    show_default=True,
    help="How late a lost file event may be noticed. Expiries don't wait for it.",
)
@click.option("--tree", is_flag=True, help="Signal the descendants of an overdue worker with it.")
@click.option("--observe", is_flag=True, help="Record what would be reaped, signal nobody.")
@click.option("--once", is_flag=True, help="Look over all leases once, clear and reap what is due now, and end.")
@click.option(
    "--spare-traced/--no-spare-traced", default=True, show_default=True, help="Leave workers under a debugger alone."
)
def command(
    directory: str | None, max_interval: float, *, tree: bool, observe: bool, once: bool, spare_traced: bool
) -> int:
    """Serve this host's leases in the directory, in the foreground.

    Clears the released ones, and reaps the workers of those that ran out. TERM and INT end it, with 0. A second server
    for the same host and directory is refused, with 3.
    """
    log_to_stderr(verbose=True)
    server = LeaseTimerServer(directory, max_interval, tree=tree, observe=observe, spare_traced=spare_traced)
    if once:
        cut_short = Life(server.once).next()
        return 128 + cut_short if cut_short else 0
    life = Life(server.start)
    if not life.next():
        with contextlib.suppress(OSError):  # nobody has to listen
            click.echo(f"serving {server.root} for host {server.host} as pid {os.getpid()}")
        life.next()
    if not within(STOP_PATIENCE, server.stop):
        log.warning(
            "not ended cleanly: a reap is under way, or the file system hangs", dir=server.root, seconds=STOP_PATIENCE
        )
        os._exit(0)
    return 0


class Life:
    """What the main thread waits for: that a job is done, or that TERM or INT tell this process to end.

    The job has a thread of its own, because a file system that hangs blocks it for good. Also INT is taken where it was
    ignored, as in a shell script's background: a server must not outlive the script that is interrupted.
    """

    def __init__(self, job: Callable[[], object]) -> None:
        # By a pipe that the C handler writes to: a signal that the kernel hands to another thread than the main one,
        # as it may when several come at once, would not wake the main thread from any other wait.
        self._news, self._tell = os.pipe()
        self._error: Exception | None = None
        os.set_blocking(self._tell, False)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._do, args=(job,), name="leasetimer-serve", daemon=True).start()

    def next(self) -> int:
        """Wait for what comes next: 0 that the job is done, else a signal. Raises what the job raised."""
        number = os.read(self._news, 1)[0]
        if number == 0 and self._error:
            raise self._error
        return number

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised in the main thread
            self._error = error
        os.write(self._tell, b"\0")
