"""Sweeping the leases of the dead, and nothing of the living's."""

from pathlib import Path

import pytest

from leasetimer.lease import Worker
from leasetimer.sweep import Left
from sweeping import BEFORE, DEAD, LIVING, Scene
from sweeping import scene as scene


def test_a_living_workers_leases_are_never_removed(scene: Scene) -> None:
    """Held, overdue or released, by name or moved aside: all of it is the worker's or the server's."""
    scene.lease(LIVING, "held")
    scene.lease(LIVING, "overdue", left=-60)
    scene.lease(LIVING, "released", held=False)
    scene.folder.move_aside(scene.lease(LIVING, "moved"))
    before = scene.names()
    assert scene.swept() == []
    assert scene.names() == before


@pytest.mark.parametrize(
    ("worker", "left", "outcome", "why"),
    [
        (DEAD, 60, "abandoned", "its worker is dead"),
        (DEAD, -60, "gone", "its worker is dead"),
        (LIVING._replace(start=499), 60, "abandoned", "its worker is dead"),
        (BEFORE, -60, "abandoned", "its worker ran before this machine's last boot"),
    ],
)
def test_a_lease_held_by_the_dead_is_recorded_and_removed(
    scene: Scene, worker: Worker, left: float, outcome: str, why: str
) -> None:
    """As its server would have told it, in the same record."""
    name = scene.lease(worker, left=left)
    sweep = scene.sweep()
    sweep.leases()
    (record,) = scene.records()
    assert (record["outcome"], record["scope"], record["pid"]) == (outcome, "train", worker.pid)
    assert record["reason"] == f"{why}; found by leasetimer clear"
    assert record["overdue"] == (60 if outcome == "gone" else None)
    (swept,) = sweep.done
    assert (swept.kind, swept.file, swept.why) == ("lease", name, why)
    assert scene.names() == {swept.record}


def test_one_record_tells_of_all_leases_of_a_dead_worker(scene: Scene) -> None:
    """The first that was due, with the others beside it; released ones are removed and not told."""
    scene.lease(DEAD, "outer", left=60)
    scene.lease(DEAD, "inner", left=6)
    scene.lease(DEAD, "done", held=False)
    assert len(scene.swept()) == 3
    (record,) = scene.records()
    assert (record["scope"], [other["scope"] for other in record["others"]]) == ("inner", ["outer"])
    assert len(scene.names()) == 1


def test_released_leases_of_the_dead_need_no_record(scene: Scene) -> None:
    """Nothing happened."""
    scene.lease(DEAD, held=False)
    assert len(scene.swept()) == 1
    assert scene.names() == set()


def test_what_a_server_has_told_is_not_told_again(scene: Scene) -> None:
    """It was killed between the record and the clearing: the record it wrote stays as it is."""
    scene.lease(DEAD)
    scene.swept()
    (record,) = Path(scene.folder.join("postmortem")).iterdir()
    record.write_bytes(record.read_bytes().replace(b"abandoned", b"reaped"))
    scene.lease(DEAD)
    assert len(scene.swept()) == 1
    assert scene.records()[0]["outcome"] == "reaped"


def test_a_lease_is_kept_if_its_record_cannot_be_written(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file system: the lease is then all that is known of the incident."""
    name = scene.lease(DEAD)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scene.folder, "replace", full)
    sweep = scene.sweep()
    sweep.leases()
    assert sweep.done == []
    assert sweep.left == [Left(name, "No space left on device", failed=True)]
    assert scene.names() == {name}


def test_all_files_of_a_dead_workers_lease_are_removed(scene: Scene) -> None:
    """Those moved aside by a server that was killed while it cleared, too."""
    scene.folder.move_aside(scene.lease(DEAD, seq=1))
    scene.folder.move_aside(scene.lease(DEAD, seq=2))
    assert len(scene.swept()) == 1
    assert len(scene.names()) == 1


def test_what_was_never_finished_is_removed_once_its_maker_is_gone(scene: Scene) -> None:
    """A lease in the making and a half-written record; the living may still be at it."""
    scene.folder.make()
    Path(scene.folder.join("postmortem")).mkdir()
    kept = {".node,4242,train.lease.1f4.new", ".server.json.1092.part"}  # 500 ticks, pid 4242
    gone = {".node,4242,train.lease.1f3.new", ".node,99,train.lease.1f4.new", "postmortem/.x.json.63.part"}
    for name in kept | gone:
        Path(scene.folder.join(name)).touch()
    assert set(scene.swept()) == gone
    assert scene.names() == kept


def test_what_cannot_be_read_or_judged_is_left_alone(scene: Scene) -> None:
    """A torn file, a directory, a worker of another pid namespace: named, with the reason."""
    scene.lease(DEAD._replace(pidns=1), "container")
    Path(scene.folder.join("node,1,torn.lease")).touch()
    Path(scene.folder.join("node,2,dir.lease")).mkdir()
    before = scene.names()
    sweep = scene.sweep()
    sweep.leases()
    assert [(left.file, left.failed) for left in sweep.left] == [
        ("node,1,torn.lease", False),
        ("node,2,dir.lease", False),
        ("node,99,container.lease", False),
    ]
    assert scene.names() == before


def test_a_file_that_cannot_be_removed_is_a_failure_and_the_others_are_removed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, in a directory with the sticky bit."""
    theirs, ours = scene.lease(DEAD, "a", held=False), scene.lease(DEAD._replace(pid=98), "b", held=False)
    remove = scene.folder.remove

    def refusing(name: str) -> None:
        if theirs in name:
            raise PermissionError(1, "Operation not permitted")
        remove(name)

    monkeypatch.setattr(scene.folder, "remove", refusing)
    sweep = scene.sweep()
    sweep.leases()
    assert [one.file for one in sweep.done] == [ours]
    assert sweep.left == [Left(theirs, "Operation not permitted", failed=True)]


def test_the_dead_are_swept_where_their_pid_has_come_again(scene: Scene) -> None:
    """Their file was moved aside, the name is now a living worker's: only the one that is dead loses anything."""
    dead = LIVING._replace(start=499)
    aside = scene.folder.move_aside(scene.lease(dead))
    living = scene.lease(LIVING)
    assert scene.swept() == [living]
    assert scene.records()[0]["lease"]["start"] == 499
    assert living in scene.names()
    assert aside not in scene.names()


def test_a_leftover_that_cannot_be_removed_or_is_none_is_left_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fails, one has a name that no lease in the making has: both are named."""
    scene.folder.make()
    for name in (".node,99,a.lease.1f4.new", ".notes.lease.1f4.new"):
        Path(scene.folder.join(name)).touch()

    def refuse(_: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(scene.folder, "remove", refuse)
    sweep = scene.sweep()
    sweep.leases()
    assert {(left.file, left.failed) for left in sweep.left} == {
        (".node,99,a.lease.1f4.new", True),
        (".notes.lease.1f4.new", False),
    }


def test_a_dry_sweep_tells_the_same_and_changes_nothing(scene: Scene) -> None:
    """Neither a file nor a record."""
    scene.lease(DEAD)
    scene.lease(DEAD, "done", held=False)
    scene.record("old", ago=100)
    Path(scene.folder.join(".node,99,train.lease.1f4.new")).touch()
    before = scene.names()
    dry, real = scene.sweep(dry=True), scene.sweep()
    for sweep in (dry, real):
        sweep.records(50, pending=False)
        sweep.leases()
        if sweep is dry:
            assert scene.names() == before
    assert dry.done == real.done
    assert len(real.done) == 4
