"""Classifiers without labels: what tells a window from its neighbours (arXiv:1708.02949, arXiv:1805.02664).

Boosted trees on histograms of a few features do well at that (arXiv:2309.13111).

N: events, F: features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.hunt import Hunt
from bunchtrain.errors import InputError, MissingDependency
from bunchtrain.events.chance import seeded
from bunchtrain.hunt.spectrum import Floats
from bunchtrain.hunt.windows import Window

#: Pull towards zero of the trees' leaves, and events of a leaf at least.
_SHRINK, _LEAF = 1.0, 40


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let the classifiers use so many threads."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(count):
        yield


def seed_of(*words: object) -> int:
    """Return the seed of one purpose."""
    return int(seeded(*words)) % 2**31


def folds(count: int, settings: Hunt, seed: int) -> NDArray[np.int64]:
    """Return the fold of each of `count` events, at random."""
    return np.random.default_rng(seed_of("folds", seed)).integers(0, settings.folds, count)


def scores(
    features_NF: Floats, mass_N: Floats, fold_N: NDArray[np.int64], window: Window, settings: Hunt, seed: int
) -> Floats:
    """Return how much more like a window's than its neighbours' each event looks, to classifiers that have not seen it.

    Both neighbours weigh the same, and as much as the window together, so that nothing is learned of a trend.

    Returns
    -------
    scores : float64 [N]
    """
    inside, below, above = window.inside(mass_N), window.below(mass_N), window.above(mass_N)
    trained = inside | below | above
    weights = np.zeros(len(mass_N))
    found = np.zeros(len(mass_N))
    for fold in range(settings.folds):
        seen, judged = trained & (fold_N != fold), fold_N == fold
        for part, share in ((inside, 0.5), (below, 0.25), (above, 0.25)):
            weights[part] = share * seen.sum() / max((part & seen).sum(), 1)
        found[judged] = _ensemble(
            features_NF, inside, weights, seen, judged, settings, seed_of("trees", seed, *window, fold)
        )
    return found


def supervised(
    features_NF: Floats, signal_N: NDArray[np.bool_], fold_N: NDArray[np.int64], settings: Hunt, seed: int
) -> Floats:
    """Return scores of the same classifiers with labels: what the features can do at best."""
    found = np.zeros(len(signal_N))
    weights = np.where(signal_N, 0.5 / max(signal_N.sum(), 1), 0.5 / max((~signal_N).sum(), 1)) * len(signal_N)
    for fold in range(settings.folds):
        seen, judged = fold_N != fold, fold_N == fold
        started = seed_of("labels", seed, fold)
        found[judged] = _ensemble(features_NF, signal_N, weights, seen, judged, settings, started)
    return found


def _ensemble(
    features_NF: Floats,
    target_N: NDArray[np.bool_],
    weights_N: Floats,
    seen: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    settings: Hunt,
    seed: int,
) -> Floats:
    """Return the mean score, for the events `judged`, of classifiers that were trained on those `seen`.

    Each of them is trained on as many events, drawn with replacement.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise MissingDependency("scikit-learn", needed_by="hunt", mend="pip install 'bunchtrain[hunt]'") from None

    random, places = np.random.default_rng(seed), np.flatnonzero(seen)
    found = np.zeros(int(judged.sum()))
    for _ in range(settings.ensemble):
        drawn = random.choice(places, len(places)) if settings.ensemble > 1 else places
        if len(np.unique(target_N[drawn])) < 2:
            raise InputError("a fold holds events of one kind alone", key="hunt.folds", mend="lower hunt.folds")
        trees = HistGradientBoostingClassifier(
            max_iter=settings.trees,
            max_leaf_nodes=settings.leaves,
            min_samples_leaf=_LEAF,
            l2_regularization=_SHRINK,
            early_stopping=False,
            random_state=int(random.integers(2**31)),
        )
        trees.fit(features_NF[drawn], target_N[drawn], sample_weight=weights_N[drawn])
        found += trees.predict_proba(features_NF[judged])[:, 1]
    return found / settings.ensemble


def kept(scores_N: Floats, fold_N: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Return which events a cut keeps: in every fold the same share of it, those with the highest scores."""
    found = np.zeros(len(scores_N), bool)
    for fold in np.unique(fold_N):
        here = np.flatnonzero(fold_N == fold)
        order = np.argsort(-scores_N[here], kind="stable")
        found[here[order[: round(share * len(here))]]] = True
    return found


def ranks(scores_N: Floats, fold_N: NDArray[np.int64]) -> Floats:
    """Return the share of its fold that an event's score exceeds: scores of different classifiers on one scale."""
    found = np.zeros(len(scores_N))
    for fold in np.unique(fold_N):
        here = fold_N == fold
        found[here] = np.argsort(np.argsort(scores_N[here], kind="stable"), kind="stable") / here.sum()
    return found
