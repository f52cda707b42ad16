"""Whether stated probabilities come true, and whether an uncertainty tells right answers from wrong ones.

A network trained with class weights states probabilities for classes that are equally frequent. So each item counts
with its event weight divided by that of its class (`balanced`): a sample's mixture does not pass for a fault of the
network.

N: item, C: class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import auc, effective

Floats = NDArray[np.float64]

#: The least probability in a likelihood, and the least whose logarithm is scaled: that must tie no two of them.
_LEAST, _TINY = 1e-12, 1e-300


def balanced(weights_N: NDArray[Any], labels_N: NDArray[np.int64], classes: int) -> Floats:
    """Return weights with the same sum for every class that is there and the mean 1."""
    sums = np.bincount(labels_N, weights_N, classes)
    there = int(np.count_nonzero(sums))
    found: Floats = weights_N * (len(weights_N) / there / np.where(sums == 0, 1, sums))[labels_N]
    return found


def reliability(
    confidence_N: Floats, right_N: NDArray[np.bool_], bins: int, weights_N: Floats | None = None
) -> list[dict[str, float]]:
    """Return a reliability diagram: equal bins of confidence, each with its accuracy and binomial error.

    `count` is the number of unweighted items with the same statistical power. Empty bins are left out.
    """
    weights_N = np.ones(len(right_N)) if weights_N is None else weights_N
    place = np.minimum((confidence_N * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        here = place == number
        weights = weights_N[here]
        total = float(weights.sum())
        if total <= 0:
            continue
        accuracy = float((right_N[here] * weights).sum() / total)
        count = effective(weights)
        error = float(np.sqrt(max(accuracy * (1 - accuracy), 0.25 / count) / count))
        confidence = float((confidence_N[here] * weights).sum() / total)
        rows.append({"confidence": confidence, "accuracy": accuracy, "error": error, "weight": total, "count": count})
    return rows


def expected_calibration_error(
    confidence_N: Floats, right_N: NDArray[np.bool_], bins: int, weights_N: Floats | None = None
) -> float:
    """Return the mean gap between confidence and accuracy, weighted by jets (Guo et al., arXiv:1706.04599).

    NaN where no bin has a positive weight.
    """
    rows = reliability(confidence_N, right_N, bins, weights_N)
    total = sum(row["weight"] for row in rows)
    if total <= 0:
        return float("nan")
    return float(sum(row["weight"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / total)


def squared_calibration_error(
    confidence_N: Floats, right_N: NDArray[np.bool_], bins: int, weights_N: Floats | None = None
) -> float:
    """Return the mean squared gap between confidence and accuracy, without what chance adds to it.

    In a bin of few items the gap is not 0 by chance, and its magnitude never averages out. Of its square the part of
    chance is known: the variance of the accuracy, a (1 - a) / (n - 1) in a bin of n items. Less that, the mean over
    repeated samples is the true one (Kumar, Liang and Ma, arXiv:1909.10155); it is below 0 where chance is all there
    is. Bins of one effective item have no variance and are left out.
    """
    rows = [row for row in reliability(confidence_N, right_N, bins, weights_N) if row["count"] > 1]
    total = sum(row["weight"] for row in rows)
    if total <= 0:
        return float("nan")
    squares = [(row["confidence"] - row["accuracy"]) ** 2 for row in rows]
    chance = [row["accuracy"] * (1 - row["accuracy"]) / (row["count"] - 1) for row in rows]
    terms = zip(rows, squares, chance, strict=True)
    return float(sum(row["weight"] * (square - by_chance) for row, square, by_chance in terms) / total)


def classwise_calibration_error(
    probabilities_NC: Floats, labels_N: NDArray[np.int64], bins: int, weights_N: Floats | None = None
) -> list[float]:
    """Return for every class how far its probability is from how often it is true (Kull et al., arXiv:1910.12656)."""
    return [
        expected_calibration_error(p_N, labels_N == number, bins, weights_N)
        for number, p_N in enumerate(probabilities_NC.T)
    ]


def temperature(probabilities_NC: Floats, labels_N: NDArray[np.int64], weights_N: NDArray[Any]) -> float:
    """Return the temperature that makes stated probabilities come true on average (Guo et al., arXiv:1706.04599).

    Logits divided by it have the least negative log-likelihood. That is convex in its inverse, so its slope has one
    zero, which is found by halving; from 1/50 to 50.
    """
    logits_NC = np.log(np.maximum(probabilities_NC, _TINY))
    true_N = logits_NC[np.arange(len(labels_N)), labels_N]

    def slope(inverse: float) -> float:
        scaled_NC = inverse * logits_NC
        p_NC = np.exp(scaled_NC - scaled_NC.max(1, keepdims=True))
        mean_N = (p_NC * logits_NC).sum(1) / p_NC.sum(1)
        return float(np.sum(weights_N * (mean_N - true_N)))

    low, high = 0.02, 50.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / math.sqrt(low * high)


def cooled(probabilities_NC: Floats, temperature: float) -> Floats:
    """Return the probabilities that a temperature makes of others."""
    scaled_NC = np.log(np.maximum(probabilities_NC, _TINY)) / temperature
    p_NC = np.exp(scaled_NC - scaled_NC.max(1, keepdims=True))
    found: Floats = p_NC / p_NC.sum(1, keepdims=True)
    return found


def calibration(
    probabilities_NC: Floats,
    labels_N: NDArray[np.int64],
    weights_N: NDArray[Any],
    *,
    bins: int,
    bootstrap: int,
    seed: int,
    often: Iterable[NDArray[np.int64]] | None = None,
) -> dict[str, Any]:
    """Return calibration errors with a bootstrap error, reliability rows, negative log-likelihood and Brier score.

    `weights_N` are those for which probabilities are stated: `balanced`, for equally frequent classes. `often` says how
    often each item comes in each resampling, where items do not vary by themselves.
    """
    weights = weights_N
    confidence, right = probabilities_NC.max(1), probabilities_NC.argmax(1) == labels_N
    random = np.random.default_rng(seed)
    if often is None:
        draws = (random.integers(0, len(right), len(right)) for _ in range(bootstrap))
        errors = [expected_calibration_error(confidence[d], right[d], bins, weights[d]) for d in draws]
    else:
        errors = [expected_calibration_error(confidence, right, bins, weights * times) for times in often]
    errors = [one for one in errors if np.isfinite(one)]
    square = squared_calibration_error(confidence, right, bins, weights)
    truth = np.eye(probabilities_NC.shape[1])[labels_N]
    chosen = np.maximum(probabilities_NC[np.arange(len(labels_N)), labels_N], _LEAST)
    return {
        "ece": expected_calibration_error(confidence, right, bins, weights),
        "ece_error": float(np.std(errors, ddof=1)) if len(errors) > 1 else 0.0,
        "rms_debiased": math.sqrt(max(square, 0.0)) if math.isfinite(square) else None,
        "ece_classwise": classwise_calibration_error(probabilities_NC, labels_N, bins, weights),
        "nll": float(np.average(-np.log(chosen), weights=weights)),
        "brier": float(np.average(((probabilities_NC - truth) ** 2).sum(1), weights=weights)),
        "accuracy": float(np.average(right, weights=weights)),
        "bins": reliability(confidence, right, bins, weights),
    }


def usefulness(
    uncertainty_N: Floats, right_N: NDArray[np.bool_], weights_N: Floats | None = None, points: int = 40
) -> dict[str, Any]:
    """Return how an uncertainty separates wrong from right answers.

    Returns
    -------
    dict
        `auroc`: probability that a wrong answer is less certain than a right one, None when all are right or all wrong.
        `retention`: accuracy when only the most certain share is kept, from 1/points up to all; and what
        `retention_area` returns.
    """
    weights_N = np.ones(len(right_N)) if weights_N is None else weights_N
    kept, running = _accuracies(uncertainty_N, right_N, weights_N)
    shares = np.linspace(1 / points, 1, points)
    places = np.minimum(np.searchsorted(kept, shares * kept[-1] * (1 - 1e-12)), len(kept) - 1)
    both = bool(right_N.any() and not right_N.all())
    wrong = (uncertainty_N[~right_N], uncertainty_N[right_N], weights_N[~right_N], weights_N[right_N])
    return {
        "auroc": auc(*wrong) if both else None,
        **_area(kept, running),
        "retention": [{"kept": float(s), "accuracy": float(running[p])} for s, p in zip(shares, places, strict=True)],
    }


def retention_area(
    uncertainty_N: Floats, right_N: NDArray[np.bool_], weights_N: Floats | None = None
) -> dict[str, float | None]:
    """Return the area below the retention curve, and how much of it the uncertainty is to be thanked for.

    Returns
    -------
    dict
        `accuracy` of all, a; `area`, the mean accuracy over the shares that are kept; `gain`, the area less a, which is
        what leaving out items at random gives; `of_best`, the gain as a share of -a ln(a), which an uncertainty gives
        that puts all wrong answers last (the rejection ratio of Malinin et al., arXiv:2006.10562, on accuracies); None
        when all are right or all wrong.
    """
    weights_N = np.ones(len(right_N)) if weights_N is None else weights_N
    return _area(*_accuracies(uncertainty_N, right_N, weights_N))


def _area(kept: Floats, running: Floats) -> dict[str, float | None]:
    accuracy, area = float(running[-1]), float(np.average(running, weights=np.diff(kept, prepend=0.0)))
    best = -accuracy * float(np.log(accuracy)) if 0 < accuracy < 1 else 0.0
    gain = area - accuracy
    return {"accuracy": accuracy, "area": area, "gain": gain, "of_best": gain / best if best else None}


def _accuracies(uncertainty_N: Floats, right_N: NDArray[np.bool_], weights_N: Floats) -> tuple[Floats, Floats]:
    """Return the weight kept and its accuracy, [N] each, item by item from the most certain.

    Items of equal uncertainty are shared out, as if ties were broken by chance: an uncertainty in few bits has many.
    """
    order = np.argsort(uncertainty_N, kind="stable")
    _, place = np.unique(uncertainty_N[order], return_inverse=True)
    weights = weights_N[order]
    sums, right = (np.bincount(place, values) for values in (weights, weights * right_N[order]))
    shares = right / np.where(sums == 0, 1, sums)
    kept: Floats = np.cumsum(weights)
    return kept, np.cumsum(weights * shares[place]) / np.where(kept == 0, 1, kept)


def pit(mean_N: Floats, std_N: Floats, truth_N: Floats) -> Floats:
    """Return the probability integral transform of numbers that were predicted with normal errors.

    It is the share of the stated distribution that lies below the truth (Dawid, doi:10.2307/2981683): uniform between 0
    and 1 where what is stated comes true, heaped at both ends where the errors are too small.

    Raises
    ------
    ValueError
        If a stated error is not above zero.
    """
    if not np.all(std_N > 0):
        raise ValueError("every stated error has to be above zero")
    z_N = (truth_N - mean_N) / std_N
    return np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in z_N])


def interval_coverage(pit_N: Floats, share: float) -> float:
    """Return how often the truth lies in the central interval that is to hold a share of it, e.g. 0.68."""
    return float(np.mean(np.abs(pit_N - 0.5) <= share / 2))
