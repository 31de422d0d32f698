"""The files of a lease: the one of its name, and those moved aside while it was cleared. Read, cleared, removed.

The rules are the design's, word by word, and scripts/labs/model checks them through every interleaving: change nothing
here without it. Only a host's own server clears its leases.
"""

from __future__ import annotations

from collections.abc import Sequence

from .directory import Content, Folder
from .errors import LeaseTorn, LeaseUnreadable
from .lease import WIDTH, Lease, Worker, read_lease, read_status
from .names import Dotted, split_dotted

READ_TRIES = 5
"""Reads of one file whose checksum is wrong: a write caught half-way is over by the next."""


class LeaseFiles:
    """The lease files of a folder, by lease name. Raises ``LeaseUnreadable`` and ``OSError`` as they come.

    The loop lists, clears and removes; reaps read at the same time, in threads of their own.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._moved: dict[str, set[str]] = {}
        self._seen: dict[str, tuple[bytes, Lease]] = {}  # by file, what was in it at the last look

    def listed(self) -> tuple[set[str], list[tuple[str, Dotted]]]:
        """All leases there are, by name or moved, and the names of leases in the making."""
        leases, new = set(), []
        moved: dict[str, set[str]] = {}  # anew: what has vanished must not be waited for
        for name in self.folder.names():
            if name.endswith(".lease") and not name.startswith("."):
                leases.add(name)
            elif dotted := split_dotted(name):
                if dotted.moved:
                    moved.setdefault(dotted.lease, set()).add(name)
                    leases.add(dotted.lease)
                else:
                    new.append((name, dotted))
        self._moved = moved
        for file in self._seen.keys() - leases:
            if not file.startswith("."):
                self._seen.pop(file, None)
        return leases, new

    def read(self, name: str) -> list[Lease]:
        """A fresh read of a lease: the file of its name, else the moved one of the highest seq.

        One for each worker that has files under that name, which are several only where a pid came again; the one that
        stands under its name is the last.
        """
        for _ in range(READ_TRIES):
            try:
                named = [self._read(name, name)]
            except FileNotFoundError:
                named = []
            if not self._moved.get(name):
                return named
            newest = {worker: files[-1][0] for worker, files in self._read_moved(name, named).items()}
            for lease in named:
                newest.pop(lease.worker, None)
            if newest or named:
                return [*newest.values(), *named]
        return []  # it vanished under us again and again, and the worker did not publish anew

    def verdict(self, name: str, worker: Worker | None = None) -> Lease | None:
        """That of ``worker``; without it, of the last who held it. None if there is none."""
        leases = [lease for lease in self.read(name) if worker in (None, lease.worker)]
        return leases[-1] if leases else None

    def _read(self, file: str, name: str) -> Lease:
        tries = READ_TRIES
        while True:
            content = self.folder.read(file)
            try:
                return self._parse(file, name, content)
            except LeaseTorn:
                tries -= 1
                if not tries:
                    raise
            except LeaseUnreadable:
                raise
            except Exception as error:  # anybody's bytes: they must not end the server's turn
                raise LeaseUnreadable(f"{type(error).__name__}: {error}") from error

    def _parse(self, file: str, name: str, content: Content) -> Lease:
        """Only what differs from the last look is parsed: in a scan nothing, in a renewed lease the status."""
        data, owner = content.data, content.owner
        before, lease = self._seen.get(file, (b"", None))
        if lease is None or lease.owner != owner or data[WIDTH:] != before[WIDTH:]:
            lease = read_lease(name, data, owner)
        elif data != before:
            lease = lease._replace(status=read_status(data))
        self._seen[file] = data, lease
        return lease

    def clear(self, name: str) -> Lease | None:
        """Clear a living worker's lease that was read as released. Returns one that turns out to be held after all.

        The name is moved aside first, then the moved file is read afresh, never by a descriptor from before: the worker
        may have acquired in place in between. It is then a lease under its moved name. Nothing is ever moved back: only
        the worker makes a lease's name.
        """
        if (aside := self.folder.move_aside(name)) is not None:
            self._moved.setdefault(name, set()).add(aside)
        held = None
        for files in self._read_moved(name).values():
            newest, _ = files[-1]
            if newest.status.held:
                held = newest
            else:
                self._unlink(name, [file for _, file in files])
        return held

    def remove(self, name: str, worker: Worker) -> None:
        """Remove all files of a lease whose worker is gone, and none of a process that came to its pid since."""
        try:
            mine = self._read(name, name).worker == worker
        except FileNotFoundError:
            mine = False
        # Moved before it is unlinked: a newcomer may publish its own under this name at any moment.
        if mine and (aside := self.folder.move_aside(name)) is not None:
            self._moved.setdefault(name, set()).add(aside)
        self._unlink(name, [file for _, file in self._read_moved(name).get(worker, ())])

    def _read_moved(self, name: str, named: Sequence[Lease] = ()) -> dict[Worker, list[tuple[Lease, str]]]:
        """The moved files of a lease by worker, the lowest seq first; beside a ``named`` one only what can be read."""
        found: dict[Worker, list[tuple[Lease, str]]] = {}
        for file in sorted(self._moved.get(name, ())):
            try:
                lease = self._read(file, name)
            except FileNotFoundError:
                self._moved.get(name, set()).discard(file)
                continue
            except LeaseUnreadable:
                if not named:
                    raise
                continue
            found.setdefault(lease.worker, []).append((lease, file))
        for files in found.values():
            files.sort(key=lambda pair: _seq(pair[0]))
        return found

    def _unlink(self, name: str, files: list[str]) -> None:
        self._seen.pop(name, None)
        for file in files:  # the lower seqs first: a crash in between must not leave an older one as the highest
            self.folder.remove(file)
            self._seen.pop(file, None)
            self._moved.get(name, set()).discard(file)
        if not self._moved.get(name):
            self._moved.pop(name, None)


def _seq(lease: Lease) -> int:
    return lease.status.seq
