"""What a server remembers of leases between two reads of their files. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .lease import Lease, Worker


class Known:
    """What is remembered of one lease."""

    __slots__ = ("again", "handled", "lease", "missing", "shift")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.shift = 0.0  # seconds that gaps have moved the deadline that was written
        self.handled = -1.0  # the deadline, as written, that was acted on already: one incident each
        self.again = 0.0  # not acted on before that instant, whatever its deadline
        self.missing = 0  # scans in a row that did not list it

    @property
    def deadline(self) -> float:
        """The deadline that counts, on the monotonic clock."""
        return self.lease.status.deadline + self.shift

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
            if known.lease.status.deadline != lease.status.deadline:
                known.shift = known.again = 0.0
            known.lease = lease
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
