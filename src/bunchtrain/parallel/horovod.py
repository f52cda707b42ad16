"""Horovod, over MPI under mpirun or srun, over Gloo under horovodrun."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

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
        # Horovod reads it when it starts, and never again.
        os.environ["HOROVOD_CYCLE_TIME"] = str(wire.cycle_ms)
        hvd.init()
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.local_rank: int = hvd.local_rank()

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0."""
        # Horovod sends no bool: its bytes are seen as whole numbers.
        seen = {name: one.view(torch.uint8) if one.dtype == torch.bool else one for name, one in tensors.items()}
        handles = [hvd.broadcast_async_(seen[name].data, 0, name=f"broadcast.{name}") for name in sorted(seen)]
        for handle in handles:
            hvd.synchronize(handle)

    def average(
        self, tensors: Sequence[torch.Tensor], figures: torch.Tensor, meanwhile: Callable[[], None]
    ) -> torch.Tensor:
        """Replace each of `tensors` by its mean over ranks, return the sum of `figures`, call `meanwhile` between.

        The gradients are made flat here: Horovod's own fusion agrees on each tensor of a group, which takes as long as
        sending it.
        """
        messages = self._wire.packed(tensors)
        handles = [
            hvd.allreduce_async_(message.flat, op=hvd.Average, name=f"gradients.{number}")
            for number, message in enumerate(messages)
        ]
        total = hvd.allreduce_async(figures, op=hvd.Sum, name="figures")
        meanwhile()
        for handle, message in zip(handles, messages, strict=True):
            hvd.synchronize(handle)
            message.unpack()
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
