"""How far a variation moves what a network is judged by, and what is chance of it.

The error of a shift is that of a resampling: where the varied jets are the nominal ones, the same draws are taken of
both, and what they have in common cancels; else draws of each.

K: draws, M: item, Q: figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import Scores, half_width

Floats = NDArray[np.float64]

#: What is looked at: area, logarithm of the background rejection at a signal efficiency, and at the threshold that the
#: nominal jets give for it the efficiencies of signal and background.
FIGURES = ("auc", "log_rejection", "signal_efficiency", "background_efficiency")


@dataclass(frozen=True)
class Judged:
    """What a network says of items of two classes.

    Attributes
    ----------
    jets_M, labels_M, weights_M, score_M, spread_M
        Index of the jet, class, weight, score and its spread over the passes of MC dropout.
    signal, background : int
        The classes.
    """

    jets_M: NDArray[np.int64]
    labels_M: NDArray[np.int64]
    weights_M: Floats
    score_M: Floats
    spread_M: Floats
    signal: int
    background: int

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]], signal: int, background: int) -> Judged:
        """Take the items of the two classes out of predictions."""
        chosen = np.isin(columns["label"], (signal, background))
        names = ("index", "label", "weight", "score", "spread")
        kept = {name: columns[name][chosen] for name in names}
        real = {name: kept[name].astype(np.float64) for name in ("weight", "score", "spread")}
        return cls(kept["index"], kept["label"], real["weight"], real["score"], real["spread"], signal, background)

    def scores(self, often_M: NDArray[np.int64] | None = None) -> Scores:
        """Return the scores of both classes, each item as often as is said."""
        weights = self.weights_M if often_M is None else self.weights_M * often_M
        chosen = [self.labels_M == number for number in (self.signal, self.background)]
        return Scores(*(self.score_M[one] for one in chosen), *(weights[one] for one in chosen))

    def passing(self, threshold: float, often_M: NDArray[np.int64] | None = None, widths: float = 0) -> list[float]:
        """Return the shares of signal and background above a threshold, all scores moved by so many spreads."""
        weights = self.weights_M if often_M is None else self.weights_M * often_M
        above = self.score_M + widths * self.spread_M >= threshold
        shares = []
        for number in (self.signal, self.background):
            own = weights[self.labels_M == number]
            total = float(own.sum())
            shares.append(float(own[above[self.labels_M == number]].sum()) / total if total > 0 else np.nan)
        return shares

    def alike(self, other: Judged) -> bool:
        """Return whether these are the same items in the same order."""
        return np.array_equal(self.jets_M, other.jets_M) and np.array_equal(self.labels_M, other.labels_M)


def figures(judged: Judged, efficiency: float, threshold: float, often_M: NDArray[np.int64] | None = None) -> Floats:
    """Return `FIGURES`, shape [Q]; NaN where there is none."""
    scores = judged.scores(often_M)
    if min(float(np.sum(weights)) for weights in scores.weights) <= 0:
        return np.full(len(FIGURES), np.nan)
    share = float(scores.background_efficiency(efficiency))
    rejection = -np.log(share) if share > 0 else np.nan
    return np.array([scores.auc(), rejection, *judged.passing(threshold, often_M)])


class Shift(NamedTuple):
    """A shift and its statistical error; NaN where there is none."""

    value: float
    error: float


def draws(judged: Judged, efficiency: float, threshold: float, count: int, jets: int, seed: list[int]) -> Floats:
    """Return `FIGURES` of resampled jets, shape [K, Q]: each jet, with all of its items, a Poisson number of times.

    `jets` is above the index of every jet: with the same seed the same jets come in other samples of them as often.
    """
    found = np.full((count, len(FIGURES)), np.nan)
    for number in range(count):
        # A stream of its own for each: the draws of the first jets are the same, however many others there are.
        often_M = np.random.default_rng([*seed, number]).poisson(1.0, jets)[judged.jets_M]
        found[number] = figures(judged, efficiency, threshold, often_M)
    return found


def shifts(values_Q: Floats, nominal_Q: Floats, draws_KQ: Floats, nominal_KQ: Floats) -> dict[str, Shift]:
    """Return the shift of each figure, with half the width of the central 68 % of its draws as error."""
    found = {}
    for place, name in enumerate(FIGURES):
        error = half_width((draws_KQ - nominal_KQ)[:, place])
        found[name] = Shift(float(values_Q[place] - nominal_Q[place]), error)
    return found


def covered(nominal: Judged, varied: Judged, widths: float) -> float:
    """Return the share of items whose score moved by at most so many of its spreads; the items are alike."""
    moved_M = np.abs(varied.score_M - nominal.score_M)
    inside_M = moved_M <= widths * nominal.spread_M
    return float(np.sum(nominal.weights_M * inside_M) / np.sum(nominal.weights_M))


def allowed(nominal: Judged, threshold: float) -> list[float]:
    """Return how far the spread lets the efficiencies of signal and background move: if all scores moved together."""
    up, down = nominal.passing(threshold, widths=1), nominal.passing(threshold, widths=-1)
    return [(one - other) / 2 for one, other in zip(up, down, strict=True)]


def quadrature(sources: Mapping[str, list[float]]) -> tuple[float, float]:
    """Return the shifts of all sources added in quadrature, upwards and downwards.

    Of a source with several variations the largest shift to each side counts; with one alone it counts to both sides.
    """
    sides = []
    for sign in (1, -1):
        largest = [
            abs(values[0]) if len(values) == 1 else max(max(sign * value, 0.0) for value in values)
            for values in sources.values()
            if values
        ]
        sides.append(float(np.sqrt(np.sum(np.square(largest)))))
    return sides[0], sides[1]
