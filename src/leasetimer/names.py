"""The names of lease files: ``HOST,PID,SCOPE.lease``, percent-encoded, and the dotted ones on the way. Pure.

HOST,PID,SCOPE.lease                  a lease
.HOST,PID,SCOPE.lease.TOKEN-N.new     in the making; TOKEN is the start ticks of the process that makes it
.HOST,PID,SCOPE.lease.TOKEN.moved     being cleared; TOKEN is unique
HOST,PID,SCOPE.lease.copy             for people, from a node-local stage; never judged
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import BadValue, LeaseUnreadable

LONGEST_SCOPE = 1024
"""Bytes of a scope kept as they are; a longer one is cut and carries the digest of the whole."""
LONGEST_NAME = 124
"""Bytes of a scope in a file name: with a host of 80, a pid and the longest ending that stays below 255."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ENCODED = [chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256)]
_NAME = re.compile(r"([\w%.-]+),([1-9]\d{0,9}),([\w%.~-]+)\.lease", re.ASCII)
_DOTTED = re.compile(r"\.(.+\.lease)\.([0-9a-f]+)(?:-[0-9a-f]+)?\.(new|moved)", re.ASCII)


def quote(text: str) -> str:
    """``text`` with every byte but letters, digits and ``_-.`` percent-encoded, those that were no UTF-8, too."""
    return "".join([_ENCODED[byte] for byte in text.encode("utf-8", "surrogateescape")])


def check_scope(scope: str) -> str:
    """``scope`` itself, if it can name a lease: text, not empty. Raises ``BadValue`` or ``TypeError``."""
    if not isinstance(scope, str):
        raise TypeError(f"scope must be text, got {scope!r}")
    if not scope:
        raise BadValue("scope must not be empty, got ''")
    try:
        scope.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadValue(f"scope must be text that UTF-8 can hold, got {scope!r}") from None
    return scope


def fit_scope(scope: str) -> str:
    """``scope``, or if it is longer than ``LONGEST_SCOPE`` bytes its beginning, ``~`` and the digest of the whole."""
    raw = scope.encode("utf-8", "surrogateescape")
    if len(raw) <= LONGEST_SCOPE and _escaped(scope) <= 3 * LONGEST_SCOPE:
        return scope
    start = raw[: LONGEST_SCOPE - 17].decode("utf-8", "ignore")
    if _escaped(start) > 2 * LONGEST_SCOPE:  # control characters take six bytes each: the lease must fit its page
        start = start[: LONGEST_SCOPE // 3]
    return start + "~" + _digest(scope)


def _escaped(scope: str) -> int:
    """Bytes that JSON takes for it: at most two each where all is printable ASCII, else at most six a character."""
    return 2 * len(scope) if scope.isascii() and scope.isprintable() else 6 * len(scope)


def file_name(host: str, pid: int, scope: str) -> str:
    """The name of a lease. Two scopes never share one: where the scope is cut it carries its digest."""
    scope = fit_scope(scope)
    encoded = quote(scope)
    if len(encoded) > LONGEST_NAME:
        encoded = re.sub("%.?$", "", encoded[: LONGEST_NAME - 17]) + "~" + _digest(scope)
    return f"{quote(host)},{pid},{encoded}.lease"


def split_name(name: str) -> tuple[str, int, str]:
    """Host, pid and encoded scope of a lease's name. Raises ``LeaseUnreadable`` where it is none."""
    match = _NAME.fullmatch(name)
    if not match:
        raise LeaseUnreadable("not the name of a lease: it takes HOST,PID,SCOPE.lease")
    host, pid, scope = match.groups()
    return _unquote(host), int(pid), scope


class Dotted(NamedTuple):
    """A name on the way: the ``lease`` name it belongs to, its ``token``, and whether it is ``moved`` (else new)."""

    lease: str
    token: str
    moved: bool


def split_dotted(name: str) -> Dotted | None:
    """What a dotted name is, or None if it is none of ours."""
    match = _DOTTED.fullmatch(name)
    return Dotted(match[1], match[2], match[3] == "moved") if match else None


def new_name(lease: str, start: int, number: int) -> str:
    """The temporary name of a lease in the making by the process of that start tick.

    ``number`` is another for each publish of a process: a signal handler may publish in the middle of a publish.
    """
    return f".{lease}.{start:x}-{number:x}.new"


def moved_name(lease: str, token: str) -> str:
    """The name a lease is moved to while it is cleared. ``token`` in hexadecimal, never used before."""
    return f".{lease}.{token}.moved"


def _unquote(text: str) -> str:
    raw = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8", "surrogateescape")


def _digest(text: str) -> str:
    import hashlib

    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
