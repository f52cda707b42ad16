"""Events that stand in a file twice.

Every number of an event is compared, over the whole file, also where a job converts only a range of its entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.table import Table, numbers
from bunchtrain.errors import InputError
from bunchtrain.events.splits import event_hash

_STEP = "16 MB"


def check_unique(table: Table, run: Iterable[str], event: str, key: str) -> None:
    """Refuse a file in which an event stands twice; takes 8 bytes of memory for each entry of the tree.

    Parameters
    ----------
    table : Table
        One entry per event.
    run : iterable of str
        Branches that together with `event` tell events apart: run, luminosity block.
    event : str
        Branch of the event number.
    key : str
        Where in the campaign it is named.

    Raises
    ------
    InputError
        Naming both entries.
    """
    branches = [*run, event]
    hashes = np.concatenate([_mixed([numbers(a[b]) for b in branches]) for _, a in table.steps(branches, _STEP)])
    ordered = np.sort(hashes)
    twice = np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]])
    if twice.any():
        _refuse_equal(table, branches, np.flatnonzero(twice), key)


def _refuse_equal(table: Table, branches: list[str], entries: NDArray[np.int64], key: str) -> None:
    """Refuse entries with equal numbers; that their hashes are equal is no proof."""
    read = []
    for first, arrays in table.steps(branches, _STEP):
        rows = np.stack([numbers(arrays[branch]).astype(np.uint64) for branch in branches], 1)
        read.append(rows[entries[(entries >= first) & (entries < first + len(rows))] - first])
    rows = np.concatenate(read)
    _, place, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(place[inverse] != np.arange(len(rows)))
    if len(again):
        one = int(again[0])
        names = ", ".join(f"{branch} {value}" for branch, value in zip(branches, rows[one], strict=True))
        found = f"{names} in entries {entries[place[inverse[one]]]} and {entries[one]}"
        mend = "make the file again without the copy"
        raise InputError("a file holds an event twice", file=table.path, key=key, found=found, mend=mend)


def _mixed(columns: list[NDArray[Any]]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row of numbers."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for values in columns:
        hashes = event_hash("", hashes, values)
    return hashes
