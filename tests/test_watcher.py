"""File events on a real folder."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasetimer.watcher import Watcher

PATIENCE = 10.0


class Seen:
    """The names that a watcher has told of."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._more = threading.Condition()

    def __call__(self, name: str) -> None:
        with self._more:
            self.names.append(name)
            self._more.notify_all()

    def wait_for(self, name: str) -> bool:
        with self._more:
            return self._more.wait_for(lambda: name in self.names, PATIENCE)


def place(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def publish(folder: Path, name: str) -> None:
    (folder / f".{name}.new").write_text("x")
    (folder / f".{name}.new").rename(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "node1"
    folder.mkdir()
    return folder


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def watcher(folder: Path, seen: Seen) -> Iterator[Watcher]:
    watcher = Watcher(str(folder), seen)
    assert watcher.start()
    yield watcher
    watcher.stop()


def test_a_rename_into_place_is_seen(folder: Path, watcher: Watcher, seen: Seen) -> None:
    """The event that a publish raises, by its new name; writing and making files wakes nobody."""
    assert watcher.follow(place(folder))
    (folder / "made").write_text("x")
    with (folder / "made").open("a") as file:
        file.write("y")
    publish(folder, "a.lease")
    assert seen.wait_for("a.lease")
    publish(folder, "b.lease")
    assert seen.wait_for("b.lease")
    assert seen.names == ["a.lease", "b.lease"]


def test_names_that_are_no_utf8_are_passed_on(folder: Path, watcher: Watcher, seen: Seen) -> None:
    """Nothing that somebody puts there ends the observer's thread."""
    assert watcher.follow(place(folder))
    publish(folder, os.fsdecode(b"\xff.lease"))
    publish(folder, "a.lease")
    assert seen.wait_for("a.lease")


def test_following_the_same_folder_again_changes_nothing(folder: Path, watcher: Watcher, seen: Seen) -> None:
    """It is asked each second."""
    assert watcher.follow(place(folder))
    observer = watcher._observer
    assert observer is not None
    before = list(observer.emitters)
    assert watcher.follow(place(folder))
    assert list(observer.emitters) == before


@pytest.mark.parametrize("how", ["another inode", "the same inode"])
def test_a_folder_removed_and_made_again_is_watched_again(folder: Path, watcher: Watcher, seen: Seen, how: str) -> None:
    """Also where the file system gives it the inode of the one before, as ext4 does: that was silently not watched."""
    assert watcher.follow(place(folder))
    if how == "another inode":
        folder.rename(folder.parent / "away")
        folder.mkdir()
    else:
        for _ in range(50):
            before = place(folder)
            shutil.rmtree(folder)
            folder.mkdir()
            if place(folder) == before:
                break
            assert watcher.follow(place(folder))
        else:
            pytest.skip("this file system gives another inode each time")
    publish(folder, "unseen.lease")
    for _ in range(100):
        assert watcher.follow(place(folder))
        publish(folder, "a.lease")
        with seen._more:
            if seen._more.wait_for(lambda: "a.lease" in seen.names, 0.05):
                return
    pytest.fail("not watched again")


def test_no_folder_is_no_events(watcher: Watcher) -> None:
    """The server then looks each second."""
    assert not watcher.follow(None)


def test_where_inotify_can_give_no_watch_it_says_so_once(
    folder: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tried again each second, not told each second; and once there is one again, it watches."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    with monkeypatch.context() as patch:
        patch.setattr(watcher._observer, "schedule", refuse)
        for _ in range(3):
            assert not watcher.follow(place(folder))
    assert caplog.text.count("no file events") == 1
    assert watcher.follow(place(folder))


def test_where_no_observer_can_be_had_it_says_so(
    folder: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of inotify instances or threads: no events, no error."""

    def refuse() -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("leasetimer.watcher.Observer", refuse)
    watcher = Watcher(str(folder), seen)
    assert not watcher.start()
    assert not watcher.follow(place(folder))
    assert caplog.text.count("no file events") == 1
    watcher.stop()


def test_after_stop_nothing_is_seen(folder: Path, watcher: Watcher, seen: Seen) -> None:
    """And asking again says that there are no events."""
    assert watcher.follow(place(folder))
    watcher.stop()
    assert watcher._observer is not None
    watcher._observer.join(PATIENCE)
    publish(folder, "a.lease")
    assert not watcher.follow(place(folder))
    assert seen.names == []
