"""What stands in a directory, as any host sees it."""

import os
from pathlib import Path
from typing import Any

import pytest

from fakes import BOOT, PIDNS, TIMENS, FakeClock, FakeProcess, FakeProcesses
from leasetimer.directory import Content, Folder
from leasetimer.errors import BadValue, DirectoryUnusable
from leasetimer.lease import Status, Worker, write_identity, write_lease
from leasetimer.names import file_name
from leasetimer.overview import Host, overview
from leasetimer.presence import STALE_AFTER, Presence, write_presence


class Scene:
    """A directory as this host, ``node``, sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.processes = FakeProcesses(self.clock, FakeProcess(4242), FakeProcess(77, name="server"))

    def lease(
        self, worker: Worker, scope: str, *, left: float = 60, wall: float | None = None, held: bool = True
    ) -> str:
        """``wall``: the seconds left by the clock on the wall, where that says something else."""
        identity = write_identity(worker, scope, timens=TIMENS, uid=0, signal=9, grace=1, tree=False, facts={})
        now = self.clock.now()
        status = Status(
            held, 1, 3, now - 5, now + (left if wall is None else wall), max(0.0, self.clock.monotonic() + left)
        )
        name = file_name(worker.host, worker.pid, scope)
        os.close(Folder(str(self.root), worker.host).publish(".new", name, write_lease(status, identity)))
        return name

    def server(self, host: str, *, boot: str = BOOT, serving: bool = True, ago: float = 2.0, pid: int = 77) -> None:
        folder = Folder(str(self.root), host)
        folder.make()
        time, monotonic = self.clock.now() - ago, self.clock.monotonic() - ago
        write_presence(folder, Presence(host, pid, 500, boot, 0, serving, 5, time, monotonic, 10.0, {}))

    def see(self, host: str | None = None) -> list[Host]:
        return overview(str(self.root), host, clock=self.clock, processes=self.processes)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("LEASETIMER_HOST", "node")
    return Scene(tmp_path)


HERE = Worker("node", BOOT, PIDNS, 4242, 500)
THERE = Worker("other", "another-boot", PIDNS, 4242, 500)


def test_every_host_is_told_with_the_most_urgent_first(scene: Scene) -> None:
    """Overdue, then held by the time left, then released; hosts by name."""
    for scope, left, held in (("later", 60, True), ("done", -99, False), ("over", -5, True), ("soon", 6, True)):
        scene.lease(HERE, scope, left=left, held=held)
    scene.lease(THERE, "far")
    node, other = scene.see()
    assert [(one.lease.scope, one.state) for one in node.holdings] == [
        ("over", "overdue"),
        ("soon", "held"),
        ("later", "held"),
        ("done", "released"),
    ]
    assert (node.name, other.name, other.holdings[0].lease.scope) == ("node", "other", "far")


def test_time_left_is_the_monotonic_clocks_on_this_boot_only(scene: Scene) -> None:
    """Somebody set this machine's clock: its own leases don't care, another host's can be judged by nothing else."""
    scene.lease(HERE, "train", left=60, wall=9)
    scene.lease(THERE, "train", left=60, wall=9)
    node, other = scene.see()
    assert (node.holdings[0].left, other.holdings[0].left) == (60, 9)


def test_time_left_in_another_time_namespace_is_by_the_wall(scene: Scene) -> None:
    """There the monotonic clock has an offset of its own."""
    scene.lease(HERE, "train", left=60, wall=9)
    scene.processes.namespaces["time"] += 1
    assert scene.see()[0].holdings[0].left == 9


@pytest.mark.parametrize(
    ("worker", "alive"),
    [
        (HERE, True),
        (HERE._replace(start=499), False),
        (HERE._replace(pid=4243), False),
        (HERE._replace(boot="before"), False),
        (HERE._replace(pidns=1), None),
        (THERE, None),
        (THERE._replace(boot=BOOT), None),
    ],
)
def test_a_worker_is_alive_dead_or_unknown(scene: Scene, worker: Worker, alive: bool | None) -> None:
    """Known on this host, boot and pid namespace only: a pid of another space means another process."""
    scene.lease(worker, "train")
    assert scene.see()[0].holdings[0].alive is alive


@pytest.mark.parametrize(
    ("server", "state", "exact"),
    [
        ({}, "serving", True),
        ({"ago": STALE_AFTER + 1}, "silent", True),
        ({"pid": 78}, "killed", True),
        ({"serving": False}, "stopped", True),
        ({"boot": "before"}, "serving", False),
        ({"boot": "before", "ago": STALE_AFTER + 1}, "silent", False),
    ],
)
def test_a_server_here_is_told_by_its_process_and_its_beat(
    scene: Scene, server: dict[str, Any], state: str, exact: bool
) -> None:
    """On this boot the process decides, and the beat whether it hangs; of another boot the beat is all there is."""
    scene.server("node", **server)
    found = scene.see()[0].server
    assert (found.state, found.exact) == (state, exact)


@pytest.mark.parametrize(
    ("server", "state"),
    [
        ({}, "serving"),
        ({"ago": STALE_AFTER + 1}, "silent"),
        ({"serving": False}, "stopped"),
        ({"ago": -3.0}, "serving"),
    ],
)
def test_a_server_elsewhere_is_told_by_its_beat(scene: Scene, server: dict[str, Any], state: str) -> None:
    """Its pid says nothing here, whatever runs under that; its clock may be ahead."""
    scene.server("other", boot="another-boot", pid=4242, **server)
    found = scene.see()[0].server
    assert (found.state, found.exact, found.beat_age) == (state, False, server.get("ago", 2.0))


def test_a_container_of_this_machine_is_not_judged_by_its_pid(scene: Scene) -> None:
    """It shares the boot, so its beat is exact, but its pids are another space's."""
    scene.server("node-pid1", pid=78)
    assert scene.see()[0].server[:3] == ("serving", 2.0, True)


def test_a_host_without_a_server_has_none(scene: Scene) -> None:
    """None there, and a presence that can't be understood, are the same."""
    scene.lease(HERE, "train")
    assert scene.see()[0].server.state == "none"
    (scene.root / "node" / "server.json").write_text("{")
    assert scene.see()[0].server.state == "none"


def test_what_cannot_be_read_is_named_and_the_rest_is_told(scene: Scene) -> None:
    """Torn, empty, a link, a directory, one that lies about its name: each one line, never the end."""
    name = scene.lease(HERE, "train")
    folder = scene.root / "node"
    (folder / "node,1,torn.lease").write_bytes((folder / name).read_bytes()[:-9])
    (folder / "node,2,empty.lease").touch()
    (folder / "node,3,link.lease").symlink_to(folder / name)
    (folder / "node,4,dir.lease").mkdir()
    (folder / "node,5,lies.lease").write_bytes((folder / name).read_bytes())
    (folder / "notes.txt").write_text("not a lease, and not in a lease's place")
    host = scene.see()[0]
    assert [one.lease.name for one in host.holdings] == [name]
    assert [Path(one.path).name.split(",")[1] for one in host.unread] == ["1", "2", "3", "4", "5"]
    assert all(one.problem for one in host.unread)


def test_a_lease_moved_aside_is_told_once(scene: Scene) -> None:
    """A server that was killed while it cleared has left it so; with its own name back, that one counts."""
    name = scene.lease(HERE, "train")
    Folder(str(scene.root), "node").move_aside(name)
    assert [one.lease.scope for one in scene.see()[0].holdings] == ["train"]
    scene.lease(HERE, "train", held=False)
    assert [one.state for one in scene.see()[0].holdings] == ["released"]


def test_a_folder_that_cannot_be_listed_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server that fails for one host must not hide the others."""
    scene.lease(HERE, "train")
    scene.lease(THERE, "train")
    names, read = Folder.names, Folder.read

    def names_fail(folder: Folder) -> list[str]:
        if folder.host == "node":
            raise OSError(5, "Input/output error")
        return names(folder)

    def read_fails(folder: Folder, name: str) -> Content:
        if folder.host == "node":
            raise OSError(5, "Input/output error")
        return read(folder, name)

    monkeypatch.setattr(Folder, "names", names_fail)
    monkeypatch.setattr(Folder, "read", read_fails)
    node, other = scene.see()
    assert node.server.state == "unknown"
    assert node.unread == [(str(scene.root / "node"), "Input/output error")]
    assert len(other.holdings) == 1


def test_one_host_can_be_asked_for(scene: Scene) -> None:
    """One that has no folder is an error that names those that have."""
    scene.lease(HERE, "train")
    scene.lease(THERE, "train")
    assert [host.name for host in scene.see("other")] == ["other"]
    with pytest.raises(BadValue, match=r"which has node, other; got 'nobody'"):
        scene.see("nobody")


def test_without_a_directory_it_says_so(scene: Scene) -> None:
    """And makes none."""
    scene.root = scene.root / "missing"
    with pytest.raises(DirectoryUnusable, match="the first lease makes it"):
        scene.see()
    assert not scene.root.exists()


def test_it_changes_nothing(scene: Scene) -> None:
    """Not a name, not a time, also where a server would clear."""
    scene.lease(HERE, "train", held=False)
    scene.lease(HERE._replace(pid=9), "train")
    scene.server("node")

    def state() -> list[tuple[str, int, int]]:
        entries = sorted(scene.root.rglob("*"))
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_ino) for path in entries]

    before = state()
    scene.see()
    assert state() == before
