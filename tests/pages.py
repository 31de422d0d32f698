"""The pages of the project as a reader follows them: their fenced blocks in order, in one terminal, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"( *)(`{3,})(\w*)\n")
MARK = re.compile(r" *<!-- (file|edit|exit|not run): (.+) -->\n")
SHELL = {"sh", "bash", "console"}
RUN = SHELL | {"python"}


class Block(NamedTuple):
    """A fenced block, where it begins, and the marks in HTML comments right above it:

    file: NAME          what it shows is saved under that name, instead of being run
    edit: NAME          a diff of that file: the lines without + stand in it once, and become those without -
    exit: N             what the program ends with, where that is not 0
    not run: REASON     it can't be run here
    """

    page: Path
    line: int
    kind: str
    text: str
    marks: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page.name}, line {self.line}"


class Step(NamedTuple):
    """What one command of a page is, and what it must come to: a status, and for a console block an output."""

    block: Block
    command: str
    status: int | None
    expected: str | None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    marks: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(keepends=True), 1))
    for number, line in lines:
        if mark := MARK.fullmatch(line):
            marks[mark[1]] = mark[2]
        elif fence := FENCE.fullmatch(line):
            indent, ticks, kind = fence.groups()
            body = []
            for _, inner in lines:
                if inner.strip() == ticks:
                    break
                body.append(inner.removeprefix(indent))
            found.append(Block(page, number, kind, "".join(body), marks))
            marks = {}
        elif marks and line.strip():
            raise AssertionError(f"{page.name}, line {number}: a mark belongs right above a block")
    return found


def prepare(block: Block, folder: Path) -> list[Step]:
    """The steps that a block asks for. A file that it shows is saved when its turn comes, as a reader would."""
    marks = block.marks
    if "not run" in marks or (block.kind not in RUN and not {"file", "edit"} & marks.keys()):
        return []
    status = int(marks.get("exit", 0))
    if "file" in marks:
        name = folder / ".blocks" / str(block.line)
        name.parent.mkdir(exist_ok=True)
        name.write_text(block.text, encoding="utf-8")
        name.chmod(0o755 if block.text.startswith("#!") else 0o644)
        target = shlex.quote(marks["file"])
        return [Step(block, f"mkdir -p $(dirname {target}) && cp .blocks/{block.line} {target}", 0, None)]
    if "edit" in marks:
        return [Step(block, edit(block, marks["edit"]), 0, None)]
    if block.kind == "python":
        name = folder / ".blocks" / f"{block.line}.py"
        name.parent.mkdir(exist_ok=True)
        name.write_text(block.text, encoding="utf-8")
        return [Step(block, f"cp .blocks/{block.line}.py example.py; python example.py", status, None)]
    return console(block) if block.kind == "console" else [Step(block, f"set -e\n{block.text}set +e", status, None)]


def edit(block: Block, name: str) -> str:
    """A command that makes the edit, and fails where the lines to be replaced do not stand there exactly once."""
    old, new = ("".join(re.findall(rf"^[ {sign}](.*\n)", block.text, re.MULTILINE)) for sign in ("-", "+"))
    code = (
        f"p = {name!r}; old, new = {old!r}, {new!r}; text = open(p).read()\n"
        "assert text.count(old) == 1, f'{p} has it {text.count(old)} times: {old}'\n"
        "open(p, 'w').write(text.replace(old, new))"
    )
    return f"python -c {shlex.quote(code)}"


def console(block: Block) -> list[Step]:
    """One step a prompt. A command that fails is followed by ``echo $?``, so that the reader sees that it should."""
    steps: list[Step] = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, rest = part.split("\n", 1)
        while rest.startswith("> "):
            more, rest = rest[2:].split("\n", 1)
            command += "\n" + more
        if command == "echo $?" and steps:
            steps[-1] = steps[-1]._replace(status=None)
        steps.append(Step(block, command, 0, rest))
    return steps


def matches(expected: str, output: str) -> bool:
    """Whether an output is as shown. ``...`` in a line stands for anything, as a line of its own for any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r"[ \t]*\n"
        for line in expected.splitlines()
    )
    return re.fullmatch(pattern, output if output.endswith("\n") or not output else output + "\n") is not None


def follow(page: Path, folder: Path, environ: Mapping[str, str], timeout: float = 60) -> None:
    """Do what the page says, from top to bottom in one shell. Fails with page, line, and what was printed."""
    steps = [step for block in blocks(page) for step in prepare(block, folder)]
    if not steps:
        return
    script = ["status=0"]
    for number, step in enumerate(steps):
        script += [
            f"exec >.blocks/{number}.out 2>&1",
            "(exit $status)",
            step.command,
            f"status=$?; echo $status >.blocks/{number}.status",
        ]
    script += ["exec >/dev/null 2>&1", "jobs -pr >.blocks/left", "kill $(jobs -pr)", "wait"]
    (folder / ".blocks").mkdir(exist_ok=True)
    (folder / ".blocks" / "page").write_text("\n".join(script) + "\n", encoding="utf-8")
    bash = subprocess.Popen(
        ["bash", ".blocks/page"], cwd=folder, env=dict(environ), stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with suppress(subprocess.TimeoutExpired):  # told below, with the command that did not end
            bash.wait(timeout)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(bash.pid, signal.SIGKILL)
        bash.wait()
    for number, step in enumerate(steps):
        check(step, folder / ".blocks" / f"{number}.out", folder / ".blocks" / f"{number}.status")
    left = (folder / ".blocks" / "left").read_text(encoding="utf-8").split()
    assert not left, f"{page.name} leaves processes behind: {left}"


def check(step: Step, out: Path, status: Path) -> None:
    """Hold a step against what its page says of it."""
    output = out.read_text(encoding="utf-8", errors="replace") if out.exists() else "(never run)"
    said = f"\n{step.block}:\n{step.command}\nprinted:\n{output}"
    assert status.exists(), f"it did not come to its end{said}"
    ended = int(status.read_text(encoding="utf-8"))
    assert step.status in (None, ended), f"it ended with {ended}, not {step.status}{said}"
    if step.expected is not None:
        assert matches(step.expected, output), f"the page shows something else{said}instead of:\n{step.expected}"
