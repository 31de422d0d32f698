"""A server is required of whoever enters a block, not of whoever is in one."""

from pathlib import Path

from leasetimer.lookout import LOOK_INTERVAL
from ledgers import Machine, only
from ledgers import machine as machine
from test_ledger_server import serve


def test_a_renewal_that_has_to_publish_needs_no_server(machine: Machine, tmp_path: Path) -> None:
    """It is in its block already: an error there would end work that a server might still guard when it is back."""
    serve(machine, tmp_path)
    client = machine.client(tmp_path, require_server=True)
    client.acquire("train", machine.until(60))
    (tmp_path / "node1" / "server.json").unlink()
    machine.clock.jump(LOOK_INTERVAL)
    before, sooner = only(tmp_path).status.deadline, machine.clock.mono + 30
    client._uses.hold(client, "train", sooner, 0)
    assert only(tmp_path).status.deadline == sooner < before
