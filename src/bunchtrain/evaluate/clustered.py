"""Errors where a jet or an event has several items: those of one are alike, so whole jets are resampled.

M: item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import half_width
from bunchtrain.evaluate.answers import Answers

#: Resamplings: the error of an error is 1 / sqrt(2 · this).
_DRAWS = 50


class Resampled:
    """How often each item comes in each of some draws, int64 [M]: as often as its jet, a Poisson number of mean 1.

    Every pass gives the same draws. They are made on the way: a draw of all edges of a test split is gigabytes.
    """

    def __init__(self, jets_M: NDArray[np.int64], draws: int, seed: int) -> None:
        _, self._place = np.unique(jets_M, return_inverse=True)
        self._jets, self._draws, self._seed = int(self._place.max(initial=-1)) + 1, draws, seed

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield the draws."""
        random = np.random.default_rng(self._seed)
        for _ in range(self._draws):
            yield random.poisson(1.0, self._jets)[self._place]


def errors(
    answers: Answers, score_M: NDArray[np.float64], signal: int, background: int, points: Sequence[float], seed: int
) -> tuple[float | None, list[float | None]]:
    """Return the errors of the AUC, and of the rejection at each signal efficiency: None where there is none.

    An error is half the width of the central 68 % of the draws. Draws in which the weights of a class do not add up to
    a positive number say nothing; where most are such, there are no errors.
    """
    found = []
    for often_M in Resampled(answers.jets, _DRAWS, seed):
        scores = answers.scores(score_M, signal, background, often_M)
        if min(float(np.sum(weights)) for weights in scores.weights) <= 0:
            continue
        found.append([scores.auc(), *(scores.rejection(point)["rejection"] or np.nan for point in points)])
    if len(found) <= _DRAWS / 2:
        return None, [None] * len(points)
    area, *others = (half_width(drawn_D) for drawn_D in np.array(found, np.float64).T)
    return area, [one if np.isfinite(one) else None for one in others]
