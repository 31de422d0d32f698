"""``expires`` as a decorator: a new block for each call, so that recursion, threads and tasks don't share one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from .block import expires

F = TypeVar("F", bound=Callable[..., Any])


def guarded(function: F, block: Callable[[], expires]) -> F:
    """``function``, each call of it inside a fresh ``block()``. A generator is guarded while it runs to its end."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            async with block():
                return await function(*args, **kwargs)

        return cast(F, coroutine)
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def stream(*args: Any, **kwargs: Any) -> Any:
            async with block(), aclosing(function(*args, **kwargs)) as inner:
                step = inner.asend(None)  # "yield from", which async generators have not
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in, and passed on
                        step = inner.athrow(error)
                    else:
                        step = inner.asend(sent)

        return cast(F, stream)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def items(*args: Any, **kwargs: Any) -> Any:
            with block():
                return (yield from function(*args, **kwargs))

        return cast(F, items)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with block():
            return function(*args, **kwargs)

    return cast(F, call)
