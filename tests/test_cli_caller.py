"""Whose lease a command takes: the shell's that calls it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import LEASETIMER, Said, environment, leases, shell
from commands import root as root
from fakes import FakeClock, FakeProcess, FakeProcesses
from leasetimer.cli import caller
from leasetimer.errors import NotTheWorker


@pytest.mark.parametrize(
    ("path", "shell"),
    [
        ("-bash", "bash"),
        ("/usr/bin/bash", "bash"),
        ("/opt/bash-5.2/bin/bash-5.2", "bash"),
        ("/bin/ksh93", "ksh"),
        ("zsh-5.9", "zsh"),
        ("/usr/bin/dash", "dash"),
        ("/usr/bin/python3.11", None),
        ("/usr/bin/timeout", None),
        ("make", None),
        ("sshd", None),
        ("push", None),
    ],
)
def test_a_shell_is_told_by_its_name(path: str, shell: str | None) -> None:
    """Login shells and versions are shells; whatever merely ends like one is not."""
    name = caller._plain(path)
    assert name == shell if shell else name not in caller.SHELLS


@pytest.mark.parametrize(("parent", "who"), [(0, "outside of this pid namespace"), (1, r"init\[1\]")])
def test_pid_0_and_1_are_no_callers(monkeypatch: pytest.MonkeyPatch, parent: int, who: str) -> None:
    """The first process of a container may be a shell, but no lease can name it; whom pid 0 stands for is unknown."""
    clock = FakeClock()
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(caller, "program_of", lambda *_: "init")
    with pytest.raises(NotTheWorker, match=who):
        caller.calling_shell(FakeProcesses(clock, FakeProcess(1, name="init")))


def test_a_shell_whose_program_cannot_be_read_is_told_by_the_kernels_name() -> None:
    """A hardened /proc shows no more than that."""
    assert caller.program_of(9, FakeProcesses(FakeClock(), FakeProcess(9, name="zsh"))) == "zsh"
    assert caller.program_of(8, FakeProcesses(FakeClock())) == "?"


def test_busybox_is_a_shell_only_by_the_name_it_was_called_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """One program that is ``sh`` and ``timeout``: its command line says which."""
    processes = FakeProcesses(FakeClock(), FakeProcess(9, name="busybox"))
    monkeypatch.setattr(processes, "program", lambda _: "/bin/busybox")
    monkeypatch.setattr(processes, "argv", lambda _: ["/usr/bin/timeout", "5"])
    assert caller.program_of(9, processes) == "timeout"


SHELLS = [shell for shell in ("bash", "dash", "sh", "zsh", "ksh", "mksh") if shutil.which(shell)]


@pytest.mark.real
@pytest.mark.parametrize("name", SHELLS)
def test_the_calling_shell_is_the_worker(root: Path, name: str) -> None:
    """It is named in what is printed, and it is its pid that the lease names; renew and release find it."""
    said = shell(
        "leasetimer acquire train --after 10m; leasetimer renew train --after 90; leasetimer release train; echo $$",
        root,
        (name, "-c"),
    )
    acquired, renewed, released, pid = said.out.splitlines()
    worker = rf"scope=train worker=\w+\[{pid}\]"
    assert re.fullmatch(rf"acquired: {worker} expires in 10m00s", acquired)
    assert re.fullmatch(rf"renewed: {worker} expires in 1m30s", renewed)
    assert re.fullmatch(rf"released: {worker}", released)
    (lease,) = leases(root)
    assert (lease.worker.pid, lease.status.held, lease.identity.tree) == (int(pid), False, True)


@pytest.mark.real
def test_a_script_is_its_shells(root: Path, tmp_path: Path) -> None:
    """Started by its name, the kernel calls it by that: it is a shell all the same."""
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n{LEASETIMER}leasetimer acquire train --after 5\ntrue\n")
    script.chmod(0o755)
    done = subprocess.run([script], env=environment(root), capture_output=True, text=True, timeout=60, check=True)
    assert re.fullmatch(r"acquired: scope=train worker=job\.sh\[\d+\] expires in 5\.0s\n", done.stdout)


def call_from(command: list[str], root: Path) -> Said:
    done = subprocess.run(command, env=environment(root), capture_output=True, text=True, timeout=60, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.real
def test_a_caller_that_is_no_shell_is_refused(root: Path, tmp_path: Path) -> None:
    """A program, timeout, a shell that has turned into the command: exit code 7, who it was, and nothing written."""
    acquire = [sys.executable, "-m", "leasetimer", "acquire", "train", "--after", "5"]
    inline = f"exec {' '.join(acquire)}"
    for command, program in (
        (acquire, "python"),
        (["timeout", "20", *acquire], "timeout"),
        (["bash", "-c", " ".join(acquire)], "python"),
        (["env", "sh", "-c", inline], "python"),
    ):
        said = call_from(command, root)
        assert (said.code, said.out) == (7, "")
        pattern = rf"leasetimer: called by {program}\[\d+\], which is no shell: .* name the worker with --pid PID\n"
        assert re.fullmatch(pattern, said.err)
    assert not root.exists()


@pytest.mark.real
@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_is_no_shell(root: Path, tmp_path: Path) -> None:
    """It starts a simple command without one."""
    makefile = tmp_path / "Makefile"
    makefile.write_text("all:\n\t@$(PYTHON) -m leasetimer acquire train --after 5\n")
    said = call_from(["make", "-f", str(makefile)], root)
    assert said.code
    assert "leasetimer: called by make[" in said.err
    assert not root.exists()


@pytest.mark.real
def test_the_last_command_of_a_shell_is_that_shell(root: Path) -> None:
    """``bash -c`` turns into its last command: the process that releases is then the worker itself."""
    script = "$PYTHON -m leasetimer acquire train --after 5; $PYTHON -m leasetimer {} train"
    for last, held in (("renew", True), ("release", False)):
        said = call_from(["bash", "-c", script.format(last)], root)
        assert (said.code, said.out.count("\n")) == (0, 2)
        (lease,) = leases(root)
        assert lease.status.held is held
        os.unlink(root / "node" / lease.name)


@pytest.mark.real
def test_a_subshell_is_a_process_of_its_own(root: Path) -> None:
    """It holds nothing of the script's: it says what helps, and that works."""
    said = shell(
        "leasetimer acquire train --after 5m; "
        "(leasetimer renew train; true) & wait; (leasetimer renew train --pid $$ --after 9; true); echo $$",
        root,
    )
    pid = said.out.splitlines()[-1]
    assert said.err.splitlines()[-1].endswith("; in a subshell, name the script itself: --pid $$")
    assert said.out.splitlines()[-2] == f"renewed: scope=train worker=bash[{pid}] expires in 9.0s"
