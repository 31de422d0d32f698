"""Whether this process stood still: stopped, suspended, or held up by its file system."""

from __future__ import annotations

from .clock import Clock

GAP = 1.0
"""Seconds beyond what was planned that make a gap: shorter ones are the scheduler's."""


class Pace:
    """Marks the steps of a thread that should each be short. A step that was not is a gap.

    A server that stood still can't tell whether its workers could have renewed meanwhile: most likely they stood still
    with it. What was decided before the gap is worth nothing after it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.monotonic()
        self.gap = 0.0

    def begin(self) -> None:
        """The steps begin now: what was before is none of them."""
        self._last, self.gap = self._clock.monotonic(), 0.0

    def mark(self, planned: float = 0.0) -> float:
        """A step that should have taken ``planned`` seconds ends, the next begins; the seconds lost in it, else 0.

        The loss counts from the step's beginning, not from its planned end: the stop may have begun right away. It is
        also added to ``gap``, until ``take`` fetches it.
        """
        now = self._clock.monotonic()
        took, self._last = now - self._last, now
        if took <= planned + GAP:
            return 0.0
        self.gap += took
        return took

    def take(self) -> float:
        """The seconds lost since the last ``take``."""
        gap, self.gap = self.gap, 0.0
        return gap
