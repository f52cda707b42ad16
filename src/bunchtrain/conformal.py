"""Conformal prediction: sets of classes that hold the true one as often as is promised, whatever the network.

A set holds every class whose probability is at least some threshold, so that it is the smallest one for its coverage
(Sadinle et al., arXiv:1609.00451). The threshold comes from items that the network was not trained on; the promise then
holds for items that are exchangeable with them, on average over all of them (split), or over those of every group by
itself (Mondrian: Vovk et al., Algorithmic Learning in a Random World, 2005).

N: item, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def of_true(probabilities_NC: Floats, labels_N: NDArray[np.int64]) -> Floats:
    """Return the probability of each item's true class, shape [N]."""
    found: Floats = probabilities_NC[np.arange(len(labels_N)), labels_N]
    return found


def threshold(true_N: Floats, weights_N: NDArray[Any], coverage: float) -> float:
    """Return the least probability with which a class is in a set.

    Parameters
    ----------
    true_N : float [N]
        Probability that the network gave to the true class of each item of the calibration.
    weights_N : [N]
        Weights of the items; those of the calibration and of the items to come follow the same law.
    coverage : float
        Promised share of sets that hold the true class.

    Returns
    -------
    float
        With equal weights the k-th largest of the probabilities, k = ⌈coverage · (N + 1)⌉: the item to come counts as
        one that is covered only if all are, with the largest of the weights. 0, with which every class is in every set,
        where items are too few.
    """
    order = np.argsort(-true_N, kind="stable")
    weights = np.asarray(weights_N, np.float64)[order]
    total = float(weights.sum())
    if not len(order) or total <= 0:
        return 0.0
    wanted = coverage * (total + float(weights.max()))
    reached = np.flatnonzero(np.cumsum(weights) >= wanted * (1 - 1e-12))
    return float(true_N[order[reached[0]]]) if len(reached) else 0.0


def thresholds(
    true_N: Floats, groups_N: NDArray[np.int64], weights_N: NDArray[Any], coverage: float
) -> dict[int, float]:
    """Return a threshold for every group of items that is there (Mondrian); see `threshold`."""
    found = {}
    for group in np.unique(groups_N):
        here = groups_N == group
        found[int(group)] = threshold(true_N[here], weights_N[here], coverage)
    return found


def sets(probabilities_NC: Floats, least: float | Floats) -> NDArray[np.bool_]:
    """Return which classes are in the set of each item, shape [N, C]; `least` is one threshold, or one per item."""
    least_N1 = np.broadcast_to(np.asarray(least, np.float64), len(probabilities_NC))[:, None]
    found: NDArray[np.bool_] = probabilities_NC >= least_N1
    return found


def sets_by_group(
    probabilities_NC: Floats, groups_N: NDArray[np.int64], least: Mapping[int, float]
) -> NDArray[np.bool_]:
    """Return the sets of items with the thresholds of their groups; of a group without one every class is in it."""
    return sets(probabilities_NC, np.array([least.get(int(group), 0.0) for group in groups_N]))


def covered(sets_NC: NDArray[np.bool_], labels_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each item's set holds its true class."""
    found: NDArray[np.bool_] = sets_NC[np.arange(len(labels_N)), labels_N]
    return found
