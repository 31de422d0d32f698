"""A lease held on behalf of a shell: acquired, renewed and released by commands."""

import os
import threading
from functools import partial
from pathlib import Path

import pytest

from fakes import TIMENS
from leasetimer.directory import MOST_WRITES
from leasetimer.errors import BadValue, LeaseUnreadable, NoLease, NotTheWorker
from leasetimer.lease import write_identity, write_lease
from leasetimer.names import moved_name
from leasetimer.onbehalf import OnBehalf
from shells import NAME, SHELL, Bench
from shells import bench as bench


def test_acquire_publishes_a_held_lease_of_the_worker(bench: Bench) -> None:
    """What a server reads is the shell's lease, due when it was asked for, and nothing else is left."""
    written = bench.behalf.acquire("train", 600)
    read = bench.read()
    assert read == written
    assert (read.worker, read.status.held, read.status.acquired) == (SHELL, True, 1)
    assert read.status.deadline == bench.clock.monotonic() + 600
    assert read.status.expires == bench.clock.now() + 600
    assert bench.folder.names() == [NAME]


def test_each_change_is_a_new_file(bench: Bench) -> None:
    """A rename raises a file event: renewed to an earlier deadline or released, the server knows at once."""
    acquire = partial(bench.behalf.acquire, "train", 600)
    places = []
    for change in (acquire, partial(bench.behalf.renew, "train", 5), partial(bench.behalf.release, "train")):
        change()
        places.append(os.stat(bench.folder.join(NAME)).st_ino)
    assert places[0] != places[1] != places[2]


def test_acquire_again_counts_and_keeps_since(bench: Bench) -> None:
    """The worker's progress is how often it acquired; since when it holds the lease stays."""
    first = bench.behalf.acquire("train", 600)
    bench.clock.jump(5)
    second = bench.behalf.acquire("train", 60)
    assert (second.status.acquired, second.status.since) == (2, first.status.since)
    assert second.status.seq == first.status.seq + 1
    assert second.status.deadline == bench.clock.monotonic() + 60


def test_acquire_after_a_release_starts_anew(bench: Bench) -> None:
    """Time between two acquires is not time spent in the scope."""
    bench.behalf.acquire("train", 600)
    bench.behalf.release("train")
    bench.clock.jump(5)
    again = bench.behalf.acquire("train", 600)
    assert (again.status.acquired, again.status.since) == (2, bench.clock.now())


def test_renew_takes_as_long_as_was_acquired_for(bench: Bench) -> None:
    """Also after a renewal that took another time; it counts no acquire."""
    bench.behalf.acquire("train", 600)
    bench.clock.jump(100)
    assert bench.behalf.renew("train", 5).status.deadline == bench.clock.monotonic() + 5
    renewed = bench.behalf.renew("train")
    assert (renewed.status.deadline, renewed.status.acquired) == (bench.clock.monotonic() + 600, 1)


def test_renew_and_release_keep_fields_they_do_not_know(bench: Bench) -> None:
    """The lease of a newer minor version loses nothing."""
    lease = bench.behalf.acquire("train", 600)
    fields = {**lease.identity.fields, "mood": {"of": ["a", "worker"]}}
    identity = str(fields).replace("'", '"').replace("False", "false").encode() + b"\n"
    os.close(bench.folder.publish(".new", NAME, write_lease(lease.status, identity)))
    bench.behalf.renew("train")
    assert bench.read().identity.fields == fields
    bench.behalf.release("train")
    assert bench.read().identity.fields == fields


def test_release_leaves_a_released_lease_for_the_server(bench: Bench) -> None:
    """It is published, not unlinked: an older file moved aside must not become the one that counts."""
    held = bench.behalf.acquire("train", 600)
    bench.behalf.release("train")
    assert not bench.read().status.held
    assert bench.read().status.seq == held.status.seq + 1
    assert bench.behalf.held("train") is None


@pytest.mark.parametrize("change", ["renew", "release"])
def test_without_a_held_lease_nothing_is_renewed_or_released(bench: Bench, change: str) -> None:
    """No directory, no lease, released already: NoLease each time, and nothing is made."""
    with pytest.raises(NoLease, match=r"no lease is held: scope='train' worker=node:4242"):
        getattr(bench.behalf, change)("train")
    assert not os.path.exists(bench.root)
    bench.behalf.acquire("other", 5)
    with pytest.raises(NoLease):
        getattr(bench.behalf, change)("train")
    bench.behalf.acquire("train", 5)
    bench.behalf.release("train")
    before = Path(bench.folder.join(NAME)).read_bytes()
    with pytest.raises(NoLease):
        getattr(bench.behalf, change)("train")
    assert Path(bench.folder.join(NAME)).read_bytes() == before


def test_a_lease_moved_aside_is_renewed_under_its_own_name(bench: Bench) -> None:
    """A server that was clearing while the shell acquired has left it under a moved name: it is held all the same."""
    held = bench.behalf.acquire("train", 600)
    aside = bench.folder.move_aside(NAME)
    assert aside is not None
    renewed = bench.behalf.renew("train")
    assert renewed.status.seq == held.status.seq + 1
    assert set(bench.folder.names()) == {NAME, aside}
    assert bench.read() == renewed


def test_a_lease_moved_aside_is_released_for_good(bench: Bench) -> None:
    """The release is the newest: clearing takes the moved file, too."""
    bench.behalf.acquire("train", 600)
    bench.folder.move_aside(NAME)
    bench.behalf.release("train")
    assert not bench.read().status.held
    assert bench.files.clear(NAME) is None
    assert bench.folder.names() == []


def test_acquire_goes_on_from_the_highest_seq_moved_aside(bench: Bench) -> None:
    """Else a server that was killed while it cleared would bring an older lease back."""
    seqs = []
    for token in ("c", "b", "a"):
        seqs.append(bench.behalf.acquire("train", 600).status.seq)
        os.rename(bench.folder.join(NAME), bench.folder.join(moved_name(NAME, token)))
    assert bench.behalf.acquire("train", 600).status.seq == seqs[-1] + 1 == seqs[0] + 3


def test_seq_grows_even_when_the_lease_was_cleared(bench: Bench) -> None:
    """A reap decided about the lease before must not take the next one for it: it compares the seq."""
    bench.behalf.acquire("train", 5)
    bench.behalf.release("train")
    last = bench.read().status.seq
    bench.files.clear(NAME)
    bench.clock.jump(0.1)
    assert bench.behalf.acquire("train", 5).status.seq > last


def test_a_lease_that_the_worker_took_itself_is_its_own(bench: Bench) -> None:
    """It writes through a descriptor it keeps: a file put in that one's place would swallow its renewals."""
    bench.folder.make()
    for held in (True, False):
        bench.put(SHELL, seq=3, held=held)
        before = Path(bench.folder.join(NAME)).read_bytes()
        acquire = partial(bench.behalf.acquire, "train", 5)
        for change in (acquire, partial(bench.behalf.renew, "train"), partial(bench.behalf.release, "train")):
            with pytest.raises(NotTheWorker, match="pid 4242 took itself"):
                change()
        assert bench.behalf.held("train") is None
        assert Path(bench.folder.join(NAME)).read_bytes() == before


def test_the_lease_of_an_earlier_process_of_that_pid_is_not_its(bench: Bench) -> None:
    """A pid used again: nothing to renew, nothing to refuse, and an acquire counts from one."""
    bench.folder.make()
    bench.put(SHELL._replace(start=499), seq=3, held=True)
    with pytest.raises(NoLease):
        bench.behalf.renew("train")
    status = bench.behalf.acquire("train", 5).status
    assert (status.acquired, status.since) == (1, bench.clock.now())
    assert status.seq > 3


def test_an_earlier_process_of_that_pid_hides_no_lease(bench: Bench) -> None:
    """Its file stands under the name, the shell's own was moved aside: that one is renewed."""
    held = bench.behalf.acquire("train", 5)
    bench.folder.move_aside(NAME)
    bench.put(SHELL._replace(start=499), seq=10**9, held=True)
    assert bench.behalf.renew("train").status.seq == held.status.seq + 1


def test_acquire_takes_the_place_of_a_file_that_is_no_lease(bench: Bench) -> None:
    """A torn file guards nobody; only renew and release must say what is wrong."""
    bench.folder.make()
    Path(bench.folder.join(NAME)).write_bytes(b"torn")
    with pytest.raises(LeaseUnreadable):
        bench.behalf.renew("train")
    bench.behalf.acquire("train", 5)
    assert bench.read().status.held


def test_a_lease_whose_own_time_is_no_duration_is_not_renewed_by_it(bench: Bench) -> None:
    """Whoever wrote it: one line, and an explicit time still works."""
    lease = bench.behalf.acquire("train", 600)
    identity = write_identity(
        SHELL, "train", timens=TIMENS, uid=0, signal=9, grace=1, tree=False, facts={"after": "soon"}
    )
    os.close(bench.folder.publish(".new", NAME, write_lease(lease.status, identity)))
    with pytest.raises(LeaseUnreadable, match="soon"):
        bench.behalf.renew("train")
    assert bench.behalf.renew("train", 5).status.held


def test_a_slow_publish_is_done_again_with_a_fresh_clock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server that was away for a minute would otherwise have stored a deadline in the past."""
    bench.folder.make()
    publish, delays = bench.folder.publish, [60.0, 0.0]

    def slow(temporary: str, name: str, data: bytes) -> int:
        bench.clock.jump(delays.pop(0))
        return publish(temporary, name, data)

    monkeypatch.setattr(bench.folder, "publish", slow)
    assert bench.behalf.acquire("train", 5).status.deadline == bench.clock.monotonic() + 5
    assert (bench.read().status.acquired, delays) == (1, [])
    delays[:] = [60.0] * MOST_WRITES
    bench.behalf.renew("train")
    assert delays == []


def test_a_failed_publish_leaves_what_was_in_force(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file system: it raises, and the earlier lease stays."""
    before = bench.behalf.acquire("train", 5)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.folder, "publish", full)
    with pytest.raises(OSError, match="No space"):
        bench.behalf.acquire("train", 600)
    assert bench.read() == before


def test_commands_take_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release waits for a renewal under way: else the renewal would bring back what it has ended."""
    bench.behalf.acquire("train", 600)
    renewing, released = threading.Event(), threading.Event()
    publish = bench.folder.publish

    def late(temporary: str, name: str, data: bytes) -> int:
        renewing.set()
        released.wait(0.05)
        return publish(temporary, name, data)

    monkeypatch.setattr(bench.folder, "publish", late)
    thread = threading.Thread(target=bench.behalf.renew, args=("train",))
    thread.start()
    renewing.wait(5)
    other = OnBehalf(bench.root, "node", SHELL, processes=bench.processes)
    other.release("train")
    released.set()
    thread.join()
    assert not bench.read().status.held


@pytest.mark.parametrize("rules", [{"signal": 0}, {"signal": 999}, {"grace": -1.0}, {"grace": float("nan")}])
def test_rules_that_cannot_be_are_refused(tmp_path: Path, rules: dict[str, float]) -> None:
    """Before anything is written."""
    with pytest.raises(BadValue, match="got"):
        OnBehalf(str(tmp_path / "root"), "node", SHELL, **rules)  # type: ignore[arg-type]


def test_values_that_cannot_be_are_refused(bench: Bench) -> None:
    """A scope without a name, a time without an end: nothing is written."""
    for scope, after in (("", 5.0), ("train", 0.0), ("train", float("inf")), ("train", 1e12)):
        with pytest.raises(BadValue):
            bench.behalf.acquire(scope, after)
    with pytest.raises(BadValue):
        bench.behalf.renew("train", -1)
    assert not os.path.exists(bench.root)
