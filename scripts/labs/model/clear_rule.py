"""Every interleaving of the design's clearing rule ("How a lease lives", step 4), searched for a violation.

One lease, its worker, servers, a reaper. A step is one system call, or a few that nobody else can tell from one.

    clear_rule.py                       the rule, in DEFAULTS
    clear_rule.py looser                the looser wordings of it in LOOSER: each must show a violation
    clear_rule.py servers=2 crash       a Config of one's own; loose=skip_look,keep_old loosens the rule
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any, NamedTuple

from search import Result, Role, search

LEASE = -1  # the lease's own name; a moved name or one in the making is its file's index, as it is never used again


@dataclass(frozen=True)
class Config:
    """What there is, and what may happen."""

    loose: frozenset[str] = frozenset()
    servers: int = 1
    uses: int = 3  # acquires and renews
    lives: int = 1  # processes that get the same pid in turn
    crash: bool = False  # of a server, which restarts at once
    reaper: bool = False
    renew: bool = False
    earlier: bool = False  # a deadline earlier than before: publish anew, whether the name stands or not
    evict: bool = False  # close an idle lease's descriptor
    unlink: bool = False  # … then unlink its name and forget it, as a clean exit does, too
    death: bool = False


class File(NamedTuple):
    owner: int  # which of the processes that get the pid in turn
    seq: int
    held: bool

    def __str__(self) -> str:
        return f"{'held' if self.held else 'released'} {self.seq} of process {self.owner}" if self.seq else "nothing"


NOTHING = File(-1, 0, False)


class World(NamedTuple):
    """What all share: names, files, the worker's descriptors, whether it lives."""

    committed: File  # for the checks: what the worker's last acquire, renew or release to return has written
    misread: str | None = None  # for the checks: how the reaper's verdict was wrong
    files: tuple[File, ...] = ()
    lease: int | None = None
    making: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    fd: int | None = None  # the worker's descriptor
    old: int | None = None  # … and the one from before it published anew
    reading: int | None = None  # the reaper's
    alive: bool = True

    def open(self, name: int) -> File | None:
        index = self.lease if name == LEASE else name if name in self.moved + self.making else None
        return None if index is None else self.files[index]

    def dead(self, file: File) -> bool:
        return file.owner < self.committed.owner or not self.alive

    def write(self, index: int, file: File) -> "World":
        return self._replace(files=(*self.files[:index], file, *self.files[index + 1 :]))

    def create(self, file: File) -> "World":
        return self._replace(files=(*self.files, file), making=(*self.making, len(self.files)))

    def unlink(self, name: int) -> "World":
        moved, making = (tuple(n for n in names if n != name) for names in (self.moved, self.making))
        return self._replace(moved=moved, making=making, lease=None if name == LEASE else self.lease)

    def tidy(self) -> "World":
        """Without what nothing leads to, so that worlds that differ in nothing else are one."""
        kept = {self.lease, *self.making, *self.moved, self.fd, self.old, self.reading}
        return self._replace(files=tuple(file if n in kept else NOTHING for n, file in enumerate(self.files)))


class Actor(NamedTuple):
    """Where a worker, a server or a reaper stands, and what it remembers."""

    at: str = "idle"
    names: tuple[int, ...] = ()  # still to go through
    file: File = NOTHING  # a server's: what it clears; a reaper's: the best it has read
    base: File = NOTHING  # a reaper's: what was committed when it began
    seq: int = 0
    uses: int = 0


Moves = Iterator[tuple[str, World, Actor]]
IDLE = Actor()


def verdict(config: Config, world: World) -> File:
    """The file of the lease's name if there is one, else the moved file of the highest seq."""
    files = [file or NOTHING for file in map(world.open, (LEASE, *world.moved))]
    lease, *moved = (file if file.owner == world.committed.owner else NOTHING for file in files)
    best = max(moved, default=NOTHING)
    first, second = (best, lease) if "moved_first" in config.loose else (lease, best)
    return second if first is NOTHING else first


def worker_moves(config: Config, world: World, me: Actor) -> Moves:
    """Acquire, renew, release, forget, die, and start again under the same pid."""
    fd, owner, loose, seq, uses = world.fd, world.committed.owner, config.loose, me.seq + 1, me.uses - 1
    held, released = File(owner, seq, True), File(owner, seq, False)

    def done(after: World) -> tuple[World, Actor]:
        return after._replace(committed=File(owner, me.seq, True), old=None), me._replace(at="held")

    if me.uses and (me.at == "idle" or (me.at == "held" and config.renew)):
        if fd is not None:
            yield "writes held in place", world.write(fd, held), Actor("look", seq=seq, uses=uses)
        if fd is None or config.earlier:
            yield "writes a file in the making", world.create(held), Actor("rename", seq=seq, uses=uses)
    if me.at == "held" and fd is not None:
        yield "releases", world.write(fd, released)._replace(committed=released), me._replace(at="idle", seq=seq)
    elif me.at == "idle" and fd is not None:
        if config.evict:
            yield "closes its descriptor", world._replace(fd=None), me
        if config.unlink:
            kept = me._replace(seq=0) if "seq_restarts" in loose else me
            yield "closes its descriptor and unlinks its name", world.unlink(LEASE)._replace(fd=None), kept
    elif me.at == "look" and (world.lease is not None or "skip_look" in loose):
        yield "finds its name standing", *done(world)
    elif me.at == "look":
        yield "finds its name gone, writes a file in the making", world.create(held), me._replace(at="rename", seq=seq)
    elif me.at == "rename":
        new = len(world.files) - 1
        after = world.unlink(new)._replace(lease=new, fd=new, old=fd)
        if fd is None or not world.files[fd].held or "keep_old" in loose:
            yield "renames it to the lease", *done(after)
        elif "mark_first" in loose:
            yield "marks its old file released", world.write(fd, world.files[fd]._replace(held=False)), me
        else:
            yield "renames it to the lease", after, me._replace(at="mark")
    elif me.at == "mark" and world.old is not None:
        yield "marks its old file released", *done(world.write(world.old, world.files[world.old]._replace(held=False)))
    elif me.at == "dead" and owner + 1 < config.lives:
        after = world._replace(alive=True, committed=File(owner + 1, 0, False))
        yield "starts again with the same pid", after, Actor(uses=config.uses)
    if config.death and world.alive:
        yield "dies", world._replace(fd=None, old=None, alive=False), Actor("dead")


def server_moves(config: Config, world: World, me: Actor) -> Moves:
    """Clear a living worker's released lease, bury a dead one's files; what is interrupted, the next look takes up."""
    name, rest = (*me.names, LEASE)[0], me.names[1:]
    lease, file, loose = world.open(LEASE), world.open(name), config.loose
    if me.at == "idle":
        if lease and not lease.held and not world.dead(lease):
            yield "reads the lease: released", world, Actor("move", (world.lease or 0,))
        for n in world.moved:
            if not world.files[n].held and not world.dead(world.files[n]):
                yield f"reads moved {n}: released", world, Actor("list", (n,), world.files[n])
        graves = sorted((world.files[n], n) for n in world.making + world.moved if world.dead(world.files[n]))
        names = (*(n for _, n in graves), *[LEASE] * bool(lease and world.dead(lease)))  # the verdict goes last
        for order in permutations(names) if names and "bury_any_order" in loose else [names] * bool(names):
            yield "finds the worker dead, lists its names", world, Actor("bury", order)
    elif me.at == "move" and "unlink_after_check" in loose:
        yield "unlinks the lease", world.unlink(LEASE), IDLE
    elif me.at == "move" and world.lease is not None:
        after = world._replace(lease=None, moved=tuple(sorted({*world.moved, world.lease})))
        opened = name if "old_descriptor" in loose else world.lease
        yield f"moves the lease to {world.lease}", after, Actor("read", (world.lease, opened))
    elif me.at == "back" and file and "rename_back" in loose:
        yield f"renames {name} back", world.unlink(name)._replace(lease=name), IDLE
    elif me.at == "back" and file and not lease:
        yield f"links {name} back", world._replace(lease=name), Actor("bury", (name,))
    elif me.at in ("move", "back") or (me.at == "read" and (file is None or world.dead(file))):
        yield "has nothing to go on with", world, IDLE
    elif me.at == "read" and not world.files[rest[0]].held:
        yield f"reads moved {name}: released", world, Actor("list", (name,), world.files[rest[0]])
    elif me.at == "read":
        back = loose & {"rename_back", "link_back"}
        yield f"reads moved {name}: held", world, Actor("back", (name,)) if back else IDLE
    elif me.at == "list":
        for order in permutations(n for n in world.moved if n != name and "keep_lower" not in loose):
            yield "lists the moved files", world, Actor("clear", (*order, name), me.file)
    elif me.at == "clear" and rest and not (file and file.owner == me.file.owner and file.seq < me.file.seq):
        yield f"leaves {name}", world, me._replace(names=rest)
    elif me.at == "clear":
        yield f"unlinks {name}", world.unlink(name), me._replace(names=rest) if rest else IDLE
    elif me.at == "bury" and name == LEASE and "bury_by_name" not in loose:
        yield "goes on to the lease", world, Actor("move", (world.lease or 0,))
    elif me.at == "bury":
        yield f"unlinks {name}", world.unlink(name), Actor("bury", rest) if rest else IDLE
    if config.crash and me.at != "idle":
        yield "crashes and restarts", world, IDLE


def reaper_moves(config: Config, world: World, me: Actor) -> Moves:
    """Read the verdict name by name, and look whether it is what it has to be."""
    name = (*me.names, LEASE)[0]
    file = world.open(name)
    ours = file if file and file.owner == me.base.owner else NOTHING

    def judge(found: File) -> tuple[World, Actor]:
        base, now = me.base, world.committed
        # A lease that was forgotten meanwhile may let an older file show, which must not be held.
        shown = found.held or not (found is NOTHING or config.unlink)
        stale = shown and found.seq < base.seq + (found.held > base.held)
        missed = base.held and now == base and not found.held
        amiss = world.alive and base.owner == now.owner and (stale or missed)
        return world._replace(reading=None, misread=f"MISREAD: {found}, not {base}" if amiss else None), IDLE

    if me.at == "idle" and world.alive:
        yield "begins to read", world, Actor("open", base=world.committed)
    elif me.at == "open" and ours is NOTHING:
        yield "finds no lease", world, me._replace(at="list")
    elif me.at == "open":
        yield "opens the lease", world._replace(reading=world.lease), me._replace(at="read")
    elif me.at == "read" and world.reading is not None:
        yield "reads the lease", *judge(world.files[world.reading])
    elif me.at == "list":
        for order in permutations(world.moved):
            yield "lists the moved files", world, me._replace(at="each", names=order)
    elif me.at == "each" and not me.names:
        yield "has its verdict", *judge(me.file)
    elif me.at == "each" and file is None:
        yield f"finds moved {name} gone, begins again", world, IDLE
    elif me.at == "each":
        yield f"reads moved {name}", world, me._replace(names=me.names[1:], file=max(ours, me.file))


def wrong(config: Config, world: World) -> str | None:
    """What is wrong with this world, whoever is in the midst of what."""
    said, real = verdict(config, world), world.committed
    if real.held and not (said.held and said.seq >= real.seq) and (world.alive or said is not NOTHING):
        return f"LOST: {real}, but the verdict is {said}"
    if not real.held and said.held and said.seq <= real.seq:
        return f"STALE: {real}, but the verdict is {said}"
    at_rest = world.alive and not world.making and (world.fd is None or not world.files[world.fd].held)
    end, me = world, IDLE
    while move := next(server_moves(replace(config, crash=False), end, me), None):  # one server, and nobody else
        _, end, me = move
    files = [file for file in map(end.open, (LEASE, *end.moved, *end.making)) if file and (at_rest or end.dead(file))]
    return f"LEFT for ever: {files[0]}" if files else world.misread


def check(config: Config) -> Result:
    """Search all that config leads to, nearest first."""
    if unknown := config.loose.difference(*(looser.loose for looser in LOOSER.values())):
        raise ValueError(f"loose takes the wordings in LOOSER, got {', '.join(unknown)}")
    serve = partial(server_moves, config)
    cast = [
        Role("worker", partial(worker_moves, config), Actor(uses=config.uses)),
        *(Role(f"server {n}", serve, IDLE) for n in range(1, config.servers + 1)),
        *[Role("reaper", partial(reaper_moves, config), IDLE)] * config.reaper,
    ]
    tidy = World._replace if "old_descriptor" in config.loose else World.tidy
    return search(World(File(0, 0, False)), cast, partial(wrong, config), tidy)


EVERYTHING = Config(crash=True, reaper=True, renew=True, earlier=True, evict=True, unlink=True, death=True)
DEFAULTS = {
    "everything": replace(EVERYTHING, uses=4),
    "two servers": replace(EVERYTHING, servers=2),
    "a pid used again": replace(EVERYTHING, uses=2, lives=2),
}
LOOSER = {
    "the server unlinks the name it read released": Config(frozenset({"unlink_after_check"})),
    "it reads again through the descriptor from before the move": Config(frozenset({"old_descriptor"}), earlier=True),
    "it renames back what it finds held": Config(frozenset({"rename_back"})),
    "it links back what it finds held": Config(frozenset({"link_back"}), earlier=True, reaper=True),
    "it leaves files of a lower seq, and the worker leaves them held": Config(frozenset({"keep_lower", "keep_old"})),
    "it unlinks a dead worker's names in any order": Config(frozenset({"bury_any_order"}), death=True),
    "it unlinks a dead worker's lease by name": Config(frozenset({"bury_by_name"}), death=True, lives=2, uses=1),
    "the worker doesn't look whether its name stands": Config(frozenset({"skip_look"})),
    "it leaves the file it gave up held, and forgets": Config(frozenset({"keep_old"}), unlink=True),
    "it marks that file before it has published anew": Config(frozenset({"mark_first"}), renew=True),
    "it counts from 1 again after it forgot": Config(frozenset({"seq_restarts"}), unlink=True, crash=True),
    "the verdict takes moved files first": Config(frozenset({"moved_first"})),
}


def main(words: list[str]) -> int:
    looser, own = words == ["looser"], dict[str, Any]()
    for word in [] if looser else words:
        name, _, value = word.partition("=")
        own[name] = frozenset(value.split(",")) if name == "loose" else int(value or 1)
    expected = True
    for name, config in ({" ".join(words): Config(**own)} if own else LOOSER if looser else DEFAULTS).items():
        result = check(config)
        print(f"{name}: {result}", flush=True)
        expected &= bool(config.loose) == (result.violation is not None)
    return not expected


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
