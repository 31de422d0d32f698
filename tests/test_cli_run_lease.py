"""The lease that ``leasetimer run --after`` holds for its command."""

import json
from pathlib import Path

import pytest

from installed import patched, run
from installed import root as root
from programs import lives

pytestmark = pytest.mark.real


def test_a_command_past_its_lease_is_reaped_with_its_tree(root: Path) -> None:
    """124, and one line that names scope, pid and record; its lease is gone with it."""
    done = run("--after", "0.2", "--scope", "whole job", "sh", "-c", "sleep 60 & echo $! $$; wait")
    child, pid = map(int, done.stdout.split())
    record = next(root.glob("here/postmortem/*.json"))
    assert done.returncode == 124
    assert f"leasetimer: pid {pid} was reaped in scope whole job (record {record}): exit 124" in done.stderr
    assert not lives(child)
    assert json.loads(record.read_text())["signals"][0]["name"] == "SIGTERM"
    assert not list(root.glob("here/*.lease"))


def test_a_reaped_command_is_124_though_it_ends_with_0(root: Path) -> None:
    """A command that ends neatly on TERM was reaped all the same."""
    assert run("--after", "0.2", "sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait").returncode == 124


def test_a_command_that_does_not_mind_the_signal_gets_kill(root: Path) -> None:
    """The signal is the chosen one, and --kill-after later it is KILL."""
    done = run(
        "--after", "0.2", "--kill-after", "0.2", "--signal", "USR2", "sh", "-c", "trap '' USR2; sleep 60; sleep 60"
    )
    record = json.loads(next(root.glob("here/postmortem/*.json")).read_text())
    assert done.returncode == 124
    assert [sent["name"] for sent in record["signals"]] == ["SIGUSR2", "SIGKILL"]


def test_a_command_in_time_leaves_no_lease_and_no_record(root: Path) -> None:
    """While it runs its lease is there, under its own name; afterwards nothing is."""
    done = run("--after", "60", "sh", "-c", "sleep 0.3; ls $LEASETIMER_DIR/here; echo $$")
    name, pid = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert name == f"here,{pid},sh.lease"
    assert not list(root.glob("here/*.lease")) + list(root.glob("here/postmortem/*"))


def test_a_command_that_ends_at_once_takes_no_lease(root: Path) -> None:
    """It takes no lease, so that it is never found dead holding one."""
    done = patched("run.OnBehalf.acquire = None", "--after", "60", "true")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_its_lease_the_command_does_not_run_on(root: Path) -> None:
    """The lease can't be written: the command is ended, and that is leasetimer's failure."""
    patch = "def full(*_): raise OSError(28, 'No space left on device')\nFolder.publish = full"
    done = patched(patch, "--after", "9", "sh", "-c", "echo $$; sleep 60")
    assert (done.returncode, done.stderr) == (125, "leasetimer: No space left on device\n")
    assert not lives(int(done.stdout))


def test_a_lease_that_cannot_be_removed_changes_nothing_for_the_command(root: Path) -> None:
    """Its exit code stands, and a line says what is left."""
    patch = "def gone(*_): raise OSError(5, 'Input/output error')\nFolder.remove = gone"
    done = patched(patch, "--after", "9", "sh", "-c", "sleep 0.1; exit 7")
    assert done.returncode == 7
    assert "lease of the command not removed: file=here," in done.stderr


def test_a_reap_whose_record_cannot_be_written_counts(root: Path) -> None:
    """The directory is full: this server itself knows whom it reaped."""
    patch = (
        "replace = Folder.replace\n"
        "def full(self, name, data):\n"
        "    if 'postmortem' in name: raise OSError(28, 'No space left on device')\n"
        "    replace(self, name, data)\n"
        "Folder.replace = full"
    )
    done = patched(patch, "--after", "0.2", "sleep", "60")
    assert done.returncode == 124
    assert "was reaped in scope sleep (record not written): exit 124" in done.stderr
