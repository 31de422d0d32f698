"""The queue pair over real multiprocessing queues."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from leasetimer import LocalTimerClient, LocalTimerServer, TimerRequest


@pytest.mark.real
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_stop_takes_no_minute(method: str) -> None:
    """A server that sleeps for a minute stops within a second, and can be started again."""
    server = LocalTimerServer(multiprocessing.get_context(method).Queue())
    for _ in range(2):
        server.start()
        thread = server._watchdog_thread
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 1
        assert thread is not None
        assert not thread.is_alive()


@pytest.mark.real
def test_a_stop_survives_a_closed_queue(caplog: pytest.LogCaptureFixture) -> None:
    """The queue's owner may close it before the server is stopped."""
    requests: multiprocessing.Queue[TimerRequest] = multiprocessing.Queue()
    server = LocalTimerServer(requests)
    server.start()
    requests.close()
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 1
    assert server._watchdog_thread is None
    assert [thread for thread in threading.enumerate() if thread.name == "LocalTimerServer"] == []


def hold(requests: Any, ready: Any) -> None:
    client = LocalTimerClient(requests)
    client.acquire("stuck", time.time() + 0.1)
    ready.set()
    time.sleep(60)


@pytest.mark.real
@pytest.mark.parametrize("context", [multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")])
def test_a_stuck_child_is_killed(context: Any) -> None:
    """A client that was handed its queue works in children of either kind."""
    requests, ready = context.Queue(), context.Event()
    server = LocalTimerServer(requests)
    server.start()
    child = context.Process(target=hold, args=(requests, ready))
    child.start()
    child.join(30)
    server.stop()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.real
def test_a_worker_that_released_while_its_server_was_stopped_lives() -> None:
    """A server that stood still finds the release behind the acquisition, however late it reads them."""
    server = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True, timeout=60)
    assert server.stdout.split() == ["0"] * 3


def blink(requests: Any, acquired: Any) -> None:
    client = LocalTimerClient(requests)
    client.acquire("short", time.time() + 0.6)
    acquired.release()
    time.sleep(0.3)
    client.release("short")
    time.sleep(1.5)


def main() -> None:
    """Stop this process, which is the server, from before its workers release until after they were due."""
    context = multiprocessing.get_context("fork")
    requests, acquired = context.Queue(), context.Semaphore(0)
    children = [context.Process(target=blink, args=(requests, acquired)) for _ in range(3)]
    for child in children:
        child.start()
    server = LocalTimerServer(requests)
    server.start()
    for _ in children:
        acquired.acquire()
    time.sleep(0.1)
    with subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {os.getpid()}"]):
        os.kill(os.getpid(), signal.SIGSTOP)
    for child in children:
        child.join()
    server.stop()
    print(*[child.exitcode for child in children])


if __name__ == "__main__":
    main()
