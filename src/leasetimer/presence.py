"""``server.json``: who serves this host in this directory, and that it still does. Read by workers and other hosts.

The worker's side of this loads the standard library only.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .clock import Clock
from .directory import PRESENCE, Folder
from .errors import LeaseUnreadable
from .process import Processes

SCHEMA = 1
BEAT_INTERVAL = 10.0
"""Seconds between two beats, at most."""
STALE_AFTER = 60.0
"""Seconds without a beat after which a server on this boot counts as hung: six beats that never came."""


_KINDS = {"pid": int, "start": int, "boot": str, "uid": int, "beat": int} | dict.fromkeys(
    ("time", "monotonic", "interval"), (int, float)
)


class Presence(NamedTuple):
    """What a server says of itself. Times in seconds; ``beat`` counts up; ``fields`` is all there is."""

    host: str
    pid: int
    start: int
    boot: str
    uid: int
    serving: bool
    beat: int
    time: float
    monotonic: float
    interval: float
    fields: dict[str, Any]

    def describe(self) -> str:
        """Who it is, for a message."""
        return f"pid {self.pid} of uid {self.uid} on boot {self.boot[:8]}, beat {self.beat}"


def read_presence(folder: Folder) -> Presence | None:
    """What stands in the folder's ``server.json``; None if there is none or it can't be understood.

    Raises ``OSError`` where the file system fails.
    """
    import json

    try:
        fields = json.loads(folder.read(PRESENCE).data)
        values = {key: fields[key] for key in Presence._fields if key not in ("serving", "fields")}
        presence = Presence(serving=fields["state"] == "serving", fields=fields, **values)
        sound = all(isinstance(fields[key], kind) for key, kind in _KINDS.items()) and presence.pid > 1
        sound = sound and all(0 <= one < float("inf") for one in (presence.monotonic, presence.time, presence.interval))
    except (FileNotFoundError, NotADirectoryError, LeaseUnreadable, ValueError, KeyError, TypeError, RecursionError):
        return None
    return presence if sound else None


def write_presence(folder: Folder, presence: Presence) -> int:
    """Replace ``server.json``; the uid that the file system gives it. Raises ``OSError``."""
    import json

    fields = {"schema": SCHEMA, "state": "serving" if presence.serving else "stopped"}
    fields |= {key: value for key, value in presence._asdict().items() if key not in ("serving", "fields")}
    return folder.replace(PRESENCE, json.dumps(fields | presence.fields, indent=1).encode() + b"\n")


def same_space(presence: Presence, processes: Processes) -> bool:
    """Whether that server's pids are in the pid namespace that this process sees."""
    mine = processes.namespace("pid")
    return bool(presence.fields.get("pidns", mine) == mine)


def is_here(presence: Presence, processes: Processes) -> bool:
    """Whether that very server process runs on this boot. It may be stopped or hung all the same."""
    if presence.boot != processes.boot() or not same_space(presence, processes):
        return False
    stat = processes.stat(presence.pid)
    return stat is not None and stat.start == presence.start and stat.state not in "ZX"


def live_server(folder: Folder, clock: Clock, processes: Processes) -> Presence | None:
    """The live server of this host in this folder, whoever's. One whose beat is ``STALE_AFTER`` old is none."""
    presence = read_presence(folder)
    if presence is None or not presence.serving or not is_here(presence, processes):
        return None
    return presence if clock.monotonic() - presence.monotonic < STALE_AFTER else None


def server_here(folder: Folder, clock: Clock, processes: Processes) -> Presence | None:
    """The live server that guards this user's workers here: root's or the user's own, as no other may signal them."""
    server = live_server(folder, clock, processes)
    return server if server and server.uid in (0, os.geteuid()) else None


def own_presence(folder: Folder, processes: Processes, interval: float) -> Presence:
    """The first presence of a server in this process."""
    stat = processes.stat(os.getpid())
    start = stat.start if stat else 0
    return Presence(
        folder.host, os.getpid(), start, processes.boot(), os.geteuid(), True, 0, 0.0, 0.0, interval, {"stages": []}
    )
