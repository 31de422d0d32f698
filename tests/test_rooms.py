"""The layout of the source: imports run downward only, and files stay short."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
SRC = TREE / "src" / "leasetimer"
MAX_LINES = 300

# Topmost first: a module imports from the lines below its own only, so neighbours on one line don't import each other.
# The package itself is on top, where it may re-export everything and nothing below may ask it for a name.
ROOMS = [
    "leasetimer __main__",
    "cli",
    "torch slurm",
    "block",
    "decorator",
    "client server",
    "local onbehalf",
    "beat incidents leasequeue",
    "crew",
    "report overview sweep",
    "reaper ledger leases",
    "held lookout",
    "watcher exclusive",
    "presence",
    "postmortem leasefiles locks known trouble",
    "directory",
    "process",
    "api",
    "uses",
    "lease deadlines",
    "names facts pace",
    "clock",
    "errors log",
]
LEVELS = {room: level for level, line in enumerate(ROOMS) for room in line.split()}


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a dotted name below leasetimer: its first part, or the package itself."""
    return parts[0] if parts else "leasetimer"


def running(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, without what stands under TYPE_CHECKING: that is never imported."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        below: Iterable[ast.AST] = node.orelse
    else:
        below = ast.iter_child_nodes(node)
    for child in below:
        yield from running(child)


def rooms_imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """The rooms that source imports anywhere, in functions too; package: where it lies, below leasetimer."""
    for node in running(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, *below = alias.name.split(".")
                if top == "leasetimer":
                    yield room_of(tuple(below))
        elif isinstance(node, ast.ImportFrom):
            path = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                path = ("leasetimer", *package[: len(package) + 1 - node.level], *path)
            if path[0] != "leasetimer":
                continue
            if path[1:]:
                yield path[1]
            else:  # from . import NAME: a module's name, or one that only the package has
                yield from (alias.name if alias.name in LEVELS else "leasetimer" for alias in node.names)


def upward(source: str, module: tuple[str, ...], package: tuple[str, ...]) -> list[str]:
    room = room_of(module)
    return [
        f"{'.'.join(module) or room} imports {other}"
        for other in rooms_imported(source, package)
        if other != room and LEVELS.get(other, -1) <= LEVELS[room]
    ]


def modules() -> Iterator[tuple[Path, tuple[str, ...], tuple[str, ...]]]:
    """Each source file, its name, and the package it lies in, both below leasetimer."""
    for path in sorted(SRC.rglob("*.py")):
        package = path.relative_to(SRC).parent.parts
        yield path, package if path.stem == "__init__" else (*package, path.stem), package


def test_every_module_has_a_room() -> None:
    """A module that the table doesn't name fails here, not silently everywhere else."""
    assert {room_of(module) for _, module, _ in modules()} - LEVELS.keys() == set()


def test_imports_run_downward_only() -> None:
    """No module imports from its own line of the table or from above, not even inside a function."""
    found = [
        line
        for path, module, package in modules()
        if room_of(module) in LEVELS
        for line in upward(path.read_text(encoding="utf-8"), module, package)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from leasetimer.errors import X", "api", []),
        ("import leasetimer.server", "api", ["api imports server"]),
        ("def f():\n    from .client import X", "api", ["api imports client"]),
        ("from . import errors, server", "api", ["api imports server"]),
        ("from leasetimer import TimerServer", "reaper", ["reaper imports leasetimer"]),
        ("from .server import X", "client", ["client imports server"]),
        ("from .unheard_of import X", "api", ["api imports unheard_of"]),
        ("from .common import X\nfrom ..server import Y", "cli.run", []),
        ("from ..cli import X\nimport cli, os.path", "torch.elastic", ["torch.elastic imports cli"]),
        (
            "if TYPE_CHECKING:\n    from .client import X\nelse:\n    import leasetimer.server",
            "api",
            ["api imports server"],
        ),
        ("import torch\nfrom torch import distributed", "api", []),
    ],
)
def test_an_import_that_runs_upward_is_found(source: str, module: str, expected: list[str]) -> None:
    """Every way to write an import is seen, and only those of this package count."""
    parts = tuple(module.split("."))
    assert upward(source, parts, parts[:-1]) == expected


def test_files_stay_short() -> None:
    """A file past 300 lines wants splitting: of the source, a test, or a script in Python or bash."""
    lengths = {
        str(path.relative_to(TREE)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (SRC, TREE / "tests", TREE / "scripts")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in ("", ".py")
    }
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
