"""Reaped workers of the command: which are the run's own, and when it is run again."""

import signal
from pathlib import Path
from typing import cast

import pytest

from installed import LEASETIMER, Start, line, run, tries
from installed import root as root
from installed import start as start
from installed import worker as worker
from leasetimer.cli._child import Signals
from leasetimer.cli._guard import Guard, Reaped, Try
from leasetimer.cli.run import Plan, _run
from programs import lives

real = pytest.mark.real


def test_told_to_end_between_two_tries_it_ends() -> None:
    """TERM that came while nothing ran starts nothing more."""

    class Told(Signals):
        def take(self, timeout: float | None = 0.0) -> bytes:
            return bytes([signal.SIGTERM])

    plan = Plan(["true"], [], "true", None, signal.SIGTERM, 1.0)
    assert _run(plan, cast(Guard, None), Told(), 3) == 128 + signal.SIGTERM


@real
def test_a_reaped_worker_that_makes_the_command_fail_has_it_run_again(root: Path, worker: str) -> None:
    """The second try ends well: so does the run, and one line has said why there was a second."""
    done = run("--restarts", "3", "sh", "-c", f"echo >>tries; [ $(wc -l <tries) = 2 ] || {worker} || exit 3")
    assert (done.returncode, tries()) == (0, 2)
    assert "was reaped in scope stuck (record " in done.stderr
    assert "): run again, 1 of 3\n" in done.stderr


@real
def test_a_worker_far_below_the_command_counts(root: Path, worker: str) -> None:
    """Neither a session of its own nor a run in between hides it: its lease names the run."""
    done = run("sh", "-c", f"setsid -w sh -c '{worker}; exit 3' || exit 3")
    assert done.returncode == 124
    done = run("sh", "-c", f"{LEASETIMER} run sh -c '{worker} || exit 3' 2>/dev/null; exit 4")
    assert done.returncode == 124


@real
def test_it_is_run_again_no_more_often_than_told(root: Path, worker: str) -> None:
    """124 in the end, and each try has said why."""
    done = run("--restarts", "1", "sh", "-c", f"echo >>tries; {worker} || exit 3")
    assert (done.returncode, tries()) == (124, 2)
    assert done.stderr.count("was reaped in scope stuck") == 2
    assert [text.rpartition("): ")[2] for text in done.stderr.splitlines() if "was reaped" in text] == [
        "run again, 1 of 1",
        "exit 124",
    ]


@real
def test_a_command_that_fails_by_itself_is_not_run_again(root: Path) -> None:
    """Restarts are for the reaped."""
    done = run("--restarts", "3", "sh", "-c", "echo >>tries; exit 3")
    assert (done.returncode, tries()) == (3, 1)


@real
def test_a_command_that_gets_over_a_reaped_worker_is_not_run_again(root: Path, worker: str) -> None:
    """Only what makes the command fail counts."""
    done = run("--restarts", "3", "sh", "-c", f"echo >>tries; {worker} || exit 0")
    assert (done.returncode, tries()) == (0, 1)


@real
def test_a_command_told_to_end_is_not_run_again(start: Start) -> None:
    """TERM means the end of it, also when the command has to be reaped after that."""
    process = start(
        LEASETIMER,
        "run",
        "--after",
        "1",
        "--kill-after",
        "0.1",
        "--restarts",
        "3",
        "sh",
        "-c",
        "trap 'echo told' TERM; echo ready; while :; do sleep 0.02; done",
    )
    assert line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert line(process) == "told"
    assert process.wait(10) == 124
    assert process.stdout
    assert process.stdout.read().count("ready") == 0


@real
def test_what_a_reaped_try_left_in_its_group_is_ended(root: Path, worker: str) -> None:
    """The next try must not find the last one's workers on its devices."""
    done = run("--kill-after", "0.2", "sh", "-c", f"(trap '' TERM; exec sleep 60) & echo $!; {worker} || exit 3")
    assert done.returncode == 124
    assert not lives(int(done.stdout))


# -- whose reap it was


def record(**fields: object) -> dict[str, object]:
    return {"pid": 7, "outcome": "reaped", "lease": {}, "process": {}, **fields}


@pytest.mark.parametrize(
    ("fields", "mine"),
    [
        ({"pid": 50}, True),
        ({"process": {"parent": 50}}, True),
        ({"lease": {"run": "abcd"}}, True),
        ({"lease": {"run": "abcd.ef01"}}, True),
        ({"lease": {"run": "abcdef"}}, False),
        ({"lease": {"run": "ef01.abcd"}}, False),
        ({"lease": {"run": None}, "process": {"parent": 1}}, False),
        ({"lease": None, "process": None}, False),
    ],
)
def test_a_record_is_told_by_pid_parent_or_what_its_lease_says(fields: dict[str, object], mine: bool) -> None:
    """The run is named in the environment, so that also those count who left the command's tree, or run inside it."""
    assert Try(50, "abcd", 0.0).owns(record(**fields)) is mine


def test_a_scope_cannot_write_on_the_terminal() -> None:
    """Control characters in what is said of it are shown, not sent."""
    assert str(Reaped(7, "a\x1b[2J", None)) == "pid 7 was reaped in scope a\\x1b[2J (record not written)"
