"""The model of the clear rule: what goes wrong with each looser wording."""

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "scripts" / "labs" / "model")
        return importlib.import_module("clear_rule")


model = load()

# What goes wrong with each looser wording: the worst that it can do, or what shows first on the way there.
KINDS = {
    "the server unlinks the name it read released": "LOST",
    "it reads again through the descriptor from before the move": "LOST",
    "it renames back what it finds held": "LOST",
    "it links back what it finds held": "MISREAD",
    "it leaves files of a lower seq, and the worker leaves them held": "LEFT",
    "it unlinks a dead worker's names in any order": "LOST",
    "it unlinks a dead worker's lease by name": "LOST",
    "the worker doesn't look whether its name stands": "LOST",
    "it leaves the file it gave up held, and forgets": "STALE",
    "it marks that file before it has published anew": "LOST",
    "it counts from 1 again after it forgot": "LOST",
    "the verdict takes moved files first": "LOST",
}


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(model.EVERYTHING, id="everything"),
        pytest.param(replace(model.EVERYTHING, servers=2, uses=2), id="two servers"),
        pytest.param(replace(model.EVERYTHING, lives=3, uses=1), id="a pid used again"),
    ],
)
def test_the_rule_has_no_violation(config: Any) -> None:
    """No interleaving loses a held lease, shows a released one as held, misleads a reaper or leaves files for good."""
    result = model.check(config)
    assert (result.violation, result.trace) == (None, ())
    assert result.states > 50_000


def test_every_looser_wording_is_tested() -> None:
    """A looser wording that is added to the model is held to showing its violation."""
    assert KINDS.keys() == model.LOOSER.keys()


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_looser_wording_has_a_violation(name: str, kind: str) -> None:
    """Each looser wording goes wrong, and where it does the rule itself does not."""
    config = model.LOOSER[name]
    result = model.check(config)
    assert (result.violation or "none").split()[0].rstrip(":") == kind
    assert result.trace
    assert model.check(replace(config, loose=frozenset())).violation is None


def test_a_violation_comes_with_the_shortest_way_to_it() -> None:
    """The trace names each step in its order, from nothing at all to the violation."""
    result = model.check(model.LOOSER["the server unlinks the name it read released"])
    assert result.violation == "LOST: held 3 of process 0, but the verdict is nothing"
    assert result.trace == (
        "worker writes a file in the making",
        "worker renames it to the lease",
        "worker releases",
        "server 1 reads the lease: released",
        "worker writes held in place",
        "worker finds its name standing",
        "server 1 unlinks the lease",
    )


def test_forgetting_a_lease_needs_the_mark() -> None:
    """A file that the worker gave up as held gets the verdict once the worker unlinks the lease's name."""
    result = model.check(model.LOOSER["it leaves the file it gave up held, and forgets"])
    assert result.trace == (
        "worker writes a file in the making",
        "worker renames it to the lease",
        "worker releases",
        "server 1 reads the lease: released",
        "worker writes held in place",
        "server 1 moves the lease to 0",
        "worker finds its name gone, writes a file in the making",
        "worker renames it to the lease",
        "worker releases",
        "worker closes its descriptor and unlinks its name",
    )


@pytest.mark.parametrize(
    ("loose", "unlink", "holds"),
    [
        ({"keep_old"}, False, True),
        ({"keep_lower"}, True, True),
        ({"keep_old", "keep_lower"}, False, False),
    ],
)
def test_the_mark_and_lower_files_first_back_each_other(loose: set[str], unlink: bool, holds: bool) -> None:
    """Where no lease is forgotten, the worker's mark or the server's order is enough; neither is not."""
    result = model.check(replace(model.EVERYTHING, loose=frozenset(loose), unlink=unlink))
    assert (result.violation is None) == holds


def test_an_unknown_wording_is_refused() -> None:
    """A misspelt wording loosens nothing, and must not pass for one that does no harm."""
    with pytest.raises(ValueError, match="got skiplook"):
        model.check(model.Config(loose=frozenset({"skiplook"})))


def test_the_command_fails_on_what_is_not_expected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command succeeds if the rule holds and looser ones do not, and says which step led where."""
    assert model.main(["uses=2", "crash"]) == 0
    assert capsys.readouterr().out.startswith("uses=2 crash: ")
    assert model.main(["looser"]) == 0
    assert "\n    server 1 unlinks the lease\n" in capsys.readouterr().out
    monkeypatch.setattr(model, "LOOSER", {"harmless here": model.Config(frozenset({"skip_look"}), uses=1)})
    assert model.main(["looser"]) == 1
