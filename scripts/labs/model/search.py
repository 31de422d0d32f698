"""Breadth-first search of all that several actors, each one step at a time, can make of the world that they share."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Thing = TypeVar("Thing", bound=Hashable)
World = TypeVar("World", bound=Hashable)
Actor = TypeVar("Actor", bound=Hashable)


class Role(NamedTuple, Generic[World, Actor]):
    """One of the cast: moves gives each step that it can take now, and the world and itself after it."""

    name: str
    moves: Callable[[World, Actor], Iterable[tuple[str, World, Actor]]]
    actor: Actor


@dataclass(frozen=True)
class Result:
    """trace: the steps of a shortest way to the violation."""

    states: int
    seconds: float
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        found = f"{self.states:,} states, {self.seconds:.1f} s, {self.violation or 'no violation'}"
        return "\n    ".join([found, *self.trace])


class Numbers(dict[Thing, int]):
    """A number for each thing, so that a state is a few small numbers: the world's, then each actor's."""

    def __init__(self) -> None:
        self.things: list[Thing] = []

    def __missing__(self, thing: Thing) -> int:
        self.things.append(thing)
        return self.setdefault(thing, len(self))


def search(
    world: World,
    cast: Sequence[Role[World, Actor]],
    wrong: Callable[[World], str | None],
    tidy: Callable[[World], World],
) -> Result:
    """Search all states, nearest first, until a world is wrong; worlds that are the same when tidy count as one."""
    began = time.monotonic()
    worlds, actors = Numbers[World](), Numbers[Actor]()
    faults: dict[int, str] = {}
    # What an actor can do depends on the world and itself alone: each such pair is worked out once.
    known: dict[tuple[object, int, int], list[tuple[str, int, int]]] = {}

    def look(role: Role[World, Actor], world: int, actor: int) -> list[tuple[str, int, int]]:
        found = []
        for text, untidy, then in role.moves(worlds.things[world], actors.things[actor]):
            after = tidy(untidy)
            if after not in worlds and (fault := wrong(after)):
                faults[worlds[after]] = fault
            found.append((text, worlds[after], actors[then]))
        return found

    def steps(state: tuple[int, ...]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        for place, role in enumerate(cast, 1):
            key = role.moves, state[0], state[place]
            found = known.get(key)
            if found is None:
                found = known[key] = look(role, *key[1:])
            for text, after, then in found:
                yield role.name, text, (after, *state[1:place], then, *state[place + 1 :])

    def way_to(state: tuple[int, ...]) -> Iterator[str]:
        while state != start:
            before = came_from[state]
            yield next(f"{who} {text}" for who, text, after in steps(before) if after == state)
            state = before

    start = (worlds[world], *(actors[role.actor] for role in cast))
    came_from, todo = {start: start}, deque([start])
    while todo:
        before = todo.popleft()
        for _, _, state in steps(before):
            if state not in came_from:
                came_from[state] = before
                todo.append(state)
                if state[0] in faults:
                    trace = tuple(way_to(state))[::-1]
                    return Result(len(came_from), time.monotonic() - began, faults[state[0]], trace)
    return Result(len(came_from), time.monotonic() - began)
