"""File names of leases: every scope has one, and it leads back."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from leasetimer.errors import BadValue, LeaseUnreadable
from leasetimer.names import (
    LONGEST_NAME,
    LONGEST_SCOPE,
    check_scope,
    file_name,
    fit_scope,
    moved_name,
    new_name,
    quote,
    split_dotted,
    split_name,
)

HOSTS = st.from_regex(r"[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,79}", fullmatch=True)
PIDS = st.integers(2, 1 << 22)
# bytes that are no UTF-8 reach a scope through surrogateescape, as from os.fsdecode
CHARACTERS = st.one_of(st.characters(codec="utf-8"), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
SCOPES = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=60),
    st.builds(
        lambda n, filler, tail: filler * n + tail,
        st.integers(0, 2000),
        CHARACTERS,
        st.text(CHARACTERS, min_size=1, max_size=3),
    ),
    st.builds(
        lambda n, filler, tail: tail + filler * n,
        st.integers(0, 2000),
        CHARACTERS,
        st.text(CHARACTERS, min_size=1, max_size=3),
    ),
)


@given(HOSTS, PIDS, SCOPES)
@example("h", 2, "..")
@example("h", 2, "a/b\n\0")
@example("h", 2, ",1,x.lease")
def test_a_name_is_one_plain_file_name_that_splits_again(host: str, pid: int, scope: str) -> None:
    """Whatever the scope is, its file is one visible name in the folder, and says whose it is."""
    name = file_name(host, pid, scope)
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/ '\"")
    assert not name.startswith(".")
    assert split_dotted(name) is None
    assert split_name(name)[:2] == (host, pid)
    assert file_name(host, pid, fit_scope(scope)) == name


@given(st.text(CHARACTERS, min_size=1, max_size=40))
def test_a_short_scope_can_be_read_back_from_its_name(scope: str) -> None:
    """Percent-decoding gives the very bytes of the scope, those that are no UTF-8 too."""
    assume(len(quote(scope)) <= LONGEST_NAME)
    encoded = split_name(file_name("h", 2, scope))[2]
    assert unquote_to_bytes(encoded) == scope.encode("utf-8", "surrogateescape")


@given(SCOPES, SCOPES)
@example("x" * 2000, "x" * 2001)
@example("x" * 2000 + "a", "x" * 2000 + "b")
@example("x" * 124 + "a", "x" * 124 + "b")
@example("\x01" * 1000, "\x01" * 999)
@example("a%41", "aA")
@example("a~b", "a%7Eb")
@example("\udc80", "�")
@example("A", "a")
def test_two_scopes_never_share_a_name(one: str, other: str) -> None:
    """Not even where they are alike for a thousand characters and cut."""
    assume({one, fit_scope(one)}.isdisjoint({other, fit_scope(other)}))
    assert file_name("h", 2, one) != file_name("h", 2, other)


@given(SCOPES)
@example("\udcff" * 3000)
@example("\x01" * 1000)
@example("\U0001f600" * 300)
def test_every_form_of_a_name_fits_a_file_system(scope: str) -> None:
    """255 bytes hold the longest host, pid and token, in the making, moved and copied."""
    name = file_name("h" * 80, 1 << 22, scope)
    assert len(new_name(name, (1 << 64) - 1, (1 << 32) - 1)) <= 255
    assert len(moved_name(name, "f" * 16)) <= 255
    assert len(name + ".copy") <= 255


@given(SCOPES)
@example("\x01" * 1000)
@example("é" * 512)
@example("é" * 513)
def test_fitting_a_scope_changes_nothing_the_second_time(scope: str) -> None:
    """What stands in a lease gives the same name as the scope it stands for."""
    fitted = fit_scope(scope)
    assert fit_scope(fitted) == fitted
    assert len(fitted.encode("utf-8", "surrogateescape")) <= LONGEST_SCOPE


@given(st.text("abc #/.", min_size=1, max_size=LONGEST_SCOPE))
def test_a_scope_that_fits_stays_as_it_is(scope: str) -> None:
    """Up to a kilobyte nothing is cut."""
    assert fit_scope(scope) == scope


@given(HOSTS, PIDS, SCOPES, st.integers(0, 1 << 64))
def test_names_on_the_way_say_whose_they_are(host: str, pid: int, scope: str, token: int) -> None:
    """A dotted name splits into the lease it belongs to, its token and its kind."""
    name = file_name(host, pid, scope)
    assert split_dotted(new_name(name, token, 7)) == (name, f"{token:x}", False)
    assert split_dotted(moved_name(name, f"{token:x}")) == (name, f"{token:x}", True)


@pytest.mark.parametrize(
    "name",
    [
        *("", "x", "a,2,b", "a,2,.lease", ",2,b.lease", "a,0,b.lease", "a,02,b.lease", "a,-2,b.lease", "a,٣,b.lease"),
        *("a,2,b.lease.copy", "a,2,b.lease\n", "a,99999999999,b.lease", "a,2,b/c.lease", ".a,2,b.lease.1.new"),
    ],
)
def test_what_is_no_lease_name_is_refused(name: str) -> None:
    """Other files in the folder are told from leases by name alone."""
    with pytest.raises(LeaseUnreadable, match="not the name of a lease"):
        split_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".x",
        "a,2,b.lease.1.new",
        ".a,2,b.lease.1.old",
        ".a,2,b.lease.G.new",
        ".a,2,b.lease.new",
        ".a,2,b.lease.1.new\n",
    ],
)
def test_what_is_no_name_on_the_way_is_none_of_ours(name: str) -> None:
    """Whatever else begins with a dot is left alone."""
    assert split_dotted(name) is None


@pytest.mark.parametrize("scope", ["x", "..", "a/b", "a\nb", "\udc80", "x" * 10_000, "\x01" * 1000, "\0"])
def test_any_text_names_a_scope(scope: str) -> None:
    """Scopes are free text."""
    assert check_scope(scope) is scope


@pytest.mark.parametrize(
    ("scope", "error", "message"),
    [
        ("", BadValue, "scope must not be empty, got ''"),
        ("\ud800", BadValue, "scope must be text that UTF-8 can hold, got '\\ud800'"),
        (None, TypeError, "scope must be text, got None"),
        (b"x", TypeError, "scope must be text, got b'x'"),
        (5, TypeError, "scope must be text, got 5"),
    ],
)
def test_what_names_no_scope_is_named(scope: str, error: type[Exception], message: str) -> None:
    """The error says what it got and what it takes."""
    with pytest.raises(error) as caught:
        check_scope(scope)
    assert str(caught.value) == message


def test_letters_and_digits_stay_readable() -> None:
    """Somebody who lists the folder reads the scope there."""
    assert file_name("node1", 42, "train.py#17") == "node1,42,train.py%2317.lease"
    assert quote("a b/ü") == "a%20b%2F%C3%BC"
