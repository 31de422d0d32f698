"""A command as a child, in a process group of its own, with the signals and the terminal that are meant for it.

To the shell this process is the job; to the kernel's terminal driver the command's group is another one. So what the
terminal or anybody else tells this process is passed on, and a command that stops takes this process with it.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType

from .. import log
from ..process import PROCESSES

ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
MESSAGES = (signal.SIGUSR1, signal.SIGUSR2)
FORWARDED = (*ENDING, *MESSAGES, signal.SIGTSTP, signal.SIGCONT)
LOOK_INTERVAL = 0.05
"""Seconds between two looks whether a group that was told to end has ended."""
KILL_PATIENCE = 5.0
"""Seconds to wait for a group that got SIGKILL."""


class Signals:
    """The signals that this process gets, one by one, instead of what they do by themselves; inside a ``with`` block.

    A signal that was ignored when this process began stays ignored, here and in the command: that is what ``nohup`` and
    a shell's background are about.
    """

    def __enter__(self) -> Signals:
        self._fd, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._woken = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        heeded = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, _noted) for number in (signal.SIGCHLD, *heeded)}
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken)
        os.close(self._fd)
        os.close(self._wake)

    def take(self, timeout: float | None = 0.0) -> bytes:
        """The numbers of the signals that have come, a byte each; waits that many seconds (None: for ever) for one."""
        self._poll.poll(None if timeout is None else timeout * 1000)
        try:
            return os.read(self._fd, 4096)
        except BlockingIOError:
            return b""


def _noted(number: int, frame: FrameType | None) -> None:
    """Only so that the number reaches the wakeup descriptor; a handler, unlike SIG_IGN, does not survive an exec."""


def inherited() -> list[int]:
    """The descriptors beyond stderr that whoever called us meant for the command. To be asked first of all."""
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _passes(fd)]


def _passes(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the one that listed the folder
        return False


class Terminal:
    """The controlling terminal, if there is one: which process group has its foreground."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)

    def holder(self) -> int:
        """The group in its foreground; 0 without a terminal."""
        try:
            return os.tcgetpgrp(self._fd) if self._fd >= 0 else 0
        except OSError:  # hung up
            return 0

    def hand_to(self, group: int) -> None:
        """Put that group in its foreground, as a shell does."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # or doing it would stop this process
        try:
            os.tcsetpgrp(self._fd, group)
        except OSError as error:
            log.debug("terminal not handed over", group=group, error=error)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child:
    """A command that runs, as the leader of a process group of its own. ``OSError`` if it can't be started.

    It stays a zombie until the ``with`` block ends, so that its pid and group can't be another's when signalled.
    ``told_to_end`` is the last signal passed on that asks for an end, else 0.
    """

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], signals: Signals, fds: Sequence[int]) -> None:
        self._signals = signals
        self._group = os.getpgrp()
        self._process = subprocess.Popen(argv, env=environ, process_group=0, pass_fds=fds)
        self.pid = self._process.pid
        self.told_to_end = 0
        self._terminal = Terminal()
        # Of a pipeline or a script the terminal must go on telling the whole; there the command gets it when it asks.
        self._foreground = os.isatty(0) and self._group == os.getpid() and not _is_pipe(1)
        self._give()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.finish(signal.SIGTERM, KILL_PATIENCE, all_of_it=True)
        if self._terminal.holder() == self.pid:  # a script around this reads from the terminal next
            self._terminal.hand_to(self._group)
        self._terminal.close()
        self._process.wait()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended: its exit code as a shell has it. None: it goes on after ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._look()) is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return None
            self.pause(left)
        return code

    def pause(self, seconds: float | None) -> None:
        """Wait for a signal that long (None: for ever), and pass on what comes."""
        for number in self._signals.take(seconds):
            self._pass_on(number)

    def finish(self, number: int, grace: float, *, all_of_it: bool = False) -> bool:
        """Signal what still lives of its group, and SIGKILL what is left after ``grace`` seconds; False: nothing was.

        The command itself is only waited for; ``all_of_it``: it is signalled with the others.
        """
        found = False
        for sent, patience in ((number, grace), (signal.SIGKILL, KILL_PATIENCE)):
            end = time.monotonic() + patience
            if not self._living(all_of_it):
                break
            found = True
            self._send(sent)
            self._send(signal.SIGCONT)
            while self._living(all_of_it) and time.monotonic() < end:
                self.pause(LOOK_INTERVAL)
        return found

    def _living(self, all_of_it: bool) -> list[int]:
        """Who lives in its group."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return [pid for pid in pids if (all_of_it or pid != self.pid) and _group_of(pid) == self.pid and _lives(pid)]

    # -- what it does

    def _look(self) -> int | None:
        """Its exit code, if it has ended; deals with its being stopped."""
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        if found.si_code == os.CLD_STOPPED:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
            self._stopped(found.si_status)
            return self._look()
        return int(found.si_status) if found.si_code == os.CLD_EXITED else 128 + int(found.si_status)

    def _stopped(self, number: int) -> None:
        """It was stopped: by the terminal, for the whole job, or by somebody who meant it alone."""
        holder = self._terminal.holder()
        asks = number in (signal.SIGTTIN, signal.SIGTTOU)
        if asks and holder in (self._group, self.pid):
            self._foreground = True
            self._resume()
        elif holder and (asks or holder == self.pid):
            self._foreground = True
            # The whole job stops: so the shell notices, and takes the terminal.
            self._stop(number if asks else signal.SIGTSTP, 0)

    # -- what it is told

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        if number == signal.SIGCONT:
            self._resume()
        elif number == signal.SIGTSTP:
            self._send(number)
            self._stop(number, os.getpid())
        elif number in MESSAGES:
            os.kill(self.pid, number)  # a helper of the command that doesn't know the message would die of it
        else:
            self.told_to_end = number
            self._send(number)
            if number in (signal.SIGTERM, signal.SIGHUP):
                self._send(signal.SIGCONT)  # what is stopped can't end

    def _stop(self, number: int, whom: int) -> None:
        """Stop ``whom`` (a pid, or 0 for this process' group), this process included, until somebody continues it."""
        before = signal.signal(number, signal.SIG_DFL)
        os.kill(whom, number)
        signal.signal(number, before)
        come = self._signals.take()
        if signal.SIGCONT not in come and number == signal.SIGTSTP:
            self._resume()  # the kernel stops nobody whom no shell could continue: then the command must not be either
        for other in come:
            self._pass_on(other)

    def _resume(self) -> None:
        self._give()
        self._send(signal.SIGCONT)

    def _give(self) -> None:
        if self._foreground and self._terminal.holder() == self._group:
            self._terminal.hand_to(self.pid)

    def _send(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except OSError as error:
            log.warning("signal not passed on", signal=number, pid=self.pid, error=error)


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _lives(pid: int) -> bool:
    found = PROCESSES.stat(pid)
    return found is not None and found.state not in "ZX"
