"""Weights of the training: every class counts the same, and with `reweight` has the same spectrum of pt and |eta|.

N: jets, C: classes, K: bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.prepare import Reweight
from bunchtrain.errors import CampaignError, InputError


def class_weights(
    labels: NDArray[Any], weights: NDArray[Any], training: NDArray[np.bool_], classes: int
) -> list[float]:
    """Return the weights that give every class the same sum and the whole training split the mean weight 1."""
    sums = np.bincount(labels[training], weights[training].astype(np.float64), classes)
    if np.any(sums <= 0):
        raise InputError(
            "the event weights of a class do not add up to a positive number", key="weight", found=sums.tolist()
        )
    return [float(value) for value in training.sum() / (classes * sums)]


def kinematic(
    settings: Reweight,
    classes: Sequence[str],
    columns: dict[str, NDArray[Any]],
    training: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return a factor for the weight of each jet, shape [N], its mean 1 over each class of the training split.

    In each bin of pt and |eta| that all classes have, the weighted spectra become that of the target; a jet outside of
    these bins has the factor 0. Factors above `most` are cut there: a few jets must not carry a class.

    Parameters
    ----------
    settings : Reweight
        Edges, target and the largest factor.
    classes : sequence of str
        Their names.
    columns : dict
        pt (GeV), eta, label and weight, each of shape [N].
    training : bool [N]
        The jets that the spectra are taken from.

    Raises
    ------
    CampaignError
        If the target is no class, or no bin has jets of all classes.
    """
    if settings.target is not None and settings.target not in classes:
        raise CampaignError(
            "reweight aims at a class that no sample has",
            key="prepare.reweight.target",
            found=settings.target,
            choices=classes,
        )
    bins, count = _bins(settings, columns)
    labels = columns["label"]
    inside = bins >= 0
    used = training & inside
    spectra_CK = np.stack(
        [_spectrum(bins, columns["weight"], used & (labels == c), count) for c in range(len(classes))]
    )
    shared_K = np.all(spectra_CK > 0, axis=0)
    if not shared_K.any():
        mend = "take wider bins, or edges where all classes have jets"
        raise CampaignError("no bin of pt and |eta| has jets of all classes", key="prepare.reweight", mend=mend)
    target_K = shared_K.astype(float) if settings.target is None else spectra_CK[classes.index(settings.target)]
    ratio_CK = np.where(shared_K, target_K / np.where(spectra_CK > 0, spectra_CK, 1.0), 0.0)
    factors = np.where(inside, ratio_CK[labels, np.maximum(bins, 0)], 0.0)
    for c in range(len(classes)):
        factors[labels == c] = _normal(factors, columns["weight"], labels == c, training, settings.most)
    return factors.astype(np.float32)


def _bins(settings: Reweight, columns: dict[str, NDArray[Any]]) -> tuple[NDArray[np.int64], int]:
    """Return the bin of each jet, -1 outside, and how many there are."""
    places = []
    for values, edges in ((columns["pt"], settings.pt), (np.abs(columns["eta"]), settings.abs_eta)):
        place = np.searchsorted(edges, values, side="right") - 1
        places.append(np.where((values >= edges[0]) & (values < edges[-1]), place, -1))
    inner = len(settings.abs_eta) - 1
    bins = np.where((places[0] >= 0) & (places[1] >= 0), places[0] * inner + places[1], -1)
    return bins, (len(settings.pt) - 1) * inner


def _spectrum(
    bins: NDArray[np.int64], weights: NDArray[Any], chosen: NDArray[np.bool_], count: int
) -> NDArray[np.float64]:
    return np.bincount(bins[chosen], weights[chosen].astype(np.float64), count).astype(np.float64)


def _normal(
    factors: NDArray[np.float64],
    weights: NDArray[Any],
    own: NDArray[np.bool_],
    training: NDArray[np.bool_],
    most: float,
) -> NDArray[np.float64]:
    """Return the factors of one class with the mean 1 over its training jets, none above `most`."""
    used = own & training
    total = float(np.sum(weights[used], dtype=np.float64))
    for _ in range(50):  # the cut lowers the mean, which lifts the others, of which some are cut then
        mean = float(np.sum(factors[used] * weights[used])) / total if total > 0 else 0.0
        if mean <= 0:
            raise InputError(
                "the event weights of a class do not add up to a positive number", key="weight", found=total
            )
        if abs(mean - 1) < 1e-6:
            break
        factors = np.minimum(factors / mean, most)
    return factors[own]
