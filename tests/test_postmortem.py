"""Records of what happened, and who writes them."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeMachine
from fakes import machine as machine
from leasetimer.postmortem import RETRY_INTERVAL, Incident, Recorder


def incident(machine: FakeMachine, outcome: Any = "pending", overdue: float | None = 1.0) -> Incident:
    return Incident(machine.worker().lease("train", 5), outcome, machine.clock, overdue=overdue, others=[])


def record(machine: FakeMachine, about: Incident) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(Path(machine.folder.join(about.name)).read_bytes())
    return fields


# -- the record


def test_record_names_what_happened(machine: FakeMachine) -> None:
    """Who, what, since when, how late, what was sent, and the whole lease."""
    worker = machine.worker()
    lease, other = worker.lease("train", 5), worker.lease("epoch", 50)
    about = Incident(lease, "pending", machine.clock, overdue=0.5, others=[other])
    about.signalled(15)
    machine.clock.jump(2)
    about.end("reaped")
    fields = json.loads(about.record())
    assert fields["schema"] == 1
    assert (fields["host"], fields["pid"], fields["scope"]) == ("node1", 4242, "train")
    assert (fields["outcome"], fields["reason"], fields["overdue"]) == ("reaped", None, 0.5)
    assert fields["signals"] == [{"signal": 15, "name": "SIGTERM", "time": machine.clock.wall - 2}]
    assert fields["gone"] == machine.clock.wall
    assert fields["lease"]["start"] == worker.worker.start
    assert [entry["scope"] for entry in fields["others"]] == ["epoch"]


@pytest.mark.parametrize("outcome", ["recovered", "refused", "spared", "unkillable", "observed"])
def test_worker_that_lives_is_not_told_gone(machine: FakeMachine, outcome: Any) -> None:
    """Only what ended has an end."""
    about = incident(machine)
    about.end(outcome, "why")
    assert (about.fields["gone"], about.fields["reason"]) == (None, "why")


def test_record_is_named_by_when_the_lease_ran_out(machine: FakeMachine) -> None:
    """In UTC, to the millisecond, so that records sort by who hung first."""
    machine.clock.wall = 1_700_000_000.25
    assert incident(machine).name == "postmortem/20231114T221325.250Z,4242,train.json"


def test_record_of_a_lease_not_due_has_the_same_name(machine: FakeMachine) -> None:
    """Or a server that is killed after the record, and starts past the deadline, would tell the incident twice."""
    assert incident(machine, overdue=None).name == incident(machine, overdue=0.5).name


def test_same_incident_has_the_same_name_later(machine: FakeMachine) -> None:
    """A server that follows up another's incident does so in the same file."""
    lease = machine.worker().lease("train", 5)
    first = Incident(lease, "pending", machine.clock, overdue=1, others=[])
    machine.clock.jump(1000)
    second = Incident(lease, "gone", machine.clock, overdue=1001, others=[])
    assert first.name == second.name


@pytest.mark.parametrize(
    ("outcome", "told"), [("pending", False), ("reaped", True), ("gone", True), ("abandoned", True)]
)
def test_told_before_if_a_record_has_an_outcome(machine: FakeMachine, outcome: Any, told: bool) -> None:
    """A pending record is one to be completed."""
    about = incident(machine, outcome)
    assert not about.told_before(machine.folder)
    machine.folder.replace(about.name, about.record())
    assert about.told_before(machine.folder) is told


def test_told_before_whatever_length_the_record_has(machine: FakeMachine) -> None:
    """The outcome stands in what a look at a lease's length reads."""
    about = incident(machine, "reaped")
    about.fields["others"] = [{"scope": "x" * 1000}] * 20
    machine.folder.replace(about.name, about.record())
    assert about.told_before(machine.folder)


def test_record_that_cannot_be_read_was_not_told(machine: FakeMachine) -> None:
    """In doubt it is written again."""
    about = incident(machine)
    machine.folder.replace(about.name, b"{}")
    assert not about.told_before(machine.folder)
    Path(machine.folder.join(about.name)).unlink()
    Path(machine.folder.join(about.name)).mkdir()
    assert not about.told_before(machine.folder)


def test_any_signal_has_a_name(machine: FakeMachine) -> None:
    """Real-time signals, too, which have none in Python's table."""
    about = incident(machine)
    for number in (9, 34, 35, 64):
        about.signalled(number)
    assert [sent["name"] for sent in about.fields["signals"]] == ["SIGKILL", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMAX"]


def test_any_text_can_be_told(machine: FakeMachine) -> None:
    """Scopes that UTF-8 can't hold, and line breaks, end in a record that any JSON reader takes."""
    scope = "a/b\n\udcff → "
    about = Incident(machine.worker().lease(scope, 5), "pending", machine.clock, overdue=1, others=[])
    machine.folder.replace(about.name, about.record())
    assert record(machine, about)["scope"] == scope


# -- the recorder


class Failing:
    """What a folder's ``replace`` meets: an error each time until ``mended``."""

    def __init__(self, machine: FakeMachine) -> None:
        self.tries = 0
        self.failed = threading.Event()
        self.mended = False
        machine.folder.on["replace"] = self

    def __call__(self, name: str) -> None:
        self.tries += 1
        if not self.mended:
            self.failed.set()
            raise OSError(28, "No space left on device")


def test_then_is_called_once_the_record_stands(machine: FakeMachine) -> None:
    """Whoever waits for the record finds it."""
    recorder, about = Recorder(machine.folder, machine.clock), incident(machine, "reaped")
    found: list[str] = []
    recorder.start()
    recorder.publish(about, lambda: found.append(record(machine, about)["outcome"]))
    assert recorder.stop(10)
    assert found == ["reaped"]


def test_records_are_written_in_order(machine: FakeMachine) -> None:
    """The outcome replaces the pending record, never the other way round, and each as it was when published."""
    recorder, about = Recorder(machine.folder, machine.clock), incident(machine)
    found: list[str] = []
    recorder.publish(about, lambda: found.append(record(machine, about)["outcome"]))
    about.end("reaped")
    recorder.publish(about, lambda: found.append(record(machine, about)["outcome"]))
    recorder.start()
    assert recorder.stop(10)
    assert found == ["pending", "reaped"]


def test_what_cannot_be_written_is_tried_again(machine: FakeMachine, caplog: pytest.LogCaptureFixture) -> None:
    """Each second, until it stands; said once, with the whole record."""
    recorder, about, failing = Recorder(machine.folder, machine.clock), incident(machine), Failing(machine)
    waits: list[float] = []
    done = threading.Event()

    def wait(event: threading.Event, timeout: float) -> bool:
        waits.append(timeout)
        failing.mended = len(waits) == 3
        return False

    machine.clock.wait = wait  # type: ignore[method-assign]
    recorder.start()
    recorder.publish(about, done.set)
    assert done.wait(10)
    assert recorder.stop(10)
    assert (failing.tries, waits) == (4, [RETRY_INTERVAL] * 3)
    assert caplog.text.count("record not written") == 1
    assert '"scope"' in caplog.text


def test_then_is_not_called_for_what_was_never_written(machine: FakeMachine) -> None:
    """A server that ends while its file system fails has logged the record, and clears nothing on its word."""
    recorder, failing = Recorder(machine.folder, machine.clock), Failing(machine)
    called: list[int] = []
    machine.clock.wait = lambda event, timeout: event.wait(10)  # type: ignore[method-assign]
    recorder.start()
    recorder.publish(incident(machine), lambda: called.append(1))
    assert failing.failed.wait(10)
    assert recorder.stop(10)
    assert called == []


def test_stop_does_not_wait_for_a_file_system_that_hangs(machine: FakeMachine) -> None:
    """It says whether all stands, in bounded time."""
    recorder, release = Recorder(machine.folder, machine.clock), threading.Event()
    machine.folder.on["replace"] = lambda name: (release.wait(10), None)[1]
    recorder.start()
    recorder.publish(incident(machine))
    assert not recorder.stop(0.01)
    release.set()
    assert recorder.stop(10)


def test_stop_before_start_is_fine(machine: FakeMachine) -> None:
    """Nothing was written, nothing is left."""
    assert Recorder(machine.folder, machine.clock).stop(1)
