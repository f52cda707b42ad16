"""The protocol between a training and the processes it is spread over.

Parallelism knows no physics: it counts ranks, sends tensors and adds them up. A backend is a module with a class
`Parallel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bunchtrain import registry
from bunchtrain.errors import TrainingError
from bunchtrain.parallel import backend_of_launcher, launched_ranks


@dataclass(frozen=True)
class Message:
    """Gradients on their way: the tensors, and one flat copy of them all."""

    tensors: list[torch.Tensor]
    flat: torch.Tensor

    def unpack(self) -> None:
        """Overwrite the tensors with what has come back."""
        parts = torch.split(self.flat, [tensor.numel() for tensor in self.tensors])
        for tensor, part in zip(self.tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


@dataclass(frozen=True)
class Wire:
    """How gradients travel; a backend leaves aside what it has no use for.

    Parameters
    ----------
    compression : str
        `none`, or `fp16`: half precision on the way.
    fusion_mb : float
        Largest message, MiB. Small tensors travel together; a larger tensor travels alone.
    cycle_ms : float
        How often Horovod looks for messages, ms.
    """

    compression: str = "none"
    fusion_mb: float = 128.0
    cycle_ms: float = 0.3

    def packed(self, tensors: Sequence[torch.Tensor]) -> list[Message]:
        """Return the tensors in as few messages as `fusion_mb` allows, in their order."""
        groups: list[list[torch.Tensor]] = []
        room = 0.0
        for tensor in tensors:
            room -= tensor.nbytes
            if room < 0 or not groups:
                groups.append([])
                room = self.fusion_mb * 2**20 - tensor.nbytes
            groups[-1].append(tensor)
        dtype = torch.float16 if self.compression == "fp16" else None
        return [Message(group, torch.cat([tensor.reshape(-1) for tensor in group]).to(dtype)) for group in groups]


class ParallelProtocol(Protocol):
    """What a training asks of a backend.

    Gradients are averaged over ranks by `average`, which the loop calls between backward and step: an explicit call is
    exact, needs no wrapped optimizer, and so leaves the optimizer's state alone when it is loaded (see
    docs/decisions/0004).
    """

    name: str
    rank: int
    size: int
    local_rank: int

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0."""
        ...

    def average(
        self, tensors: Sequence[torch.Tensor], figures: torch.Tensor, meanwhile: Callable[[], None]
    ) -> torch.Tensor:
        """Replace each of `tensors` by its mean over ranks, and return the sum of `figures`.

        `meanwhile` is called when all has been sent, before what comes back is waited for.
        """
        ...

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of `values` over ranks, on every rank."""
        ...

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        ...

    def shutdown(self) -> None:
        """Leave the group."""
        ...


def start(backend: str, wire: Wire | None = None) -> ParallelProtocol:
    """Start a backend by name; `auto` takes what the launcher is made for, and serial for one rank.

    Raises
    ------
    TrainingError
        If `serial` is asked for under a launcher of several ranks, or the ranks do not find each other.
    """
    ranks = launched_ranks()
    backend = backend_of_launcher() if backend == "auto" else backend
    if backend == "serial" and ranks > 1:
        raise TrainingError(
            "a serial training was started on several ranks",
            key="train.backend",
            found=f"serial on {ranks} ranks",
            expected="horovod, ddp or auto",
        )
    module: Any = registry.load("parallel", backend, "train.backend")
    parallel: ParallelProtocol = module.Parallel(wire or Wire())
    if parallel.size != ranks:
        raise TrainingError(
            "the ranks of a launcher do not find each other",
            key="train.backend",
            found=f"{backend} with {parallel.size} rank(s), of {ranks} that were started",
            mend="start horovod by mpirun, srun or horovodrun, and ddp by torchrun, mpirun or srun; or take auto",
        )
    return parallel
