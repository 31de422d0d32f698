"""Incidents that repeat, last, or overlap, turn by turn."""

import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fakes import forge
from serving import FakeHost, InlineCrew, Make, fail, full
from serving import host as host
from serving import make as make

KILL, TERM = signal.SIGKILL, signal.SIGTERM


# -- again and again


@pytest.mark.parametrize(
    ("outcome", "options"), [("observed", {"observe": True}), ("refused", {}), ("unkillable", {}), ("spared", {})]
)
def test_each_overdue_lease_of_a_worker_that_lives_is_told_and_the_loop_rests(
    make: Make, outcome: str, options: dict[str, Any]
) -> None:
    """Two leases of a worker that stays: each has its record, and neither keeps the loop busy."""
    host = make(**options)
    worker = host.worker()
    worker.process.refuses = outcome == "refused"
    worker.process.tracer = 77 if outcome == "spared" else 0
    worker.process.deadly = frozenset()
    worker.acquire("a", 3)
    worker.acquire("b", 4)
    host.run(200)
    assert {record["scope"]: record["outcome"] for record in host.records()} == {"a": outcome, "b": outcome}


def test_what_was_told_is_not_told_again(make: Make) -> None:
    """An observed lease is one incident, however long it stays; the next acquire is another."""
    host = make(observe=True)
    worker = host.worker()
    worker.acquire("train", 5)
    host.run(100)
    assert host.server.counters["observed"] == 1
    worker.acquire("train", 5)
    host.run(100)
    assert host.server.counters["observed"] == 2


def test_spared_worker_is_reaped_once_its_debugger_is_gone(host: FakeHost) -> None:
    """It is tried again each max_interval, and told once."""
    worker = host.worker()
    worker.process.tracer = 77
    worker.acquire("train", 5)
    host.run(50)
    assert worker.process.signals == []
    assert host.server.counters["spared"] == 1
    worker.process.tracer = 0
    host.run(11)
    assert worker.process.signals == [KILL]


def test_postponed_reap_is_tried_again_each_second(host: FakeHost) -> None:
    """What can't be decided now is decided later, without a busy loop in between."""
    worker = host.worker()
    worker.acquire("train", 5)
    host.run(1)
    tries = []
    real = host.processes.open

    def refuse(of: Any) -> Any:
        tries.append(host.clock.mono)
        if len(tries) > 5:
            return real(of)
        raise OSError(24, "Too many open files")

    host.processes.open = refuse  # type: ignore[method-assign,assignment]
    host.run(11)
    assert worker.process.signals == [KILL]
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(tries))


def test_a_reap_that_raises_is_tried_again(host: FakeHost) -> None:
    """Whatever went wrong, the worker does not count as being reaped for ever."""
    worker = host.worker()
    worker.acquire("train", 5)
    describe = host.processes.describe

    def break_once(pid: int) -> dict[str, object]:
        host.processes.describe = describe  # type: ignore[method-assign]
        raise KeyError(pid)

    host.processes.describe = break_once  # type: ignore[method-assign]
    host.run(8)
    assert worker.process.signals == [KILL]


def test_a_reap_without_a_thread_is_tried_again(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of processes does not make a worker count as being reaped for ever."""
    worker = host.worker()
    worker.acquire("train", 5)

    def refuse(self: InlineCrew, job: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(InlineCrew, "start", refuse)
        host.run(10)
    assert (worker.process.signals, host.server.leases.busy) == ([], set())
    host.run(2)
    assert worker.process.signals == [KILL]


def test_worker_held_up_with_its_reap_gets_the_time_again(host: FakeHost) -> None:
    """A file system that held up the last read held up the worker's renewal, too."""
    worker = host.worker()
    worker.acquire("train", 5)

    def block(name: str) -> None:
        if InlineCrew.running:
            host.folder.on.clear()
            host.clock.jump(30)

    host.folder.on["read"] = block
    host.run(5 + 30 + 20)
    assert host.folder.on == {}
    assert worker.process.signals == []
    worker.acquire("train", 500)
    host.run(100)
    assert worker.process.signals == []


def test_a_broken_sibling_protects_nobody(host: FakeHost) -> None:
    """A worker whose other lease can't be read any more is reaped for the sound one."""
    worker = host.worker()
    worker.acquire("a", 3)
    worker.acquire("train", 5)
    host.run(1)
    Path(host.folder.join(worker.name("a"))).write_bytes(b"")
    host.run(10)
    assert worker.process.signals == [KILL]


# -- the dead


def test_a_worker_that_died_with_a_lease_is_told_and_cleared(host: FakeHost) -> None:
    """Not due yet: abandoned. One record for all that it held."""
    worker = host.worker()
    worker.acquire("train", 500)
    worker.acquire("epoch", 900)
    host.run(1)
    worker.process.state = "X"
    host.run(12)
    (record,) = host.records()
    assert (record["outcome"], record["scope"], record["overdue"]) == ("abandoned", "train", None)
    assert [other["scope"] for other in record["others"]] == ["epoch"]
    assert host.files() == []


def test_a_worker_found_dead_after_its_deadline_is_gone(host: FakeHost) -> None:
    """Overdue, and nobody left to signal."""
    worker = host.worker()
    worker.acquire("train", 5)
    host.run(1)
    worker.process.dies_at = host.clock.mono + 4
    host.run(12)
    assert (host.outcomes(), worker.process.signals, host.files()) == (["gone"], [], [])


def test_leases_of_another_boot_are_told_and_cleared(host: FakeHost) -> None:
    """What the machine ran before it went down is abandoned, whatever has its pids now."""
    worker = host.worker()
    worker.acquire("train", 5)
    host.processes.boot_id = "b008"
    host.restart()
    host.run(12)
    assert (host.outcomes(), worker.process.signals, host.files()) == (["abandoned"], [], [])


def test_what_was_told_before_is_only_cleared(host: FakeHost) -> None:
    """A server killed between record and clearing: the next one clears, and leaves the record as it was."""
    worker = host.worker()
    worker.acquire("train", 5)
    host.folder.on["remove"] = lambda name: (_ for _ in ()).throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        host.run(8)
    before = host.records()
    assert [record["outcome"] for record in before] == ["reaped"]
    host.restart()
    host.run(3)
    assert host.records() == before
    assert (host.files(), host.server.counters["gone"]) == ([], 0)


def test_a_new_process_with_the_pid_keeps_its_lease(host: FakeHost) -> None:
    """It published while the dead one's record could not be written: guarded all the same."""
    host.worker().acquire("train", 50)
    host.run(1)
    full(host)
    host.processes.table.clear()
    host.run(12)
    reborn = host.worker(start=900)
    reborn.acquire("train", 2)
    host.run(1)
    host.folder.on.clear()
    host.recorder.flush()  # type: ignore[attr-defined]
    host.run(1.1)
    assert reborn.process.signals == [KILL]


# -- actions


def test_actions_get_each_record_with_its_outcome(make: Make) -> None:
    """Whoever acts on an incident knows what really happened."""
    seen: list[str] = []
    host = make(actions=[lambda record: seen.append(record["outcome"])])
    host.worker().acquire("train", 5)
    host.run(6)
    assert seen == ["reaped"]


def test_an_action_that_raises_is_only_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else's mistake keeps neither the next action nor the clearing."""
    seen: list[str] = []
    host = make(actions=[lambda record: record["no such key"], lambda record: seen.append(record["outcome"])])
    host.worker().acquire("train", 5)
    host.run(6)
    assert (seen, host.files()) == (["reaped"], [])
    assert "action failed" in caplog.text


@pytest.mark.parametrize("dead", [True, False])
def test_actions_run_off_the_loop(make: Make, dead: bool) -> None:
    """A slow action delays no other reap, also where it is about a dead worker."""
    seen: list[bool] = []
    host = make(actions=[lambda record: seen.append(InlineCrew.running)])
    worker = host.worker()
    worker.acquire("train", 5)
    worker.process.state = "X" if dead else "S"
    host.run(6)
    assert seen == [True]


# -- poison


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"grace":10.0', b'"grace":' + b"1" * 400),
        (b'"scope":"train"', b'"scope":"\\ud800"'),
        (b'"rank":{}', b'"rank":' + b"[" * 900 + b"]" * 900),
        (b'"start":500', b'"start":' + b"5" * 2000),
    ],
)
def test_a_poison_lease_stops_nothing(host: FakeHost, old: bytes, new: bytes) -> None:
    """Bytes that nobody foresaw: those looked at before and after are guarded to the millisecond."""
    workers = {pid: host.worker(pid, events=False) for pid in (4000, 4001, 4002)}
    for worker in workers.values():
        worker.acquire("train", 5)
    path = Path(host.folder.join(workers[4001].name("train")))
    forge(path, old, new)
    host.run(5.01)
    assert (workers[4000].process.signals, workers[4002].process.signals) == ([KILL], [KILL])


def test_a_folder_that_cannot_be_listed_keeps_nobody_from_being_reaped(host: FakeHost) -> None:
    """What is known is guarded."""
    worker = host.worker()
    worker.acquire("train", 15)
    host.run(1)
    host.folder.on["names"] = fail
    host.run(14.1)
    assert worker.process.signals == [KILL]
