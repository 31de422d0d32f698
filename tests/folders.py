"""A host's folder in an empty directory, a file to publish there, and calls that fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leasetimer.directory import Folder

NAME = "node1,42,train.lease"
NEW = ".node1,42,train.lease.1f4.new"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "root"), "node1")


def publish(folder: Folder, data: bytes = b"content") -> int:
    fd = folder.publish(NEW, NAME, data)
    os.close(fd)
    return fd


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail
