"""A heap of deadlines with one place a key. Pure."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")


class Deadlines(Generic[K]):
    """What is due when. Replacing or removing a key leaves its old place on the heap to be passed over later.

    ``put`` is O(log n); so is everything else, counted over the life of an entry. Instants are on whatever clock the
    caller uses throughout.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._live: dict[K, tuple[float, int]] = {}
        self._ticket = 0  # tells two puts of one key apart, and keeps keys from being compared

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, key: K) -> bool:
        return key in self._live

    def put(self, key: K, deadline: float) -> None:
        """``key`` is due at ``deadline`` now, whatever it was before."""
        self._ticket += 1
        self._live[key] = (deadline, self._ticket)
        heappush(self._heap, (deadline, self._ticket, key))
        if len(self._heap) > 64 + 4 * len(self._live):  # or a key put again and again would grow it for ever
            self._heap = [(at, ticket, k) for k, (at, ticket) in self._live.items()]
            heapify(self._heap)

    def remove(self, key: K) -> None:
        """``key`` is due no more; nothing happens if it was not."""
        self._live.pop(key, None)

    def get(self, key: K) -> float | None:
        """When ``key`` is due, or None."""
        live = self._live.get(key)
        return live[0] if live else None

    def earliest(self) -> float | None:
        """The first deadline, or None."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[K]:
        """Take out every key due at ``now`` or before, earliest first."""
        due = []
        while (first := self.earliest()) is not None and first <= now:
            _, _, key = heappop(self._heap)
            del self._live[key]
            due.append(key)
        return due

    def _drop_stale(self) -> None:
        heap, live = self._heap, self._live
        while heap and live.get(heap[0][2], (0.0, -1))[1] != heap[0][1]:
            heappop(heap)
