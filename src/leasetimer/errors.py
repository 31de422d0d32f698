"""The errors leasetimer raises. Each class owns its exit code, which the command line ends with."""

from __future__ import annotations


class LeasetimerError(Exception):
    """Base of every error of leasetimer's own. Ends a command with ``exit_code``."""

    exit_code = 1


class BadValue(LeasetimerError, ValueError):
    """A value that can't be taken: the message names what it got and what it takes."""

    exit_code = 2


class ServerRefused(LeasetimerError, RuntimeError):
    """Another server serves this host id in this directory; the message says who."""

    exit_code = 3


class NoServer(LeasetimerError, RuntimeError):
    """A live server was required on this host, and there is none."""

    exit_code = 4


class DirectoryUnusable(LeasetimerError, OSError):
    """The lease directory can't be made, entered or written; the message says which and why."""

    exit_code = 5


class NoLease(LeasetimerError, LookupError):
    """There is no lease of that worker and scope to renew or release."""

    exit_code = 6


class NotTheWorker(LeasetimerError, ValueError):
    """The process a lease was asked for can't be its worker: not a shell, dead, or somebody else's."""

    exit_code = 7


class LeaseUnreadable(LeasetimerError, ValueError):
    """A file in a lease's place that is no sound lease: torn, too long, no regular file, or lying about its name."""

    exit_code = 8


class LeaseTorn(LeaseUnreadable):
    """The checksum is wrong. Most often a write caught half-way: reading again helps."""


class LeaseNewer(LeaseUnreadable):
    """Written by a newer leasetimer than this one: reported, never guessed at."""


class CannotReap(LeasetimerError, OSError):
    """This system lacks what reaping needs; a server that can't reap does not start."""

    exit_code = 9


class NotConfigured(LeasetimerError, RuntimeError):
    """``expires`` was used with no client, no ``configure`` and no ``LEASETIMER_DIR``."""

    exit_code = 2
