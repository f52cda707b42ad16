"""Whether stated probabilities come true, and whether the spread tells right answers from wrong ones.

N: jet, C: class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.evaluate.discrimination import auc

Floats = NDArray[np.float64]


def reliability(confidence_N: Floats, right_N: NDArray[np.bool_], bins: int) -> list[dict[str, float]]:
    """Return a reliability diagram: equal bins of confidence, each with its accuracy and binomial error.

    Empty bins are left out.
    """
    place = np.minimum((confidence_N * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        here = place == number
        count = int(here.sum())
        if count == 0:
            continue
        accuracy = float(right_N[here].mean())
        error = float(np.sqrt(max(accuracy * (1 - accuracy), 0.25 / count) / count))
        rows.append(
            {"confidence": float(confidence_N[here].mean()), "accuracy": accuracy, "error": error, "count": count}
        )
    return rows


def expected_calibration_error(confidence_N: Floats, right_N: NDArray[np.bool_], bins: int) -> float:
    """Return the mean gap between confidence and accuracy, weighted by jets (Guo et al., arXiv:1706.04599)."""
    rows = reliability(confidence_N, right_N, bins)
    return float(sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(confidence_N))


def calibration(
    probabilities_NC: Floats, labels_N: NDArray[np.int64], *, bins: int, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Return calibration error with its bootstrap error, reliability rows, negative log-likelihood and Brier score."""
    confidence, right = probabilities_NC.max(1), probabilities_NC.argmax(1) == labels_N
    random = np.random.default_rng(seed)
    draws = (random.integers(0, len(right), len(right)) for _ in range(bootstrap))
    spread = (
        np.std([expected_calibration_error(confidence[d], right[d], bins) for d in draws], ddof=1)
        if bootstrap > 1
        else 0.0
    )
    truth = np.eye(probabilities_NC.shape[1])[labels_N]
    chosen = np.maximum(probabilities_NC[np.arange(len(labels_N)), labels_N], 1e-12)
    return {
        "ece": expected_calibration_error(confidence, right, bins),
        "ece_error": float(spread),
        "nll": float(-np.log(chosen).mean()),
        "brier": float(((probabilities_NC - truth) ** 2).sum(1).mean()),
        "accuracy": float(right.mean()),
        "bins": reliability(confidence, right, bins),
    }


def usefulness(uncertainty_N: Floats, right_N: NDArray[np.bool_], points: int = 40) -> dict[str, Any]:
    """Return how an uncertainty separates wrong from right answers.

    Returns
    -------
    dict
        `auroc`: probability that a wrong answer is less certain than a right one, None when all are right or all
        wrong. `retention`: accuracy when only the most certain share is kept, from all down to the most certain
        1/points.
    """
    order = np.argsort(uncertainty_N, kind="stable")
    running = np.cumsum(right_N[order]) / np.arange(1, len(order) + 1)
    shares = np.linspace(1 / points, 1, points)
    places = np.maximum((shares * len(order)).round().astype(int), 1) - 1
    both = bool(right_N.any() and not right_N.all())
    return {
        "auroc": auc(uncertainty_N[~right_N], uncertainty_N[right_N]) if both else None,
        "retention": [{"kept": float(s), "accuracy": float(running[p])} for s, p in zip(shares, places, strict=True)],
    }
