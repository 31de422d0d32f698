"""One way to log: the event, then its facts. Loads ``logging`` only when there is something to say.

A worker that has nothing to report never pays the 5 ms that importing ``logging`` costs.
"""

from __future__ import annotations


def debug(event: str, **facts: object) -> None:
    """Log what only somebody who looks for it wants to see."""
    _log(10, event, facts)


def info(event: str, **facts: object) -> None:
    """Log what happened as it should."""
    _log(20, event, facts)


def warning(event: str, **facts: object) -> None:
    """Log what went otherwise than it should, but is dealt with."""
    _log(30, event, facts)


def error(event: str, *, trace: bool = False, **facts: object) -> None:
    """Log what failed; ``trace`` adds the traceback of the exception being handled."""
    _log(40, event, facts, trace=trace)


def _log(level: int, event: str, facts: dict[str, object], *, trace: bool = False) -> None:
    import logging

    logger = logging.getLogger("leasetimer")
    if not logger.hasHandlers():
        event = f"leasetimer: {event}"  # on bare stderr nothing else says who speaks
    if logger.isEnabledFor(level):
        logger.log(level, line(event, facts), exc_info=trace)


def line(event: str, facts: dict[str, object]) -> str:
    """``event: key=value key=value``; a value with a blank in it is quoted, a float has six digits."""
    return f"{event}: {' '.join(f'{key}={_plain(value)}' for key, value in facts.items())}" if facts else event


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if text.isprintable() and " " not in text and text else repr(text)
