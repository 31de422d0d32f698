"""The contract of ``torch.distributed.elastic.timer``: its names, and ``expires`` over each pair's client."""

import inspect
import time
from typing import Any
from unittest.mock import ANY, MagicMock, call

import pytest

import leasetimer
from pairs import NAMES, Pair
from pairs import pair as pair
from pairs import server_pair as server_pair

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
