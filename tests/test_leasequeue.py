"""The server's queue: leases as requests, by file events and by scans."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

import leasetimer.leasequeue
from fakes import NODE, FakeMachine
from leasetimer.leasefiles import LeaseFiles
from leasetimer.leasequeue import JITTER, POLL_INTERVAL, SLICE, LeaseQueue, LeaseRequest
from leasetimer.leases import Leases
from leasetimer.pace import Pace
from serving import FakeWatcher

INTERVAL = 60.0


class Machine(FakeMachine):
    """With the queue of its server, and file events that come when a test says so."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(root)
        patch.setattr(leasetimer.leasequeue, "Watcher", FakeWatcher)
        self.folder.make()
        self.pace = Pace(self.clock)
        self.leases = Leases(LeaseFiles(self.folder), self.clock, self.processes, self.pace)
        self.queue = LeaseQueue(self.folder, self.leases, self.clock, self.pace, INTERVAL)
        self.queue.start()
        self.watcher: FakeWatcher = self.queue._watcher  # type: ignore[assignment]

    def get(self, timeout: float = 1.0) -> list[str]:
        """The scopes that one ``get`` hands on."""
        return [request.scope_id for request in self.queue.get(max(1, self.queue.size()), timeout)]

    def pass_time(self, seconds: float) -> list[str]:
        """All that is handed on in that time, asked for each second as the server's loop does."""
        found = []
        for _ in range(round(seconds)):
            found += self.get()
        return found

    def publish(self, scope: str, pid: int = 4242, after: float = 500) -> str:
        worker = self.worker(pid)
        worker.acquire(scope, after)
        return worker.name(scope)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_first_get_looks_over_the_folder(machine: Machine) -> None:
    """What is there when the server starts is guarded at once, without a wait."""
    machine.publish("a")
    machine.publish("b", 5000)
    assert machine.get() == ["a", "b"]
    assert machine.clock.waits == [0.0]


def test_a_request_says_when_it_is_due(machine: Machine) -> None:
    """Worker, scope and expiration as the contract has them, and the exact deadline."""
    worker = machine.worker()
    worker.acquire("a", 5)
    (request,) = machine.queue.get(1, 0)
    assert isinstance(request, LeaseRequest)
    assert (request.worker_id, request.scope_id) == (worker.worker, "a")
    assert request.expiration_time == pytest.approx(machine.clock.wall + 5, abs=1e-3)
    assert request.deadline == pytest.approx(machine.clock.mono + 5)


def test_an_event_is_looked_at_at_once(machine: Machine) -> None:
    """A file event ends the wait; the lease it tells of is handed on without a scan."""
    machine.get()
    name = machine.publish("a")
    waits = len(machine.clock.waits)
    machine.watcher.seen(name)
    assert machine.queue.size() == 1
    assert machine.get() == ["a"]
    assert len(machine.clock.waits) == waits


@pytest.mark.parametrize("name", [f".{NODE},4242,a.lease.1f4.new", f".{NODE},4242,a.lease.ab.moved", "server.json"])
def test_events_of_what_is_no_lease_wake_nobody(machine: Machine, name: str) -> None:
    """Leases in the making or being cleared, and the server's own files, raise events that mean nothing."""
    machine.get()
    machine.watcher.seen(name)
    assert machine.queue.size() == 0
    assert not machine.queue._woken.is_set()


def test_a_lost_event_costs_an_interval_at_most(machine: Machine) -> None:
    """Scans are the truth: what no event told is found within max_interval and its jitter."""
    machine.get()
    machine.publish("a")
    begun = machine.clock.mono
    while not machine.get():
        assert machine.clock.mono - begun < INTERVAL * (1 + JITTER) + 1
    assert machine.clock.mono - begun > INTERVAL * (1 - JITTER) - 1


def test_scans_are_jittered(machine: Machine) -> None:
    """Hosts that started together do not look over their folders together."""
    listings: list[float] = []
    machine.folder.on["names"] = lambda name: listings.append(machine.clock.mono)
    machine.pass_time(1000)
    apart = [later - earlier for earlier, later in pairwise(listings)]
    assert len({round(interval, 1) for interval in apart}) > len(apart) // 2
    assert all(INTERVAL * (1 - JITTER) - 1 <= interval <= INTERVAL * (1 + JITTER) + 1 for interval in apart)


def test_without_events_it_looks_each_second(machine: Machine) -> None:
    """Where file events can't be had, a lease is found within a second or so."""
    machine.watcher.works = False
    machine.pass_time(3)
    machine.publish("a")
    assert machine.pass_time(2 * POLL_INTERVAL + 1) == ["a", "a"] or machine.queue.size() == 0
    listings: list[float] = []
    machine.folder.on["names"] = lambda name: listings.append(machine.clock.mono)
    machine.pass_time(20)
    assert len(listings) >= 9


def test_a_scan_is_done_in_slices(machine: Machine) -> None:
    """A large folder is looked over a slice a turn, without a wait in between, so that what is due is not held up."""
    for pid in range(4000, 4000 + 2 * SLICE + 1):
        machine.publish("a", pid)
    machine.get()
    assert machine.queue.size() == SLICE + 1
    waits = len(machine.clock.waits)
    assert len(machine.get()) == SLICE
    assert len(machine.get()) == 1
    assert len(machine.clock.waits) == waits


def test_a_burst_of_events_is_done_in_slices(machine: Machine) -> None:
    """As many leases published at once don't hold up what is due either."""
    machine.get()
    for pid in range(4000, 4000 + 2 * SLICE):
        machine.watcher.seen(machine.publish("a", pid))
    assert len(machine.get()) == SLICE
    assert len(machine.get()) == SLICE


def test_no_more_news_than_asked_for(machine: Machine) -> None:
    """``size`` is the contract's bound."""
    machine.get()
    for pid in (4000, 4001, 4002):
        machine.watcher.seen(machine.publish("a", pid))
    assert len(machine.queue.get(2, 1)) == 2
    assert machine.queue.size() == 1


def test_wake_ends_a_wait(machine: Machine) -> None:
    """``stop`` does not wait for the turn under way."""
    machine.get()
    machine.queue.wake()
    before = machine.clock.mono
    assert machine.get(1) == []
    assert machine.clock.mono == before


def test_no_wait_goes_past_the_next_scan(machine: Machine) -> None:
    """A server that may sleep long wakes for its scan."""
    machine.get()
    machine.queue.get(1, 1000)
    assert machine.clock.waits[-1] <= INTERVAL * (1 + JITTER)


@pytest.mark.parametrize(("late", "gap"), [(0.9, 0.0), (30.0, 31.0)])
def test_a_wait_that_takes_far_longer_is_a_gap(machine: Machine, late: float, gap: float) -> None:
    """More than a second beyond the plan: the pace has all of it, until the server takes it."""
    machine.get()
    wait = machine.clock.wait

    def oversleep(event: object, timeout: float) -> bool:
        machine.clock.jump(timeout + late)
        return False

    machine.clock.wait = oversleep  # type: ignore[method-assign]
    machine.get(1)
    machine.clock.wait = wait  # type: ignore[method-assign]
    assert machine.pace.take() == pytest.approx(gap)


def test_a_turn_that_takes_far_longer_is_a_gap(machine: Machine) -> None:
    """What the server did between two waits counts as well: a beat that blocked, say."""
    machine.get()
    machine.clock.jump(40)
    machine.get()
    assert machine.pace.take() == pytest.approx(40)


def test_a_folder_that_was_removed_is_made_and_watched_again(machine: Machine) -> None:
    """The watch follows the path, and what was published before it stood is found by a scan at once."""
    machine.pass_time(2)
    before = machine.watcher.place
    shutil.rmtree(machine.root)
    machine.pass_time(2)
    assert machine.folder.place() == machine.watcher.place
    assert machine.watcher.place is not None
    assert before is not None
    shutil.rmtree(machine.root)
    keep = machine.root.parent / "keep"  # or the file system gives the same inode again
    keep.mkdir()
    machine.publish("a")
    assert machine.pass_time(3) == ["a"]
    assert machine.watcher.place == machine.folder.place()


def fail(name: str) -> None:
    raise OSError(5, "Input/output error")


def test_a_folder_that_cannot_be_listed_is_said_once_and_tried_again(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """What is known is looked at all the same, and the next listing that works ends it."""
    machine.folder.on["names"] = fail
    machine.watcher.seen(machine.publish("a"))
    caplog.clear()
    assert machine.get() == ["a"]
    machine.publish("b", 5000)
    machine.pass_time(5)
    assert caplog.text.count("folder not looked over, tried again") == 1
    machine.folder.on.clear()
    assert "b" in machine.pass_time(POLL_INTERVAL + 2)


def test_leases_asked_for_are_looked_at_as_news(machine: Machine) -> None:
    """``look_at`` is an event of the server's own."""
    machine.get()
    name = machine.publish("a")
    machine.queue.look_at([name])
    assert machine.get() == ["a"]


def test_stopped_queue_stops_its_watcher(machine: Machine) -> None:
    """No events after ``stop``; and stopping what never began is fine."""
    machine.queue.stop()
    assert not machine.watcher.works
    LeaseQueue(machine.folder, machine.leases, machine.clock, machine.pace, INTERVAL).stop()
