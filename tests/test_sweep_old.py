"""Sweeping old records, and all of a host that is lost."""

from pathlib import Path

from leasetimer.sweep import Left
from sweeping import LIVING, Scene
from sweeping import scene as scene


def test_records_older_than_asked_are_removed_with_their_stacks(scene: Scene) -> None:
    """By when they were noticed: a file copied or touched since is as old as what it tells."""
    old, young = scene.record("old", ago=100), scene.record("young", ago=40)
    stack = Path(scene.folder.join("postmortem/old.stack"))
    stack.touch()
    sweep = scene.sweep()
    sweep.records(50, pending=False)
    assert [one.file for one in sweep.done] == [old, "postmortem/old.stack"]
    assert scene.names() == {young}


def test_a_pending_record_is_a_living_servers(scene: Scene) -> None:
    """Its reap is still under way; without a server nobody will ever complete it."""
    pending = scene.record("pending", ago=100, outcome="pending")
    sweep = scene.sweep()
    sweep.records(50, pending=False)
    assert sweep.done == []
    sweep.records(50, pending=True)
    assert [one.file for one in sweep.done] == [pending]


def test_what_is_no_record_is_left_alone(scene: Scene) -> None:
    """Somebody's notes beside the records, whatever they are called."""
    scene.record("old", ago=100)
    notes = Path(scene.folder.join("postmortem"))
    (notes / "notes.json").write_text("{}")
    (notes / "notes.txt").write_text("noticed")
    (notes / "link.json").symlink_to(notes / "old.json")
    sweep = scene.sweep()
    sweep.records(50, pending=True)
    assert [left.file for left in sweep.left] == ["postmortem/link.json", "postmortem/notes.json"]
    assert scene.names() >= {"postmortem/notes.json", "postmortem/notes.txt"}


def test_a_lost_hosts_leases_are_removed_once_they_ran_out(scene: Scene) -> None:
    """Whether its workers live can't be seen from here: one that is not due yet may be renewed any moment."""
    over, done = scene.lease(LIVING, "over", left=-1), scene.lease(LIVING, "done", held=False)
    due = scene.lease(LIVING, "due", left=60)
    sweep = scene.sweep(lost=True)
    sweep.leases()
    assert {one.file for one in sweep.done} == {over, done}
    assert sweep.left == [Left(due, "not due for 60 s more: its worker may live")]
    (record,) = scene.records()
    assert (record["scope"], record["outcome"], record["overdue"]) == ("over", "abandoned", None)
    assert record["reason"] == "its host is lost; found by leasetimer clear"


def test_a_lost_hosts_presence_is_removed(scene: Scene) -> None:
    """So that nobody takes a server for hung that is no more; nothing happens where there is none."""
    scene.folder.make()
    Path(scene.folder.join("server.json")).touch()
    first, second = scene.sweep(lost=True), scene.sweep(lost=True)
    first.presence()
    second.presence()
    assert [len(sweep.done) for sweep in (first, second)] == [1, 0]
    assert scene.names() == set()
