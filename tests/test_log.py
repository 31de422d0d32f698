"""Lines of the log: one each, whatever is in them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from leasetimer import log


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "lease expired"),
        ({"pid": 4242, "scope": "train"}, "lease expired: pid=4242 scope=train"),
        ({"overdue": 0.81234567}, "lease expired: overdue=0.812346"),
        ({"scope": "my step"}, "lease expired: scope='my step'"),
        ({"scope": ""}, "lease expired: scope=''"),
        ({"scope": "a\nforged: line"}, "lease expired: scope='a\\nforged: line'"),
        ({"scope": "\x1b[31m"}, "lease expired: scope='\\x1b[31m'"),
        ({"scope": "\udc80"}, "lease expired: scope='\\udc80'"),
        ({"state": None}, "lease expired: state=None"),
    ],
)
def test_a_line_names_the_event_then_its_facts(facts: dict[str, object], expected: str) -> None:
    """One line whatever a value holds: neither a blank nor a newline in a scope can forge another fact."""
    assert log.line("lease expired", facts) == expected


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_each_level_is_loggings_own(level: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged goes to the one logger, with that level, and a percent sign is nothing special."""
    caplog.set_level("DEBUG", "leasetimer")
    getattr(log, level)("event", scope="100%s")
    assert caplog.record_tuples == [
        ("leasetimer", {"debug": 10, "info": 20, "warning": 30, "error": 40}[level], "event: scope=100%s")
    ]


def test_a_trace_is_added_on_demand(caplog: pytest.LogCaptureFixture) -> None:
    """Only an unforeseen failure brings its traceback."""
    try:
        raise KeyError("cause")
    except KeyError:
        log.error("event", trace=True)
        log.error("event")
    with_trace, without = caplog.records
    assert with_trace.exc_info
    assert with_trace.exc_info[0] is KeyError
    assert not without.exc_info


def test_a_level_nobody_wants_is_not_formatted(caplog: pytest.LogCaptureFixture) -> None:
    """A debug line of a busy server costs nothing where nobody asked for it."""

    class Never:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    caplog.set_level("WARNING", "leasetimer")
    log.debug("event", fact=Never())
    assert caplog.records == []


@pytest.mark.real
def test_logging_is_loaded_only_to_say_something() -> None:
    """A worker that has nothing to report never imports logging."""
    show = "print('logging' in sys.modules)"
    program = f"import sys; from leasetimer import log; {show}; log.info('x'); {show}"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout == "False\nTrue\n"
