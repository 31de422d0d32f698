"""Waiting for something that may never come back: a file system that hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .. import log


def within(seconds: float, job: Callable[[], object]) -> bool:
    """Do that, but wait no longer than this for it; whether it is done."""
    done = threading.Event()

    def run() -> None:
        try:
            job()
        except OSError as error:
            log.warning("not ended cleanly", error=error)
        done.set()

    threading.Thread(target=run, name="leasetimer-end", daemon=True).start()
    return done.wait(seconds)
