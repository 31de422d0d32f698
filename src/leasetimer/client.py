"""``LeaseTimerClient``: the worker's side of the lease pair. What it does to files is in ledger.py."""

from __future__ import annotations

import os
import signal as signals
from typing import Literal

from . import log
from .api import TimerClient
from .clock import CLOCK, LONGEST, Clock
from .directory import root_path
from .errors import BadValue
from .ledger import Ledger, ledger_of
from .process import PROCESSES, Processes, check_host, host_id

GRACE = 10.0
"""Seconds between a lease's own signal and SIGKILL, where the client names none."""


class LeaseTimerClient(TimerClient):
    """Holds lease files in ``directory`` for this process.

    :param directory: ROOT; without it ``LEASETIMER_DIR``, else ``$XDG_STATE_HOME/leasetimer``. Made (0700) if missing.
    :param signal: what an overdue worker gets first. SIGKILL, at once, by default.
    :param grace: seconds from that signal to SIGKILL; without effect where the signal is SIGKILL.
    :param tree: whether the worker's descendants, as they are before the first signal, are signalled with it.
    :param require_server: raise ``NoServer`` on acquire, instead of warning once, where no live server serves it.
    :param on_error: ``"raise"``, or ``"warn"``: a block whose lease can't be written runs unguarded, and it is logged.
    :param argv: whether the command line is written into the lease.
    :param host: the host id, instead of ``LEASETIMER_HOST`` or the host name.

    Leases belong to the process and the directory: clients of one directory share them, and the first acquire of a
    scope settles its signal, grace and tree. In the child of a fork nothing is held. In steady state an acquire and a
    release are one write in place each, which no NFS server hears of; the first of a scope makes a file.

    It promises nothing without a live server. Raises ``BadValue`` for a signal, grace or host that can't be.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        signal: int = signals.SIGKILL,
        grace: float = GRACE,
        tree: bool = False,
        require_server: bool = False,
        on_error: Literal["raise", "warn"] = "raise",
        argv: bool = True,
        host: str | None = None,
        clock: Clock = CLOCK,
        processes: Processes = PROCESSES,
    ) -> None:
        if signal not in signals.valid_signals():
            raise BadValue(f"signal must be a signal's number, got {signal!r}")
        if not 0 <= grace <= LONGEST:
            raise BadValue(f"grace must be 0 to {LONGEST:.0f} s, got {grace!r}")
        if on_error not in ("raise", "warn"):
            raise BadValue(f"on_error must be 'raise' or 'warn', got {on_error!r}")
        self.root = root_path(directory)
        self.host = host_id(processes) if host is None else check_host(host)
        self.signal = int(signal)
        self.grace = float(grace)
        self.tree = tree
        self.require_server = require_server
        self.on_error = on_error
        self.argv = argv
        self._uses: Ledger = ledger_of(self.root, self.host, clock, processes)

    def acquire(self, scope_id: str, expiration_time: float) -> None:
        """Hold the lease of ``scope_id`` until ``expiration_time`` (seconds since the epoch), or move it there.

        Raises ``BadValue`` for a scope or time that can't be, ``NoServer`` if one is required, ``OSError`` where the
        file can't be written: then what was in force before still is.
        """
        clock = self._uses.clock
        after = expiration_time - clock.now()
        if not -LONGEST <= after <= LONGEST or expiration_time < 0:
            raise BadValue(
                f"expiration_time must be seconds since the epoch, within {LONGEST:.0f} s, got {expiration_time!r}"
            )
        with self._uses.lock:
            self._uses.hold(self, scope_id, max(0.0, clock.monotonic() + after), 1)

    def release(self, scope_id: str) -> None:
        """End the lease of ``scope_id``, if one is held. Raises ``OSError`` where it can't be written."""
        with self._uses.lock:
            self._uses.drop(self, scope_id)

    def close(self) -> None:
        """Remove this process' released lease files in the directory. Held ones stay in force. Done at exit anyway."""
        self._uses.tidy()

    def excuse(self, event: str, scope: str, error: Exception) -> None:
        """Raise ``error``, or log it where this client was made with ``on_error="warn"``."""
        if self.on_error == "raise":
            raise error
        log.warning(event, scope=scope, error=repr(error))
