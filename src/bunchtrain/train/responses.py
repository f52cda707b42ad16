"""Rows of parameters and quantities as batches of tensors: kept while they fit, else read at every step.

B: batch, U: feature of parameters, Q: quantity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.errors import InputError
from bunchtrain.events.responses import ParameterScaler, ResponseDataset
from bunchtrain.levels import ResponseTargets
from bunchtrain.train.batches import IN_MEMORY, Batch, describe, sent

_CPU = torch.device("cpu")


class ResponseSource:
    """Makes the batches of one split; see `batches.Source`.

    Parameters
    ----------
    data, scaler : ResponseDataset, ParameterScaler
        The rows, and what brings their parameters to order 1.
    total : str or None
        Column of rows that quantities are shares of.
    indices : int64 [N]
        The split's rows.
    dtype : torch.dtype
        Of features, quantities and weights.
    device : torch.device
        Where batches are wanted.
    """

    at_once = 1024

    def __init__(
        self,
        data: ResponseDataset,
        scaler: ParameterScaler,
        total: str | None,
        indices: NDArray[np.int64],
        dtype: torch.dtype = torch.float32,
        device: torch.device = _CPU,
    ) -> None:
        scaler.require(data.parameters, data.path)
        self.rows = data.ROWS
        self._data, self._scaler, self._dtype, self._device = data, scaler, dtype, device
        self._totals = totals(data, total)
        self._labels, self._weights = data.column("label"), data.training_weights()
        self._indices = np.sort(indices)
        fits = 4 * len(indices) * (len(data.quantities) + len(scaler.mean)) <= IN_MEMORY
        self._kept = self._read(self._indices) if fits else None

    @property
    def kept(self) -> bool:
        """Whether all rows are on the device."""
        return self._kept is not None

    def sizes(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many quantities the given rows have, int64 [B]."""
        return np.full(len(indices), len(self._data.quantities), np.int64)

    def describe(self, path: Path, jets: NDArray[np.int64], where: str) -> None:
        """Write to `path` which rows these are: their numbers, labels and weights."""
        describe(self._data, path, jets, where)

    def __call__(self, indices: NDArray[np.int64], turn: int | None = None) -> list[Batch]:
        """Return the given rows in one batch."""
        if not len(indices):
            return []
        if self._kept is None:
            inputs, targets = self._read(indices)
        else:
            rows = self._sent(np.searchsorted(self._indices, indices))
            inputs = tuple(one.index_select(0, rows) for one in self._kept[0])
            targets = ResponseTargets(*(one.index_select(0, rows) for one in self._kept[1]))
        number = inputs[2].numel()
        return [Batch(inputs, targets, number, number)]

    def _read(self, indices: NDArray[np.int64]) -> tuple[tuple[Tensor, ...], ResponseTargets]:
        """Return features, totals and quantities of some rows, and what is known besides."""
        features, known = self._scaler(self._data.given(indices)), self._data.known(indices)
        inputs: list[NDArray[Any]] = [features, self._totals[indices], known]
        labels = self._sent(self._labels[indices].astype(np.int64))
        weights = self._sent(self._weights[indices].astype(np.float64))
        return tuple(self._sent(one) for one in inputs), ResponseTargets(labels, weights)

    def _sent(self, values: NDArray[Any]) -> Tensor:
        return sent(values, self._dtype, self._device)


def totals(data: ResponseDataset, column: str | None) -> NDArray[np.float64]:
    """Return what the quantities of each row are shares of, float64 [N]; 1 without such a column.

    Raises
    ------
    InputError
        If there is no such column, or one is not above zero.
    """
    if column is None:
        return np.ones(len(data))
    values = data.column(column).astype(np.float64)
    if len(bad := np.flatnonzero(~(np.isfinite(values) & (values > 0)))):
        problem, found = "a total is not above zero", f"{values[bad[0]]} in row {bad[0]}"
        raise InputError(problem, file=data.path, key=f"physics.total: {column}", found=found, expected="above 0")
    return values
