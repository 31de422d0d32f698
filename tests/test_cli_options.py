"""Durations and text on the command line, as they are read and as they are shown."""

import pytest

from leasetimer.cli.options import LONGEST_SHOWN, brief, brief_scope, seconds, visible


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 90),
        ("90s", 90),
        ("0.5", 0.5),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1d2h3m4s", 93784),
        ("01:30", 90),
        ("90:00", 5400),
        ("1:00:00", 3600),
        ("1-00:00:00", 86400),
        ("1-12", 129600),
        ("2-12:30", 217800),
        ("31709791s", 31709791),
    ],
)
def test_a_duration_is_read_as_a_person_or_slurm_writes_it(text: str, value: float) -> None:
    """Plain seconds, units from the greatest down, and Slurm's colons."""
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0s", "00:00", "-1", "+1", "nan", "inf", "1e3", "1_000", "1000000000000", " 5", "5 ", "5\n", "5x"),
        *("m", "1m1h", "1.5m", "1:2:3:4", "-1:00", "1-", "-2", "\u0661", "1:0\u0663", "0x10", "9" * 400, "9" * 5000),
        *("1h30", "1m30", "1d2", "1h0.5", "1-2:3:4:5", "1-2-3"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed, nothing wraps around, no other number's alphabet is read."""
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0, "0.0s"),
        (0.84, "0.8s"),
        (9.94, "9.9s"),
        (42, "42s"),
        (59.6, "1m00s"),
        (545, "9m05s"),
        (3600, "1h00m"),
        (7380, "2h03m"),
        (273600, "3d04h"),
        (-65, "-1m05s"),
    ],
)
def test_a_duration_is_written_briefly(duration: float, text: str) -> None:
    """Two units at most."""
    assert brief(duration) == text


@pytest.mark.parametrize(
    ("text", "shown"), [("train é", "train é"), ("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("\udcff", "\\udcff")]
)
def test_text_is_shown_without_control_characters(text: str, shown: str) -> None:
    """A scope must not move the cursor."""
    assert visible(text) == shown


def test_a_long_scope_is_cut_on_a_line_with_other_things() -> None:
    """At the width it has on the terminal, escapes and all; one that fits stays whole."""
    assert brief_scope("x" * LONGEST_SHOWN) == "x" * LONGEST_SHOWN
    assert brief_scope("x" * (LONGEST_SHOWN + 1)) == "x" * (LONGEST_SHOWN - 1) + "…"
    assert len(brief_scope("\n" * 40)) == LONGEST_SHOWN
