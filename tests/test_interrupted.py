"""What a block leaves when something happens in the middle of its client's calls."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fakes import FakeClock
from leasetimer import expires
from recorder import Recorder
from recorder import clock as clock


class Interrupted(Recorder):
    """A client in the middle of whose calls something else happens: before or after it has done what it was asked."""

    def __init__(self, clock: FakeClock, call: str, when: str) -> None:
        super().__init__(clock)
        self.place = (call, when)
        self.happens: Callable[[], None] | None = None

    def _interrupt(self, *place: str) -> None:
        if place == self.place and self.happens:
            happens, self.happens = self.happens, None
            happens()

    def acquire(self, scope_id: str, expiration_time: float) -> None:
        self._interrupt("acquire", "before")
        super().acquire(scope_id, expiration_time)
        self._interrupt("acquire", "after")

    def release(self, scope_id: str) -> None:
        self._interrupt("release", "before")
        super().release(scope_id)
        self._interrupt("release", "after")


def interrupt() -> None:
    raise KeyboardInterrupt


EACH_PLACE = pytest.mark.parametrize(
    ("call", "when"), [(call, when) for call in ("acquire", "release") for when in ("before", "after")]
)


@EACH_PLACE
def test_a_signal_handler_may_open_another_scope_in_the_middle_of_a_call(
    clock: FakeClock, call: str, when: str
) -> None:
    """The lock is reentrant: what interrupts a block's entry or exit does not wait for it for ever."""
    client = Interrupted(clock, call, when)

    def handler() -> None:
        with expires(5, "other", client):
            assert client.due["other"] == clock.mono + 5

    def work() -> None:
        client.happens = handler
        with expires(60, "train", client):
            assert client.due == {"train": clock.mono + 60}

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive()
    assert (client.calls.count(("release", "other")), client.due) == (1, {})


@EACH_PLACE
@pytest.mark.parametrize("after", [5, 600])
def test_a_signal_handler_may_open_the_scope_in_the_middle_of_a_call(
    clock: FakeClock, call: str, when: str, after: float
) -> None:
    """The lock is reentrant, and once all blocks are left, nothing is held."""
    client = Interrupted(clock, call, when)

    def handler() -> None:
        with expires(after, "train", client):
            assert client.due["train"] <= clock.mono + after

    client.happens = handler
    with expires(60, "train", client):
        assert client.due == {"train": clock.mono + 60}
    assert client.due == {}


@EACH_PLACE
def test_an_interrupt_in_the_middle_of_a_call_leaves_nothing_held(clock: FakeClock, call: str, when: str) -> None:
    """Ctrl-C in a notebook: whoever goes on after it must not be killed for a block that is over, or never began."""
    client = Interrupted(clock, call, when)
    client.happens = interrupt
    with pytest.raises(KeyboardInterrupt), expires(60, "train", client):
        assert call == "release"
    assert client.due == {}
    with expires(90, "train", client):
        assert client.due == {"train": clock.mono + 90}
    assert client.due == {}


@pytest.mark.parametrize("number", [1, 2], ids=["on entry", "on exit"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError])
def test_an_inner_block_that_failed_leaves_the_outer_one_its_deadline(
    clock: FakeClock, when: str, number: int, raised: type[BaseException]
) -> None:
    """Neither Ctrl-C nor a failure in the middle of an inner block's entry or exit may shorten the outer one's time."""
    client = Interrupted(clock, "acquire", when)

    def fail() -> None:
        raise raised

    with expires(60, "train", client):
        inner = expires(10, "train", client)
        if number == 1:
            client.happens = fail
        with pytest.raises(raised), inner:
            client.happens = fail
        if raised is KeyboardInterrupt or number == 1:
            assert client.due == {"train": clock.mono + 60}
    assert client.due == {}
