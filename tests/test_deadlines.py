"""A heap of deadlines does what a plain dictionary does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leasetimer.deadlines import Deadlines

KEYS = st.integers(0, 5)
TIMES = st.integers(0, 20).map(float)
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, TIMES),
    st.tuples(st.just("remove"), KEYS, st.just(0.0)),
    st.tuples(st.just("pop"), st.just(0), TIMES),
)


@given(st.lists(STEPS, max_size=200))
def test_it_does_what_a_plain_dictionary_does(steps: list[tuple[str, int, float]]) -> None:
    """Whatever is put, replaced, removed and popped, it agrees with a dictionary that is searched each time."""
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, float] = {}  # in the order of the last put, as keys of one deadline come out
    for step, key, time in steps:
        if step == "put":
            deadlines.put(key, time)
            model.pop(key, None)
            model[key] = time
        elif step == "remove":
            deadlines.remove(key)
            model.pop(key, None)
        else:
            due = sorted([key for key, deadline in model.items() if deadline <= time], key=model.__getitem__)
            assert deadlines.pop_due(time) == due
            for key in due:
                del model[key]
        assert deadlines.earliest() == min(model.values(), default=None)
        assert len(deadlines) == len(model)
        assert {key: deadlines.get(key) for key in range(6)} == {key: model.get(key) for key in range(6)}
        assert {key for key in range(6) if key in deadlines} == model.keys()


def test_keys_are_never_compared() -> None:
    """Two keys of one deadline may be of any kind: a tie is settled by who came first."""
    deadlines: Deadlines[object] = Deadlines()
    keys = [object(), "text", object()]
    for key in keys:
        deadlines.put(key, 1.0)
    assert deadlines.pop_due(1.0) == keys


def test_a_key_put_again_and_again_takes_no_more_room() -> None:
    """A lease renewed for weeks must not grow the heap: it is bounded by what is live."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.put("other", 1e9)
    for time in range(10_000):
        deadlines.put("key", float(time))
    assert len(deadlines._heap) < 100
    assert deadlines.get("key") == 9_999
    assert deadlines.earliest() == 9_999
