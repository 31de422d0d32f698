"""One file that can't be removed or written: the server rests, says it once, and everything else goes on."""

import os
import threading
from typing import Any

import pytest

import leasetimer.locks
from fakes import NODE, FakeMachine
from fakes import machine as machine
from leasetimer.errors import DirectoryUnusable
from leasetimer.postmortem import Incident, Recorder, read_record
from leasetimer.server import LeaseTimerServer
from serving import FakeHost, Make, fail, full
from serving import host as host
from serving import make as make

PATIENCE = 10.0


def read_only(host: FakeHost) -> None:
    """No lease can be moved aside any more; the error names a file that is another one each time."""

    def refuse(name: str) -> None:
        target = host.folder.join(f".{name}.{os.urandom(8).hex()}.moved")
        raise OSError(30, "Read-only file system", host.folder.join(name), None, target)

    host.folder.on["move_aside"] = refuse


# -- that can't be removed


@pytest.mark.parametrize("reaped", [True, False])
def test_a_dead_workers_file_that_cannot_be_removed_is_one_incident_and_one_warning(
    make: Make, caplog: pytest.LogCaptureFixture, reaped: bool
) -> None:
    """Neither does the loop spin. Once it can be removed, it is."""
    told: list[dict[str, Any]] = []
    host = make(actions=[told.append])
    worker = host.worker()
    worker.acquire("train", 5 if reaped else 500)
    host.run(1)
    read_only(host)
    if not reaped:
        worker.process.dies_at = host.clock.mono
    host.run(200)
    assert [record["outcome"] for record in told] == ["reaped" if reaped else "abandoned"]
    assert caplog.text.count("lease of a dead worker not removed") == 1
    for record in (host.root / NODE / "postmortem").iterdir():  # who cleared it away has seen it
        record.unlink()
    host.run(20)
    host.folder.on.clear()
    host.run(20)
    assert (host.files(), len(told)) == ([], 1)


def test_a_released_file_that_cannot_be_cleared_is_one_warning(
    host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it is tried again each second: a file system that fails is not worth a line each time."""
    worker = host.worker()
    worker.acquire("train", 5)
    worker.release("train")
    read_only(host)
    host.run(100)
    assert caplog.text.count("released lease not cleared") == 1
    host.folder.on.clear()
    host.run(2)
    assert host.files() == []


# -- that can't be written


def about(machine: FakeMachine, scope: str) -> Incident:
    incident = Incident(machine.worker().lease(scope, 5), "pending", machine.clock, overdue=1, others=[])
    incident.end("reaped")
    return incident


def test_a_record_that_cannot_be_written_keeps_no_other_from_it(machine: FakeMachine) -> None:
    """Whoever waits for the other one gets on."""
    recorder = Recorder(machine.folder, machine.clock)
    stuck, fine = about(machine, "stuck"), about(machine, "fine")
    done, never = threading.Event(), threading.Event()
    machine.folder.on["replace"] = lambda name: fail(name) if name == stuck.name else None
    recorder.publish(stuck, never.set)
    recorder.publish(fine, done.set)
    recorder.start()
    assert done.wait(PATIENCE)
    assert recorder.stop(PATIENCE)
    assert read_record(machine.folder, fine.name)["outcome"] == "reaped"
    assert not never.is_set()


def test_a_record_tried_again_never_replaces_a_later_one_of_its_incident(machine: FakeMachine) -> None:
    """Or what came to an end would stand there as pending, for good."""
    recorder = Recorder(machine.folder, machine.clock)
    incident = Incident(machine.worker().lease("train", 5), "pending", machine.clock, overdue=1, others=[])
    last, done = about(machine, "last"), threading.Event()
    tries: list[str] = []

    def fail_first(name: str) -> None:
        tries.append(name)
        if len(tries) == 1:
            fail(name)

    machine.folder.on["replace"] = fail_first
    recorder.publish(incident)
    incident.end("reaped")
    recorder.publish(incident)
    recorder.publish(last, lambda: recorder.publish(last, done.set))  # twice round: whatever is tried again was
    recorder.start()
    assert done.wait(PATIENCE)
    assert recorder.stop(PATIENCE)
    assert read_record(machine.folder, incident.name)["outcome"] == "reaped"


def test_once_ends_where_a_record_cannot_be_written(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error that names the folder: whoever ran it must not wait for ever, nor take it for done."""
    (host.root / "locks").mkdir()
    monkeypatch.setattr(leasetimer.locks, "LOCKS", str(host.root / "locks"))
    host.worker().acquire("train", 5)
    host.server.end()
    host.clock.jump(6)
    wait = host.clock.wait

    def waiting(event: threading.Event, timeout: float) -> bool:
        if len(host.clock.waits) > 1000:
            pytest.fail("it waits for ever")
        return wait(event, timeout)

    host.clock.wait = waiting  # type: ignore[method-assign]
    host.server = LeaseTimerServer(host.root, host=NODE, clock=host.clock, processes=host.processes)
    host.folder = host.server.folder  # type: ignore[assignment]
    full(host)
    with pytest.raises(DirectoryUnusable, match="postmortem"):
        host.server.once()


# -- that is somebody else's code


def test_the_dead_are_all_recorded_before_any_action_runs(make: Make) -> None:
    """An action that hangs about one of them must not keep the next from being recorded and cleared."""
    seen: list[int] = []
    serving: FakeHost = make(actions=[lambda record: seen.append(len(serving.records()))])
    workers = [serving.worker(pid) for pid in (4242, 5000, 6000)]
    for worker in workers:
        worker.acquire("train", 500)
    serving.run(1)
    for worker in workers:
        worker.process.dies_at = serving.clock.mono
    serving.run(15)
    assert seen == [3, 3, 3]
