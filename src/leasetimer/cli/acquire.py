"""``leasetimer acquire``: the calling shell promises to have left a scope by a deadline."""

from __future__ import annotations

import click

from ..clock import CLOCK
from ..errors import NoServer
from ..names import check_scope
from ..presence import server_here
from ..process import PROCESSES
from .caller import Caller, pid_option, scope_argument
from .options import DURATION, SIGNAL, directory_option, json_option


@click.command(short_help="Hold a lease for the calling shell.")
@scope_argument
@click.option("--after", type=DURATION, required=True, help="How long the worker may be in the scope, from now on.")
@pid_option
@click.option("--signal", "number", type=SIGNAL, default="KILL", help="What an overdue worker gets. Default: KILL.")
@click.option("--kill-after", type=DURATION, default="10s", help="From that signal to SIGKILL. Default: 10s.")
@click.option("--tree/--no-tree", default=True, help="Signal what the worker started, too. Default: yes.")
@click.option("--require-server", is_flag=True, help="Refuse, with exit code 4, where no live server would reap it.")
@directory_option
@json_option
def command(
    scope: str,
    after: float,
    pid: int | None,
    number: int,
    kill_after: float,
    tree: bool,
    require_server: bool,
    directory: str | None,
    as_json: bool,
) -> None:
    """Hold the lease of SCOPE for the calling shell, or move the deadline of one that it holds.

    From now on the shell has to renew or release it in time, or the server of this host reaps it, with what it started.
    """
    check_scope(scope)
    caller = Caller(directory, pid)
    folder = caller.folder
    served = server_here(folder, CLOCK, PROCESSES)
    if require_server and not served:
        raise NoServer(f"no live server for host {folder.host} in {folder.root}: run leasetimer serve")
    lease = caller.behalf(signal=number, grace=kill_after, tree=tree).acquire(scope, after)
    if not served:
        click.echo(f"leasetimer: no live server for host {folder.host} in {folder.root}: nobody will reap", err=True)
    caller.say("acquired", scope, lease, as_json=as_json)
