"""Jets of a sample with what a network that knows no classes, and simpler methods, say of them.

M: jet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import Scores

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Jets:
    """The jets of one sample: weights and mass [M], and by name the scores [M] of a network and of simpler methods."""

    index: NDArray[np.int64]
    weights: Floats
    mass: Floats
    scores: dict[str, Floats]
    rivals: dict[str, Floats]


def scores_of(signal: Jets, background: Jets, name: str) -> Scores:
    """Return a score, of the network or of a simpler method, of two samples."""
    first, second = ((one.scores | one.rivals)[name] for one in (signal, background))
    return Scores(first, second, signal.weights, background.weights)
