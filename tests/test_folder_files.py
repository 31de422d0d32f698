"""The files of a host's folder: published, read, moved aside, replaced."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from folders import NAME, NEW, failing, publish
from folders import folder as folder
from leasetimer.directory import Folder
from leasetimer.errors import DirectoryUnusable, LeaseUnreadable
from leasetimer.lease import PAGE

# -- publish


def test_publish_keeps_the_descriptor_of_the_file_that_stands(folder: Folder) -> None:
    """What is written there later is seen under the name."""
    fd = folder.publish(NEW, NAME, b"one")
    os.pwrite(fd, b"two", 0)
    assert Path(folder.join(NAME)).read_bytes() == b"two"
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert folder.names() == [NAME]


def test_publish_replaces_the_file_in_one_step(folder: Folder) -> None:
    """A reader that has the old one open keeps the old one."""
    publish(folder, b"one")
    with open(folder.join(NAME), "rb") as reader:
        publish(folder, b"two")
        assert reader.read() == b"one"
    assert folder.read(NAME).data == b"two"


def test_publish_makes_the_folder_it_needs(folder: Folder) -> None:
    """Also after somebody has removed all of it."""
    publish(folder)
    os.unlink(folder.join(NAME))
    os.rmdir(folder.path)
    os.rmdir(folder.root)
    publish(folder)
    assert folder.names() == [NAME]


def test_publish_gets_over_a_leftover(folder: Folder) -> None:
    """What a failed publish could not remove does not stop the next."""
    folder.make()
    Path(folder.join(NEW)).write_bytes(b"rest" * 1000)
    publish(folder)
    assert folder.read(NAME).data == b"content"
    assert folder.names() == [NAME]


def test_publish_never_writes_through_a_link(folder: Folder, tmp_path: Path) -> None:
    """A link planted under the temporary name is replaced, and what it leads to stays as it is."""
    folder.make()
    (tmp_path / "precious").write_text("precious")
    os.symlink(tmp_path / "precious", folder.join(NEW))
    publish(folder)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not os.path.islink(folder.join(NAME))


@pytest.mark.parametrize("call", ["write", "rename"])
def test_a_failed_publish_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch, folder: Folder, call: str) -> None:
    """The earlier file stays in force, nothing is left half-made, and no descriptor leaks."""
    publish(folder, b"before")
    free = os.dup(0)
    os.close(free)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space left"):
            publish(folder, b"after")
    assert folder.read(NAME).data == b"before"
    assert folder.names() == [NAME]
    assert os.dup(0) == free
    os.close(free)


def test_a_file_written_in_part_is_not_published(monkeypatch: pytest.MonkeyPatch, folder: Folder) -> None:
    """A file system that fills up takes what fits, and says so only at the next write."""
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
        with pytest.raises(OSError, match="only 3 of 7 bytes were written") as caught:
            publish(folder)
    assert caught.value.errno == errno.ENOSPC
    assert folder.names() == []


def test_a_rename_that_was_done_but_reported_failed_counts_as_done(
    monkeypatch: pytest.MonkeyPatch, folder: Folder
) -> None:
    """As a retried NFS request reports ENOENT for the rename that it had made."""
    publish(folder, b"before")
    rename = os.rename

    def done_and_failed(old: str, new: str) -> None:
        rename(old, new)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", done_and_failed)
        publish(folder, b"after")
    assert folder.read(NAME).data == b"after"
    assert folder.names() == [NAME]


def test_a_rename_that_failed_with_nothing_there_is_a_failure(monkeypatch: pytest.MonkeyPatch, folder: Folder) -> None:
    """Whether it was done can't be told by a name that isn't there: the first error is what is raised."""
    folder.make()
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            publish(folder)
    assert folder.names() == []


def test_a_folder_that_can_not_be_written_is_the_callers_to_know(
    monkeypatch: pytest.MonkeyPatch, folder: Folder
) -> None:
    """No error is hidden."""
    folder.make()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing(errno.EACCES))
        with pytest.raises(PermissionError):
            publish(folder)


def test_a_folder_that_vanishes_again_and_again_is_a_failure(monkeypatch: pytest.MonkeyPatch, folder: Folder) -> None:
    """It is made again once for each publish, not for ever."""
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "make", lambda self: None)
        with pytest.raises(FileNotFoundError):
            publish(folder)


def test_publish_into_a_root_that_is_a_file_names_the_root(folder: Folder) -> None:
    """Not a temporary name that nobody has ever heard of."""
    Path(folder.root).touch()
    with pytest.raises(DirectoryUnusable, match=r"root can't be used: it is a file"):
        publish(folder)


# -- reading


def test_a_read_says_content_and_owner(folder: Folder) -> None:
    """Of the same file, not of whatever stands there a moment later."""
    publish(folder)
    found = os.stat(folder.join(NAME))
    assert folder.read(NAME) == (b"content", found.st_uid)
    assert folder.owner(NAME) == found.st_uid
    assert folder.owner("missing") is None


def test_a_read_is_a_byte_longer_than_a_page_at_most(folder: Folder) -> None:
    """A file of 10 MiB is told by that byte, and not read."""
    publish(folder)
    os.truncate(folder.join(NAME), 10 << 20)
    assert len(folder.read(NAME).data) == PAGE + 1


def test_a_missing_file_is_missing(folder: Folder) -> None:
    """Not unreadable: the name may come back."""
    with pytest.raises(FileNotFoundError):
        folder.read(NAME)
    assert folder.names() == []


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


def _hard_link(path: str) -> None:
    Path(path + ".other").touch()
    os.link(path + ".other", path)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda path: os.symlink("/etc/passwd", path), "not a regular file"),
        (lambda path: os.symlink(path, path), "not a regular file"),
        (_socket, "not a regular file"),
        (_hard_link, "a hard link, 2 names for one file"),
    ],
    ids=["fifo", "directory", "link", "link to itself", "socket", "hard link"],
)
def test_what_is_no_plain_file_is_refused(
    folder: Folder, plant: Callable[[str], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it neither blocks nor follows, and leaves no descriptor open."""
    folder.make()
    monkeypatch.chdir(folder.path)  # a socket's path must be short
    plant("x")
    free = os.dup(0)
    os.close(free)
    with pytest.raises(LeaseUnreadable) as caught:
        folder.read("x")
    assert str(caught.value) == says
    assert os.dup(0) == free
    os.close(free)


def test_another_failure_of_a_read_is_the_callers_to_know(monkeypatch: pytest.MonkeyPatch, folder: Folder) -> None:
    """An EIO is not a release."""
    monkeypatch.setattr(os, "open", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        folder.read(NAME)


# -- clearing, replacing


def test_moving_aside_never_meets_an_earlier_one(folder: Folder) -> None:
    """Each gets a name of its own, and a lease that is gone has none."""
    publish(folder, b"one")
    first = folder.move_aside(NAME)
    publish(folder, b"two")
    second = folder.move_aside(NAME)
    assert first
    assert second
    assert [folder.read(first).data, folder.read(second).data] == [b"one", b"two"]
    assert folder.move_aside(NAME) is None


def test_removing_what_is_gone_is_no_failure(folder: Folder) -> None:
    """Somebody else may have been quicker."""
    publish(folder)
    folder.remove(NAME)
    folder.remove(NAME)
    assert folder.names() == []


def test_a_reader_sees_the_old_file_or_the_new_one(folder: Folder) -> None:
    """Replacing goes by rename: a file held open stays whole."""
    folder.make()
    folder.replace("server.json", b"one")
    with open(folder.join("server.json"), "rb") as reader:
        folder.replace("server.json", b"two")
        assert reader.read() == b"one"
    assert folder.read("server.json").data == b"two"
    assert folder.names() == ["server.json"]


def test_replacing_makes_the_folder_below(folder: Folder) -> None:
    """The first record of a host makes its postmortem folder."""
    folder.make()
    folder.replace("postmortem/x.json", b"{}")
    assert Path(folder.join("postmortem/x.json")).read_bytes() == b"{}"


@pytest.mark.parametrize("call", ["write", "rename"])
def test_a_failed_replacement_leaves_nothing(monkeypatch: pytest.MonkeyPatch, folder: Folder, call: str) -> None:
    """A full disk is not filled further by what could not be finished."""
    folder.make()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space left"):
            folder.replace("x.json", b"{}")
    assert folder.names() == []
