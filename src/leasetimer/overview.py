"""What all hosts of a directory hold, and whether their servers are alive. Reads only, changes nothing.

Of another machine only its files are known, and their times are as good as the two clocks: what is said of it here is
for people, and nothing is decided by it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .clock import CLOCK, Clock
from .directory import Folder, hosts
from .errors import BadValue, LeaseUnreadable
from .lease import Lease
from .leasefiles import LeaseFiles
from .presence import STALE_AFTER, is_here, read_presence
from .process import PROCESSES, Processes, host_id

ServerState = Literal["serving", "silent", "killed", "stopped", "none", "unknown"]
LeaseState = Literal["held", "released", "overdue"]


class Server(NamedTuple):
    """What a host's server is: ``silent`` has not beaten for a minute, ``killed`` is gone without having said so.

    ``beat_age`` is how many seconds ago it last beat, None where it never did. ``exact`` where this boot's monotonic
    clock says so; otherwise it compares two hosts' clocks.
    """

    state: ServerState
    beat_age: float | None = None
    exact: bool = True


class Holding(NamedTuple):
    """A lease, and how it stands. ``left`` in seconds, negative past the deadline.

    ``alive`` says whether its worker is, where that can be known: on this host.
    """

    lease: Lease
    state: LeaseState
    left: float
    alive: bool | None


class Unread(NamedTuple):
    """A file in a lease's place that could not be read as one, by path, and why."""

    path: str
    problem: str


class Host(NamedTuple):
    """What one host's folder says. ``holdings`` the most urgent first, the released last."""

    name: str
    server: Server
    holdings: list[Holding]
    unread: list[Unread]


def overview(
    root: str, host: str | None = None, *, clock: Clock = CLOCK, processes: Processes = PROCESSES
) -> list[Host]:
    """All hosts that have a folder in ``root``, or the one named.

    Raises ``DirectoryUnusable`` where there is no ``root``, ``BadValue`` for a host that has no folder in it.
    """
    names = hosts(root)
    if host is not None:
        if host not in names:
            raise BadValue(f"host must be one of {root}, which has {', '.join(names) or 'none'}; got {host!r}")
        names = [host]
    look = _Look(clock, processes)
    return [look.at(Folder(root, name)) for name in names]


class _Look:
    def __init__(self, clock: Clock, processes: Processes) -> None:
        self._clock = clock
        self._processes = processes
        self._boot = processes.boot()
        self._pidns, self._timens = processes.namespace("pid"), processes.namespace("time")
        self._here = host_id(processes)

    def at(self, folder: Folder) -> Host:
        files = LeaseFiles(folder)
        holdings, unread = [], []
        try:
            names = sorted(files.listed()[0])
        except OSError as error:
            names = []
            unread.append(Unread(folder.path, error.strerror or str(error)))
        for name in names:
            try:
                holdings += [self._holding(lease) for lease in files.read(name)]
            except (LeaseUnreadable, OSError) as error:
                unread.append(Unread(folder.join(name), getattr(error, "strerror", None) or str(error)))
        holdings.sort(key=lambda holding: (holding.state == "released", holding.left))
        server = server_of(folder, clock=self._clock, processes=self._processes)
        return Host(folder.host, server, holdings, unread)

    def _holding(self, lease: Lease) -> Holding:
        status, worker = lease.status, lease.worker
        same_boot = worker.boot == self._boot
        alive: bool | None = None
        if worker.host == self._here:
            if not same_boot:
                alive = False
            elif worker.pidns == self._pidns:
                alive = self._processes.alive(worker)
        if same_boot and lease.identity.timens == self._timens:
            left = status.deadline - self._clock.monotonic()
        else:
            left = status.expires - self._clock.now()
        state: LeaseState = "released" if not status.held else "held" if left > 0 else "overdue"
        return Holding(lease, state, left, alive)


def server_of(folder: Folder, *, clock: Clock = CLOCK, processes: Processes = PROCESSES) -> Server:
    """How the server of that folder's host is, as far as it can be told from here."""
    try:
        presence = read_presence(folder)
    except OSError:
        return Server("unknown")
    if presence is None:
        return Server("none")
    exact = presence.boot == processes.boot()
    age = clock.monotonic() - presence.monotonic if exact else clock.now() - presence.time
    state: ServerState = "serving" if age < STALE_AFTER else "silent"
    if not presence.serving:
        state = "stopped"
    elif exact and folder.host == host_id(processes) and not is_here(presence, processes):
        state = "killed"
    return Server(state, age, exact)
