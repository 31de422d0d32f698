"""The blocks of this process that are open under a client's scopes: what makes nesting, recursion and threads safe."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from .clock import CLOCK

if TYPE_CHECKING:
    from .api import TimerClient

C = TypeVar("C", bound="TimerClient")


class Use(Protocol):
    """One open block: due at ``deadline``, on the monotonic clock."""

    deadline: float


class Uses(Generic[C]):
    """Which blocks are open under which scope of one client, and how the client is told of them.

    The client below knows a scope once; here each block has a deadline of its own, the earliest of which the client is
    handed. ``lock`` is held around every call of ``hold`` and ``drop``; it is reentrant, because a signal handler may
    open a block in the middle of another.
    """

    __slots__ = ("__weakref__", "lock", "open")
    _all: ClassVar[weakref.WeakSet[Uses[Any]]] = weakref.WeakSet()

    def __init__(self) -> None:
        self._begin()
        Uses._all.add(self)

    def _begin(self) -> None:
        self.lock = threading.RLock()
        self.open: dict[str, list[Use]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Uses, ()  # nothing is open in the process that a client was sent to

    def forked(self) -> None:
        """In the child of a fork: nothing is open here. The lock may have been held by a thread that is not here."""
        self._begin()

    def hold(self, client: C, scope_id: str, deadline: float, acquired: int) -> float:
        """Tell the client that the scope is held until ``deadline``; ``acquired`` is 0 for a mere renewal.

        Returns the seconds by which the deadline was moved, because telling took so long.
        """
        client.acquire(scope_id, CLOCK.now() + (deadline - CLOCK.monotonic()))
        return 0.0

    def drop(self, client: C, scope_id: str) -> None:
        """Tell the client that the last block of the scope was left."""
        client.release(scope_id)

    def earliest(self, scope_id: str) -> float:
        """The deadline that counts among the open blocks of a scope."""
        return min([use.deadline for use in self.open[scope_id]])


def uses_of(client: TimerClient) -> Uses[TimerClient]:
    """The uses of a client, made at first sight: the client need know nothing of them (torch's own doesn't)."""
    uses = vars(client).setdefault("_uses", Uses())  # in one step: two threads may both see it first
    if not isinstance(uses, Uses):
        uses = client._uses = Uses()  # type: ignore[attr-defined]  # on whatever client it is
    return uses


def _forked() -> None:
    for uses in list(Uses._all):
        uses.forked()


os.register_at_fork(after_in_child=_forked)
