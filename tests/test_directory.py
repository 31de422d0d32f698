"""The directory: where it is, whose it is, and what makes it unusable."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from folders import failing
from folders import folder as folder
from leasetimer import directory
from leasetimer.directory import Folder, hosts, make_root, root_path, unusable
from leasetimer.errors import DirectoryUnusable

# -- ROOT and the folder


def test_a_missing_root_is_made_for_its_user_only(folder: Folder) -> None:
    """Nobody else reads or writes what was not there before."""
    folder.make()
    assert stat.S_IMODE(os.stat(folder.root).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700


def test_a_host_folder_is_as_open_as_its_root(folder: Folder) -> None:
    """Whoever may write into ROOT may write there, whatever this process' umask is; sticky and setgid go along."""
    os.mkdir(folder.root)
    os.chmod(folder.root, 0o3777)
    folder.make()
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o3777


def test_making_it_twice_changes_nothing(folder: Folder) -> None:
    """The second worker finds the folder of the first."""
    folder.make()
    os.chmod(folder.path, 0o750)
    folder.make()
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o750


def test_a_root_that_is_a_file_is_named(folder: Folder) -> None:
    """One line says which path it is and what it takes."""
    Path(folder.root).touch()
    with pytest.raises(DirectoryUnusable) as caught:
        folder.make()
    assert (
        caught.value.strerror == f"directory {folder.root} can't be used: it is a file; it takes a writable directory"
    )
    assert caught.value.errno == errno.ENOTDIR


@pytest.mark.parametrize("plant", [os.symlink, lambda target, path: Path(path).touch()], ids=["link", "file"])
def test_a_folder_that_somebody_else_planted_is_refused(
    folder: Folder, plant: Callable[[str, str], None], tmp_path: Path
) -> None:
    """A link in the folder's place would lead the server into a folder of somebody's choice."""
    make_root(folder.root)
    plant(str(tmp_path), folder.path)
    with pytest.raises(DirectoryUnusable, match="it is a"):
        folder.make()


def test_a_root_that_can_not_be_made_is_named(monkeypatch: pytest.MonkeyPatch, folder: Folder) -> None:
    """What the file system says is in the message."""
    monkeypatch.setattr(os, "mkdir", failing(errno.EROFS))
    with pytest.raises(DirectoryUnusable, match="can't be used: Read-only file system"):
        folder.make()


def test_a_folder_that_can_not_be_made_is_named(monkeypatch: pytest.MonkeyPatch, folder: Folder) -> None:
    """Also where only the host's folder is what can't be made."""
    make_root(folder.root)
    monkeypatch.setattr(os, "mkdir", failing(errno.EDQUOT))
    monkeypatch.setattr(directory, "make_root", lambda root: None)
    with pytest.raises(DirectoryUnusable, match="node1 can't be used: Disk quota exceeded"):
        folder.make()


def test_its_place_tells_it_from_another_of_its_name(folder: Folder) -> None:
    """A folder removed and made again is another, and none is none."""
    assert folder.place() is None
    folder.make()
    first = folder.place()
    os.rename(folder.path, folder.path + ".old")
    folder.make()
    assert None not in (first, folder.place())
    assert folder.place() != first


def test_a_folder_says_where_it_is(folder: Folder) -> None:
    """A log line that shows one can be understood."""
    assert repr(folder) == f"Folder({folder.path!r})"


# -- which ROOT


def test_the_directory_is_the_argument_then_the_variable_then_the_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The nearest word wins, and an empty variable is none."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME")
    assert root_path() == str(tmp_path / "home/.local/state/leasetimer")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert root_path() == str(tmp_path / "xdg/leasetimer")
    monkeypatch.setenv("LEASETIMER_DIR", "")
    assert root_path() == str(tmp_path / "xdg/leasetimer")
    monkeypatch.setenv("LEASETIMER_DIR", str(tmp_path / "variable"))
    assert root_path() == str(tmp_path / "variable")
    assert root_path(tmp_path / "argument") == str(tmp_path / "argument")


def test_one_directory_has_one_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a relative path or through a link it is the same ROOT."""
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    monkeypatch.chdir(tmp_path)
    assert root_path("link") == root_path("root/../root/") == str(tmp_path / "root")


def test_no_directory_at_all_is_refused() -> None:
    """An empty path is not the working directory."""
    with pytest.raises(DirectoryUnusable, match="no directory named"):
        root_path("")


def test_hosts_are_the_visible_folders(tmp_path: Path) -> None:
    """Files and hidden folders in ROOT are nobody's host."""
    for name in ("node2", "node1", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert hosts(str(tmp_path)) == ["node1", "node2"]
    with pytest.raises(DirectoryUnusable, match="the first lease makes it"):
        hosts(str(tmp_path / "missing"))


def test_an_error_without_words_is_named_all_the_same() -> None:
    """An OSError that a library raised with one argument has no strerror."""
    assert "can't be used: strange;" in str(unusable("/x", OSError("strange")))
