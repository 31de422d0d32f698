"""``leasetimer show`` prints whatever a lease or a record holds."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from commands import call as call
from leasetimer.cli.options import brief
from leasetimer.clock import CLOCK
from leasetimer.directory import Folder
from leasetimer.lease import Status, Worker, write_identity, write_lease
from leasetimer.names import file_name
from leasetimer.process import PROCESSES

UNNAMED = 40  # a real-time signal between the first and the last: the standard library has no name for it


@pytest.mark.parametrize("duration", [math.inf, -math.inf, math.nan])
def test_a_duration_that_is_no_number_is_a_question_mark(duration: float) -> None:
    """JSON as Python reads it may hold one."""
    assert brief(duration) == "?"


def test_a_lease_with_a_real_time_signal_is_shown(call: Command, tmp_path: Path) -> None:
    """Each of them may be asked for as the first signal."""
    worker = Worker("node", PROCESSES.boot(), 1, 4242, 5)
    timens = PROCESSES.namespace("time")
    identity = write_identity(worker, "train", timens=timens, uid=7, signal=UNNAMED, grace=90, tree=False, facts={})
    folder, name = Folder(str(tmp_path), "node"), file_name("node", 4242, "train")
    status = Status(True, 8, 3, 1.7e9, CLOCK.now() + 60, CLOCK.monotonic() + 60)
    os.close(folder.publish(".new", name, write_lease(status, identity)))
    said = call("show", folder.join(name))
    assert (said.code, said.err) == (0, "")
    assert f"signal    {UNNAMED} (SIGRTMIN+6)" in said.out


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("signal", [9], "9"),
        ("signal", True, "True"),
        ("signal", 9.0, "9.0"),
        ("signal", UNNAMED, "40 (SIGRTMIN+6)"),
        ("overdue", math.inf, "?"),
        ("grace", math.nan, "?"),
        ("grace", "long", "long"),
    ],
)
def test_a_record_with_odd_values_is_shown(call: Command, tmp_path: Path, field: str, value: Any, shown: str) -> None:
    """Whoever looks into a folder sees what stands there, as far as it can be printed."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"schema": 1, "outcome": "reaped", field: value}))
    said = call("show", path)
    assert (said.code, said.err) == (0, "")
    assert [line.split(None, 1)[1] for line in said.out.splitlines() if line.split()[0] == field] == [shown]
