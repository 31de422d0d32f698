"""``scripts/bench``: measure, and print a table or one JSON object a line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import blocks
import detection
import servercost
import startup
import storm
from harness import HERE, Options, Row, quiet

MEASUREMENTS: dict[str, Callable[[Options], list[Row]]] = {
    "block": blocks.measure,
    "detection": detection.measure,
    "renewals": servercost.renewals,
    "idle": servercost.idle,
    "import": startup.imports,
    "start": servercost.start,
    "storm": storm.measure,
    "acquire": startup.acquire,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure leasetimer against its goals.")
    parser.add_argument(
        "--only", type=_names, default=list(MEASUREMENTS), metavar="NAME,…", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions: seconds, not minutes; proves nothing")
    parser.add_argument("--json", action="store_true", help="one object a line, as it is measured")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has torch 2.13 (default: this one, if it has)")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="on the disk to be measured (%(default)s)")
    given = parser.parse_args()
    torch, torch_version = _torch(parser, given.torch)
    options = Options(given.quick, given.dir.absolute(), torch)
    quiet()
    rows = []
    for name in given.only:
        for row in MEASUREMENTS[name](options):
            rows.append(row)
            if given.json:
                print(json.dumps(_fields(row), ensure_ascii=False), flush=True)
        if not given.json:
            print(f"measured: {name}", file=sys.stderr)
    machine = _machine(options, torch_version)
    if given.json:
        print(json.dumps(_fields(Row("machine", None, note=machine)), ensure_ascii=False))
    else:
        _table(rows, machine)
    return 0


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in MEASUREMENTS:
            raise argparse.ArgumentTypeError(f"got {name!r}, takes {', '.join(MEASUREMENTS)}")
    return names


def _torch(parser: argparse.ArgumentParser, python: str | None) -> tuple[str | None, str]:
    """The Python to ask, and the torch it has."""
    asked = subprocess.run(
        [python or sys.executable, str(HERE / "torchside.py"), "version"], capture_output=True, text=True, check=False
    )
    if asked.returncode == 0:
        return python or sys.executable, json.loads(asked.stdout)["version"]
    if python:
        said = asked.stderr.strip().splitlines()
        parser.error(f"--torch {python} has no torch: {said[-1] if said else f'exit {asked.returncode}'}")
    return None, "not installed"


def _fields(row: Row) -> dict[str, object]:
    first = {"name": row.name, "value": row.value, "unit": row.unit, "goal": row.goal or None, "met": row.met}
    rest = dataclasses.asdict(row)
    return first | {key: rest[key] for key in ("ratio", "against", "repetitions", "spread", "note")}


def _table(rows: list[Row], machine: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=machine, caption_justify="left")
    for column in ("figure", "value", "spread", "goal", "ratio", "n", "of"):
        table.add_column(column, justify="right" if column in ("value", "spread", "n") else "left", overflow="fold")
    for row in rows:
        colour = {None: "", True: "green", False: "red"}[row.met]
        value = "not measured" if row.value is None else f"{_short(row.value)} {row.unit}"
        ratio = "" if row.ratio is None else f"{_short(row.ratio)} × "
        table.add_row(
            row.name,
            f"[{colour}]{value}[/]" if colour else value,
            _short(row.spread),
            row.goal,
            ratio + row.against,
            str(row.repetitions),
            row.note,
        )
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _machine(options: Options, torch_version: str) -> str:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    kind = max(
        (mount for mount in mounts if options.directory.is_relative_to(mount[0])), key=lambda mount: len(mount[0])
    )[1]
    packages = " ".join(f"{name} {version(name)}" for name in ("leasetimer", "filelock", "watchdog", "psutil"))
    return (
        f"Linux {platform.release()}, {os.cpu_count()} × {(models or [platform.machine()])[0]}, "
        f"load {os.getloadavg()[0]:.1f}, leases on {kind}; Python {platform.python_version()}, {packages}, "
        f"torch {torch_version}{'; quick' if options.quick else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
