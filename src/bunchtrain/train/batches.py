"""Scaled features as tensors: kept in memory when the jets fit, else computed batch by batch from the shards.

B: batch, P: constituent, F: node feature, G: global feature.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.events.features import GLOBALS, NODES, Features
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler

#: Bytes of features that a rank keeps in memory.
IN_MEMORY = 1 << 30

#: Jets whose features are computed at once.
STEP = 8192


class Batch(NamedTuple):
    """One step's jets."""

    inputs: tuple[Tensor, Tensor, Tensor, Tensor]
    labels_B: Tensor
    weights_B: Tensor


class BatchSource:
    """Makes the batches of one split."""

    def __init__(
        self, data: Dataset, scaler: Scaler, indices: NDArray[np.int64], dtype: torch.dtype = torch.float32
    ) -> None:
        self._data, self._scaler, self._dtype = data, scaler, dtype
        labels = data.column("label")
        self._labels = labels
        self._weights = data.training_weights()
        self._indices = np.sort(indices)
        row = data.particles * (4 * (len(NODES) + 2) + 1) + 4 * len(GLOBALS)
        self._kept = self._all() if len(indices) * row <= IN_MEMORY else None

    def _all(self) -> Features:
        """Return the features of all jets, computed in steps so that no more than they is in memory."""
        count, particles = len(self._indices), self._data.particles
        kept = Features(
            np.empty((count, particles, len(NODES)), np.float32),
            np.empty((count, particles, 2), np.float32),
            np.empty((count, len(GLOBALS)), np.float32),
            np.empty((count, particles), bool),
        )
        for start in range(0, count, STEP):
            rows = slice(start, start + STEP)
            for whole, part in zip(kept, self._compute(self._indices[rows]), strict=True):
                whole[rows] = part
        return kept

    def _compute(self, indices: NDArray[np.int64]) -> Features:
        return self._scaler(self._data.features(indices))

    def __call__(self, indices: NDArray[np.int64]) -> Batch:
        """Return the batch of the given jets."""
        if self._kept is None:
            features = self._compute(indices)
        else:
            rows = np.searchsorted(self._indices, indices)
            kept = self._kept
            features = Features(kept.nodes_BPF[rows], kept.points_BP2[rows], kept.globals_BG[rows], kept.mask_BP[rows])
        nodes, points, jets, mask = (torch.from_numpy(values) for values in features)
        return Batch(
            (nodes.to(self._dtype), points.to(self._dtype), jets.to(self._dtype), mask),
            torch.from_numpy(self._labels[indices].astype(np.int64)),
            torch.from_numpy(self._weights[indices]).to(self._dtype),
        )
