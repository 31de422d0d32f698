"""The clock of the machine, durations, and the facts a lease tells."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from leasetimer.clock import CLOCK, LONGEST, check_after
from leasetimer.errors import BadValue
from leasetimer.facts import LONGEST_VALUE, RANK, SLURM, facts


def test_the_clock_is_the_machines_own() -> None:
    """Deadlines are on the clock that all processes of a boot share, not on one of this process."""
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before <= CLOCK.monotonic() <= time.clock_gettime(time.CLOCK_MONOTONIC)
    assert abs(CLOCK.now() - time.time()) < 1


def test_waiting_ends_with_the_event() -> None:
    """An event that is set ends the wait, and one that isn't lets it run out."""
    event = threading.Event()
    assert not CLOCK.wait(event, 0.001)
    event.set()
    assert CLOCK.wait(event, 3600)


@pytest.mark.parametrize("after", [1, 0.001, 5e-324, LONGEST, True])
def test_a_duration_that_can_be_passes(after: float) -> None:
    """Any positive number up to the longest is taken as it is."""
    assert check_after(after) is after


@pytest.mark.parametrize("after", [0, 0.0, -3, float("nan"), float("inf"), float("-inf"), 1e12, 10**400, LONGEST + 1])
def test_a_duration_that_can_not_be_is_named(after: float) -> None:
    """The error is one line that says what it got and what it takes."""
    with pytest.raises(BadValue) as caught:
        check_after(after)
    assert str(caught.value) == f"after must be positive and finite, at most 1000000000 s, got {after!r}"


@pytest.mark.parametrize("after", ["5", None, b"seconds", [5], 5j])
def test_what_is_no_number_is_named(after: object) -> None:
    """Text is not guessed at: durations as text are the command line's."""
    with pytest.raises(TypeError, match="after must be a number of seconds, got"):
        check_after(after)  # type: ignore[arg-type]


def test_only_named_variables_are_copied() -> None:
    """A secret in the environment never ends in a file that others read."""
    environ = {"RANK": "3", "SLURM_JOB_ID": "77", "WANDB_API_KEY": "secret", "SLURM_JWT": "secret", "RANKING": "x"}
    assert facts(["prog"], environ) == {"argv": ["prog"], "rank": {"rank": "3"}, "slurm": {"job": "77"}}


def test_every_fact_is_found_under_its_own_name() -> None:
    """Each variable of the tables ends in its own field."""
    environ = {theirs: theirs.lower() for theirs in [*RANK.values(), *SLURM.values()]}
    found = facts([], environ)
    assert found["rank"] == {ours: theirs.lower() for ours, theirs in RANK.items()}
    assert found["slurm"] == {ours: theirs.lower() for ours, theirs in SLURM.items()}


def test_a_long_value_is_cut() -> None:
    """One variable can't crowd the others out of the page."""
    assert facts([], {"TORCHELASTIC_RUN_ID": "x" * 10_000})["rank"] == {"run_id": "x" * LONGEST_VALUE}


def test_a_command_line_may_hold_what_is_no_text() -> None:
    """A program that put a Path or a number into sys.argv gets its lease all the same."""
    assert facts([Path("train.py"), 5], {})["argv"] == ["train.py", "5"]  # type: ignore[list-item]
