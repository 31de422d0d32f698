"""``leasetimer release``: the calling shell has left a scope."""

from __future__ import annotations

import click

from ..errors import NoLease
from .caller import Caller, pid_option, scope_argument
from .options import directory_option, json_option


@click.command(short_help="End a lease of the calling shell.")
@scope_argument
@pid_option
@directory_option
@json_option
def command(scope: str, pid: int | None, directory: str | None, as_json: bool) -> None:
    """End the lease of SCOPE that the calling shell holds."""
    caller = Caller(directory, pid, scope)
    try:
        caller.behalf().release(scope)
    except NoLease as error:
        raise caller.no_lease(error) from None
    caller.say("released", scope, None, as_json=as_json)
