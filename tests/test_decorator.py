"""``expires`` as a decorator, and the scope it has where none is given."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leasetimer import expires
from recorder import Recorder
from recorder import client as client
from recorder import clock as clock

HERE = __file__


# -- the scope it has when none is given


def line_of(marker: str) -> int:
    """The line of this file that ends with that comment."""
    [number] = [
        number for number, line in enumerate(Path(HERE).read_text().splitlines(), 1) if line.endswith("  # " + marker)
    ]
    return number


def test_the_default_scope_is_the_callers_file_and_line(client: Recorder) -> None:
    """Each place has its own scope, and the same one each time."""
    for _ in range(2):
        with expires(60) as lease:  # one place
            assert lease.scope == f"{HERE}#{line_of('one place')}"
        with expires(60) as lease:  # another place
            assert lease.scope == f"{HERE}#{line_of('another place')}"


def test_in_a_with_of_many_lines_each_has_its_own(client: Recorder) -> None:
    """The line is that of the call, not of the statement."""
    with (
        expires(60) as one,  # the first of two
        expires(  # the second of two
            after=60,
        ) as two,
    ):
        assert one.scope == f"{HERE}#{line_of('the first of two')}"
        assert two.scope == f"{HERE}#{line_of('the second of two')}"


def test_through_the_decorator_it_is_the_decorated_functions(client: Recorder) -> None:
    """Not the decorator's own file, nor the caller's line."""

    @expires(60)  # decorated
    def plain() -> list[str]:
        return list(client.due)

    @functools.wraps(plain)
    def wrapper() -> list[str]:
        return plain()

    assert plain() == [f"{HERE}#{line_of('decorated')}"]
    assert expires(60)(wrapper)() == [f"{HERE}#{line_of('decorated')}"]


def test_what_has_no_code_is_named_by_what_it_is(client: Recorder) -> None:
    """A builtin by its name, any other callable by its repr."""
    scopes: list[str] = []
    client.calls = []
    assert expires(60)(len)([1]) == 1
    assert expires(60)(functools.partial(scopes.append, "x"))() is None
    (_, builtin), _, (_, partial), _ = client.calls
    assert builtin == "len"
    assert partial.startswith("functools.partial(")


def test_two_files_that_are_alike_have_scopes_of_their_own(client: Recorder) -> None:
    """Code compares equal whatever file it is from: a copy of a script must not be taken for the other."""
    source = "def f():\n    with expires(60) as lease:\n        return lease.scope\n"
    found = []
    for file in ("/a/train.py", "/b/train.py"):
        names: dict[str, Any] = {"expires": expires}
        exec(compile(source, file, "exec"), names)
        found.append(names["f"]())
    assert found == ["/a/train.py#2", "/b/train.py#2"]


def test_code_made_again_and_again_is_not_kept(client: Recorder) -> None:
    """A notebook's cells must not fill the memory with their scopes."""
    from leasetimer import block

    for number in range(block._MOST_CALLERS + 10):
        code = compile(f"x = {number}\nexpires(60)", "<cell>", "exec")
        exec(code, {"expires": expires})
    assert len(block._scopes_by_caller) <= block._MOST_CALLERS
    with expires(60) as lease:  # after the cells
        assert lease.scope == f"{HERE}#{line_of('after the cells')}"


# -- as a decorator


def test_a_decorated_function_is_guarded_each_time_it_runs(client: Recorder) -> None:
    """Name, docstring, arguments and result are the function's own."""

    @expires(60, "train")
    def train(a: int, *, b: int) -> tuple[int, int, dict[str, float]]:
        """Do it."""
        return a, b, dict(client.due)

    assert (train.__name__, train.__doc__) == ("train", "Do it.")
    for _ in range(2):
        assert train(1, b=2) == (1, 2, {"train": client.clock.mono + 60})
        assert client.due == {}


def test_a_decorated_coroutine_is_guarded_until_it_is_done(client: Recorder) -> None:
    """Not only while it is made."""

    @expires(60, "train")
    async def train() -> dict[str, float]:
        await asyncio.sleep(0)
        return dict(client.due)

    assert inspect.iscoroutinefunction(train)
    coroutine = train()
    assert client.due == {}
    assert asyncio.run(coroutine) == {"train": client.clock.mono + 60}
    assert client.due == {}


def test_a_decorated_generator_is_guarded_while_it_runs(client: Recorder) -> None:
    """From its first item to its end, and it can be sent to, as before."""

    @expires(60, "train")
    def items() -> Iterator[Any]:
        got = yield 1
        yield got

    generator: Any = items()
    assert client.due == {}
    assert next(generator) == 1
    assert client.due
    assert generator.send("sent") == "sent"
    generator.close()
    assert client.due == {}


def test_a_decorated_stream_is_guarded_while_it_runs(client: Recorder) -> None:
    """An async generator likewise."""

    @expires(60, "train")
    async def items() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def main() -> None:
        found = []
        async for item in items():
            assert client.due
            found.append(item)
        assert found == [0, 1, 2]
        assert client.due == {}

    asyncio.run(main())


def test_a_decorated_stream_can_be_sent_to_and_is_closed(client: Recorder) -> None:
    """Decorating it takes nothing away: what is sent arrives, and closing it closes what it wraps, at once."""
    closed = []

    @expires(60, "train")
    async def items() -> AsyncIterator[Any]:
        try:
            got = yield 1
            yield got
        finally:
            closed.append(dict(client.due))

    async def main() -> None:
        stream: Any = items()
        assert await anext(stream) == 1
        assert await stream.asend("sent") == "sent"
        await stream.aclose()
        assert closed == [{"train": client.clock.mono + 60}]
        assert client.due == {}

    asyncio.run(main())


@pytest.mark.parametrize("bind", [staticmethod, lambda function: function], ids=["static", "plain"])
def test_a_method_can_be_decorated(client: Recorder, bind: Callable[[Any], Any]) -> None:
    """Methods are functions."""

    class Trainer:
        run = bind(expires(60, "train")(lambda *_: dict(client.due)))

    assert Trainer().run() == {"train": client.clock.mono + 60}
