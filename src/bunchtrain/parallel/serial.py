"""One process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from bunchtrain.parallel.base import Wire


class Parallel:
    """A group of one: every collective is the identity."""

    name = "serial"
    rank = 0
    size = 1
    local_rank = 0

    def __init__(self, wire: Wire | None = None) -> None:
        """Nothing travels."""

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing to send."""

    def average(
        self, tensors: Sequence[torch.Tensor], figures: torch.Tensor, meanwhile: Callable[[], None]
    ) -> torch.Tensor:
        """One rank is its own mean and sum."""
        meanwhile()
        return figures

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return values

    def barrier(self) -> None:
        """Nobody to wait for."""

    def shutdown(self) -> None:
        """Nothing to leave."""
