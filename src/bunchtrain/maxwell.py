"""Divergence and curl of a field that a network answers with, by automatic differentiation.

B: batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def residuals(
    field: Callable[[Tensor], Tensor], features_B3: Tensor, widths: Sequence[float], *, graph: bool = False
) -> tuple[Tensor, Tensor]:
    """Return divergence [B] and curl [B, 3] of a field.

    Parameters
    ----------
    field : callable
        Features to components of the field, [B, 3] to [B, 3], row by row.
    features_B3 : Tensor [B, 3]
        Places, in units of `widths`.
    widths : three floats
        Of the features, in the unit of length that the result is wanted in.
    graph : bool
        Whether the result is to be differentiated again.
    """
    with torch.enable_grad():
        features = features_B3.detach().requires_grad_()
        found = field(features)
        scale = torch.as_tensor(widths, dtype=found.dtype, device=found.device)
        rows = [
            torch.autograd.grad(found[:, component].sum(), features, retain_graph=True, create_graph=graph)[0] / scale
            for component in range(3)
        ]
        slopes = torch.stack(rows, 1)  # of component i along axis j
        divergence = slopes.diagonal(dim1=1, dim2=2).sum(1)
        cycle = ((1, 2), (2, 0), (0, 1))
        curl = torch.stack([slopes[:, last, first] - slopes[:, first, last] for first, last in cycle], 1)
        return divergence, curl
