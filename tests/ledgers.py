"""What the tests of the worker's side share: a machine whose clock jumps, and what stands on its disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeClock, FakeProcess, FakeProcesses
from leasetimer.client import LeaseTimerClient
from leasetimer.directory import Folder
from leasetimer.lease import WIDTH, Lease, read_lease

HOST = "node1"


class Machine:
    """A host with this process on it and nobody else."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.processes = FakeProcesses(self.clock, FakeProcess(os.getpid()))

    def client(self, root: Path, **options: Any) -> LeaseTimerClient:
        named: dict[str, Any] = {"host": HOST, "clock": self.clock, "processes": self.processes}
        return LeaseTimerClient(root, **named | options)

    def until(self, after: float) -> float:
        """``after`` seconds from now, since the epoch."""
        return self.clock.now() + after


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> FakeClock:
    return machine.clock


def names(root: Path) -> list[str]:
    """Every name in this host's folder."""
    folder = root / HOST
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def leases(root: Path) -> dict[str, Lease]:
    """The leases that stand under their names, by scope."""
    files = [(root / HOST / name) for name in names(root) if name.endswith(".lease") and not name.startswith(".")]
    read = [read_lease(file.name, file.read_bytes(), file.stat().st_uid) for file in files]
    return {lease.scope: lease for lease in read}


def only(root: Path) -> Lease:
    """The one lease there is."""
    [lease] = leases(root).values()
    return lease


def only_file(root: Path) -> Path:
    """The one file there is."""
    [name] = names(root)
    return root / HOST / name


def open_files(root: Path) -> int:
    """How many descriptors of this process lead below ``root``, or did before the file was unlinked."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(f"{root}/")
        except FileNotFoundError:  # the listing's own
            continue
    return found


def around(patch: pytest.MonkeyPatch, name: str, hook: Callable[..., Any]) -> None:
    """Call ``hook(real, *args)`` in place of that method of every folder. Before the client is made: it keeps some."""
    real = getattr(Folder, name)

    def call(*args: Any) -> Any:
        return hook(real, *args)

    patch.setattr(Folder, name, staticmethod(call) if isinstance(vars(Folder)[name], staticmethod) else call)


def publishes(patch: pytest.MonkeyPatch) -> list[str]:
    """The names published from now on: each raises a file event, which is what wakes a server."""
    seen: list[str] = []

    def publish(real: Callable[..., int], folder: Folder, temporary: str, name: str, data: bytes) -> int:
        seen.append(name)
        return real(folder, temporary, name, data)

    around(patch, "publish", publish)
    return seen


def slowed(patch: pytest.MonkeyPatch, machine: Machine, name: str, seconds: list[float], last: float = 0.0) -> None:
    """Each call of that method takes the last of ``seconds``; when there are none left, ``last``."""

    def hook(real: Callable[..., Any], *args: Any) -> Any:
        result = real(*args)
        machine.clock.jump(seconds.pop() if seconds else last)
        return result

    around(patch, name, hook)


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


def held_files(root: Path) -> list[str]:
    """The files of any name whose status says held."""
    return [name for name in names(root) if b'"held"' in (root / HOST / name).read_bytes()[:WIDTH]]


def every_lease(root: Path) -> list[Lease]:
    files = [root / HOST / name for name in names(root) if name.endswith(".lease") and not name.startswith(".")]
    return [read_lease(file.name, file.read_bytes(), 0) for file in files]


def in_child(work: Callable[[], None]) -> None:
    """Do it in the child of a fork, and fail if it fails there."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - shown, and told by the exit code
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
