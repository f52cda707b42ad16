"""What an evaluation inherits of its surroundings: no launcher's and no scheduler's marks."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: How variables begin by which mpirun, Slurm and torchrun tell a process that they started it.
_MARKS = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_", "SRUN_", "SBATCH_", "TORCHELASTIC_", "HOROVOD_GLOO_")
_MARKED = {
    *(f"HOROVOD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE", "CROSS_RANK", "CROSS_SIZE")),
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
}

#: Of these the user's own: Open MPI's parameters, where Slurm is found.
_OWN = ("OMPI_MCA_", "SLURM_CONF")
_NOT_OWN = ("OMPI_MCA_orte_", "OMPI_MCA_ess", "OMPI_MCA_pmix", "OMPI_MCA_initial_wdir", "OMPI_MCA_shmem_RUNTIME")


def bare(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return variables without those of a launcher or scheduler.

    Else an mpirun below an mpirun takes itself for a rank, one inside Slurm looks for nodes, and `srun` takes the
    job's memory and tasks for those of each step.
    """
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if not _is_mark(name)}


def _is_mark(name: str) -> bool:
    if name.startswith(_OWN) and not name.startswith(_NOT_OWN):
        return False
    return name.startswith(_MARKS) or name in _MARKED
