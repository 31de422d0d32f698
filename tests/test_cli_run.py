"""``leasetimer run``: its exit codes, and what the command gets."""

import os
from pathlib import Path

import pytest

from installed import patched, run
from installed import root as root

pytestmark = pytest.mark.real


# -- exit codes


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 124", 124), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
)
def test_it_ends_with_the_exit_code_of_the_command(root: Path, script: str, code: int) -> None:
    """The command's own code, 128+n for a signal, and not a word of its own."""
    done = run("--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_command_that_is_not_there_is_127(root: Path) -> None:
    """As with timeout(1), and one line says what was looked for."""
    done = run("no-such-command")
    assert done.returncode == 127
    assert done.stderr == "leasetimer: can't run 'no-such-command': No such file or directory\n"


def test_a_command_that_cannot_be_executed_is_126(root: Path) -> None:
    """A file without the permission, a folder, and what is no program."""
    Path("plain").write_text("no program")
    Path("garbage").write_bytes(b"\x7fELF")
    Path("garbage").chmod(0o755)
    for what in ("./plain", "./garbage", "/"):
        done = run(what)
        assert done.returncode == 126, what
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Missing argument"),
        (["--nonsense", "true"], "--nonsense"),
        (["--after", "0", "true"], "got '0'"),
        (["--restarts", "-1", "true"], "-1"),
        (["--scope", "job", "touch", "ran"], "--scope takes --after"),
        (["--after", "5", "--scope", "", "touch", "ran"], "scope must not be empty, got ''"),
        (["--signal", "NOPE", "true"], "got 'NOPE'"),
        (["--dir", "/dev/null", "true"], "it is a file"),
        (["--dir", "/proc/leases", "true"], "/proc/leases"),
    ],
)
def test_failures_of_its_own_are_125(root: Path, options: list[str], told: str) -> None:
    """Bad options and directories: one line, no traceback, and the command is not run."""
    done = run(*options)
    assert done.returncode == 125
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("ran").exists()


def test_a_host_id_that_cannot_be_is_125(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LEASETIMER_HOST names a folder."""
    monkeypatch.setenv("LEASETIMER_HOST", "../up")
    done = run("true")
    assert (done.returncode, len(done.stderr.splitlines())) == (125, 1)


# -- what the command gets


def test_the_command_gets_directory_host_and_a_group_of_its_own(root: Path) -> None:
    """Its environment names both, and it leads its process group, in the session it would have had."""
    done = run("sh", "-c", "echo $LEASETIMER_DIR $LEASETIMER_HOST; echo $$ $(cut -d' ' -f5,6 /proc/$$/stat)")
    first, second = done.stdout.splitlines()
    assert first == f"{root} here"
    pid, group, session = map(int, second.split())
    assert (group, session) == (pid, os.getsid(0))


def test_the_option_dir_wins_over_the_environment(root: Path, tmp_path: Path) -> None:
    """The command is told of the directory that is used; it is made for its user alone."""
    done = run("--dir", "other", "sh", "-c", "echo $LEASETIMER_DIR")
    assert done.stdout == f"{tmp_path / 'other'}\n"
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o700


def test_the_command_gets_its_options_and_descriptors(root: Path, tmp_path: Path) -> None:
    """What follows CMD is CMD's, with or without ``--``; a descriptor that was meant for it passes, no other does."""
    with open(tmp_path / "kept", "w") as kept:
        fd = kept.fileno()
        done = run(
            "sh",
            "-c",
            f"ls /proc/self/fd; echo $1 >/proc/self/fd/{fd}",
            "sh",
            "--after",
            fds=[fd],
        )
    assert (tmp_path / "kept").read_text() == "--after\n"
    assert sorted(map(int, done.stdout.split())) == [0, 1, 2, 3, fd]  # 3 is ls' own


def test_no_process_to_be_had_is_leasetimers_failure(root: Path) -> None:
    """EAGAIN of fork is not the command's doing: 125, not 126."""
    patch = (
        "def none(*_, **__): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "_child.subprocess.Popen = none"
    )
    done = patched(patch, "true")
    assert (done.returncode, done.stderr) == (125, "leasetimer: Resource temporarily unavailable\n")
