"""Rows and the collections that they own, in memory: flat columns and how many items each row has.

n: rows, m: items of a collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.events.layout import axis

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Events:
    """Columns by the name of their dataset, e.g. `jets/pt`, `constituents/px`.

    Attributes
    ----------
    columns : dict
        Each of shape [n] or, for a collection, [m]: row after row.
    counts : dict
        Collection to the number of items of each row, int64 [n]; they add up to m.
    """

    columns: Columns
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def of(self, name: str) -> Columns:
        """Return the columns of one axis, by their last name."""
        return {
            key.rpartition("/")[2]: values for key, values in self.columns.items() if key.rpartition("/")[0] == name
        }

    def joined(self, columns: Columns) -> Events:
        """Return these events with more columns, or other ones of the same name."""
        return replace(self, columns={**self.columns, **columns})

    def take(self, kept: NDArray[np.bool_]) -> Events:
        """Return the rows where `kept`, bool [n], is true, with their items."""
        if kept.all():
            return self
        masks = {name: np.repeat(kept, counts) for name, counts in self.counts.items()}
        columns = {name: values[masks.get(axis(name), kept)] for name, values in self.columns.items()}
        return Events(columns, {name: counts[kept] for name, counts in self.counts.items()})

    def keep(self, collection: str, kept: NDArray[np.bool_]) -> Events:
        """Return all rows, of one collection the items where `kept`, bool [m], is true."""
        if kept.all():
            return self
        columns = {name: v[kept] if axis(name) == collection else v for name, v in self.columns.items()}
        return Events(columns, {**self.counts, collection: total(kept, self.counts[collection]).astype(np.int64)})

    def ordered(self, collection: str, order: NDArray[np.int64]) -> Events:
        """Return all rows, the items of one collection in another order."""
        return self.joined({name: v[order] for name, v in self.columns.items() if axis(name) == collection})


def starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each row's first item, and the end, shape [n + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def within(first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `first[i]`, `first[i]` + 1, ... for `counts[i]` numbers, one i after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places = np.repeat(first - (ends - counts), counts)
    places += np.arange(total)
    return places


def row_of(place: int, counts: NDArray[np.int64] | None) -> int:
    """Return the row that the item at `place` belongs to; without `counts` the place is that of the row itself."""
    return place if counts is None else int(np.searchsorted(np.cumsum(counts), place, side="right"))


def total(values: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[Any]:
    """Return the sum of each row's items, shape [n]; 0 for a row without items."""
    if values.dtype.kind == "f":
        out = np.zeros(len(counts))
        filled = counts > 0
        # Sums of the row's own items: a running sum would carry the rounding of all rows before it.
        out[filled] = np.add.reduceat(values.astype(np.float64), starts(counts)[:-1][filled]) if filled.any() else 0
        return out
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])
    return np.diff(running[starts(counts)])


def largest(values: NDArray[Any], counts: NDArray[np.int64], sign: int = 1) -> NDArray[Any]:
    """Return the largest of each row's items, or with `sign` -1 the smallest, shape [n]; 0 for a row without items."""
    out = np.zeros(len(counts), values.dtype)
    filled = counts > 0
    if filled.any():
        pick = np.maximum if sign > 0 else np.minimum
        out[filled] = pick.reduceat(values, starts(counts)[:-1][filled])
    return out
