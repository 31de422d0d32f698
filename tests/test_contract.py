"""The contract of ``torch.distributed.elastic.timer``, held against our pairs, and the original where it is there."""

import importlib.util
import inspect
import queue
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY, MagicMock, call

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


# -- names and arguments


@pytest.mark.parametrize("name", [*NAMES, "LeaseTimerClient", "LeaseTimerServer"])
def test_every_name_is_there(name: str) -> None:
    """Each name of the contract can be imported from leasetimer, and is listed."""
    assert getattr(leasetimer, name).__name__ == name
    assert name in dir(leasetimer)


def test_another_name_is_not() -> None:
    """A name that is none is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="no attribute 'FileTimerServer'"):
        _ = leasetimer.FileTimerServer


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("expires", {"after": ..., "scope": None, "client": None}),
        ("configure", {"timer_client": ...}),
        ("TimerRequest", {"worker_id": ..., "scope_id": ..., "expiration_time": ...}),
        ("TimerServer", {"request_queue": ..., "max_interval": ..., "daemon": True}),
        ("LocalTimerClient", {"mp_queue": ...}),
        ("LocalTimerServer", {"mp_queue": ..., "max_interval": 60, "daemon": True}),
    ],
)
def test_arguments_have_the_names_and_defaults_of_the_original(
    name: str, parameters: dict[str, Any], server_pair: Pair
) -> None:
    """A call that the original takes, by position or by name, is taken."""
    found = inspect.signature(getattr(server_pair.timer, name)).parameters.values()
    assert {p.name: ... if p.default is p.empty else p.default for p in found} == parameters


def test_arguments_of_the_lease_pair() -> None:
    """Its server takes directory, max_interval and daemon by position; its client the directory."""
    server = list(inspect.signature(leasetimer.LeaseTimerServer).parameters.values())
    assert [(p.name, p.default) for p in server[:3]] == [("directory", None), ("max_interval", 10), ("daemon", True)]
    assert next(iter(inspect.signature(leasetimer.LeaseTimerClient).parameters)) == "directory"


def test_a_request_compares_by_value(server_pair: Pair) -> None:
    """Equal where all three are equal, and to nothing else."""
    request = server_pair.timer.TimerRequest
    assert request(1, "s", 5) == request(worker_id=1, scope_id="s", expiration_time=5)
    assert all(request(1, "s", 5) != other for other in (request(2, "s", 5), request(1, "t", 5), request(1, "s", 6), 1))


@pytest.mark.parametrize("name", ["TimerClient", "RequestQueue", "TimerServer"])
def test_abstract_classes_can_not_be_made(name: str, server_pair: Pair) -> None:
    """What the original leaves to whoever extends it is left to them here, no more and no less."""
    methods = {
        "TimerClient": {"acquire", "release"},
        "RequestQueue": {"size", "get"},
        "TimerServer": {"register_timers", "clear_timers", "get_expired_timers", "_reap_worker"},
    }
    cls = getattr(server_pair.timer, name)
    assert cls.__abstractmethods__ == methods[name]
    with pytest.raises(TypeError, match="abstract"):
        cls(*[None] * (2 if name == "TimerServer" else 0))


# -- expires and its client


def test_without_a_client_there_is_no_block(pair: Pair) -> None:
    """Not configured, or configured with None: a RuntimeError, and the block does not run."""
    pair.timer.configure(None)
    with pytest.raises(RuntimeError), pair.timer.expires(after=1):
        pytest.fail("the block ran")


def test_the_configured_client_is_used(pair: Pair) -> None:
    """Configure sets the client for every ``expires`` that names none."""
    pair.timer.configure(pair.client)
    with pair.timer.expires(after=60, scope="s"):
        assert pair.held() == {"s": pytest.approx(time.time() + 60, abs=2)}
    assert pair.held() == {}


def test_the_client_is_called_once_each_with_positional_arguments(server_pair: Pair) -> None:
    """A mock sees ``acquire(scope, expiration)`` on entry and ``release(scope)`` on exit, whatever the configured."""
    client = MagicMock(spec=server_pair.timer.TimerClient)
    with server_pair.timer.expires(after=60, scope="s", client=client):
        client.acquire.assert_called_once_with("s", ANY)
        assert client.acquire.call_args.args[1] == pytest.approx(time.time() + 60, abs=2)
        client.release.assert_not_called()
    assert client.mock_calls == [call.acquire("s", ANY), call.release("s")]


def test_methods_replaced_on_a_client_are_called(server_pair: Pair) -> None:
    """A real client whose methods are wrapped is still called through them."""
    client = server_pair.client
    client.acquire, client.release = MagicMock(wraps=client.acquire), MagicMock(wraps=client.release)
    with server_pair.timer.expires(after=60, scope="s", client=client):
        assert server_pair.held().keys() == {"s"}
    client.acquire.assert_called_once_with("s", ANY)
    client.release.assert_called_once_with("s")


def test_acquiring_again_replaces_the_expiration(pair: Pair) -> None:
    """The client's own meaning: the last acquire counts, later or earlier, and one release ends it."""
    now = time.time()
    for after in (60, 90, 30):
        pair.client.acquire("s", now + after)
        assert pair.held() == {"s": pytest.approx(now + after, abs=1)}
    pair.client.release("s")
    assert pair.held() == {}


def test_releasing_what_is_not_held_does_nothing(pair: Pair) -> None:
    """A release too many is no error, and ends no other scope."""
    pair.client.acquire("other", time.time() + 60)
    pair.client.release("s")
    assert pair.held().keys() == {"other"}
    pair.client.release("other")


def test_the_default_scope_is_the_callers_line(pair: Pair) -> None:
    """Without a scope it is ``file#line``."""
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]  # CPython has frames
    with pair.timer.expires(after=60, client=pair.client), pair.promise("the default scope is the caller's"):
        assert pair.held().keys() == {f"{__file__}#{line}"}


def test_the_default_scope_of_a_decorator(pair: Pair) -> None:
    """A decorated function has a scope of its own, named by its file and line."""
    seen: list[str] = []

    @pair.timer.expires(after=60, client=pair.client)  # type: ignore[untyped-decorator]  # any implementation's
    def decorated() -> None:
        seen.extend(pair.held())

    decorated()
    assert pair.held() == {}
    with pair.promise("the default scope of a decorator is the function's"):
        assert len(seen) == 1
        assert seen[0].startswith(f"{__file__}#")


def test_nested_blocks_of_one_scope(pair: Pair) -> None:
    """The earliest expiration counts, and leaving an inner block leaves the outer one guarded."""
    now = time.time()
    with pair.timer.expires(after=60, scope="s", client=pair.client):
        with pair.timer.expires(after=30, scope="s", client=pair.client):
            assert pair.held() == {"s": pytest.approx(now + 30, abs=1)}
        with pair.promise("leaving an inner block leaves the outer guarded"):
            assert pair.held() == {"s": pytest.approx(now + 60, abs=1)}
    assert pair.held() == {}


def test_the_blocks_exception_passes(pair: Pair) -> None:
    """The very exception that the block raised comes out of it, and the scope is released."""
    error = LookupError("the block's own")
    with pytest.raises(LookupError) as caught, pair.timer.expires(after=60, scope="s", client=pair.client):
        raise error
    assert caught.value is error
    assert pair.held() == {}


def test_a_failed_release_does_not_hide_it(server_pair: Pair) -> None:
    """The block's own exception passes also where release fails."""
    client = MagicMock(spec=server_pair.timer.TimerClient)
    client.release.side_effect = OSError("stale file handle")
    with (
        pytest.raises((LookupError, OSError)) as caught,
        server_pair.timer.expires(after=60, scope="s", client=client),
    ):
        raise LookupError("the block's own")
    with server_pair.promise("release doesn't hide the block's own exception"):
        assert caught.type is LookupError


def test_a_failed_acquire_raises_before_the_block(server_pair: Pair) -> None:
    """What acquire raises comes out of ``with``, the block does not run, and nothing is released."""
    client = MagicMock(spec=server_pair.timer.TimerClient)
    client.acquire.side_effect = OSError("no space left on device")
    with pytest.raises(OSError, match="no space"), server_pair.timer.expires(after=60, scope="s", client=client):
        pytest.fail("the block ran")
    client.release.assert_not_called()


@pytest.mark.parametrize("after", [0, -1, float("nan"), float("inf"), 1e12])
def test_an_impossible_duration_is_refused(after: float, server_pair: Pair) -> None:
    """It must be positive and finite, or the block does not run."""
    client = MagicMock(spec=server_pair.timer.TimerClient)
    with (
        server_pair.promise("an impossible duration is refused"),
        pytest.raises(ValueError, match="after must be positive and finite"),
        server_pair.timer.expires(after=after, scope="s", client=client),
    ):
        pass


# -- servers of anybody's own


def third_party(timer: Any, max_interval: float) -> Any:
    """A pair that extends the contract's classes and nothing else; its workers are names, its reaps instants."""

    class Requests(timer.RequestQueue):  # type: ignore[misc]  # whichever implementation it is
        def __init__(self) -> None:
            self.queue: queue.Queue[Any] = queue.Queue()

        def size(self) -> int:
            return self.queue.qsize()

        def get(self, size: int, timeout: float) -> list[Any]:
            try:
                return [self.queue.get(timeout=timeout)]
            except queue.Empty:
                return []

    class Server(timer.TimerServer):  # type: ignore[misc]
        def __init__(self) -> None:
            self.requests = Requests()
            super().__init__(self.requests, max_interval)
            self.timers: dict[tuple[str, str], Any] = {}
            self.reaped: dict[str, float] = {}

        def register_timers(self, timer_requests: list[Any]) -> None:
            for request in timer_requests:
                self.timers[request.worker_id, request.scope_id] = request

        def clear_timers(self, worker_ids: set[str]) -> None:
            self.timers = {key: timer for key, timer in self.timers.items() if key[0] not in worker_ids}

        def get_expired_timers(self, deadline: float) -> dict[str, list[Any]]:
            return {key[0]: [timer] for key, timer in self.timers.items() if 0 <= timer.expiration_time <= deadline}

        def _reap_worker(self, worker_id: str) -> bool:
            self.reaped[worker_id] = time.time()
            return True

    return Server()


def test_a_turn_asks_for_what_there_is(server_pair: Pair) -> None:
    """One turn: size once, get with that size and ``max_interval``, register, and clear whom it reaped or tried to."""
    timer = server_pair.timer
    server = third_party(timer, max_interval=7)
    requests = [timer.TimerRequest(1, "a", time.time() + 60)]
    server._request_queue = MagicMock(spec=timer.RequestQueue)
    server._request_queue.size.return_value = 2
    server._request_queue.get.return_value = requests
    server.register_timers = MagicMock()
    server.clear_timers = MagicMock()
    server.get_expired_timers = MagicMock(return_value={name: [] for name in ("raises", "dies", "fails")})
    server._reap_worker = MagicMock(side_effect=[ValueError("no"), True, False])
    server._run_watchdog()
    assert server._request_queue.mock_calls == [call.size(), call.get(2, 7)]
    server.register_timers.assert_called_once_with(requests)
    server.get_expired_timers.assert_called_once_with(pytest.approx(time.time(), abs=2))
    server.clear_timers.assert_called_once_with({"raises", "dies"})


def test_an_empty_queue_is_asked_for_one(server_pair: Pair) -> None:
    """A queue of size 0 is waited on for the next request."""
    server = third_party(server_pair.timer, max_interval=3)
    server._request_queue = MagicMock(spec=server_pair.timer.RequestQueue)
    server._request_queue.size.return_value = 0
    server._request_queue.get.return_value = []
    server._run_watchdog()
    server._request_queue.get.assert_called_once_with(1, 3)


def test_detection_is_exact(server_pair: Pair) -> None:
    """A timer is acted on within milliseconds of its expiration, though ``max_interval`` is long."""
    server = third_party(server_pair.timer, max_interval=0.5)
    server.start()
    late = []
    for n in range(3):
        due = time.time() + 0.05
        server.requests.queue.put(server_pair.timer.TimerRequest(f"w{n}", "s", due))
        patience = time.monotonic() + 0.4
        while f"w{n}" not in server.reaped and time.monotonic() < patience:
            time.sleep(0.001)
        late.append(server.reaped.get(f"w{n}", due + 1) - due)
    server.stop()
    assert min(late) >= 0
    with server_pair.promise("detection is exact"):
        assert sorted(late)[1] < 0.02


def test_a_server_starts_once(server_pair: Pair) -> None:
    """A second start is refused while the first one runs, and the first one goes on."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=0.05)
    server.start()
    try:
        with server_pair.promise("start twice is refused"), pytest.raises(RuntimeError, match="already started"):
            server.start()
        assert server._watchdog_thread.is_alive()
    finally:
        server.stop()


def test_a_stop_is_idempotent(server_pair: Pair) -> None:
    """Stopping what never ran, or no longer runs, does nothing."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=0.05)
    server.stop()
    server.start()
    thread = server._watchdog_thread
    server.stop()
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_a_stopped_server_starts_again(server_pair: Pair) -> None:
    """After a stop, start watches again."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=0.05)
    server.start()
    server.stop()
    server.start()
    thread = server._watchdog_thread
    thread.join(0.1)
    with server_pair.promise("restart after stop works"):
        assert thread.is_alive()
    server.stop()


def test_a_stop_is_quick(server_pair: Pair) -> None:
    """A stop does not wait for the interval's end."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), max_interval=2)
    server.start()
    begun = time.monotonic()
    server.stop()
    with server_pair.promise("a stop takes less than a second"):
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("daemon", [True, False])
def test_daemon_is_the_threads(daemon: bool, server_pair: Pair) -> None:
    """``daemon`` says whether the watching thread lets the process end."""
    server = server_pair.timer.LocalTimerServer(queue.Queue(), 0.05, daemon)
    server.start()
    assert server._watchdog_thread.daemon is daemon
    server.stop()


# -- a whole program

PROGRAM = """
import multiprocessing
import time

import {module} as timer

def work(rank, queue):
    timer.configure(timer.LocalTimerClient(queue))
    with timer.expires(after=30):
        time.sleep(0.1)
    if rank == 1:
        with timer.expires(after=0.3):
            time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server = timer.LocalTimerServer(queue, max_interval=0.1)
    server.start()
    workers = [context.Process(target=work, args=(rank, queue)) for rank in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    server.stop()
    print(*[worker.exitcode for worker in workers])
"""

LEASE_PAIR = {
    "timer.LocalTimerClient(queue)": "timer.LeaseTimerClient(queue)",
    "context.Queue()": "__file__ + '.leases'",
    "timer.LocalTimerServer(queue, max_interval=0.1)": "timer.LeaseTimerServer(queue)",
}


@pytest.mark.real
@pytest.mark.parametrize("kind", ["queue", "lease", pytest.param("torch", marks=needs_torch)])
def test_a_program_for_the_original_runs(kind: str, tmp_path: Path) -> None:
    """With another import alone, or another pair besides: the stuck worker is killed, the others end well."""
    text = PROGRAM.format(module="torch.distributed.elastic.timer" if kind == "torch" else "leasetimer")
    for old, new in LEASE_PAIR.items() if kind == "lease" else ():
        assert old in text
        text = text.replace(old, new)
    program = tmp_path / "program.py"
    program.write_text(text)
    run = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == ["0", "-9", "0"]
