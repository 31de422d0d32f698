"""The files of a lease: the one of its name, and those moved aside while it was cleared. Read, cleared, removed.

The rules are the design's, word by word, and scripts/labs/model checks them through every interleaving: change nothing
here without it. Only a host's own server clears its leases.
"""

from __future__ import annotations

from .directory import Folder
from .errors import LeaseTorn
from .lease import Lease, read_lease
from .names import Dotted, split_dotted

READ_TRIES = 5
"""Reads of one file whose checksum is wrong: a write caught half-way is over by the next."""


class LeaseFiles:
    """The lease files of a folder, by lease name. Raises ``LeaseUnreadable`` and ``OSError`` as they come."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._moved: dict[str, set[str]] = {}

    def listed(self) -> tuple[set[str], list[tuple[str, Dotted]]]:
        """All leases there are, by name or moved, and the names of leases in the making."""
        leases, new = set(), []
        for name in self.folder.names():
            if name.endswith(".lease") and not name.startswith("."):
                leases.add(name)
            elif dotted := split_dotted(name):
                if dotted.moved:
                    self._moved.setdefault(dotted.lease, set()).add(name)
                    leases.add(dotted.lease)
                else:
                    new.append((name, dotted))
        return leases, new

    def verdict(self, name: str) -> Lease | None:
        """A fresh read of a lease: the file of its name, else the moved one of the highest seq, else None."""
        for _ in range(READ_TRIES):
            try:
                return self._read(name, name)
            except FileNotFoundError:
                moved = self._moved.get(name)
            if not moved:
                return None
            try:
                read = [self._read(aside, name) for aside in sorted(moved)]
            except FileNotFoundError:
                continue  # it vanished under us: start over, the worker may have published anew
            return max(read, key=lambda lease: lease.status.seq)
        return None

    def _read(self, file: str, name: str) -> Lease:
        tries = READ_TRIES
        while True:
            content = self.folder.read(file)
            try:
                return read_lease(name, content.data, content.owner)
            except LeaseTorn:
                tries -= 1
                if not tries:
                    raise

    def clear(self, name: str) -> Lease | None:
        """Clear a living worker's lease that was read as released. Returns it where it turns out to be held after all.

        The name is moved aside first, then the moved file is read afresh, never by a descriptor from before: the worker
        may have acquired in place in between. It is then a lease under its moved name. Nothing is ever moved back: only
        the worker makes a lease's name.
        """
        aside = self.folder.move_aside(name)
        moved = self._moved.setdefault(name, set())
        if aside is not None:
            moved.add(aside)
        read = []
        for file in sorted(moved):
            try:
                read.append((self._read(file, name), file))
            except FileNotFoundError:
                moved.discard(file)
        read.sort(key=lambda pair: pair[0].status.seq)
        if read and read[-1][0].status.held:
            return read[-1][0]
        for _, file in read:  # the lower seqs first: a crash in between must not leave an older one as the highest
            self.folder.remove(file)
            moved.discard(file)
        self._moved.pop(name)
        return None

    def remove(self, name: str) -> None:
        """Remove all files of a lease whose worker is gone."""
        for file in [*self._moved.get(name, ()), name]:
            self.folder.remove(file)
        self._moved.pop(name, None)
