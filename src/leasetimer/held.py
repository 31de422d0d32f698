"""One lease file of this process: what was written into it last, and the descriptor that is kept for the next write."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EIO
from zlib import crc32

from . import log
from .lease import CHECKSUM, RELEASED, TIMES, WIDTH

Rewrite = Callable[[int, bytes, int], int]


class Held:
    """A lease file, held or released (idle). ``Ledger`` writes its held statuses, flat, on the hot path."""

    __slots__ = (
        "acquired",
        "body",
        "fd",
        "held",
        "highest",
        "identity",
        "identity_crc",
        "kept",
        "name",
        "path",
        "seq",
        "since",
    )

    def __init__(self, name: str, path: str, identity: bytes, seq: int) -> None:
        self.name = name
        self.path = path
        self.identity = identity
        self.identity_crc = crc32(identity)
        self.seq = seq
        self.acquired = 0
        self.since = 0.0
        self.fd = -1
        self.held = False
        self.kept = False  # the name is the server's to clear: an older file of this lease may still say held
        self.highest = 0.0  # the highest deadline written since the last publish: what the server may wait for
        self.body = b""

    def end(self, rewrite: Rewrite) -> None:
        """Write that it is released. Raises ``OSError``."""
        self.seq += 1
        if rewrite(self.fd, self.released(), 0) != WIDTH:
            raise OSError(EIO, "lease written in part")

    def released(self) -> bytes:
        """The status line that says so, at this seq."""
        body = RELEASED % (self.seq, self.body[TIMES:])
        return body + CHECKSUM % crc32(body, self.identity_crc)

    def give_up(self, rewrite: Rewrite, fd: int, mark: bytes | None) -> None:
        """Let go of a file that a publish has replaced, by its descriptor; ``mark`` it released, if it says held.

        If the server has moved it, it would else be the verdict again once the new file is forgotten. Done after the
        publish, or there would be a moment in which nothing is held.
        """
        if fd < 0:
            return
        try:
            if mark is not None:
                rewrite(fd, mark, 0)
        except OSError as error:
            self.kept = True
            log.warning("replaced lease file not marked released", name=self.name, error=repr(error))
        os.close(fd)
