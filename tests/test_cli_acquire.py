"""``leasetimer acquire``, ``renew`` and ``release``: what they refuse, and what they do."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from commands import Command, leases, shell
from commands import call as call
from commands import root as root
from leasetimer import LeaseTimerServer
from leasetimer.overview import overview

ME = ("--pid", os.getpid())


# -- what can't be


@pytest.mark.parametrize("command", [("acquire", "train", "--after", "5"), ("renew", "train"), ("release", "train")])
@pytest.mark.parametrize(
    ("pid", "code", "message"),
    [
        ("0", 2, "got 0"),
        ("1", 2, "got 1"),
        ("-7", 2, "got -7"),
        ("99999999999999999999", 2, "got 99999999999999999999"),
        ("self", 2, "'self' is not a valid integer"),
        ("4194304", 7, "no process of pid 4194304 runs here"),
    ],
)
def test_a_pid_that_cannot_be_a_worker_is_refused(
    call: Command, root: Path, command: tuple[str, ...], pid: str, code: int, message: str
) -> None:
    """One line that names it, nothing written."""
    said = call(*command, "--pid", pid)
    assert (said.code, said.out, said.err.count("\n")) == (code, "", 1)
    assert message in said.err
    assert not root.exists()


def test_a_dead_process_and_a_thread_are_no_workers(call: Command, root: Path) -> None:
    """A zombie does nothing more; a thread's id is in /proc like a pid, but a lease holds processes to account."""
    child = subprocess.Popen(["true"], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert call("acquire", "train", "--after", "5", "--pid", child.pid).code == 7
    child.wait()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    said = call("acquire", "train", "--after", "5", "--pid", thread.native_id)
    stop.set()
    thread.join()
    assert said.code == 7
    assert f"is a thread of pid {os.getpid()}" in said.err
    assert not root.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start another user's process")
def test_another_users_process_is_no_worker(call: Command, root: Path) -> None:
    """Nobody may promise for somebody else: whoever obeys that lease would be tricked into a kill."""
    child = subprocess.Popen(["sleep", "60"], user=65534)
    try:
        said = call("acquire", "train", "--after", "5", "--pid", child.pid)
    finally:
        child.kill()
        child.wait()
    assert (said.code, said.out) == (7, "")
    assert f"pid {child.pid} is uid 65534's" in said.err
    assert not root.exists()


@pytest.mark.parametrize("after", ["0", "-3", "nan", "inf", "1000000000000", "", "soon"])
def test_a_time_that_cannot_be_is_refused(call: Command, root: Path, after: str) -> None:
    """One line that names it and what it takes."""
    for command in ("acquire", "renew"):
        said = call(command, "train", "--after", after, *ME)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert "takes a duration: 90, 90s" in said.err
        assert said.err.endswith(f"got {after!r}\n")
    assert not root.exists()


def test_a_scope_or_time_that_is_missing_is_refused(call: Command, root: Path) -> None:
    """As everywhere on the command line: exit code 2."""
    for args in (("acquire", "train"), ("acquire", "--after", "5"), ("renew",), ("acquire", "", "--after", "5", *ME)):
        said = call(*args)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert not root.exists()


@pytest.mark.parametrize("scope", ["/", "..", "a\nb", "x" * 10_000, "é 日本", "\udcff", "-x", "%2F", "a,b.lease"])
def test_a_scope_is_free_text(call: Command, root: Path, scope: str) -> None:
    """It is acquired, renewed and released whatever it is, one file each, inside the folder."""
    assert call("acquire", "--after", "5m", *ME, "--", scope).code == 0
    assert call("renew", *ME, "--json", "--", scope).objects[0]["scope"] == scope
    (lease,) = leases(root)
    assert lease.status.held
    said = call("release", *ME, "--", scope)
    assert (said.code, said.out.count("\n")) == (0, 1)
    assert not leases(root)[0].status.held


def test_a_directory_that_cannot_be_used_is_one_line(call: Command, root: Path) -> None:
    """A file, a file on the way, or nothing named: exit code 5."""
    root.write_text("a file")
    for directory in (root, root / "below"):
        said = call("acquire", "train", "--after", "5", *ME, "--dir", directory)
        assert (said.code, said.out) == (5, "")
        assert str(root) in said.err.splitlines()[-1]
        assert len(said.err.splitlines()) == 1
    assert call("acquire", "train", "--after", "5", *ME, "--dir", "").code == 5
    assert root.read_text() == "a file"


def test_without_a_lease_there_is_nothing_to_renew_or_release(call: Command, root: Path) -> None:
    """Exit code 6, who holds none, and nothing is made."""
    for command in ("renew", "release"):
        said = call(command, "train", *ME)
        assert (said.code, said.out) == (6, "")
        assert said.err == f"leasetimer: no lease is held: scope='train' worker=node:{os.getpid()} dir={root}\n"
    assert not root.exists()


# -- what is done


def test_json_is_one_object_with_stable_keys(call: Command, root: Path) -> None:
    """The same keys for all three; a release has no times."""
    acquire = call("acquire", "train", "--after", "5m", *ME, "--json").objects
    renew = call("renew", "train", *ME, "--json").objects
    release = call("release", "train", *ME, "--json").objects
    keys = ["did", "scope", "host", "pid", "count", "since", "expires"]
    assert [list(one) for one in (*acquire, *renew, *release)] == [keys] * 3
    assert [one["did"] for one in (*acquire, *renew, *release)] == ["acquired", "renewed", "released"]
    assert acquire[0]["expires"] - acquire[0]["since"] == pytest.approx(300, abs=0.01)
    assert (release[0]["pid"], release[0]["expires"]) == (os.getpid(), None)


def test_what_it_prints_fits_a_line_and_never_counts_below_zero(call: Command, root: Path) -> None:
    """A scope as long as a page is cut there; a deadline that has passed before it is printed is 0.0s away."""
    said = call("acquire", "x" * 900, "--after", "0.0001", *ME)
    assert said.out.startswith("acquired: scope=xxx")
    assert said.out.endswith(" expires in 0.0s\n")
    assert len(said.out) < 120
    assert call("acquire", "x" * 900, "--after", "1", *ME, "--json").objects[0]["scope"] == "x" * 900


def test_signal_grace_and_tree_are_the_leases(call: Command, root: Path) -> None:
    """SIGKILL and the whole tree unless told otherwise: a shell that is killed alone leaves what hangs behind."""
    call("acquire", "train", "--after", "5m", *ME)
    call("acquire", "other", "--after", "5m", *ME, "--signal", "term", "--kill-after", "1m", "--no-tree")
    other, train = (lease.identity for lease in leases(root))
    assert (train.signal, train.grace, train.tree) == (9, 10, True)
    assert (other.signal, other.grace, other.tree) == (15, 60, False)


def test_without_a_server_it_warns_and_does_it(call: Command, root: Path) -> None:
    """One line on stderr; where one is required it is refused with exit code 4, and nothing is written."""
    said = call("acquire", "train", "--after", "5m", *ME, "--require-server")
    assert (said.code, said.out) == (4, "")
    assert said.err == f"leasetimer: no live server for host node in {root}: run leasetimer serve\n"
    assert not root.exists()
    said = call("acquire", "train", "--after", "5m", *ME)
    assert (said.code, said.err) == (0, f"leasetimer: no live server for host node in {root}: nobody will reap\n")


@pytest.mark.real
def test_a_script_that_hangs_is_reaped_with_what_it_started(root: Path) -> None:
    """The whole way: no warning where a server serves, and the command that hangs goes with its script."""
    server = LeaseTimerServer(root, host="node")
    server.start()
    try:
        began = time.monotonic()
        script = "leasetimer acquire train --after 0.5 --require-server; sleep 50; echo never"
        said = shell(script, root)
        assert time.monotonic() - began < 20  # the sleep holds the script's stdout open: it was killed, too
    finally:
        server.stop()
    assert (said.code, said.err, said.out.count("\n")) == (-9, "", 1)
    (record,) = (root / "node" / "postmortem").iterdir()
    assert '"outcome": "reaped"' in record.read_text()


@pytest.mark.real
def test_a_renewing_loop_never_brings_back_what_a_release_has_ended(root: Path) -> None:
    """Loops in the background against releases, and a server that clears meanwhile: ended is ended."""
    server = LeaseTimerServer(root, host="node", max_interval=0.05)
    server.start()
    script = """
        (while :; do leasetimer renew train --pid $$ || [ $? = 6 ] || echo failed; done) & loop=$!
        for i in 1 2 3 4 5 6; do
            leasetimer acquire train --after 1h
            leasetimer release train || echo failed
            leasetimer ls --state held
        done
        kill $loop
    """
    try:
        said = shell(script, root)
        time.sleep(0.2)
        held = [one for host in overview(str(root)) for one in host.holdings if one.state != "released"]
    finally:
        server.stop()
    assert said.out.count("no held leases") == 6
    assert "failed" not in said.out
    assert said.out.count("acquired:") == said.out.count("released:") == 6
    assert held == []


@pytest.mark.real
def test_commands_for_one_worker_at_once_lose_nothing(root: Path) -> None:
    """Each acquire is counted: none overwrites another's."""
    shell("for i in 1 2 3 4 5 6 7 8; do leasetimer acquire train --after 1h --pid $$ & done; wait", root)
    (lease,) = leases(root)
    assert (lease.status.acquired, lease.status.held) == (8, True)
