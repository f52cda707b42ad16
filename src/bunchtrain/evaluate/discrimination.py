"""ROC curve, its area, and background rejection at working points, with statistical errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(signal: NDArray[Any], background: NDArray[Any]) -> float:
    """Return the probability that a signal score exceeds a background score, ties counted half."""
    ordered = np.sort(background)
    below = np.searchsorted(ordered, signal, side="left")
    up_to = np.searchsorted(ordered, signal, side="right")
    return float(np.mean((below + up_to) / 2) / len(ordered))


def auc_error(area: float, n_signal: int, n_background: int) -> float:
    """Return the standard error of an AUC (Hanley and McNeil, doi:10.1148/radiology.143.1.7063747)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (n_signal - 1) * (q1 - area**2) + (n_background - 1) * (q2 - area**2)
    return float(np.sqrt(max(area * (1 - area) + spread, 0.0) / (n_signal * n_background)))


def roc(signal: NDArray[Any], background: NDArray[Any], points: int = 200) -> tuple[Floats, Floats]:
    """Return signal and background efficiencies [points + 2] at thresholds that step evenly through the signal.

    The last point, where everything passes, is (1, 1).
    """
    efficiencies = np.linspace(0, 1, points + 1)
    thresholds = np.quantile(signal, 1 - efficiencies)
    ordered = np.sort(background)
    passing = 1 - np.searchsorted(ordered, thresholds, side="left") / len(ordered)
    return np.append(efficiencies, 1.0), np.append(passing, 1.0)


def rejection(signal: NDArray[Any], background: NDArray[Any], efficiency: float) -> dict[str, Any]:
    """Return the background rejection 1/ε_B at a signal efficiency.

    The error is the binomial error of ε_B carried over to its inverse. When no background jet passes, the rejection is
    a lower limit at 68 % confidence and has no error.
    """
    threshold = float(np.quantile(signal, 1 - efficiency))
    total, passing = len(background), int(np.sum(background >= threshold))
    row: dict[str, Any] = {
        "efficiency": efficiency,
        "threshold": threshold,
        "background_passing": passing,
        "background_total": total,
    }
    if passing == 0:
        return {**row, "rejection": total / -np.log(1 - 0.68), "error": None, "lower_limit": True}
    share = passing / total
    value = 1 / share
    return {**row, "rejection": value, "error": value * np.sqrt((1 - share) / (share * total)), "lower_limit": False}


def likelihood_ratio(
    train_values: NDArray[Any], train_signal: NDArray[np.bool_], values: NDArray[Any], bins: int = 40
) -> Floats:
    """Return the best score that one variable allows: signal over background in its training histogram.

    The bins hold equal shares of the training jets. It is what a window cut on that variable can reach.
    """
    edges = np.unique(np.quantile(train_values, np.linspace(0, 1, bins + 1)))
    inner = edges[1:-1]
    signal = np.bincount(np.searchsorted(inner, train_values[train_signal]), minlength=len(inner) + 1) + 0.5
    background = np.bincount(np.searchsorted(inner, train_values[~train_signal]), minlength=len(inner) + 1) + 0.5
    ratio: Floats = signal / background
    return ratio[np.searchsorted(inner, values)]
