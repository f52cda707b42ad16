"""Horovod, over MPI under mpirun or srun, over Gloo under horovodrun."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch

from bunchtrain.errors import MissingDependency
from bunchtrain.parallel.base import Wire

try:
    import horovod.torch as hvd
except ImportError as error:
    raise MissingDependency(
        "horovod with its torch extension", needed_by="train.backend horovod", mend="run make env"
    ) from error


class Parallel:
    """The ranks that the launcher started."""

    name = "horovod"

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        # Horovod reads these when it starts, and never again.
        if wire.fusion_mb is not None:
            os.environ["HOROVOD_FUSION_THRESHOLD"] = str(round(wire.fusion_mb * 2**20))
        if wire.cycle_ms is not None:
            os.environ["HOROVOD_CYCLE_TIME"] = str(wire.cycle_ms)
        hvd.init()
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.local_rank: int = hvd.local_rank()

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0."""
        handles = [hvd.broadcast_async_(tensors[name].data, 0, name=f"broadcast.{name}") for name in sorted(tensors)]
        for handle in handles:
            hvd.synchronize(handle)

    def average(self, tensors: Sequence[torch.Tensor], figures: torch.Tensor) -> torch.Tensor:
        """Replace each of `tensors` by its mean over ranks, in one fused operation; return the sum of `figures`."""
        packed = [self._wire.packed(tensor) for tensor in tensors]
        handles = hvd.grouped_allreduce_async_(packed, op=hvd.Average, name="gradients")
        total = hvd.allreduce_async(figures, op=hvd.Sum, name="figures")
        hvd.synchronize(handles)
        for tensor, whole in zip(tensors, packed, strict=True):
            if whole is not tensor:
                tensor.copy_(whole)
        summed: torch.Tensor = hvd.synchronize(total)
        return summed

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of `values` over ranks, on every rank."""
        total: torch.Tensor = hvd.allreduce(values, op=hvd.Sum, name="sum")
        return total

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        hvd.barrier()

    def shutdown(self) -> None:
        """Leave the group."""
        hvd.shutdown()
