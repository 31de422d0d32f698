"""What a server remembers of leases between two reads of their files. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .lease import Lease, Worker

KEPT = 8
"""Deadlines of a lease that are remembered, at most, besides those that a gap has moved."""


class Known:
    """What is remembered of one lease."""

    __slots__ = ("_shifts", "again", "handled", "lease", "missing")

    def __init__(self, lease: Lease) -> None:
        # Seconds that gaps have moved each deadline that was written, the current one last: once an inner block is left
        # its worker writes again what it promised before.
        self._shifts = {lease.status.deadline: 0.0}
        self.lease = lease
        self.handled = -1.0  # the deadline, as written, that was acted on already: one incident each
        self.again = 0.0  # not acted on before that instant, whatever its deadline
        self.missing = 0  # scans in a row that did not list it

    @property
    def deadline(self) -> float:
        """The deadline that counts, on the monotonic clock."""
        return self.lease.status.deadline + self._shifts[self.lease.status.deadline]

    def read(self, lease: Lease) -> None:
        """The same worker's lease, as it was read now."""
        deadline = lease.status.deadline
        if deadline != self.lease.status.deadline:
            self.again = 0.0
            self._shifts[deadline] = self._shifts.pop(deadline, 0.0)
            unmoved = [old for old, shift in self._shifts.items() if not shift and old != deadline]
            for old in unmoved[:-KEPT]:
                del self._shifts[old]
        self.lease = lease

    def move(self, seconds: float, now: float) -> None:
        """A gap: whatever was promised before it is due later, unless it was past already."""
        current = self.lease.status.deadline
        self._shifts = {
            old: shift + seconds
            for old, shift in self._shifts.items()
            if old == current or old + shift + seconds >= now
        }

    def has_handled(self, lease: Lease) -> bool:
        """Whether that very promise was acted on: this worker's, to leave by this deadline."""
        return self.lease.worker == lease.worker and self.handled == lease.status.deadline


class Memory:
    """All that is remembered, by name, and by worker, or each reap would go through all leases."""

    def __init__(self) -> None:
        self._by_name: dict[str, Known] = {}
        self._by_worker: dict[Worker, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._by_name))

    def get(self, name: str) -> Known | None:
        """What is remembered of the lease of that name."""
        return self._by_name.get(name)

    def names(self, worker: Worker) -> list[str]:
        """The names of that worker's leases."""
        return list(self._by_worker.get(worker, ()))

    def of(self, worker: Worker) -> list[Known]:
        """That worker's leases."""
        return [self._by_name[name] for name in self.names(worker)]

    def keep(self, lease: Lease) -> tuple[Known, Known | None]:
        """Remember a lease as read now. With it comes what it displaces: another worker's, whose pid came again."""
        known = displaced = self._by_name.get(lease.name)
        if known is None or known.lease.worker != lease.worker:
            self.forget(lease.name)
            known = self._by_name[lease.name] = Known(lease)
            self._by_worker.setdefault(lease.worker, set()).add(lease.name)
        else:
            displaced = None
            # The same deadline with a higher seq is the same promise: another block of the scope was entered or left.
            known.read(lease)
        known.missing = 0
        return known, displaced

    def forget(self, name: str) -> None:
        """Remember nothing of that lease."""
        known = self._by_name.pop(name, None)
        if known is not None:
            names = self._by_worker[known.lease.worker]
            names.discard(name)
            if not names:
                del self._by_worker[known.lease.worker]
