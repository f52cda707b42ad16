"""How work is spread over processes: one backend a module behind one small protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: How ranks are started on one machine; a cluster's profile says `srun --mpi=pmix`.
LAUNCHER = (
    "mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl self,vader,tcp"
)

#: Variables by which a launcher tells a process its group's size: Open MPI, Slurm with PMIx, horovodrun with Gloo,
# torchrun.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "HOROVOD_SIZE", "WORLD_SIZE")
_LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "HOROVOD_LOCAL_RANK", "LOCAL_RANK", "SLURM_LOCALID")
_LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "HOROVOD_LOCAL_SIZE", "LOCAL_WORLD_SIZE")

#: torchrun alone sets it. Horovod knows nothing of torchrun's ranks.
_TORCHRUN = "TORCHELASTIC_RUN_ID"


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


def backend_of_launcher(environ: Mapping[str, str] | None = None) -> str:
    """Return what joins the ranks that the launcher started."""
    environ = os.environ if environ is None else environ
    if launched_ranks(environ) == 1:
        return "serial"
    return "ddp" if _TORCHRUN in environ else "horovod"


def place_on_node(environ: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return this process's number among those of its node, and how many they are; (0, 1) without a launcher."""
    environ = os.environ if environ is None else environ
    if launched_ranks(environ) == 1:
        return 0, 1
    rank = next((int(environ[name]) for name in _LOCAL_RANKS if name in environ), 0)
    size = next((int(environ[name]) for name in _LOCAL_SIZES if name in environ), None)
    if size is None:
        size = _tasks_here(environ) if "SLURM_STEP_TASKS_PER_NODE" in environ else launched_ranks(environ)
    return rank, size


def _tasks_here(environ: Mapping[str, str]) -> int:
    """Return this node's entry of Slurm's list: `2(x3),1` stands for nodes of 2, 2, 2 and 1 tasks."""
    tasks: list[int] = []
    for entry in environ["SLURM_STEP_TASKS_PER_NODE"].split(","):
        count, _, times = entry.partition("(x")
        tasks += [int(count)] * int(times.rstrip(")") or 1)
    return tasks[min(int(environ.get("SLURM_NODEID", 0)), len(tasks) - 1)]


def pin(threads: int) -> None:
    """Keep this process to its own cores where the node's ranks have exactly one for each of their threads.

    With more cores than that another training may run here too, and both would sit on the first cores.
    """
    rank, size = place_on_node()
    cores = sorted(os.sched_getaffinity(0))
    if size > 1 and len(cores) == size * threads:
        os.sched_setaffinity(0, cores[rank * threads : (rank + 1) * threads])
