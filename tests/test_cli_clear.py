"""``leasetimer clear``."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from commands import Command
from leasetimer import LeaseTimerServer, locks
from leasetimer.directory import Folder
from leasetimer.errors import ServerRefused
from leasetimer.exclusive import Exclusive
from leasetimer.lease import Status, Worker, write_identity, write_lease
from leasetimer.names import file_name
from leasetimer.presence import own_presence, write_presence
from leasetimer.process import PROCESSES, identify


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.setenv("LEASETIMER_HOST", "node")
    monkeypatch.setattr(locks, "LOCKS", str(tmp_path / "locks"))
    return Command(monkeypatch, capsys)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("LEASETIMER_DIR", str(root))
    return root


def me() -> Worker:
    worker = identify(os.getpid(), "node")
    assert worker is not None
    return worker


def put(root: Path, worker: Worker, scope: str = "train", *, left: float = 600, held: bool = True) -> str:
    timens = PROCESSES.namespace("time")
    identity = write_identity(worker, scope, timens=timens, uid=0, signal=9, grace=1, tree=False, facts={})
    status = Status(held, 1, 3, time.time(), time.time() + left, max(0.0, time.monotonic() + left))
    name = file_name(worker.host, worker.pid, scope)
    os.close(Folder(str(root), worker.host).publish(".new", name, write_lease(status, identity)))
    return name


def names(root: Path, host: str = "node") -> set[str]:
    return {str(path.relative_to(root / host)) for path in (root / host).rglob("*") if path.is_file()}


def test_it_says_what_it_removed_and_where_the_record_is(call: Command, root: Path) -> None:
    """One line a file; a living worker's lease stays and is not mentioned; the second time there is nothing."""
    dead = put(root, me()._replace(start=1), "dead")
    living = put(root, me())
    said = call("clear")
    record = next(iter(names(root) - {living}))
    assert said == (0, f"removed lease {dead}: its worker is dead, record {record}\n", "")
    assert call("clear") == (0, f"nothing to clear for host node in {root}\n", "")


def test_a_dry_run_changes_nothing(call: Command, root: Path) -> None:
    """Not even a lock is taken."""
    put(root, me()._replace(start=1), "dead")
    before = names(root)
    said = call("clear", "--dry-run", "--older-than", "1d")
    assert said.out.startswith("would remove lease node,")
    assert names(root) == before
    assert not Path(locks.LOCKS).exists()


def test_json_is_one_object_a_line_with_stable_keys(call: Command, root: Path) -> None:
    """The keys that the reference documents; nothing where there is nothing to clear."""
    dead = put(root, me()._replace(start=1), "dead", held=False)
    assert call("clear", "--dry-run", "--json").objects[0]["removed"] is False
    assert call("clear", "--json").objects == [
        {
            "host": "node",
            "removed": True,
            "kind": "lease",
            "file": dead,
            "why": "its worker is dead",
            "record": None,
        }
    ]
    assert call("clear", "--json") == (0, "", "")


def test_records_are_removed_only_when_asked_for_by_age(call: Command, root: Path) -> None:
    """They are what the whole thing is for."""
    put(root, me()._replace(start=1), "dead")
    call("clear")
    (record,) = names(root)
    assert call("clear", "--older-than", "1h").out.startswith("nothing to clear")
    time.sleep(0.01)
    assert call("clear", "--older-than", "0.001").out == f"removed record {record}: old\n"
    assert names(root) == set()


def test_where_a_server_serves_only_old_records_are_removed(call: Command, root: Path) -> None:
    """It clears by itself: two that clear at once would take each other's files for the worker's."""
    folder = Folder(str(root), "node")
    folder.make()
    write_presence(folder, own_presence(folder, PROCESSES, 10)._replace(monotonic=time.monotonic(), time=time.time()))
    folder.replace("postmortem/old.json", b'{"outcome": "reaped", "noticed": 1.0}')
    folder.replace("postmortem/pending.json", b'{"outcome": "pending", "noticed": 1.0}')
    dead = put(root, me()._replace(start=1), "dead")
    said = call("clear", "--older-than", "1h")
    assert said.out == "removed record postmortem/old.json: old\n"
    assert said.err == "leasetimer: a server serves node and clears its leases itself: only old records\n"
    assert names(root) == {dead, "server.json", "postmortem/pending.json"}


def test_another_host_takes_lost(call: Command, root: Path) -> None:
    """Whether a process lives there can't be seen from here: somebody must say that none does."""
    lease = put(root, me()._replace(host="other"), left=-5)
    said = call("clear", "--host", "other")
    assert (said.code, said.out) == (2, "")
    assert (
        said.err
        == "leasetimer: --host other is not this host (node): it takes --lost, if nothing runs on it any more\n"
    )
    assert call("clear", "--lost").code == 2
    assert call("clear", "--lost", "--host", "node").code == 2
    assert call("clear", "--lost", "--host", "nobody").code == 2
    assert names(root, "other") == {lease}
    assert call("clear", "--lost", "--host", "other").out.startswith(
        f"removed lease {lease}: its host is lost, record "
    )
    assert len(names(root, "other")) == 1
    assert call("clear", "--host", "node", "--dir", root).code == 2, "a host that has no folder is a mistake"


def test_a_host_whose_server_beats_is_not_lost(call: Command, root: Path) -> None:
    """Whatever somebody says: refused with exit code 3, nothing removed."""
    put(root, me()._replace(host="other"), left=-5)
    folder = Folder(str(root), "other")
    presence = own_presence(folder, PROCESSES, 10)._replace(boot="another", time=time.time() - 3)
    write_presence(folder, presence)
    before = names(root, "other")
    said = call("clear", "--lost", "--host", "other")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("leasetimer: host other is not lost: its server beat 3")
    assert names(root, "other") == before
    write_presence(folder, presence._replace(time=time.time() - 300))
    assert "removed presence server.json: its host is lost\n" in call("clear", "--lost", "--host", "other").out


def test_what_is_left_alone_is_said_on_stderr(call: Command, root: Path) -> None:
    """It is no failure: exit code 0."""
    torn = root / "node" / "node,1,torn.lease"
    torn.parent.mkdir()
    torn.touch()
    said = call("clear")
    assert said.code == 0
    assert said.err == f"leasetimer: left alone: {torn}: 0 bytes are too short\n"
    assert torn.exists()


def test_what_could_not_be_removed_is_a_failure(call: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 5, as for everything that the directory refuses."""
    put(root, me()._replace(start=1), "dead", held=False)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Folder, "remove", refuse)
    said = call("clear")
    assert said.code == 5
    assert said.err.endswith("Operation not permitted\n")


def test_a_missing_directory_is_an_error_and_an_empty_one_is_not(call: Command, root: Path) -> None:
    """One line each, and nothing is made."""
    assert call("clear") == (0, f"nothing to clear for host node in {root}\n", "")
    assert list(root.iterdir()) == []
    said = call("clear", "--dir", root / "missing")
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
    assert not (root / "missing").exists()


def test_no_server_starts_while_it_clears(call: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the server's lock meanwhile, and gives it back."""
    put(root, me()._replace(start=1), "dead", held=False)
    server, refused = LeaseTimerServer(root, host="node"), []
    remove = Folder.remove

    def meanwhile(folder: Folder, name: str) -> None:
        with pytest.raises(RuntimeError, match="already served"):
            server.start()
        refused.append(name)
        remove(folder, name)

    monkeypatch.setattr(Folder, "remove", meanwhile)
    call("clear")
    monkeypatch.undo()
    assert refused
    monkeypatch.setattr(locks, "LOCKS", str(root.parent / "locks"))
    server.start()
    server.stop()


def test_a_server_that_starts_right_before_it_clears_is_left_to_it(
    call: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not there at the first look, it has the lock at the second."""
    dead = put(root, me()._replace(start=1), "dead", held=False)
    folder, take = Folder(str(root), "node"), Exclusive.take

    def beaten(lock: Exclusive, stopping: threading.Event) -> None:
        presence = own_presence(folder, PROCESSES, 10)
        write_presence(folder, presence._replace(monotonic=time.monotonic(), time=time.time()))
        with FileLock(locks.lock_path(folder, "server"), thread_local=False):
            take(lock, stopping)

    monkeypatch.setattr(Exclusive, "take", beaten)
    said = call("clear")
    assert (said.code, said.err) == (
        0,
        "leasetimer: a server serves node and clears its leases itself: only old records\n",
    )
    assert names(root) == {dead, "server.json"}


def test_another_machine_of_this_name_is_not_cleared(
    call: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers look like those of another boot: refused with exit code 3, nothing removed."""
    put(root, me()._replace(boot="another"))
    before = names(root)

    def refuse(*_: object) -> None:
        raise ServerRefused("another machine named node serves this directory")

    monkeypatch.setattr(Exclusive, "take", refuse)
    said = call("clear")
    assert (said.code, said.out) == (3, "")
    assert names(root) == before


@pytest.mark.real
def test_the_leases_of_a_killed_worker_are_cleared(call: Command, root: Path) -> None:
    """A real one that held two, and one that lives."""
    program = (
        "import leasetimer as timer, sys, time\n"
        "with timer.expires(60, 'outer'), timer.expires(60, 'inner'):\n"
        "    print(flush=True); time.sleep(60)"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        workers[0].kill()
        workers[0].wait()
        removed = call("clear", "--json").objects
        assert {lease["file"].split(",")[1] for lease in removed} == {str(workers[0].pid)}
        assert len(removed) == 2
        left = [name for name in names(root) if name.endswith(".lease")]
        assert {name.split(",")[1] for name in left} == {str(workers[1].pid)}
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
