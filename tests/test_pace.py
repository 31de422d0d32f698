"""How long a step took beyond its plan: gaps."""

from fakes import FakeClock
from leasetimer.pace import GAP, Pace


def test_a_step_within_its_plan_is_no_gap() -> None:
    """Up to a second beyond the plan is the scheduler's."""
    clock = FakeClock()
    pace = Pace(clock)
    clock.jump(10 + GAP)
    assert pace.mark(planned=10) == 0
    assert pace.take() == 0


def test_a_late_step_counts_from_its_beginning() -> None:
    """The stop may have begun right away, so the whole step is lost, not only what is beyond the plan."""
    clock = FakeClock()
    pace = Pace(clock)
    clock.jump(10 + GAP + 0.5)
    assert pace.mark(planned=10) == 10 + GAP + 0.5


def test_each_mark_begins_the_next_step() -> None:
    """Many short steps are never a gap, however long they are together."""
    clock = FakeClock()
    pace = Pace(clock)
    for _ in range(5):
        clock.jump(0.9)
        assert pace.mark() == 0


def test_gaps_add_up_until_they_are_taken() -> None:
    """A gap found deep in a call is dealt with by whoever takes it, once."""
    clock = FakeClock()
    pace = Pace(clock)
    for seconds in (2.0, 0.5, 3.0):
        clock.jump(seconds)
        pace.mark()
    assert pace.gap == 5.0
    assert pace.take() == 5.0
    assert pace.take() == 0.0
