"""A local shape that tells neutral particles of the hard collision from pile-up, after PUPPI (arXiv:1407.6013).

    α_i = ln Σ_j pT_j / ΔR_ij    over charged j of the hard collision with ΔR_ij < 0.3
    w_i = F(χ²_i)                χ_i = (α_i - median) / σ where that is positive, F of one degree of freedom

Median and σ, the root mean square below the median, are those of charged pile-up. The original takes them from all
particles of an event, of which most are far from its jets. Here those of the jets are there alone; median and σ are
taken over all jets, which gives the better resolution: in a jet alone they are those of its dense core.
And few particles of pile-up have some GeV: above that a weight is raised to 1, as experiments do, without which the
resolution of the mass is worse by a third.

B: batch, P: constituent.
"""

import torch
from torch import Tensor

from bunchtrain.geometry import angles, differences

_FARTHEST, _NEAREST = 0.3, 1e-3

#: pT (GeV) from which weights are raised, and that from which they are 1.
_RAISED, _KEPT = 3.0, 6.0

#: A smaller weight counts as none.
_LOWEST = 0.1

#: Charged pile-up below which its spread says nothing; then all that has a neighbour is kept.
_FEWEST = 3

#: A neutral is dropped whose pt times weight is below this plus that for each collision of the pile-up, GeV.
_PT, _PT_PER_COLLISION = 0.1, 0.007


def shape(momenta_BP4: Tensor, seeds_BP: Tensor) -> Tensor:
    """Return α [B, P], pT in GeV, with charged constituents of the hard collision as seeds; -∞ without a neighbour."""
    distance_BPP = differences(angles(momenta_BP4)).square().sum(-1).sqrt()
    others_PP = ~torch.eye(momenta_BP4.shape[1], dtype=torch.bool, device=momenta_BP4.device)
    near_BPP = (distance_BPP < _FARTHEST) & seeds_BP[:, None] & others_PP
    pt_BP = torch.hypot(momenta_BP4[..., 0], momenta_BP4[..., 1])
    return torch.log((near_BPP * pt_BP[:, None] / distance_BPP.clamp(min=_NEAREST)).sum(-1))


def spread(alpha: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return median and σ of the α of charged pile-up, [n]; nothing where that is too little."""
    known = alpha[torch.isfinite(alpha)]
    if len(known) < _FEWEST:
        return None
    median = known.median()
    return median, (known[known <= median] - median).square().mean().sqrt().clamp(min=1e-6)


def weights(alpha_BP: Tensor, pt_BP: Tensor, collisions_B: Tensor, found: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return the weight of each constituent, from 0, pile-up, to 1, shape [B, P].

    Parameters
    ----------
    alpha_BP, pt_BP : [B, P]
        From `shape`; GeV.
    collisions_B : [B]
        Of the pile-up, as far as they are seen.
    found : tuple, optional
        Median and σ, from `spread`; without, all that has a neighbour is kept.
    """
    weight_BP = torch.isfinite(alpha_BP).to(alpha_BP.dtype)
    if found is not None:
        weight_BP = torch.erf(((alpha_BP - found[0]) / found[1]).clamp(min=0) / 2**0.5)
    weight_BP = torch.maximum(weight_BP, ((pt_BP - _RAISED) / (_KEPT - _RAISED)).clamp(0, 1))
    enough_BP = weight_BP * pt_BP > (_PT + _PT_PER_COLLISION * collisions_B)[:, None]
    return weight_BP * (enough_BP & (weight_BP > _LOWEST))
