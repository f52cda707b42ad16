"""Columns of one HDF5 file of events, memory-mapped.

B: batch, P: item of a collection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bunchtrain.errors import ContractError
from bunchtrain.events.layout import CONSTITUENTS, axis
from bunchtrain.events.ragged import within

#: The columns of a four-momentum.
P4 = tuple(f"constituents/{column.name}" for column in CONSTITUENTS)


def map_column(dataset: h5py.Dataset, path: str | Path) -> NDArray[Any]:
    """Return a dataset as an array: memory-mapped where it is contiguous, read where it is chunked."""
    offset = dataset.id.get_offset()
    if offset is None or dataset.size == 0:
        values: NDArray[Any] = dataset[:]
        return values
    mapped = np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)
    return mapped.view(np.ndarray)  # the same memory, without what a subclass costs at every step


class Shard:
    """The columns of one HDF5 file, mapped when they are first asked for; `offsets` are those of one collection."""

    def __init__(self, path: str | Path, collection: str = "constituents") -> None:
        self.path = Path(path)
        self._mapped: dict[str, NDArray[Any]] = {}
        self._offsets: dict[str, NDArray[np.int64]] = {}
        self.offsets = self.offsets_of(collection)

    def offsets_of(self, collection: str) -> NDArray[np.int64]:
        """Return the place of each jet's first item in a collection, and the end, shape [N + 1]."""
        if collection not in self._offsets:
            with self._open() as file:
                self._offsets[collection] = file[f"{collection}/offsets"][:]
        return self._offsets[collection]

    def items(self, name: str) -> NDArray[Any]:
        """Return a column, e.g. `constituents/px`, as a map of the file."""
        if name not in self._mapped:
            with self._open() as file:
                self._mapped[name] = map_column(file[name], self.path)
        return self._mapped[name]

    @contextlib.contextmanager
    def _open(self) -> Iterator[h5py.File]:
        try:
            with h5py.File(self.path) as file:
                yield file
        except (OSError, KeyError) as error:
            raise ContractError(
                "a shard cannot be read", file=self.path, found=error, mend="run convert again"
            ) from None

    def gather(
        self, rows: NDArray[np.int64], width: int, names: Sequence[str] = P4
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the first items of the jets `rows` (local indices).

        Returns
        -------
        values_CBP : float32 [C, B, P]
            For each name, zero where padded.
        mask_BP : bool [B, P]
        """
        offsets = self.offsets_of(axis(names[0]))
        first = offsets[rows]
        mask_BP = np.arange(width) < (offsets[rows + 1] - first)[:, None]
        kept_BP = mask_BP.astype(np.float32)
        values_CBP = np.empty((len(names), len(rows), width), np.float32)
        for values_BP, name in zip(values_CBP, names, strict=True):
            values_BP[:] = _windows(self.items(name), first, width)
            values_BP *= kept_BP
        return values_CBP, mask_BP

    def ragged(self, rows: NDArray[np.int64], names: Sequence[str]) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """Return all items of the jets `rows`: flat columns, jet after jet, and how many each has."""
        offsets = self.offsets_of(axis(names[0]))
        first = offsets[rows]
        counts = offsets[rows + 1] - first
        places = within(first, counts)
        return [np.take(self.items(name), places, mode="clip") for name in names], counts


def _windows(column: NDArray[Any], first: NDArray[np.int64], width: int) -> NDArray[Any]:
    """Return `width` values from each place on, shape [B, P]; past the end of the column anything.

    A window is copied in one piece, twice as fast as value by value; what is beyond a jet's own items comes with it.
    """
    if len(column) < width:
        column = np.concatenate([column, np.zeros(width - len(column), column.dtype)])
    last = len(column) - width
    found: NDArray[Any] = sliding_window_view(column, width)[np.minimum(first, last)]
    late = np.flatnonzero(first > last)
    found[late] = np.take(column, first[late, None] + np.arange(width), mode="clip")
    return found
