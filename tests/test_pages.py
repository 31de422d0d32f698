"""What the pages' test is for: a page that doesn't keep its word is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pages import follow, matches


def page_of(text: str, folder: Path) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\nfalse\necho after\n```\n", "did not come to its end"),
        ("```console\n$ echo one\ntwo\n```\n", "shows something else"),
        ("```console\n$ false\n$ true\n```\n", "ended with 1"),
        ("```python\nraise SystemExit(3)\n```\n", "ended with 3"),
        ("<!-- file: a -->\n```text\na\n```\n<!-- edit: a -->\n```diff\n-b\n+c\n```\n", "0 times"),
        ("```sh\nsleep 30 &\n```\n", "leaves processes behind"),
        ("```sh\nexit 0\n```\n```sh\ntrue\n```\n", "did not come to its end"),
        ("<!-- exit: 1 -->\n\nText.\n", "right above a block"),
    ],
)
def test_a_page_that_is_wrong_fails(text: str, complaint: str, tmp_path: Path) -> None:
    """A command that fails, an output that differs, an edit without its place: each is told, with the place."""
    with pytest.raises(AssertionError, match=complaint):
        follow(page_of(text, tmp_path), tmp_path, os.environ, 10)


@pytest.mark.real
def test_a_page_that_is_right_passes(tmp_path: Path) -> None:
    """One shell for the whole page: variables stay, files are saved, a shown failure is fine."""
    text = (
        "<!-- file: a/b.sh -->\n```bash\n#!/bin/bash\necho old\n```\n"
        "<!-- edit: a/b.sh -->\n```diff\n #!/bin/bash\n-echo old\n+exit 3\n```\n"
        "```sh\nname=value\n```\n```console\n$ echo $name\n> \nva...\n$ a/b.sh\n$ echo $?\n3\n```\n"
        "<!-- exit: 4 -->\n```python\nraise SystemExit(4)\n```\n<!-- not run: no reason -->\n```sh\nfalse\n```\n"
    )
    follow(page_of(text, tmp_path), tmp_path, os.environ, 10)


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [("a\n...\nb\n", "a\nb\n", True), ("a ... c\n", "a bbb c", True), ("a...c\n", "a\nc\n", False), ("", "x\n", False)],
)
def test_dots_stand_for_what_may_differ(expected: str, output: str, same: bool) -> None:
    """Three dots stand for anything in their line; alone in a line, for any lines."""
    assert matches(expected, output) is same
