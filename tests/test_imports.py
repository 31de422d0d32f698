"""What a worker loads."""

import os
import subprocess
import sys
from pathlib import Path

WORKER = """
import sys
before = set(sys.modules)

import leasetimer
leasetimer.configure(leasetimer.LeaseTimerClient(sys.argv[1]))
with leasetimer.expires(after=60, scope="imports"):
    pass

print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def test_the_workers_side_loads_the_standard_library_only(tmp_path: Path) -> None:
    """A worker that holds and releases a lease pays for no third-party import."""
    # Coverage would start with the interpreter and load modules of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    worker = subprocess.run(
        [sys.executable, "-I", "-c", WORKER, tmp_path], env=env, check=True, capture_output=True, text=True
    )
    loaded = set(worker.stdout.split()) - {"__mp_main__"}  # multiprocessing's second name for __main__
    assert loaded - sys.stdlib_module_names == {"leasetimer"}
