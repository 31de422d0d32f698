"""The server, turn by turn: reaping, clearing, presence."""

import os
import shutil
import signal

import pytest

from fakes import FakeWorker
from leasetimer.api import RETRY_INTERVAL, TimerRequest
from leasetimer.leases import SLACK
from leasetimer.presence import read_presence
from leasetimer.server import TICK
from serving import FakeHost, Make, fail, full
from serving import host as host
from serving import make as make

KILL, TERM = signal.SIGKILL, signal.SIGTERM


# -- reaping


@pytest.mark.parametrize("max_interval", [0.5, 10, 600])
@pytest.mark.parametrize("how", ["published", "renewed", "acquired again", "earlier"])
def test_a_worker_is_reaped_when_its_lease_is_due(make: Make, max_interval: float, how: str) -> None:
    """To the millisecond, whatever max_interval is and however the deadline came to be."""
    host = make(max_interval=max_interval)
    worker = host.worker()
    worker.acquire("train", 50 if how == "earlier" else 5)
    host.run(4)
    if how == "acquired again":
        worker.release("train")
    if how != "published":
        worker.acquire("train", 5)
    due = host.clock.mono + (1 if how == "published" else 5)
    host.run(due - 0.001 - host.clock.mono)
    assert worker.process.signals == []
    host.run(0.002)
    assert worker.process.signals == [KILL]


def test_a_reaped_workers_leases_are_cleared_after_the_record(host: FakeHost) -> None:
    """One record that tells of all it held, then its files go, and nothing is known of it any more."""
    worker = host.worker()
    worker.acquire("train", 5)
    worker.acquire("epoch", 50)
    host.run(6)
    (record,) = host.records()
    assert (record["outcome"], record["scope"], record["pid"]) == ("reaped", "train", 4242)
    assert [other["scope"] for other in record["others"]] == ["epoch"]
    assert (host.files(), len(host.server.leases), host.server.leases.busy) == ([], 0, set())


def test_a_lease_stands_until_its_record_does(host: FakeHost) -> None:
    """Where no record can be written the lease stays, and is not acted on again; then it goes."""
    worker = host.worker()
    worker.acquire("train", 5)
    full(host)
    host.run(30)
    assert worker.process.signals == [KILL]
    assert len(host.files()) == 1
    host.folder.on.clear()
    host.recorder.flush()  # type: ignore[attr-defined]
    host.run(1)
    assert (host.outcomes(), host.files()) == (["reaped"], [])


def test_a_worker_that_lives_is_guarded_again_though_no_record_can_be_written(host: FakeHost) -> None:
    """A full disk must not end the guarding of a worker that recovered once."""
    worker = host.worker()
    worker.acquire("train", 5)
    full(host)
    recover_once(host, worker)
    host.run(6)
    assert worker.process.signals == []
    host.run(10)
    assert worker.process.signals == [KILL]


def recover_once(host: FakeHost, worker: FakeWorker) -> None:
    """The worker renews right before it is signalled, the first time."""
    describe = host.processes.describe

    def renew(pid: int) -> dict[str, object]:
        host.processes.describe = describe  # type: ignore[method-assign]
        worker.acquire("train", 5)
        return describe(pid)

    host.processes.describe = renew  # type: ignore[method-assign]


def test_recovered_worker_is_guarded_by_its_new_deadline(host: FakeHost) -> None:
    """Renewed before the signal: told, and reaped when the renewed deadline is past."""
    worker = host.worker()
    worker.acquire("train", 5)
    recover_once(host, worker)
    host.run(9.9)
    assert (worker.process.signals, host.outcomes()) == ([], ["recovered"])
    host.run(0.2)
    assert worker.process.signals == [KILL]
    assert host.outcomes() == ["recovered", "reaped"]


# -- gaps


@pytest.mark.parametrize("seen", [True, False], ids=["known", "event comes late"])
def test_nobody_is_reaped_because_the_server_stood_still(host: FakeHost, seen: bool) -> None:
    """Stopped past a deadline: the worker has what was left, and a second more, from the moment it goes on."""
    host.run(1)
    worker = host.worker(events=seen)
    worker.acquire("train", 5)
    if seen:
        host.turn()
    host.clock.jump(60)
    host.turn()
    if not seen:
        host.see(worker.name("train"))
    host.run(4)
    assert worker.process.signals == []
    assert host.server.counters["gaps"] == 1
    host.run(2 + SLACK)
    assert worker.process.signals == [KILL]


def test_the_loop_ticks_each_second(make: Make) -> None:
    """A stop is noticed, however long max_interval is."""
    host = make(max_interval=600)
    host.worker().acquire("train", 300)
    host.run(20)
    assert max(host.clock.waits) <= TICK


# -- the folder


def test_a_folder_removed_under_the_server_is_served_again(host: FakeHost) -> None:
    """Made anew, watched anew; leases published into it are guarded."""
    host.run(3)
    shutil.rmtree(host.root)
    host.run(3)
    worker = host.worker()
    worker.acquire("train", 5)
    host.run(6)
    assert worker.process.signals == [KILL]


def test_a_held_lease_survives_its_folder(host: FakeHost) -> None:
    """The worker's next renewal makes the lease again, and it is guarded."""
    worker = host.worker()
    worker.acquire("train", 5)
    host.run(1)
    shutil.rmtree(host.root)
    host.run(1)
    worker.acquire("train", 5)
    host.run(6)
    assert worker.process.signals == [KILL]


# -- the contract


def test_registered_timers_are_looked_at_when_due(host: FakeHost) -> None:
    """A plain request has the lease looked at; what its file says is what counts."""
    worker = host.worker(events=False)
    host.run(1)
    worker.acquire("train", 5)
    wall = host.clock.wall
    host.server.register_timers([TimerRequest(worker.worker, "train", wall + 3)])
    assert host.server.leases.earliest() == pytest.approx(host.clock.mono + 3)
    host.run(4.9)
    assert worker.process.signals == []
    host.run(0.2)
    assert worker.process.signals == [KILL]


@pytest.mark.parametrize("how", ["release", "clear"])
def test_released_and_cleared_timers_are_looked_at_no_more(make: Make, how: str) -> None:
    """Until the next scan says otherwise."""
    host = make(max_interval=600)
    worker = host.worker()
    worker.acquire("train", 5)
    host.turn()
    if how == "release":
        host.server.register_timers([TimerRequest(worker.worker, "train", -1)])
    else:
        host.server.clear_timers({worker.worker})
    host.run(20)
    assert worker.process.signals == []


def test_expired_timers_are_told_by_worker(host: FakeHost) -> None:
    """As the contract has it: worker, scope and expiration of what is overdue at that instant."""
    worker = host.worker()
    worker.acquire("a", 5)
    worker.acquire("b", 50)
    host.turn()
    assert host.server.get_expired_timers(host.clock.wall) == {}
    (timers,) = host.server.get_expired_timers(host.clock.wall + 6).values()
    assert [timer.scope_id for timer in timers] == ["a"]


def test_an_unknown_worker_counts_as_reaped(host: FakeHost) -> None:
    """There is nothing to try again."""
    assert host.server._reap_worker(host.worker().worker)


# -- presence


def test_presence_tells_what_the_server_does(host: FakeHost) -> None:
    """Who it is, that it serves, how many leases, what it has done; beaten every ten seconds at least."""
    host.worker().acquire("train", 5)
    host.worker(5000).acquire("other", 500)
    before = read_presence(host.folder)
    host.run(21)
    presence = read_presence(host.folder)
    assert before is not None
    assert presence is not None
    assert (presence.pid, presence.serving, presence.uid) == (os.getpid(), True, os.geteuid())
    assert presence.beat >= before.beat + 2
    assert presence.fields["leases"] == 1
    assert presence.fields["counters"] == {"reaped": 1}


def test_a_beat_that_cannot_be_written_is_said_once(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    """And keeps nobody from being reaped."""
    worker = host.worker()
    worker.acquire("train", 25)
    host.run(1)
    host.folder.on["replace"] = fail
    host.run(24.1)
    assert worker.process.signals == [KILL]
    assert caplog.text.count("beat not written") == 1


def test_a_server_that_ends_says_so(host: FakeHost) -> None:
    """Workers and other hosts need not wait for its beat to grow stale."""
    host.server.end()
    presence = read_presence(host.folder)
    assert presence is not None
    assert not presence.serving


def test_a_server_whose_loop_hangs_does_not_say_that_it_ended(host: FakeHost) -> None:
    """It may come back: the next server here must be refused."""
    host.server.end(clean=False)
    presence = read_presence(host.folder)
    assert presence is not None
    assert presence.serving


def test_a_turn_that_always_fails_still_reaps(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong after the reaping must not look like standing still, or every deadline would move for ever."""
    worker = host.worker()
    worker.acquire("train", 5)

    def fail(boot: str) -> None:
        raise ValueError("what happened")

    monkeypatch.setattr(host.server._incidents, "bury", fail)
    for _ in range(40):
        try:
            host.turn()
        except ValueError:
            host.clock.jump(RETRY_INTERVAL)
    assert worker.process.signals == [KILL]
