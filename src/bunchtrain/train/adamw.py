"""AdamW, without the import of torch.compile's machinery that torch's optimizers ask for at their first call.

Nothing here compiles an optimizer, and that import takes longer than the one of torch: seconds at the start of each
training, of each trial of a scan, and of each rank that was lost.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer


class AdamW(torch.optim.AdamW):
    """torch's AdamW (arXiv:1711.05101)."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, *, weight_decay: float) -> None:
        _mark()
        kept = list(parameters)
        # On CPUs torch's own choice is a Python loop over tensors: 5 % of a small step.
        fused = True if all(one.device.type == "cpu" for one in kept) else None
        super().__init__(kept, rate, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        inspect.unwrap(torch.optim.AdamW.step)(self, closure)


def _mark() -> None:
    """Say of the optimizers' methods that they are ready as they are, where torch would wrap them for the compiler."""
    for method in vars(Optimizer).values():
        function = inspect.unwrap(method) if callable(method) else None
        if inspect.isfunction(function) and function is not method:
            function.__dict__.setdefault("__dynamo_disable", function)
