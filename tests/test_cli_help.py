"""``leasetimer --help``, and ``leasetimer`` alone."""

import click
import pytest

from commands import Command
from commands import call as call
from leasetimer.cli import COMMANDS, leasetimer

WIDTH = 80
SHORT = 55


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH + 2))  # click leaves two free


def test_the_help_cuts_nothing(call: Command) -> None:
    """Each command on a line of its own, with all that is said of it."""
    listed = call("--help").out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert not [line for line in listed if line.endswith("...") or len(line) > WIDTH]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_said_of_a_command_is_short(name: str) -> None:
    """Also a narrow terminal shows the list without a break."""
    command = leasetimer.get_command(click.Context(leasetimer), name)
    assert command
    assert command.short_help
    assert len(command.short_help) <= SHORT


def test_the_help_lists_every_form_of_a_duration(call: Command) -> None:
    """What is taken is said where one looks for it."""
    out = " ".join(call("--help").out.split())
    assert "90, 90s, 10m, 1h30m, or Slurm's MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS." in out


def test_without_a_command_the_help_is_laid_out_on_stderr(call: Command) -> None:
    """Not squeezed into one line as an error is; the exit code is that of any wrong usage."""
    assert call() == (2, "", call("--help").out)
