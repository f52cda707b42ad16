"""What several networks are built from.

B: batch, P: constituent, H: hidden width.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


def mean(x_BPH: Tensor, mask_BP: Tensor) -> Tensor:
    """Return the mean over the constituents, shape [B, H]; zero where there are none."""
    real_BP1 = mask_BP[..., None].to(x_BPH.dtype)
    return (x_BPH * real_BP1).sum(1) / real_BP1.sum(1).clamp(min=1)


def largest(x_BPH: Tensor, mask_BP: Tensor) -> Tensor:
    """Return the largest over the constituents of what is not negative, shape [B, H]; zero where there are none."""
    return (x_BPH * mask_BP[..., None]).amax(1)


def perceptron(*widths: int) -> nn.Sequential:
    """Return linear layers of these widths, each but the last followed by ReLU."""
    layers: list[nn.Module] = []
    for one, after in pairwise(widths):
        layers += [nn.Linear(one, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
