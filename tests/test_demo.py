"""scripts/demo: what the README shows first."""

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from leasetimer.directory import Folder
from programs import eventually

ROOT = Path(__file__).parents[1]


@pytest.mark.real
def test_the_demo_shows_the_stuck_worker_reaped_and_ends_with_0(tmp_path: Path) -> None:
    """Called from another folder; four real workers, one stuck; the record's path is told, and the picture made."""
    picture = tmp_path / "demo.svg"
    done = subprocess.run(
        [ROOT / "scripts" / "demo", "--picture", picture],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "worker 2 (pid " in done.stdout
    assert done.stdout.count(" finished\n") >= 3
    record = re.search(r"^ +(/.*\.json)$", done.stdout, re.MULTILINE)
    assert record
    assert Path(record[1]).is_file()
    assert done.stdout.endswith("all as promised\n")
    assert "overdue" in picture.read_text()
    assert "url(" not in picture.read_text().replace("url(#", "")


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_ended_leaves_no_process(number: int) -> None:
    """Ctrl-C, or a terminal that is closed: server and workers end with it, and nothing but its status says so."""
    with subprocess.Popen(
        [ROOT / "scripts" / "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        assert run.stderr
        root = Path(run.stdout.readline().split()[2].rstrip(","))
        eventually(lambda: len(list(root.glob("*.lease"))) >= 4, "four leases")
        run.send_signal(number)
        assert run.wait(20) == 128 + number
        assert "Traceback" not in run.stderr.read()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert process.environ().get("LEASETIMER_DIR") != str(root.parent)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo's module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "demonstration"))
    module = __import__("demo")
    monkeypatch.setattr(module, "seen_overdue", True)
    yield module
    del sys.modules["demo"]


def ended(*returncodes: int) -> dict[str, Any]:
    """Workers that have ended so."""
    return {f"worker {n}": SimpleNamespace(returncode=code, pid=100 + n) for n, code in enumerate(returncodes, 1)}


RECORD = {"pid": 102, "outcome": "reaped", "scope": "all_reduce"}


@pytest.mark.parametrize(
    ("workers", "record", "server", "kept"),
    [
        (ended(0, -9, 0, 0), RECORD, 0, True),
        (ended(0, 0, 0, 0), RECORD, 0, False),
        (ended(0, -9, 0, -15), RECORD, 0, False),
        (ended(0, -9, 0, 0), RECORD | {"outcome": "pending"}, 0, False),
        (ended(0, -9, 0, 0), RECORD, 1, False),
    ],
)
def test_the_demo_fails_where_something_was_not_as_promised(
    demo: Any, tmp_path: Path, workers: dict[str, Any], record: dict[str, Any], server: int, kept: bool
) -> None:
    """Each promise that was not kept is one line, and makes it fail."""
    problems = demo.check(workers, {tmp_path / "record.json": record}, server, Folder(str(tmp_path), "node1"))
    assert (problems == []) is kept
