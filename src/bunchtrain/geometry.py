"""Angles and pairs of constituents, from their four-momenta.

B: batch, P: constituent, K: neighbour, H: any width.
"""

import torch
from torch import Tensor

#: Momentum (GeV) and ΔR below which a logarithm no longer falls.
_SMALL_PT, _SMALL_R = 1e-6, 1e-4


def angles(momenta_BP4: Tensor) -> Tensor:
    """Return η and φ (rad) of momenta (px, py, pz, energy; GeV), shape [B, P, 2]; zero where there is no momentum."""
    px, py, pz, _ = momenta_BP4.unbind(-1)
    return torch.stack([torch.asinh(pz / torch.hypot(px, py).clamp(min=_SMALL_PT)), torch.atan2(py, px)], -1)


def differences(points_BP2: Tensor) -> Tensor:
    """Return Δη and Δφ, the latter in [-π, π), of all pairs, shape [B, P, P, 2]."""
    delta_BPP2 = points_BP2[:, :, None] - points_BP2[:, None]
    eta, phi = delta_BPP2.unbind(-1)
    return torch.stack([eta, torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi], -1)


def squared_distances(x_BPH: Tensor) -> Tensor:
    """Return the squared distances of all pairs, shape [B, P, P]; small ones are rounded as |x|² is."""
    norm_BP = x_BPH.square().sum(-1)
    return (norm_BP[:, :, None] + norm_BP[:, None] - 2 * x_BPH @ x_BPH.mT).clamp(min=0)


def nearest(squared_BPP: Tensor, mask_BP: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find each node's nearest nodes, itself included.

    Returns
    -------
    index_BPK : int64 [B, P, K]
        Neighbours, nearest first; K is k or the number of nodes, whichever is smaller.
    squared_BPK : [B, P, K]
        Their squared distances; infinite where there is no such neighbour.
    """
    real_BPP = squared_BPP.masked_fill(~mask_BP[:, None, :], float("inf"))
    found = real_BPP.topk(min(k, squared_BPP.shape[1]), dim=-1, largest=False)
    return found.indices, found.values


def gathered(x_BPH: Tensor, index_BPK: Tensor) -> Tensor:
    """Return the rows of each node's neighbours, shape [B, P, K, H]."""
    batch, nodes, width = x_BPH.shape
    rows = (index_BPK + nodes * torch.arange(batch, device=x_BPH.device)[:, None, None]).reshape(-1)
    return x_BPH.reshape(-1, width).index_select(0, rows).view(*index_BPK.shape, width)


def pair_features(momenta_BP4: Tensor) -> Tensor:
    """Return ln ΔR, ln kT, ln z and ln m² (GeV) of all pairs (arXiv:2202.03772, eq. 3), shape [B, P, P, 4].

    Constituents are taken as massless: m² = 4 pT_i pT_j (sinh²(Δη/2) + sin²(Δφ/2)) does not cancel where they are near.
    """
    pt_BP = torch.hypot(momenta_BP4[..., 0], momenta_BP4[..., 1]).clamp(min=_SMALL_PT)
    eta, phi = differences(angles(momenta_BP4)).unbind(-1)
    one, other = pt_BP[:, :, None], pt_BP[:, None]
    softer = torch.minimum(one, other)
    delta_r = torch.hypot(eta, phi).clamp(min=_SMALL_R)
    angular = (torch.sinh(eta / 2).square() + torch.sin(phi / 2).square()).clamp(min=_SMALL_R**2 / 4)
    return torch.stack(
        [
            torch.log(delta_r),
            torch.log(softer * delta_r),
            torch.log(softer / (one + other)),
            torch.log(4 * one * other) + torch.log(angular),
        ],
        -1,
    )
