"""What draws from a posterior say, streamed: moments and entropies whose memory does not grow with the draws.

A draw is an answer of the network with other weights, or other dropout masks: `Moments` takes values of any meaning,
`Summary` class probabilities.

K: draws of a chunk, M: item, C: class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Draws from which the number of passes is estimated, and so many at least are taken: the relative error of a standard
#: deviation of T draws is 1 / sqrt(2 (T - 1)), 10 % with these.
PILOT = 51


class Posterior(NamedTuple):
    """What the draws say of each item."""

    mean_MC: Tensor
    score_mean_M: Tensor
    score_std_M: Tensor
    entropy_M: Tensor
    mutual_information_M: Tensor


def entropy(probabilities_MC: Tensor) -> Tensor:
    """Return the entropy of each row in nats."""
    return -torch.xlogy(probabilities_MC, probabilities_MC).sum(-1)


class Moments:
    """Mean and variance over draws, in double precision, by merging of chunks (Chan, Golub and LeVeque, 1979)."""

    def __init__(self) -> None:
        self.draws = 0
        self.mean, self._squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)

    def add(self, values_K: Tensor) -> None:
        """Add draws of shape [K, ...], K at least 1; all chunks have the shape [...]."""
        values_K = values_K.double()
        count, mean = len(values_K), values_K.mean(0)
        total, delta = self.draws + count, mean - self.mean
        self._squares = (
            self._squares + (values_K - mean).square().sum(0) + delta.square() * (self.draws * count / total)
        )
        self.mean, self.draws = self.mean + delta * (count / total), total

    @property
    def variance(self) -> Tensor:
        """The variance, dividing by draws - 1; of fewer than two draws it is NaN."""
        return self._squares / (self.draws - 1) if self.draws > 1 else torch.full_like(self.mean, math.nan)

    @property
    def std(self) -> Tensor:
        """The standard deviation over draws."""
        return self.variance.sqrt()


class Summary:
    """Draws of class probabilities, summed up.

    Parameters
    ----------
    score : callable
        Class probabilities [..., C] to the discriminant [...].
    """

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        self._score = score
        self._mean, self._entropy, self._of_score = Moments(), Moments(), Moments()

    def add(self, probabilities_KMC: Tensor) -> None:
        """Add draws."""
        drawn = probabilities_KMC.double()
        self._mean.add(drawn)
        self._entropy.add(entropy(drawn))
        self._of_score.add(self._score(drawn))

    def posterior(self) -> Posterior:
        """Return mean probabilities; mean and standard deviation of the score; entropy and mutual information.

        The entropy is that of the mean. Mutual information between answer and weights is that entropy less the mean
        entropy of the draws (nats; Houlsby et al., arXiv:1112.5745).
        """
        total_M = entropy(self._mean.mean)
        knowable_M = (total_M - self._entropy.mean).clamp(min=0)
        return Posterior(self._mean.mean, self._of_score.mean, self._of_score.std, total_M, knowable_M)


def passes_for(spread_M: Tensor, error: float, most: int) -> int:
    """Return how many draws it takes until the mean score of 95 % of items is known to `error`.

    Parameters
    ----------
    spread_M : Tensor [M]
        Standard deviation of the score over some draws, `PILOT` or more.
    error : float
        Wanted standard error of the mean, spread / sqrt(draws).
    most : int
        Never more than so many.
    """
    wide = float(np.quantile(spread_M.double().numpy(), 0.95)) if len(spread_M) else 0.0  # torch's has a limit of items
    return min(most, max(PILOT, math.ceil((wide / error) ** 2)))
