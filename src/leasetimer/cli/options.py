"""What several commands take: durations, the directory, the host, and how they print."""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..clock import LONGEST

F = TypeVar("F", bound=Callable[..., Any])

_FORMS = [
    (re.compile(pattern, re.ASCII), units)
    for pattern, units in [
        (r"(\d+(?:\.\d+)?)", (1,)),  # alone only: 1h30 could be minutes or seconds
        (r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", (86400, 3600, 60, 1)),
        (r"(\d+):(\d\d?)", (60, 1)),
        (r"(\d+):(\d\d?):(\d\d?)", (3600, 60, 1)),
        (r"(\d+)-(\d+)(?::(\d\d?)(?::(\d\d?))?)?", (86400, 3600, 60, 1)),
    ]
]
"""How a duration may be written, and the seconds that each of its numbers stands for."""
TAKES = "a duration: 90, 90s, 10m, 1h30m, or MM:SS, HH:MM:SS, D-HH, D-HH:MM:SS, positive, at most 31 years"
LONGEST_SHOWN = 60


def seconds(text: str) -> float:
    """A duration as a person or Slurm writes it, in seconds. Raises ``ValueError`` for anything else, and for 0."""
    for form, units in _FORMS:
        if match := form.fullmatch(text):
            value = sum(float(part) * unit for part, unit in zip(match.groups(), units, strict=True) if part)
            if 0 < value <= LONGEST:
                return value
    raise ValueError(f"takes {TAKES}")


class Duration(click.ParamType[float]):
    """A duration on the command line."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; one line that names what it got otherwise."""
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return seconds(value)
        except ValueError as error:
            self.fail(f"{error}, got {value!r}", param, ctx)


class Signal(click.ParamType[int]):
    """A signal, by name (TERM, SIGTERM) or number."""

    name = "signal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Its number."""
        if isinstance(value, int):
            return value
        name = value.upper().removeprefix("SIG")
        try:
            return int(
                signal.Signals(int(value)) if value.isascii() and value.isdigit() else signal.Signals[f"SIG{name}"]
            )
        except (KeyError, ValueError):
            self.fail(f"takes a signal's name or number, such as TERM or 15, got {value!r}", param, ctx)


DURATION = Duration()
SIGNAL = Signal()

directory_option = click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(readable=False),  # what can't be read is ours to say, with the exit code of a directory
    help="The shared directory. Default: LEASETIMER_DIR, else $XDG_STATE_HOME/leasetimer.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with stable keys.")


def print_json(fields: dict[str, Any]) -> None:
    """One object on a line of its own."""
    click.echo(json.dumps(fields, ensure_ascii=True))


def brief(duration: float) -> str:
    """A duration as a person reads it: 0.8s, 42s, 9m05s, 2h03m, 3d04h. Negative ones keep their sign."""
    if not math.isfinite(duration):
        return "?"
    sign, left = ("-" if duration < 0 else ""), abs(duration)
    if left < 10:
        return f"{sign}{left:.1f}s"
    whole = round(left)
    if whole < 60:
        return f"{sign}{whole}s"
    if whole < 3600:
        return f"{sign}{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{sign}{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{sign}{whole // 86400}d{whole % 86400 // 3600:02d}h"


def log_to_stderr(*, verbose: bool) -> None:
    """Let what the library logs reach stderr, in one format for every command that runs on."""
    import logging

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="leasetimer: %(asctime)s %(levelname)s %(message)s",
    )
    # As it ends, an observer may log an error of its own that means nothing; what events miss, scans find.
    logging.getLogger("watchdog").setLevel(logging.CRITICAL)


def visible(text: str) -> str:
    """A scope as a terminal can show it: control characters and bytes that were no UTF-8 escaped, never sent raw."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def brief_scope(scope: str) -> str:
    """A scope on a line with other things: one of a thousand characters would push them out of sight."""
    shown = visible(scope)
    return shown if len(shown) <= LONGEST_SHOWN else shown[: LONGEST_SHOWN - 1] + "…"
