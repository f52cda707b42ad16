"""The leak audit: no event and no jet's content may stand in two splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import InputError
from bunchtrain.events.layout import KINEMATICS, ROWS
from bunchtrain.events.splits import SPLITS, mix

#: Constituents looked at at a time.
_STEP = 1 << 20


def content(shard: str | Path) -> NDArray[np.uint64]:
    """Return hashes of each jet's four numbers and of its constituents, shape [N, 2], a step at a time.

    Constituents count as well, as the four numbers alone can agree by chance where they are quantised. Of other rows it
    is the number of their items, and the items; those without any are alike and no copies: run and number count.
    """
    with h5py.File(shard) as file:
        kind = str(file.attrs.get("rows", "jets"))
        items, names = list(ROWS[kind].items())[1]
        offsets = file[f"{items}/offsets"][:]
        if kind == "jets":
            jets = _hash([file[f"jets/{one.name}"][:] for one in KINEMATICS])
        else:
            jets = _own(file, kind, np.diff(offsets))
        inside = np.zeros(len(jets), np.uint64)
        start = 0
        while start < len(jets):
            end = max(int(np.searchsorted(offsets, offsets[start] + _STEP, side="right")) - 1, start + 1)
            first, last = offsets[start], offsets[end]
            rows = _hash([file[f"{items}/{column.name}"][first:last] for column in names])
            ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(rows, dtype=np.uint64)])
            inside[start:end] = np.diff(ends[offsets[start : end + 1] - first])  # sums of unsigned numbers may wrap
            start = end
    return np.stack([jets, inside], -1)


def _own(file: h5py.File, kind: str, hits: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of each row that does not look at its items."""
    run, number = (file[f"{kind}/{name}_number"][:].astype(np.uint64) for name in ("run", "event"))
    with np.errstate(over="ignore"):
        return np.where(hits > 0, mix(hits.astype(np.uint64)), mix(mix(run) + number))


def _hash(columns: list[NDArray[Any]]) -> NDArray[np.uint64]:
    """Return one hash for each row of float32 columns."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            hashes = mix(hashes + mix(column.astype(np.float32).view(np.uint32) + np.uint64(1)))
    return hashes


def _in_two_splits(keys: NDArray[Any], split: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return, for one key that stands in two splits, the places of all jets with it; empty if there is none."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    crossing = np.flatnonzero(same & (split[order][1:] != split[order][:-1]))
    if len(crossing) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(keys == keys[order][crossing[0]])


def audit(
    events: NDArray[np.uint64], content: NDArray[Any], split: NDArray[np.uint8], row: str = "jet"
) -> dict[str, int]:
    """Refuse a leak between splits.

    Parameters
    ----------
    events : uint64 [N]
        Hash of each jet's event.
    content : uint64 [N, 2]
        Hashes of the jets' own values, see `content`; equal rows are the same jet under two names.
    split : uint8 [N]
        Index into `SPLITS`.
    row : str
        What to call a row.

    Returns
    -------
    dict
        How many events, jets and repeated jets were looked at.

    Raises
    ------
    InputError
        Naming the jets and the splits.
    """
    hashed = np.unique(content, axis=0, return_inverse=True)[1].ravel()
    for keys, what in ((events, "event"), (hashed, row)):
        found = _in_two_splits(keys, split)
        if len(found):
            where = ", ".join(f"{row} {place} in {SPLITS[split[place]]}" for place in found[:4])
            mend = "the same simulation is in the campaign twice: leave one copy out"
            raise InputError(f"the same {what} stands in two splits", found=where, mend=mend)
    return {
        "jets": len(split),
        "events": len(np.unique(events)),
        "repeated_jets": len(split) - int(hashed.max(initial=-1)) - 1,
    }
