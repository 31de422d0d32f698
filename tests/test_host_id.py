"""Host ids: what the folder of a machine is called."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from leasetimer import process
from leasetimer.errors import BadValue
from leasetimer.process import Processes, check_host, host_id, space


def test_the_host_id_is_the_variables_else_the_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the machine's own pid namespace it is the bare host name, in another it carries the namespace."""

    class Elsewhere(Processes):
        def namespace(self, kind: str, pid: int | str = "self") -> int:
            return 4026532999

    class Own(Processes):
        def namespace(self, kind: str, pid: int | str = "self") -> int:
            return 0xEFFFFFFC

    class Old(Processes):
        def namespace(self, kind: str, pid: int | str = "self") -> int:
            return 0

    name = os.uname().nodename
    assert host_id(Own()) == host_id(Old()) == name
    assert host_id(Elsewhere()) == f"{name}-pid4026532999"
    monkeypatch.setenv("LEASETIMER_HOST", "")
    assert host_id(Own()) == name
    monkeypatch.setenv("LEASETIMER_HOST", "node1")
    assert host_id(Elsewhere()) == "node1"
    monkeypatch.setenv("LEASETIMER_HOST", "../node1")
    with pytest.raises(BadValue, match="host must be"):
        host_id()


@pytest.mark.parametrize("host", ["node1", "n", "-", "_", "node-1.example.org", "a" * 80])
def test_a_host_id_that_can_name_a_folder_passes(host: str) -> None:
    """Letters, digits, '-', '_' and '.'."""
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["", ".", "..", ".hidden", "a/b", "a b", "a,b", "nöde", "node1\n", "a" * 81, "a\0"])
def test_a_host_id_that_can_not_is_named(host: str) -> None:
    """It never leads out of ROOT or hides in it."""
    with pytest.raises(BadValue) as caught:
        check_host(host)
    assert str(caught.value) == f"host must be letters, digits, '-', '_' and '.', at most 80, got {host!r}"


IN_A_NAMESPACE = (
    "from leasetimer.process import *; import os; print(os.getpid(), host_id(), identify(os.getpid(), 'x').pidns)"
)


@pytest.mark.real
def test_another_pid_namespace_is_another_host_id() -> None:
    """Two containers with one host name both have a pid 2: their workers must not be taken for one another."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: a pid namespace takes root and unshare")
    run = subprocess.run([*unshare, sys.executable, "-c", IN_A_NAMESPACE], check=True, capture_output=True, text=True)
    pid, host, namespace = run.stdout.split()
    assert pid == "1"
    assert host == f"{os.uname().nodename}-pid{namespace}"
    assert int(namespace) not in (process._INITIAL_PID_NAMESPACE, os.stat("/proc/self/ns/pid").st_ino)


def test_a_host_id_meant_for_another_machine_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """``srun`` hands the environment to other nodes: their workers must not write into this one's folder."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "node9", "", "", "")))
    monkeypatch.setenv("LEASETIMER_HOST", "login")
    monkeypatch.setenv("LEASETIMER_HOST_SPACE", space())
    assert host_id() == "login"
    monkeypatch.setenv("LEASETIMER_HOST_SPACE", "another-boot:4026531836")
    assert host_id().startswith("node9")
