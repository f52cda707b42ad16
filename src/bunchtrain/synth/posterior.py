"""A tagger's posterior under MC dropout in one pass: what a student learns of it.

The class answers of a student learn the mean of the passes (Bayesian dark knowledge, arXiv:1506.04416). A further
answer learns how far the passes are apart, which their mean forgets: log2 I, I the mutual information between answer
and weights, the entropy of the mean less the mean entropy of the passes (nats; arXiv:1112.5745).

- Unlike the standard deviation of a score of two classes, I tells of all classes.
- It is what ensemble distribution distillation keeps (arXiv:1905.00076). There a Dirichlet law stands for the passes,
  and reading I off takes digamma functions; here it is a number of its own. The entropy of the mean, the whole
  uncertainty, still follows from the class answers.
- I reaches over several powers of ten. The squared error of the logarithm is one of the ratio, equally strict for
  all; one step of a fixed-point format is then the same ratio everywhere.
- A threshold of log2 I is one of I, so nothing has to be raised to a power in the firmware.

A: answer, B: jet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: log2 of the smallest information that is told from none.
LOWEST = -14


def log2_information(information_B: NDArray[Any]) -> Floats:
    """Return log2 of mutual informations (nats), at least `LOWEST`."""
    return np.asarray(np.log2(np.maximum(information_B, 2.0**LOWEST)), np.float64)


@dataclass(frozen=True)
class Scale:
    """How the further answer is read: log2 I = answer + offset.

    The offset is a whole number, so that it costs nothing in hardware, and puts the answers around 0, where those of
    the classes lie: they all share one format, and the biases of the last layer another.
    """

    offset: int

    @classmethod
    def fit(cls, log2_B: Floats) -> Scale:
        """Put the middle of the training jets at 0."""
        return cls(round(float(np.median(log2_B))))

    def answer(self, log2_B: Floats) -> Floats:
        """Return what is to be answered, [B]."""
        return log2_B - self.offset

    def log2(self, answers_BA: NDArray[Any]) -> Floats:
        """Return log2 I of a student's answers, of which it is the last, [B]."""
        return np.asarray(answers_BA[:, -1] + self.offset, np.float64)
