"""ROC curve, its area, and background rejection at working points, weighted, with statistical errors.

Jets of equal score are shared out: between two thresholds the curve is a straight line, as if ties were broken by
chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bunchtrain.rounding import alone, rounded

Floats = NDArray[np.float64]

#: What `Scores.rejection` returns, or what was read of it.
Row = TypeVar("Row", bound=Mapping[str, Any])


def effective(weights: NDArray[Any]) -> float:
    """Return the number of unweighted jets with the same statistical power, (Σw)² / Σw²."""
    squares = float(np.sum(np.square(weights, dtype=np.float64)))
    return float(np.sum(weights, dtype=np.float64)) ** 2 / squares if squares else 0.0


def half_width(draws_D: NDArray[Any]) -> float:
    """Return half the width of the central 68 % of draws: a standard deviation that far tails do not move.

    NaN where most draws have no value.
    """
    known = draws_D[np.isfinite(draws_D)]
    if len(known) <= len(draws_D) / 2:
        return float("nan")
    low, high = np.quantile(known, [0.1586553, 0.8413447])
    return float(high - low) / 2


class Scores:
    """Scores of signal and background jets with their weights, and the ROC curve they make.

    Parameters
    ----------
    signal, background : [N], [M]
        Larger is more like signal.
    signal_weights, background_weights : [N], [M], optional
        Event weights; 1 without.
    """

    def __init__(
        self,
        signal: NDArray[Any],
        background: NDArray[Any],
        signal_weights: NDArray[Any] | None = None,
        background_weights: NDArray[Any] | None = None,
    ) -> None:
        self.signal, self.background = signal, background
        weights = (signal_weights, background_weights)
        self.weights = [np.ones(len(x)) if w is None else w for x, w in zip((signal, background), weights, strict=True)]
        # From the strictest threshold to the loosest: what passes at each distinct score, starting from nothing.
        thresholds, place = np.unique(-np.concatenate([signal, background]), return_inverse=True)
        self.thresholds: Floats = -thresholds
        places = place[: len(signal)], place[len(signal) :]
        self.efficiencies = [self._passing(p, w, len(thresholds)) for p, w in zip(places, self.weights, strict=True)]

    @staticmethod
    def _passing(place: NDArray[np.int64], weights: NDArray[Any], thresholds: int) -> Floats:
        running = np.concatenate([[0.0], np.cumsum(np.bincount(place, weights, thresholds))])
        share: Floats = running / running[-1] if running[-1] else running
        return share

    @property
    def fewest(self) -> float:
        """The background efficiency of one effective background jet: nothing below it was measured."""
        return 1 / max(effective(self.weights[1]), 1.0)

    def background_efficiency(self, signal_efficiency: NDArray[Any] | float) -> Floats:
        """Return the background efficiency at a signal efficiency."""
        signal, background = self.efficiencies
        return np.asarray(np.interp(signal_efficiency, signal, background))

    def auc(self) -> float:
        """Return the probability that a signal score exceeds a background score, ties counted half."""
        signal, background = self.efficiencies
        return float(np.trapezoid(signal, background))

    def auc_error(self) -> float:
        """Return the standard error of the AUC (Hanley and McNeil, doi:10.1148/radiology.143.1.7063747)."""
        area, (n_signal, n_background) = self.auc(), (effective(w) for w in self.weights)
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        spread = (n_signal - 1) * (q1 - area**2) + (n_background - 1) * (q2 - area**2)
        return float(np.sqrt(max(area * (1 - area) + spread, 0.0) / (n_signal * n_background)))

    def roc(self, points: int = 200) -> tuple[Floats, Floats]:
        """Return signal and background efficiencies [points + 1] in even steps of the former, from 0 to 1."""
        signal = np.linspace(0, 1, points + 1)
        background = self.background_efficiency(signal)
        background[0], background[-1] = 0.0, 1.0
        return signal, background

    def rejection(self, efficiency: float) -> dict[str, Any]:
        """Return the background rejection 1/ε_B at a signal efficiency.

        The error joins the binomial error of ε_B with what the binomial error of the signal efficiency at this
        threshold makes of it. When no background jet passes, the rejection is a lower limit at 68 % confidence and has
        no error. When some pass whose weights do not add up to a positive number, there is none.
        """
        place = min(int(np.searchsorted(self.efficiencies[0], efficiency)), len(self.thresholds)) - 1
        share = float(self.background_efficiency(efficiency))
        return self._rejection(efficiency, share, float(self.thresholds[max(place, 0)]))

    def cut(self, efficiency: float) -> dict[str, Any]:
        """Return the strictest threshold that keeps a signal efficiency, with what it really keeps and rejects.

        In `rejection` jets of equal score are shared out; here all of them pass, or none, as in a trigger. The errors
        are those of both shares at this threshold, binomial.
        """
        signal, background = self.efficiencies
        place = 1 + int(np.argmax(signal[1:] >= min(efficiency, float(signal.max()))))
        kept, share = float(signal[place]), float(background[place])
        n_signal, n_background = (effective(w) for w in self.weights)
        row = self._rejection(kept, share, float(self.thresholds[place - 1]))
        row["efficiency_error"] = float(np.sqrt(max(kept * (1 - kept), 0.0) / n_signal))
        if row["error"] is not None:  # of this very threshold: where the signal efficiency lies is told beside it
            row["error"] = float(np.sqrt(max(share * (1 - share), 0.0) / n_background) / share**2)
        return row

    def _rejection(self, efficiency: float, share: float, threshold: float) -> dict[str, Any]:
        """Return the rejection where a share of the background passes a threshold."""
        n_signal, n_background = (effective(w) for w in self.weights)
        row: dict[str, Any] = {
            "efficiency": efficiency,
            "threshold": threshold,
            "background_passing": int(np.sum(self.background >= threshold)),
            "background_total": len(self.background),
        }
        if share <= 0 and row["background_passing"]:
            return {**row, "rejection": None, "error": None, "lower_limit": False}
        if share <= 0:
            return {**row, "rejection": n_background / -np.log(1 - 0.68), "error": None, "lower_limit": True}
        step = np.sqrt(efficiency * (1 - efficiency) / n_signal)
        around = self.background_efficiency(np.clip([efficiency - step, efficiency + step], 0, 1))
        spread = np.hypot(np.sqrt(share * max(1 - share, 0.0) / n_background), np.ptp(around) / 2)
        return {**row, "rejection": 1 / share, "error": float(spread / share**2), "lower_limit": False}


def told(row: Mapping[str, Any]) -> str:
    """Return a rejection in words, with its error; `>` for a limit, `≈` without an error, a dash for none."""
    return " ± ".join(part for part in parts(row) if part)


def parts(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a rejection and its error in words, "" where there is none; see `told`."""
    if row["rejection"] is None:
        return "-", ""
    if row["error"] is None:
        return f"{'>' if row['lower_limit'] else '≈'} {alone(row['rejection'], 2)}", ""
    return rounded(row["rejection"], row["error"])


def gain(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the ratio of two rejections and its error, as if of different jets; None where one of them has none."""
    if one["error"] is None or other["error"] is None:
        return None
    ratio = one["rejection"] / other["rejection"]
    return ratio, ratio * float(np.hypot(*(row["error"] / row["rejection"] for row in (one, other))))


def quotable(rows: Sequence[Row], fewest: int = 10) -> Row:
    """Return the working point nearest to half of the signal at which enough background passes for an error.

    Where there is none, that at which most of it passes.
    """
    enough = [row for row in rows if row["background_passing"] >= fewest and row["error"] is not None]
    if enough:
        return min(enough, key=lambda row: abs(row["efficiency"] - 0.5))
    return max(rows, key=lambda row: (row["background_passing"], row["efficiency"]))


def auc(
    signal: NDArray[Any],
    background: NDArray[Any],
    signal_weights: NDArray[Any] | None = None,
    background_weights: NDArray[Any] | None = None,
) -> float:
    """Return the probability that a signal score exceeds a background score, ties counted half."""
    return Scores(signal, background, signal_weights, background_weights).auc()


def likelihood_ratio(
    train_values: NDArray[Any],
    train_signal: NDArray[np.bool_],
    train_weights: NDArray[Any],
    values: NDArray[Any],
    bins: int = 40,
) -> Floats:
    """Return the best score that one variable allows: signal over background in its training histogram.

    The bins hold equal shares of the training jets. It is what a window cut on that variable can reach.
    """
    inner = np.unique(np.quantile(train_values, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(inner, train_values, side="right")  # an edge's own value is above it: no two values merge
    weights = train_weights / np.mean(train_weights)
    counts = [np.bincount(place[s], weights[s], len(inner) + 1) for s in (train_signal, ~train_signal)]
    signal, background = (np.maximum(count, 0) + 0.5 for count in counts)
    ratio: Floats = signal / background
    return ratio[np.searchsorted(inner, values, side="right")]


def improvement(scores: Scores, points: int = 50, fewest: int = 10) -> dict[str, list[float]]:
    """Return the significance improvement ε_S / sqrt(ε_B) of cuts, where enough background passes for an error.

    See arXiv:1001.2768.

    Parameters
    ----------
    scores : Scores
    points : int
        Signal efficiencies between 0 and 1.
    fewest : int
        Background events that pass at least.
    """
    signal = np.linspace(0, 1, points + 1)[1:]
    background = scores.background_efficiency(signal)
    n_signal, n_background = (effective(w) for w in scores.weights)
    passing = background * n_background
    shown = passing >= fewest
    signal, background, passing = signal[shown], background[shown], passing[shown]
    value = signal / np.sqrt(background)
    relative = np.hypot(np.sqrt((1 - signal) / (signal * n_signal)), np.sqrt((1 - background) / passing) / 2)
    return {"efficiency": signal.tolist(), "value": value.tolist(), "error": (value * relative).tolist()}
