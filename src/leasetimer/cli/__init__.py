"""The command line. One file a command: its options, its help, what it prints; named here, and nowhere else.

Commands are imported when they are called: ``leasetimer acquire`` in a shell loop must not pay for ``rich``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import click

from ..errors import LeasetimerError

COMMANDS = ["run", "serve", "acquire", "renew", "release", "ls", "show", "clear"]
INTERRUPTED = 130


class Commands(click.Group):
    """The commands, each in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the list above: what one needs first comes first."""
        return COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __name__).command
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leasetimer")
def leasetimer() -> None:
    """Leases against hung workers.

    A worker promises to leave a block by a deadline, in a lease file in a shared directory; a server on each host reaps
    the worker whose lease ran out, and leaves a record of it.

    Durations are 90, 90s, 10m, 1h30m, or Slurm's MM:SS, HH:MM:SS, D-HH,
    D-HH:MM, D-HH:MM:SS.
    """


def main() -> None:
    """The command ``leasetimer``: every failure is one line on stderr and a documented exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a scope that this terminal's encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(leasetimer.main(prog_name="leasetimer", standalone_mode=False) or 0)
    except LeasetimerError as error:
        fail(text_of(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:  # the help is no line: as click lays it out
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        fail(text_of(error), 5)


def fail(message: str, code: int) -> NoReturn:
    """Say in one line what went wrong, and end."""
    click.echo(f"leasetimer: {' '.join(message.split())}", err=True)
    sys.exit(code)


def text_of(error: Exception) -> str:
    """What went wrong, and where, without the number that ``OSError`` puts before it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
