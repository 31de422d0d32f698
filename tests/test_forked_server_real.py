"""The child that a serving process forks: the server is its parent's."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasetimer.directory import Folder
from leasetimer.errors import ServerRefused
from leasetimer.presence import read_presence
from leasetimer.server import LeaseTimerServer
from programs import HOST

pytestmark = pytest.mark.real


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LeaseTimerServer]:
    server = LeaseTimerServer(tmp_path, host=HOST)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("call", ["stop", "end"])
def test_what_a_forked_child_ends_is_not_the_parents_server(server: LeaseTimerServer, call: str) -> None:
    """It still says that it serves, it still does, and nobody else may."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        getattr(server, call)()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    presence = read_presence(Folder(server.root, HOST))
    assert presence is not None
    assert presence.serving
    assert [thread.name for thread in threading.enumerate()].count("leasetimer-recorder") == 1
    with pytest.raises(ServerRefused):
        LeaseTimerServer(server.root, host=HOST).start()
