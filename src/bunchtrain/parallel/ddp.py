"""torch.distributed: Gloo on CPUs, NCCL where every rank has a GPU. The second engine beside Horovod.

Under torchrun the rendezvous comes from its environment; under mpirun or srun from `MASTER_ADDR` and `MASTER_PORT`,
localhost without them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch.distributed import DistNetworkError

from bunchtrain.errors import TrainingError
from bunchtrain.parallel import place_on_node
from bunchtrain.parallel.base import Wire

_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
_SIZE = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS")


def _first(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), default)


def _port() -> int:
    """Return a port that the ranks of one launch share and those of another on the same node most likely do not."""
    names = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "SLURM_JOB_ID", "SLURM_STEP_ID")
    launch = "/".join(os.environ.get(name, "") for name in names)
    return 20000 + zlib.crc32(launch.encode()) % 12000


class Parallel:
    """The ranks that the launcher started."""

    name = "ddp"

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.rank, self.size = _first(_RANK, 0), _first(_SIZE, 1)
        self.local_rank, on_node = place_on_node()
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(_port()))
        engine = "gloo"
        if torch.cuda.is_available() and torch.cuda.device_count() >= on_node:
            torch.cuda.set_device(self.local_rank)
            engine = "cpu:gloo,cuda:nccl"
        if self.size == 1:  # nobody to meet: no port
            dist.init_process_group(engine, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
            return
        try:
            dist.init_process_group(engine, rank=self.rank, world_size=self.size)
        except DistNetworkError as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            mend = "set MASTER_ADDR to the node of rank 0, and MASTER_PORT to a free port of it"
            raise TrainingError(
                "the ranks cannot meet", key="train.backend: ddp", found=f"{where}, {str(error)[:160]}", mend=mend
            ) from None

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0."""
        for name in sorted(tensors):
            dist.broadcast(tensors[name].data, 0)

    def average(
        self, tensors: Sequence[torch.Tensor], figures: torch.Tensor, meanwhile: Callable[[], None]
    ) -> torch.Tensor:
        """Replace each of `tensors` by its mean over ranks, return the sum of `figures`, call `meanwhile` between."""
        total = figures.clone()
        messages = self._wire.packed(tensors)
        waiting = [dist.all_reduce(message.flat.div_(self.size), async_op=True) for message in messages]
        waiting.append(dist.all_reduce(total, async_op=True))
        meanwhile()
        for work in waiting:
            work.wait()
        for message in messages:
            message.unpack()
        return total

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of `values` over ranks, on every rank."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        dist.barrier()

    def shutdown(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()
