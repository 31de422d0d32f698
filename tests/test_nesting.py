"""Blocks of one scope, nested, recursive, in threads and tasks: each has its own deadline, the earliest counts."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeClock
from leasetimer import TimerClient, expires
from ledgers import Machine, leases
from recorder import Recorder, use_clock
from recorder import client as client
from recorder import clock as clock


def test_the_earliest_deadline_counts_and_leaving_restores_the_other(client: Recorder) -> None:
    """An inner block due earlier shortens the lease while it is open, one due later doesn't lengthen it."""
    clock = client.clock
    with expires(60, "train") as outer:
        with expires(10, "train") as inner:
            assert client.due == {"train": clock.mono + 10}
            assert (outer.remaining, inner.remaining) == (60, 10)
        assert client.due == {"train": clock.mono + 60}
        with expires(90, "train") as inner:
            assert client.due == {"train": clock.mono + 60}
            assert inner.remaining == 90
        assert client.due == {"train": clock.mono + 60}
    assert client.calls.count(("release", "train")) == 1


def test_blocks_may_be_left_in_any_order(client: Recorder) -> None:
    """As those of tasks are: the deadline that counts is always the earliest of those still open."""
    start = client.clock.mono
    first, second, third = expires(10, "train"), expires(20, "train"), expires(30, "train")
    for block in (second, first, third):
        block.__enter__()
    assert client.due == {"train": start + 10}
    first.__exit__()
    assert client.due == {"train": start + 20}
    third.__exit__()
    assert client.due == {"train": start + 20}
    second.__exit__()
    assert client.due == {}


def test_renewing_one_block_never_disarms_another(client: Recorder) -> None:
    """The lease moves only as far as the earliest of the others."""
    clock = client.clock
    with expires(60, "train") as outer, expires(10, "train") as inner:
        inner.renew(100)
        assert client.due == {"train": clock.mono + 60}
        outer.renew(200)
        assert client.due == {"train": clock.mono + 100}
        outer.renew(5)
        assert client.due == {"train": clock.mono + 5}


def test_a_failed_inner_acquire_leaves_the_outer_block_in_force(client: Recorder) -> None:
    """And leaving the outer one still releases."""
    with expires(60, "train"):
        client.fails = OSError("full")
        with pytest.raises(OSError, match="full"), expires(10, "train"):
            pytest.fail("the block ran")
        client.fails = None
        assert client.due == {"train": client.clock.mono + 60}
    assert client.due == {}


def test_scopes_are_independent(client: Recorder) -> None:
    """Each has its own deadline at the client."""
    with expires(60, "one"), expires(10, "two"):
        assert client.due == {"one": client.clock.mono + 60, "two": client.clock.mono + 10}


def test_recursion_holds_one_lease(client: Recorder) -> None:
    """Each call is a block of its own, and the first one's deadline counts."""

    @expires(60, "recursive")
    def descend(depth: int) -> None:
        client.clock.jump(1)
        if depth:
            descend(depth - 1)
        else:
            assert client.due == {"recursive": client.clock.mono + 60 - 4}

    descend(3)
    assert client.due == {}
    assert client.calls.count(("release", "recursive")) == 1


@settings(deadline=None)  # it writes files, and the disk may be busy
@pytest.mark.parametrize("kind", ["any client", "lease client"])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["enter", "enter", "leave", "renew", "jump"]),
            st.integers(0, 9),
            st.integers(1, 100),
            st.sampled_from(["one", "two"]),
        ),
        max_size=30,
    )
)
def test_the_client_always_knows_the_earliest_of_the_open_blocks(
    kind: str, steps: list[tuple[str, int, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Entered, left and renewed in any order: held until the earliest deadline, released after the last block."""
    machine = Machine()
    root = tmp_path_factory.mktemp("root")
    opened: list[tuple[expires, str, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        clock = use_clock(patch, machine.clock)
        recorder, directory = Recorder(clock), machine.client(root)
        client: TimerClient = recorder if kind == "any client" else directory
        for step, which, seconds, scope in steps:
            if step == "enter":
                block = expires(seconds, scope, client)
                block.__enter__()
                opened.append((block, scope, clock.mono + seconds))
            elif step == "jump":
                clock.jump(seconds / 2)
            elif opened:
                block, scope, _ = opened.pop(which % len(opened))
                if step == "renew":
                    block.renew(seconds)
                    opened.append((block, scope, clock.mono + seconds))
                else:
                    block.__exit__()
            expected: dict[str, float] = {}
            for _, name, deadline in opened:
                expected[name] = min(deadline, expected.get(name, deadline))
            due = recorder.due
            if kind == "lease client":
                due = {name: lease.status.deadline for name, lease in leases(root).items() if lease.status.held}
            assert due == pytest.approx(expected)
            assert [block.remaining for block, _, _ in opened] == pytest.approx(
                [due - clock.mono for _, _, due in opened]
            )


def test_threads_each_have_their_own_deadline(clock: FakeClock) -> None:
    """All in the one scope at once: the client is held to the earliest, and released once, after the last."""
    recorder = Recorder(clock)
    entered, leave = threading.Barrier(9), [threading.Event() for _ in range(8)]
    left = [threading.Event() for _ in range(8)]

    def work(number: int) -> None:
        with expires(10 * (number + 1), "shared", recorder):
            entered.wait()
            leave[number].wait()
        left[number].set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    entered.wait()
    for number in range(8):
        assert recorder.due == {"shared": clock.mono + 10 * (number + 1)}
        leave[number].set()
        left[number].wait()
    for thread in threads:
        thread.join()
    assert recorder.due == {}
    assert recorder.calls.count(("release", "shared")) == 1


def test_tasks_each_have_their_own_deadline(client: Recorder) -> None:
    """Tasks that wait inside the one scope are left in another order than they were entered."""

    async def work(after: float, gate: asyncio.Event) -> None:
        async with expires(after, "shared") as lease:
            assert isinstance(lease, expires)
            await gate.wait()

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        tasks = [asyncio.create_task(work(after, gate)) for after, gate in zip((10, 20, 30), gates, strict=True)]
        await asyncio.sleep(0)
        for task, gate, due in zip(tasks, gates, (10, 20, 30), strict=True):
            assert client.due == {"shared": client.clock.mono + due}
            gate.set()
            await task
        assert client.due == {}

    asyncio.run(main())


def test_a_cancelled_task_releases(client: Recorder) -> None:
    """Cancellation is an exception like any other."""

    async def main() -> None:
        async def work() -> None:
            async with expires(60, "task"):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        assert client.due
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert client.due == {}
