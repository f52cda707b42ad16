"""Whether stated probabilities come true, and whether the spread tells right answers from wrong ones.

A network trained with class weights states probabilities for classes that are equally frequent. So each item counts
with its event weight divided by that of its class (`balanced`): a sample's mixture does not pass for a fault of the
network.

N: item, C: class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import auc, effective

Floats = NDArray[np.float64]


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

    Empty bins are left out.
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
        rows.append({"confidence": confidence, "accuracy": accuracy, "error": error, "weight": total})
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
    """Return calibration error with its bootstrap error, reliability rows, negative log-likelihood and Brier score.

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
    truth = np.eye(probabilities_NC.shape[1])[labels_N]
    chosen = np.maximum(probabilities_NC[np.arange(len(labels_N)), labels_N], 1e-12)
    return {
        "ece": expected_calibration_error(confidence, right, bins, weights),
        "ece_error": float(np.std(errors, ddof=1)) if len(errors) > 1 else 0.0,
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
        `retention`: accuracy when only the most certain share is kept, from 1/points up to all.
    """
    weights_N = np.ones(len(right_N)) if weights_N is None else weights_N
    kept, running = _accuracies(uncertainty_N, right_N, weights_N)
    shares = np.linspace(1 / points, 1, points)
    places = np.minimum(np.searchsorted(kept, shares * kept[-1] * (1 - 1e-12)), len(kept) - 1)
    both = bool(right_N.any() and not right_N.all())
    wrong = (uncertainty_N[~right_N], uncertainty_N[right_N], weights_N[~right_N], weights_N[right_N])
    return {
        "auroc": auc(*wrong) if both else None,
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
    kept, running = _accuracies(uncertainty_N, right_N, weights_N)
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
