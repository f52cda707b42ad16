"""Ridge regression whose prior and noise are chosen where the data are most likely (MacKay 1992).

P: amplitude, T: prior tried, N: noise tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: Smallest ridge, over the largest eigenvalue: below it rounding rules.
_LEAST = 1e-13


class Posterior(NamedTuple):
    """What is known of amplitudes.

    Attributes
    ----------
    mean_P, root_PP : float64 [P], [P, P]
        Mean, and a root of the covariance.
    prior, noise : float
        Widths of amplitudes before, and of the data about what the amplitudes give.
    evidence : float
        Logarithm of the likelihood of the data, up to a constant.
    """

    mean_P: Tensor
    root_PP: Tensor
    prior: float
    noise: float
    evidence: float


def posterior(
    gram_PP: Tensor, right_P: Tensor, square: float, count: int, priors: Sequence[float], noises: Sequence[float]
) -> Posterior:
    """Return amplitudes, with the most likely of the priors and noises.

    Parameters
    ----------
    gram_PP, right_P : float64
        Of a design matrix A and data y: AᵀA and Aᵀy.
    square : float
        yᵀy.
    count : int
        Number of data.
    priors, noises : sequence of float
        What is tried.
    """
    values_P, vectors_PP = torch.linalg.eigh(gram_PP)
    values_P, turned_P = values_P.clamp(min=0), vectors_PP.T @ right_P
    prior_T1, noise_1N = (torch.tensor(one, dtype=torch.float64) ** 2 for one in (priors, noises))
    prior_T1, noise_1N = prior_T1[:, None], noise_1N[None]
    ridge_TN = noise_1N / prior_T1
    damped_TNP = values_P + ridge_TN[..., None]
    missed_TN = square - (turned_P.square() / damped_TNP).sum(-1)
    volume_TN = (damped_TNP / ridge_TN[..., None]).log().sum(-1)
    evidence_TN = -(volume_TN + missed_TN / noise_1N + count * noise_1N.log()) / 2
    evidence_TN = evidence_TN.masked_fill(ridge_TN < _LEAST * values_P.max(), -torch.inf)
    best = int(evidence_TN.argmax())
    one, other = divmod(best, len(noises))
    damped_P, noise = damped_TNP[one, other], noises[other]
    root_PP = vectors_PP * (noise / damped_P.sqrt())
    return Posterior(vectors_PP @ (turned_P / damped_P), root_PP, priors[one], noise, float(evidence_TN[one, other]))
