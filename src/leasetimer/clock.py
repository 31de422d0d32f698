"""Time comes in here, so that a test can jump it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .errors import BadValue

if TYPE_CHECKING:
    import threading

LONGEST = 1e9
"""The longest ``after``, in seconds (31 years): what the fixed width of a lease's times holds with room to spare."""


class Clock:
    """The two clocks of one boot, in seconds: ``now()`` since the epoch, ``monotonic()`` for every decision.

    ``CLOCK_MONOTONIC`` is one for all processes of a boot and time namespace, and nobody can set it.
    """

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until ``event`` is set, ``timeout`` seconds at most; whether it is."""
        return event.wait(timeout)


CLOCK = Clock()
"""The machine's own clock."""


def check_after(after: float, name: str = "after") -> float:
    """``after`` itself, if it is a duration a lease can have: positive, finite, at most ``LONGEST`` seconds.

    Raises ``BadValue`` (a ``ValueError``) for another number and ``TypeError`` for what is none.
    """
    if not isinstance(after, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, got {after!r}")
    if not 0 < after <= LONGEST:  # false for NaN, too
        raise BadValue(f"{name} must be positive and finite, at most {LONGEST:.0f} s, got {after!r}")
    return after
