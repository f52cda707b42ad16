"""How work is spread over processes: one backend a module behind one small protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: Variables by which a launcher tells a process its group's size: Open MPI, Slurm with PMIx, horovodrun with Gloo,
# torchrun.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "HOROVOD_SIZE", "WORLD_SIZE")


def launched_ranks(environ: Mapping[str, str] | None = None) -> int:
    """Return how many processes the launcher started; 1 without a launcher.

    Slurm's `SLURM_NTASKS` counts only inside a step started with an MPI type, since a plain batch script carries it
    too.
    """
    environ = os.environ if environ is None else environ
    for name in _SIZES:
        if name in environ:
            return int(environ[name])
    if "PMIX_RANK" in environ and "SLURM_STEP_NUM_TASKS" in environ:
        return int(environ["SLURM_STEP_NUM_TASKS"])
    return 1
