"""``scripts/bench`` runs, and says what it measured. Never how fast that was: the machine that tests is a busy one."""

import json
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "scripts" / "bench"


def bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BENCH), "--quick", "--dir", str(tmp_path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.real
def test_json_is_one_object_a_line_with_the_same_keys_in_each(tmp_path: Path) -> None:
    """``--json`` prints one object a figure, all with the same keys, and the machine last."""
    done = bench(tmp_path, "--json", "--only", "block,storm")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    keys = ["name", "value", "unit", "goal", "met", "ratio", "against", "repetitions", "spread", "note"]
    assert {tuple(row) for row in rows} == {tuple(keys)}
    named = {row["name"]: row for row in rows}
    assert named["block-named"]["goal"] == "≤ 3.3 µs, ≥ 6 ×"
    assert named["block-named"]["repetitions"] >= 5
    assert named["storm-lost"]["value"] == 0
    assert rows[-1]["name"] == "machine"
    assert "Python 3." in rows[-1]["note"]


@pytest.mark.real
def test_a_table_shows_each_figure_beside_its_goal(tmp_path: Path) -> None:
    """Without ``--json`` a person gets a table: figure, value, goal, and what machine it was."""
    done = bench(tmp_path, "--only", "detection,import")
    assert done.returncode == 0, done.stderr
    for wanted in ("detection-60-reacquired-p99", "≤ 2 ms", "import-worker", "≤ 2 ×", "Linux"):
        assert wanted in done.stdout


@pytest.mark.real
def test_the_directory_is_left_as_it_was_found(tmp_path: Path) -> None:
    """Nothing of a measurement stays in ``--dir``."""
    assert bench(tmp_path, "--only", "block").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_measurement_is_refused_in_one_line_that_names_those_there_are(tmp_path: Path) -> None:
    """``--only`` with a name that is none says what it got and what it takes."""
    done = bench(tmp_path, "--only", "blocks")
    assert done.returncode == 2
    assert "got 'blocks', takes block, detection" in done.stderr


def test_a_torch_that_is_none_is_refused(tmp_path: Path) -> None:
    """``--torch`` with a Python that has no torch does not silently leave its figures out."""
    done = bench(tmp_path, "--torch", "/bin/false", "--only", "block")
    assert done.returncode == 2
    assert "--torch /bin/false has no torch" in done.stderr
