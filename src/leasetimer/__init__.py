"""Leases against hung workers: leave this block by then, or be reaped.

Carries the contract of ``torch.distributed.elastic.timer``. The names below are loaded when they are first used:
``import leasetimer`` costs next to nothing, and a worker never loads what only a server needs.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # what type checkers take for true; importing it from typing would be nine tenths of this import

if TYPE_CHECKING:
    from .api import RequestQueue as RequestQueue
    from .api import TimerClient as TimerClient
    from .api import TimerRequest as TimerRequest
    from .api import TimerServer as TimerServer
    from .block import configure as configure
    from .block import expires as expires
    from .client import LeaseTimerClient as LeaseTimerClient
    from .errors import LeasetimerError as LeasetimerError
    from .local import LocalTimerClient as LocalTimerClient
    from .local import LocalTimerServer as LocalTimerServer
    from .server import LeaseTimerServer as LeaseTimerServer

_HOMES = {
    "LeaseTimerClient": "client",
    "LeaseTimerServer": "server",
    "LeasetimerError": "errors",
    "LocalTimerClient": "local",
    "LocalTimerServer": "local",
    "RequestQueue": "api",
    "TimerClient": "api",
    "TimerRequest": "api",
    "TimerServer": "api",
    "configure": "block",
    "expires": "block",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__
