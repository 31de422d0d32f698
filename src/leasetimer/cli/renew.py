"""``leasetimer renew``: the calling shell has come on, and gets more time."""

from __future__ import annotations

import click

from ..errors import NoLease
from .caller import Caller, pid_option, scope_argument
from .options import DURATION, directory_option, json_option


@click.command(short_help="Move the deadline of a lease of the calling shell.")
@scope_argument
@click.option("--after", type=DURATION, help="How long from now on. Default: as long as it was acquired for.")
@pid_option
@directory_option
@json_option
def command(scope: str, after: float | None, pid: int | None, directory: str | None, as_json: bool) -> None:
    """Move the deadline of the lease of SCOPE that the calling shell holds."""
    caller = Caller(directory, pid, scope)
    try:
        lease = caller.behalf().renew(scope, after)
    except NoLease as error:
        raise caller.no_lease(error) from None
    caller.say("renewed", scope, lease, as_json=as_json)
