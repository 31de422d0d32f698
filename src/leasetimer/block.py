"""``expires``: leave this block by then, or be reaped. Works with any ``TimerClient``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import monotonic
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import log
from .clock import LONGEST, check_after
from .errors import NotConfigured
from .uses import Uses, uses_of

if TYPE_CHECKING:
    from .api import TimerClient

F = TypeVar("F", bound=Callable[..., Any])

_timer_client: TimerClient | None = None
# By identity, kept alive: equal code may be of another file, and hashing code takes longer than all the rest.
_scopes_by_caller: dict[tuple[int, int], tuple[str, CodeType]] = {}
_NUMBERS = frozenset([int, float])
_MOST_CALLERS = 4096  # or code made by exec, again and again, would be kept alive for ever


def configure(timer_client: TimerClient | None) -> None:
    """Make ``timer_client`` the one that ``expires`` uses when none is passed; None takes it back."""
    global _timer_client
    _timer_client = timer_client
    log.debug("client configured", kind=type(timer_client).__name__)


class expires:  # noqa: N801 - the contract's own name
    """Leave the block within ``after`` seconds, or this worker may be reaped.

    A context manager (``with`` and ``async with``) and a decorator. Acquires on entry, releases on exit, also when the
    block raises; the exception passes unchanged. Without a ``scope``, it is ``file#line`` of the caller, or of the
    function it decorates. The same scope may be open several times at once (nested, recursive, in threads and tasks):
    each block has its own deadline, the earliest counts.

    It yields itself: the held lease, with ``renew``, ``remaining`` and ``expired``.

    It does not interrupt the block, it does not promise to be reaped at that very instant, and it is worth nothing
    without a server. Raises ``ValueError`` for an ``after`` or ``scope`` that can't be, ``RuntimeError`` where there is
    no client, and on entry whatever the client's ``acquire`` raises, before the block runs.
    """

    __slots__ = ("_after", "_client", "_holder", "_named", "_scope", "_uses", "deadline")

    def __init__(self, after: float, scope: str | None = None, client: TimerClient | None = None) -> None:
        self._after = after
        self._client = client
        self._uses: Uses[Any] | None = None
        if scope is None:
            self._named = False
            frame = sys._getframe(1)
            try:
                self._scope = _scopes_by_caller[id(frame.f_code), frame.f_lasti][0]
            except KeyError:
                self._scope = _name_caller(frame.f_code, frame.f_lasti, frame.f_lineno)
        else:
            self._named = True
            self._scope = scope

    def __enter__(self) -> expires:
        client = self._client
        if client is None:
            client = _timer_client
            if client is None:
                client = _from_environment()
        after = self._after
        if not (after.__class__ in _NUMBERS and 0 < after <= LONGEST):
            check_after(after)
        try:
            uses = client._uses  # type: ignore[attr-defined]  # the fast way to uses_of
        except AttributeError:
            uses = None
        if not isinstance(uses, Uses):
            uses = uses_of(client)
        scope = self._scope
        with uses.lock:
            if self._uses is not None:
                raise RuntimeError(f"this block is already entered: scope={scope!r}; make another expires for another")
            self.deadline = monotonic() + after
            try:
                # Open before the client is told: a signal handler in between finds it, and keeps its deadline.
                uses.open.setdefault(scope, []).append(self)
                self._uses, self._holder = uses, client
                self.deadline += uses.hold(client, scope, uses.earliest(scope), 1)
            except BaseException as error:  # nobody will leave this block
                self._uses = None
                self._undo(uses, client, told=not isinstance(error, Exception))
                raise
        return self

    def _undo(self, uses: Uses[Any], client: TimerClient, *, told: bool) -> None:
        """Take this block back. ``told``: a signal handler raised, so the client may or may not know of it."""
        scope = self._scope
        mine = uses.open.get(scope, [])
        if self in mine:
            mine.remove(self)
        try:
            if mine:
                uses.hold(client, scope, uses.earliest(scope), 0)
            else:
                uses.open.pop(scope, None)
                if told:
                    uses.drop(client, scope)
        except Exception as failure:  # noqa: BLE001 - logged; the first failure is the one to raise
            log.error("block not undone", scope=scope, error=repr(failure))

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        uses, self._uses = self._uses, None
        if uses is None:
            return
        scope, client = self._scope, self._holder
        with uses.lock:
            mine = uses.open.get(scope)
            if not mine or self not in mine:
                return  # entered before a fork, left in the child: the parent's to release
            try:
                if len(mine) == 1:
                    del uses.open[scope]  # first: a signal handler in the middle of the drop may open it anew
                    uses.drop(client, scope)
                else:
                    before = uses.earliest(scope)
                    mine.remove(self)
                    earliest = uses.earliest(scope)
                    if earliest != before:
                        uses.hold(client, scope, earliest, 0)
            except Exception as failure:
                if error is None:
                    raise  # the lease may still be in force: the worker must know
                log.error("release failed", scope=scope, error=repr(failure), block=type(error).__name__)
            except BaseException:  # a signal handler's, perhaps just before the write
                self._undo(uses, client, told=True)
                raise

    async def __aenter__(self) -> expires:
        return self.__enter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        self.__exit__(*exc_info)

    def __call__(self, function: F) -> F:
        """Decorate ``function``, plain or ``async``: each call of it is a block of its own."""
        from .decorator import guarded

        scope = self._scope if self._named else _name_code(function)
        return guarded(function, lambda: expires(self._after, scope, self._client))

    def renew(self, after: float | None = None) -> None:
        """The block may last ``after`` seconds more from now on; without it, as many as at first.

        Raises what the client's ``acquire`` raises; the earlier deadline then stays in force. Outside the block,
        ``RuntimeError``.
        """
        after = self._after if after is None else check_after(after)
        uses, scope = self._uses, self._scope
        if uses is None:
            raise RuntimeError(f"not held: scope={scope!r}; renew works inside its block")
        with uses.lock:
            mine = uses.open.get(scope, ())
            if self not in mine:  # entered before a fork: the parent's
                raise RuntimeError(f"not held: scope={scope!r}; renew works inside its block")
            before, self.deadline = self.deadline, monotonic() + after
            try:
                self.deadline += uses.hold(self._holder, scope, uses.earliest(scope), 0)
            except BaseException:
                self.deadline = before
                raise

    @property
    def scope(self) -> str:
        """The guarded scope."""
        return self._scope

    @property
    def remaining(self) -> float:
        """Seconds until this block's deadline, negative past it. Another block of the scope may be due earlier."""
        if self._uses is None:
            raise RuntimeError(f"not held: scope={self._scope!r}; remaining is known inside its block")
        remaining: float = self.deadline - monotonic()
        return remaining

    @property
    def expired(self) -> bool:
        """Whether this block's deadline is past. Only a block whose server is late, or has gone, can see it True."""
        return self.remaining <= 0


def _name_caller(code: CodeType, place: int, line: int) -> str:
    if len(_scopes_by_caller) >= _MOST_CALLERS:
        _scopes_by_caller.clear()
    scope = f"{code.co_filename}#{line}"
    _scopes_by_caller[id(code), place] = scope, code
    return scope


def _name_code(function: Callable[..., Any]) -> str:
    inner = function
    while (wrapped := getattr(inner, "__wrapped__", None)) is not None:
        inner = wrapped
    code = getattr(inner, "__code__", None)
    if code is None:
        return getattr(function, "__qualname__", None) or repr(function)
    return f"{code.co_filename}#{code.co_firstlineno}"


def _from_environment() -> TimerClient:
    """The client of ``LEASETIMER_DIR``, configured: a spawned child needs nothing but its environment."""
    global _timer_client
    if not os.environ.get("LEASETIMER_DIR"):
        raise NotConfigured("no timer client: call leasetimer.configure(client) first, or set LEASETIMER_DIR")
    from .client import LeaseTimerClient

    _timer_client = LeaseTimerClient()
    return _timer_client
