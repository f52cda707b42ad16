"""Horovod, over MPI under mpirun or srun, over Gloo under horovodrun."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from bunchtrain.errors import MissingDependency

try:
    import horovod.torch as hvd
except ImportError as error:
    raise MissingDependency(
        "horovod with its torch extension", needed_by="train.backend horovod", mend="run make env"
    ) from error


class Parallel:
    """The ranks that the launcher started."""

    name = "horovod"

    def __init__(self) -> None:
        hvd.init()
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.local_rank: int = hvd.local_rank()

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0."""
        handles = [hvd.broadcast_async_(tensors[name].data, 0, name=f"broadcast.{name}") for name in sorted(tensors)]
        for handle in handles:
            hvd.synchronize(handle)

    def average_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its mean over ranks, in one fused operation."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        hvd.synchronize(hvd.grouped_allreduce_async_(gradients, op=hvd.Average, name="gradients"))

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
