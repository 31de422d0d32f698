"""Every example of the pages is run, and every list in them is held against the code."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import leasetimer
from leasetimer import errors
from leasetimer.cli import COMMANDS
from leasetimer.cli import leasetimer as group
from leasetimer.facts import RANK, SLURM
from leasetimer.lease import read_lease
from leasetimer.postmortem import Outcome
from pages import blocks, follow

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
MOST_NOT_RUN = 5
TIMEOUT = 40.0
BIN = Path(sys.executable).parent


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def section(page: Path, title: str) -> str:
    """What stands below a heading, up to the next one."""
    text = re.sub(r"^```.*?^```\n", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {title}"
    return found[1]


def first_cells(text: str) -> list[str]:
    """The first cell of each row of the tables in it, without their heads; what stands there as code."""
    rows = re.findall(r"^\|(?! *-)(.*?)(?<!\\)\|", text, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


# -- what the pages show is run


@pytest.mark.real
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_shows_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever types what a page shows, from top to bottom, gets what it says."""
    folder = tmp_path / "reader"
    folder.mkdir()
    environ = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LEASETIMER_DIR": str(folder / "leases"),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
    }
    if page.name == "development.md":  # it changes the sources, in a copy that coverage must not take for them
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        environ = {key: value for key, value in environ.items() if not key.startswith(("COV", "PYTEST"))}
        environ["PYTHONPATH"] = str(folder / "src")
    follow(page, folder, environ, TIMEOUT)


def test_few_examples_are_not_run() -> None:
    """An example that can't be run here says why, and there are few of them."""
    not_run = [
        f"{block}: {block.marks['not run']}" for page in PAGES for block in blocks(page) if "not run" in block.marks
    ]
    assert len(not_run) <= MOST_NOT_RUN, not_run


def test_every_block_says_what_it_is() -> None:
    """A block without a language would be passed over in silence."""
    kinds = {"sh", "bash", "console", "python", "json", "text", "diff"}
    assert [str(block) for page in PAGES for block in blocks(page) if block.kind not in kinds] == []


def test_json_shown_is_json() -> None:
    """Each line of a lease, and each record, that a page shows can be read as JSON."""
    shown = [block for page in PAGES for block in blocks(page) if block.kind == "json"]
    for block in shown:
        values = json.JSONDecoder()
        text = block.text.strip()
        while text:
            _, end = values.raw_decode(text)
            text = text[end:].strip()
    assert shown


def test_links_lead_somewhere() -> None:
    """A link to a file of the project names one, and a link into a page a heading of it."""
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s:]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
            path = (page.parent / target[0]).resolve() if target[0] else page
            if not path.exists() or (target[1] and target[1] not in anchors(path)):
                broken.append(f"{page.name}: {target}")
        scripts = re.findall(r"\b(scripts/[\w/.]*\w)", page.read_text(encoding="utf-8"))
        broken += [f"{page.name}: {script}" for script in scripts if not (ROOT / script).exists()]
    assert broken == []


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# -- what the reference lists is what there is


def test_every_public_name_is_in_the_reference() -> None:
    """Each name of ``leasetimer.__all__`` has a heading of its own in the API reference."""
    titles = re.findall(r"^#{2,4} `(\w+)`", (REFERENCE / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(title for title in titles if title in dir(leasetimer)) == sorted(leasetimer.__all__)


@pytest.mark.parametrize("name", leasetimer.__all__)
def test_the_reference_names_every_parameter(name: str) -> None:
    """No parameter of a public name is missing in the reference; clocks and processes are the tests' own."""
    text = section(REFERENCE / "api.md", f"`{name}`")
    thing = getattr(leasetimer, name)
    signature = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing)
    parameters = set(signature.parameters) - {"self", "args", "kwargs", "clock", "processes"}
    methods = {key for key in vars(thing) if not key.startswith("_")} if inspect.isclass(thing) else set()
    missing = [word for word in sorted(parameters | methods) if not re.search(rf"`[^`]*\b{word}\b[^`]*`", text)]
    assert missing == []


def test_every_error_is_in_the_reference() -> None:
    """Every error class, with the exit code it gives a command."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` ", (REFERENCE / "exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE)
    classes = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.LeasetimerError)]
    assert sorted((int(code), name) for code, name in rows) == sorted((one.exit_code, one.__name__) for one in classes)


def options(command: click.Command) -> list[str]:
    """The options and arguments of a command as its reference lists them."""
    return [
        name
        for parameter in command.params
        for name in (
            [*parameter.opts, *parameter.secondary_opts]
            if isinstance(parameter, click.Option)
            else [parameter.make_metavar(click.Context(command)).strip("[].")]
        )
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_lists_every_option(name: str) -> None:
    """Each option and argument of a command stands in a table of its section, and nothing else does."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    listed = first_cells(section(REFERENCE / "command-line.md", f"`leasetimer {name}`"))
    shown = [word for cell in listed for word in re.findall(r"--?[a-z][\w-]*|^[A-Z]+", cell)]
    assert sorted(shown) == sorted(options(command))


def test_the_reference_has_every_command() -> None:
    """The command line's reference has one section a command, in the order of the help."""
    titles = re.findall(
        r"^## `leasetimer (\w+)`", (REFERENCE / "command-line.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert titles == COMMANDS


def test_the_reference_has_every_outcome() -> None:
    """Each outcome of an incident is explained."""
    listed = first_cells(section(REFERENCE / "file-format.md", "Outcomes"))
    assert sorted(listed) == sorted(Outcome.__args__)  # type: ignore[attr-defined]


def test_the_tour_passes_every_room() -> None:
    """Each module stands in the development page's table of rooms."""
    listed = first_cells(section(DOCS / "development.md", "Rooms"))
    rooms = {
        path.stem for path in (ROOT / "src" / "leasetimer").iterdir() if not path.name.startswith(("_", "py.typed"))
    }
    assert sorted(listed) == sorted(rooms)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a server and a worker really leave in a directory: a lease's two lines, a presence, a record."""
    root = tmp_path_factory.mktemp("files")
    server = leasetimer.LeaseTimerServer(root, host="node017")
    program = (
        "import sys, time, leasetimer\n"
        "with leasetimer.expires(60, 'other'), leasetimer.expires(0.4, 'step'): print(flush=True), time.sleep(20)"
    )
    server.start()
    environ = {**os.environ, "LEASETIMER_DIR": str(root), "LEASETIMER_HOST": "node017"}
    with subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        lines = (root / "node017" / f"node017,{worker.pid},step.lease").read_text(encoding="utf-8").splitlines()
        assert worker.wait(20) == -signal.SIGKILL
    server.stop()
    (record,) = (root / "node017" / "postmortem").glob("*.json")
    return {
        "status": json.loads(lines[0]),
        "identity": json.loads(lines[1]),
        "presence": json.loads((root / "node017" / "server.json").read_text(encoding="utf-8")),
        "record": json.loads(record.read_text(encoding="utf-8")),
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("First line: the status", "status"),
        ("Second line: the identity", "identity"),
        ("Presence: server.json", "presence"),
        ("Record", "record"),
    ],
)
def test_the_reference_has_every_key_of_a_file(files: dict[str, Any], title: str, key: str) -> None:
    """The keys that a file really has are those that the reference lists."""
    assert sorted(first_cells(section(REFERENCE / "file-format.md", title))) == sorted(files[key])


def test_the_reference_names_every_variable() -> None:
    """What is copied out of the environment is what the reference says, and nothing else is."""
    rows = re.findall(r"`(\w+)` \| `([A-Z_]+)`", section(REFERENCE / "file-format.md", "Facts from the environment"))
    assert sorted(rows) == sorted([*RANK.items(), *SLURM.items()])


def test_the_lease_shown_is_one() -> None:
    """The example of a lease is sound, checksum and all."""
    (example,) = (block for block in blocks(REFERENCE / "file-format.md") if block.kind == "json")
    lease = read_lease("node017,4242,step.lease", example.text.encode(), 1000)
    assert lease.status.held


PRINT = """
leasetimer acquire load --after 60 --no-tree --json 2>/dev/null
leasetimer ls --json
leasetimer release load --json
leasetimer run --after 0.1 -- sleep 5 2>/dev/null
leasetimer clear --older-than 0.001 --dry-run --json
"""


@pytest.mark.real
def test_the_reference_has_every_key_of_json(tmp_path: Path) -> None:
    """The keys that ``--json`` prints are those that the reference lists."""
    environ = {**os.environ, "LEASETIMER_DIR": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}
    script = subprocess.run(["bash"], input=PRINT, env=environ, capture_output=True, text=True, timeout=TIMEOUT)
    acquired, listed, released, cleared = (json.loads(line) for line in script.stdout.splitlines())
    for title, printed in [
        ("What acquire, renew and release print", acquired),
        ("What acquire, renew and release print", released),
        ("Keys of `ls --json`", listed),
        ("Keys of `clear --json`", cleared),
    ]:
        page = first_cells(section(REFERENCE / "command-line.md", title))
        assert sorted(page) == sorted(printed)
