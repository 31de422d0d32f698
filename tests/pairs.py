"""Implementations of the timer contract: our pairs, and the original where torch is there."""

from __future__ import annotations

import importlib.util
import queue
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import leasetimer
from leasetimer.directory import Folder
from leasetimer.leasefiles import LeaseFiles

NAMES = ["LocalTimerClient", "LocalTimerServer", "RequestQueue", "TimerClient", "TimerRequest", "TimerServer"]
NAMES += ["configure", "expires"]
HAS_TORCH = importlib.util.find_spec("torch") is not None

# What the original promises less of. Each is held to failing there, so that the table stays true.
TORCH_FAULTS = {
    "leaving an inner block leaves the outer guarded",
    "the default scope is the caller's",
    "the default scope of a decorator is the function's",
    "release doesn't hide the block's own exception",
    "an impossible duration is refused",
    "start twice is refused",
    "restart after stop works",
    "a stop takes less than a second",
    "detection is exact",
}


class Pair:
    """One implementation of the contract: its names, a client of it, and what its server would know."""

    def __init__(self, name: str, timer: Any, client: Any, held: Callable[[], dict[str, float]]) -> None:
        self.name = name
        self.timer = timer
        self.client = client
        self.held = held

    @contextmanager
    def promise(self, text: str) -> Iterator[None]:
        """What is asserted inside holds, or for a known fault of the original does not."""
        if self.name == "torch" and text in TORCH_FAULTS:
            with pytest.raises((AssertionError, pytest.fail.Exception)):
                yield
        else:
            yield


def torch_timer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about what it finds or misses on this machine
        from torch.distributed.elastic.timer import api, local_timer

    return SimpleNamespace(**{name: getattr(api, name, None) or getattr(local_timer, name) for name in NAMES})


def queue_pair(name: str, timer: Any) -> Pair:
    requests: Any = queue.Queue()
    server = timer.LocalTimerServer(requests)

    def held() -> dict[str, float]:
        while not requests.empty():
            server.register_timers([requests.get()])
        return {scope: request.expiration_time for (_, scope), request in server._timers.items()}

    return Pair(name, timer, timer.LocalTimerClient(requests), held)


def lease_pair(root: Path) -> Pair:
    client = leasetimer.LeaseTimerClient(root)

    def held() -> dict[str, float]:
        files = LeaseFiles(Folder(client.root, client.host))
        leases = [files.verdict(name) for name in files.listed()[0]]
        return {lease.scope: lease.status.expires for lease in leases if lease and lease.status.held}

    return Pair("lease", leasetimer, client, held)


needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")


@pytest.fixture(params=["queue", "lease", pytest.param("torch", marks=needs_torch)])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    if request.param == "lease":
        made = lease_pair(tmp_path / "root")
    else:
        made = queue_pair(request.param, torch_timer() if request.param == "torch" else leasetimer)
    yield made
    made.timer.configure(None)


@pytest.fixture(params=["queue", pytest.param("torch", marks=needs_torch)])
def server_pair(request: pytest.FixtureRequest) -> Pair:
    """The pairs whose servers take any worker: those of queues."""
    return queue_pair(request.param, torch_timer() if request.param == "torch" else leasetimer)
