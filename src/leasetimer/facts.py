"""What a worker tells about itself beside its identity: command line, rank, Slurm. Pure.

Only these variables are ever copied out of an environment: a secret that somebody exported must not end in a file that
others read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RANK = {
    "rank": "RANK",
    "local_rank": "LOCAL_RANK",
    "world_size": "WORLD_SIZE",
    "group_rank": "GROUP_RANK",
    "run_id": "TORCHELASTIC_RUN_ID",
    "restart": "TORCHELASTIC_RESTART_COUNT",
}
"""Ours: the launcher's. What torchrun calls things; MPI launchers that set RANK are understood, too."""

SLURM = {
    "job": "SLURM_JOB_ID",
    "step": "SLURM_STEP_ID",
    "array": "SLURM_ARRAY_JOB_ID",
    "array_task": "SLURM_ARRAY_TASK_ID",
    "node": "SLURM_NODEID",
    "proc": "SLURM_PROCID",
    "local": "SLURM_LOCALID",
    "restart": "SLURM_RESTART_COUNT",
    "node_name": "SLURMD_NODENAME",
}
"""Ours: Slurm's."""

RUN = "LEASETIMER_RUN"
"""Which ``leasetimer run`` started the worker, however far above it: set by that, not by people."""

LONGEST_VALUE = 128
"""Characters of a variable that are kept; more than any of the above has."""


def facts(argv: Iterable[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """The facts of a worker with that command line and environment, as they stand in its lease."""
    told = {"argv": [str(word) for word in argv], "rank": _picked(RANK, environ), "slurm": _picked(SLURM, environ)}
    return told | _picked({"run": RUN}, environ)


def _picked(table: dict[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {ours: environ[theirs][:LONGEST_VALUE] for ours, theirs in table.items() if theirs in environ}
