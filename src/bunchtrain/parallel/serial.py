"""One process."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class Parallel:
    """A group of one: every collective is the identity."""

    name = "serial"
    rank = 0
    size = 1
    local_rank = 0

    def broadcast(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing to send."""

    def average_gradients(self, model: nn.Module) -> None:
        """One rank is its own mean."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return values

    def barrier(self) -> None:
        """Nobody to wait for."""

    def shutdown(self) -> None:
        """Nothing to leave."""
