"""Errors where a jet or an event has several items: those of one are alike, so whole jets are resampled.

M: item.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bunchtrain.evaluate.answers import Answers

#: Resamplings: the error of an error is 1 / sqrt(2 · this).
_DRAWS = 50


def resampled(jets_M: NDArray[np.int64], draws: int, seed: int) -> list[NDArray[np.int64]]:
    """Return for each draw how often each item comes, int64 [M]: as often as its jet, a Poisson number of mean 1."""
    _, place = np.unique(jets_M, return_inverse=True)
    random = np.random.default_rng(seed)
    return [random.poisson(1.0, int(place.max(initial=-1)) + 1)[place] for _ in range(draws)]


def errors(
    answers: Answers, score_M: NDArray[np.float64], signal: int, background: int, points: Sequence[float], seed: int
) -> tuple[float, list[float | None]]:
    """Return the errors of the AUC, and of the rejection at each signal efficiency: None where there is none."""
    found = []
    for often_M in resampled(answers.jets, _DRAWS, seed):
        scores = answers.scores(score_M, signal, background, often_M)
        found.append([scores.auc(), *(scores.rejection(point)["rejection"] or np.nan for point in points)])
    spread = np.std(np.array(found, np.float64), axis=0, ddof=1)
    return float(np.nan_to_num(spread[0])), [float(one) if np.isfinite(one) else None for one in spread[1:]]
