"""Can a classifier tell drawn rows from true ones? The two-sample test of Lopez-Paz and Oquab (arXiv:1610.06545).

Drawn and true rows have the same parameters, which the classifiers see, too. A pair stays together: half of the pairs
teaches, the other half is judged, and the other way round. An area under the ROC curve of 0.5 says that they cannot be
told apart, by these classifiers and so many rows.

M: row, F: feature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bunchtrain.discrimination import Scores

Floats = NDArray[np.float64]

#: Epochs, rows at once, and width of the network.
_EPOCHS, _BATCH, _WIDTH = 30, 256, 256

#: Most trees that are boosted, and leaves of each.
_TREES, _LEAVES = 400, 31


@dataclass(frozen=True)
class Apart:
    """How well a classifier tells drawn rows from true ones: the area with its statistical error."""

    auc: float
    error: float


def apart(
    seen: Mapping[str, tuple[Floats, Floats]], parameters_MA: Floats, weights_M: Floats, seed: int
) -> dict[str, Apart]:
    """Return how well classifiers tell drawn rows from true ones.

    Parameters
    ----------
    seen : mapping
        By the name of a classifier, `network` or `trees`, what it sees of the true rows and of the drawn ones, each
        float64 [M, F].
    parameters_MA : float64 [M, A]
        Of both, of order 1.
    weights_M : float64 [M]
    seed : int
        What chance the classifiers have follows from it.
    """
    half_M = np.random.default_rng(seed).permutation(len(weights_M)) % 2
    learners = {"network": _network, "trees": _trees}
    return {name: _judged(learners[name], both, parameters_MA, weights_M, half_M, seed) for name, both in seen.items()}


def _judged(
    learner: Any, both: tuple[Floats, Floats], parameters_MA: Floats, weights_M: Floats, half_M: Any, seed: int
) -> Apart:
    true_MF, drawn_MF = (np.concatenate([one, parameters_MA], 1) for one in both)
    scores = np.empty((2, len(weights_M)))
    for fold in (0, 1):
        learned, judged = half_M != fold, half_M == fold
        x = np.concatenate([true_MF[learned], drawn_MF[learned]])
        y = np.repeat([0.0, 1.0], learned.sum())
        said = learner(x, y, np.tile(weights_M[learned], 2), seed + fold)
        for row, one in enumerate((true_MF, drawn_MF)):
            scores[row, judged] = said(one[judged])
    # Each half has its own classifier: areas are averaged, scores are not mixed.
    areas, errors = [], []
    for fold in (0, 1):
        here = half_M == fold
        found = Scores(scores[1, here], scores[0, here], weights_M[here], weights_M[here])
        areas.append(found.auc())
        errors.append(found.auc_error() or 0.0)
    return Apart(float(np.mean(areas)), math.hypot(*errors) / 2)


def _trees(x_NF: Floats, y_N: Floats, weights_N: Floats, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    # As many as help on a tenth that is kept aside.
    trees = HistGradientBoostingClassifier(
        max_iter=_TREES,
        max_leaf_nodes=_LEAVES,
        learning_rate=0.06,
        l2_regularization=1.0,
        early_stopping=True,
        n_iter_no_change=15,
        random_state=seed % 2**32,
    )
    with threadpool_limits(torch.get_num_threads()):  # trees would take all cores, whoever else needs them
        trees.fit(x_NF, y_N, np.clip(weights_N, 0, None))

    def said(rows_MF: Floats) -> NDArray[Any]:
        with threadpool_limits(torch.get_num_threads()):
            found: NDArray[Any] = trees.predict_proba(rows_MF)[:, 1]
        return found

    return said


def _network(x_NF: Floats, y_N: Floats, weights_N: Floats, seed: int) -> Any:
    """Return what a dense network says that was trained for so many epochs."""
    centre_F, width_F = x_NF.mean(0), x_NF.std(0)
    width_F = np.where(width_F > 1e-9, width_F, 1.0)

    def scaled(rows_MF: Floats) -> torch.Tensor:
        return torch.from_numpy(np.clip((rows_MF - centre_F) / width_F, -10, 10)).float()

    x, y, w = scaled(x_NF), torch.from_numpy(y_N).float(), torch.from_numpy(np.clip(weights_N, 0, None)).float()
    w = w / w.mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(x.shape[1], _WIDTH), nn.SiLU(), nn.Dropout(0.2),
            nn.Linear(_WIDTH, _WIDTH), nn.SiLU(), nn.Dropout(0.2), nn.Linear(_WIDTH, 1),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
        steps = _EPOCHS * -(-len(x) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        for _ in range(_EPOCHS):
            order = torch.randperm(len(x))
            for start in range(0, len(x), _BATCH):
                rows = order[start : start + _BATCH]
                optimizer.zero_grad()
                loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows])[:, 0], y[rows], w[rows])
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
    model.eval()

    def said(rows_MF: Floats) -> NDArray[Any]:
        with torch.no_grad():
            found: NDArray[Any] = model(scaled(rows_MF))[:, 0].double().numpy()
        return found

    return said
