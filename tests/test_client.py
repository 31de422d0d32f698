"""The lease client: what it takes, and where its leases go."""

from __future__ import annotations

import logging
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from leasetimer import LeaseTimerClient, TimerClient
from leasetimer.errors import BadValue
from ledgers import HOST, Machine, around, leases, names, only, only_file

# -- making one


def test_it_is_a_timer_client() -> None:
    """A program written for the contract takes it."""
    assert issubclass(LeaseTimerClient, TimerClient)


def test_making_one_touches_no_file(tmp_path: Path) -> None:
    """The directory is made, for its user only, by the first acquire."""
    machine = Machine()
    client = machine.client(tmp_path / "root")
    assert not (tmp_path / "root").exists()
    client.acquire("train", machine.until(60))
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700


def test_without_a_directory_it_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LEASETIMER_DIR and LEASETIMER_HOST are what a launcher exports."""
    monkeypatch.setenv("LEASETIMER_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("LEASETIMER_HOST", "node7")
    client = LeaseTimerClient()
    assert (client.root, client.host) == (str(tmp_path / "root"), "node7")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"signal": 0}, "signal must be a signal's number, got 0"),
        ({"signal": 999}, "signal must be a signal's number, got 999"),
        ({"signal": "KILL"}, "signal must be a signal's number, got 'KILL'"),
        ({"grace": -1}, "grace must be 0 to 1000000000 s, got -1"),
        ({"grace": math.nan}, "grace must be 0 to 1000000000 s, got nan"),
        ({"grace": math.inf}, "grace must be 0 to 1000000000 s, got inf"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'warn', got 'ignore'"),
        ({"host": "../x"}, "host must be letters, digits, '-', '_' and '.', at most 80, got '../x'"),
        ({"host": ""}, "host must be letters, digits, '-', '_' and '.', at most 80, got ''"),
    ],
)
def test_an_option_that_can_not_be_is_named(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    """One line says what it got and what it takes, before anything is held."""
    with pytest.raises(BadValue) as caught:
        LeaseTimerClient(tmp_path, **options)
    assert str(caught.value) == says


def test_its_options_stand_in_the_lease(tmp_path: Path) -> None:
    """The server learns from the file what the worker wants to happen to it."""
    machine = Machine()
    client = machine.client(tmp_path, signal=signal.SIGTERM, grace=2, tree=True)
    client.acquire("train", machine.until(60))
    identity = only(tmp_path).identity
    assert (identity.signal, identity.grace, identity.tree) == (signal.SIGTERM, 2.0, True)
    assert identity.uid == os.geteuid()


def test_by_default_it_is_sigkill_at_once_and_that_process_only(tmp_path: Path) -> None:
    """As in the original."""
    machine = Machine()
    machine.client(tmp_path).acquire("train", machine.until(60))
    identity = only(tmp_path).identity
    assert (identity.signal, identity.tree) == (signal.SIGKILL, False)


def test_the_command_line_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments may hold what others must not read."""
    monkeypatch.setattr("sys.argv", ["train.py", "--password", "secret"])
    machine = Machine()
    machine.client(tmp_path, argv=False).acquire("train", machine.until(60))
    assert b"secret" not in only_file(tmp_path).read_bytes()
    other = Machine()
    other.client(tmp_path / "other").acquire("train", other.until(60))
    assert only(tmp_path / "other").identity.fields["argv"] == ["train.py", "--password", "secret"]


# -- the contract


def test_acquire_holds_the_scope_until_then(tmp_path: Path) -> None:
    """Both clocks are told: the wall clock's for people, the monotonic one's for the server."""
    machine = Machine()
    machine.client(tmp_path).acquire("train", machine.until(60))
    status = only(tmp_path).status
    assert status.held
    assert (status.since, status.expires) == (machine.clock.wall, machine.clock.wall + 60)
    assert status.deadline == machine.clock.mono + 60


@pytest.mark.parametrize("second", [90, 30, 0, -30])
def test_acquiring_a_held_scope_replaces_its_expiration(tmp_path: Path, second: float) -> None:
    """The original's way to renew: later, earlier, or already past."""
    machine = Machine()
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.acquire("train", machine.until(second))
    status = only(tmp_path).status
    assert (status.held, status.deadline, status.acquired) == (True, machine.clock.mono + second, 2)


def test_one_release_ends_it_however_often_it_was_acquired(tmp_path: Path) -> None:
    """The client knows a scope once; nesting is for expires."""
    machine = Machine()
    client = machine.client(tmp_path)
    client.acquire("train", machine.until(60))
    client.acquire("train", machine.until(90))
    client.release("train")
    assert not only(tmp_path).status.held


def test_releasing_what_is_not_held_does_nothing(tmp_path: Path) -> None:
    """Neither before any acquire nor twice."""
    machine = Machine()
    client = machine.client(tmp_path)
    client.release("train")
    assert names(tmp_path) == []
    client.acquire("train", machine.until(60))
    client.release("train")
    before = only_file(tmp_path).read_bytes()
    client.release("train")
    assert only_file(tmp_path).read_bytes() == before


@pytest.mark.parametrize("expiration", [math.nan, math.inf, -math.inf, -1.0, 1e12, -5e9])
def test_an_expiration_that_can_not_be_is_named(tmp_path: Path, expiration: float) -> None:
    """Nothing is written for it."""
    with pytest.raises(BadValue, match="expiration_time must be seconds since the epoch, within 1000000000 s, got"):
        Machine().client(tmp_path).acquire("train", expiration)
    assert names(tmp_path) == []


@pytest.mark.parametrize("expiration", ["soon", None])
def test_an_expiration_that_is_no_number_is_refused(tmp_path: Path, expiration: Any) -> None:
    """Nothing is written for it."""
    with pytest.raises(TypeError):
        Machine().client(tmp_path).acquire("train", expiration)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("scope", "error"), [("", BadValue), ("\ud800", BadValue), (5, TypeError), (None, TypeError)])
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_scope_that_can_not_be_is_refused(tmp_path: Path, scope: Any, error: type[Exception], on_error: str) -> None:
    """A bug in the program is no failing file system: it raises whatever on_error says."""
    machine = Machine()
    client = machine.client(tmp_path, on_error=on_error)
    with pytest.raises(error, match="scope must"):
        client.acquire(scope, machine.until(60))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "scope",
    ["x", "..", "a/../../b", "line\nline", "\udc80\udcff", "x" * 10_000, "\x01" * 1000, "\0", " ", "ü" * 600],
    ids=["plain", "dots", "slashes", "newline", "no UTF-8", "long", "control", "nul", "blank", "umlauts"],
)  # fmt: skip
def test_any_text_is_a_scope(tmp_path: Path, scope: str) -> None:
    """It is one lease in the host's folder, that acquires and releases like any other."""
    machine = Machine()
    client = machine.client(tmp_path)
    client.acquire(scope, machine.until(60))
    client.acquire(scope, machine.until(50))
    assert only(tmp_path).status.deadline == machine.clock.mono + 50
    client.release(scope)
    assert not only(tmp_path).status.held
    assert os.listdir(tmp_path) == [HOST]


# -- clients of one directory


def test_clients_of_one_directory_share_their_leases(tmp_path: Path) -> None:
    """Leases belong to the process: one acquires, another renews, a third releases."""
    machine = Machine()
    (tmp_path / "link").symlink_to(tmp_path / "root")
    one, other = machine.client(tmp_path / "root"), machine.client(tmp_path / "link")
    one.acquire("train", machine.until(60))
    other.acquire("train", machine.until(90))
    status = only(tmp_path / "root").status
    assert (status.acquired, status.deadline) == (2, machine.clock.mono + 90)
    other.release("train")
    assert not only(tmp_path / "root").status.held


def test_the_first_acquire_settles_how_a_scope_is_reaped(tmp_path: Path) -> None:
    """The identity is written once."""
    machine = Machine()
    machine.client(tmp_path, signal=signal.SIGTERM).acquire("train", machine.until(60))
    machine.client(tmp_path).acquire("train", machine.until(90))
    assert only(tmp_path).identity.signal == signal.SIGTERM


def test_clients_of_other_directories_and_hosts_share_nothing(tmp_path: Path) -> None:
    """Each has its own file."""
    machine = Machine()
    machine.client(tmp_path / "a").acquire("train", machine.until(60))
    machine.client(tmp_path / "b").acquire("train", machine.until(70))
    machine.client(tmp_path / "a", host="node2").acquire("train", machine.until(80))
    assert only(tmp_path / "a").status.deadline == machine.clock.mono + 60
    assert only(tmp_path / "b").status.deadline == machine.clock.mono + 70
    assert sorted(os.listdir(tmp_path / "a")) == [HOST, "node2"]


# -- closing, failing


def test_closing_removes_what_is_released_and_leaves_what_is_held(tmp_path: Path) -> None:
    """A held lease stays in force, and everything works on."""
    machine = Machine()
    client = machine.client(tmp_path)
    for scope in ("held", "released"):
        client.acquire(scope, machine.until(60))
    client.release("released")
    client.close()
    assert list(leases(tmp_path)) == ["held"]
    client.acquire("released", machine.until(60))
    assert set(leases(tmp_path)) == {"held", "released"}


def test_a_failed_acquire_raises_what_the_file_system_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The worker must know that nobody will wake it."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    around(monkeypatch, "publish", full)
    machine = Machine()
    with pytest.raises(OSError, match="No space left"):
        machine.client(tmp_path).acquire("train", machine.until(60))


def test_where_it_only_warns_the_block_runs_unguarded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With on_error="warn" each failure is one warning that names the scope, at acquire and release alike."""
    broken = ["publish"]

    def maybe(name: str) -> None:
        def hook(real: Any, *args: Any) -> Any:
            if name in broken:
                raise OSError(5, "Input/output error")
            return real(*args)

        around(monkeypatch, name, hook)

    maybe("publish")
    maybe("rewrite")
    machine = Machine()
    client = machine.client(tmp_path, on_error="warn")
    with caplog.at_level(logging.WARNING, "leasetimer"):
        client.acquire("train", machine.until(60))
        client.release("train")
        broken[:] = []
        client.acquire("train", machine.until(60))
        broken[:] = ["rewrite"]
        client.acquire("train", machine.until(70))
        client.release("train")
    events = [
        record.getMessage().partition(":")[0] for record in caplog.records if "scope=train" in record.getMessage()
    ]
    assert events == [
        "lease not published, block unguarded",
        "lease not written, block unguarded",
        "lease not released, still in force",
    ]
    assert only(tmp_path).status.held
