"""What a server remembers of a lease between two reads of its file. Pure."""

from __future__ import annotations

from .lease import Lease


class Known:
    """What the server remembers of a lease between two reads of its file."""

    __slots__ = ("again", "handled", "lease", "missing", "shift")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.shift = 0.0  # seconds that gaps have moved the deadline written with this seq
        self.handled = -1  # the seq that was acted on already: one incident each
        self.again = 0.0  # not acted on before that instant, whatever its deadline
        self.missing = 0

    @property
    def deadline(self) -> float:
        """The deadline that counts, on the monotonic clock."""
        return self.lease.status.deadline + self.shift
