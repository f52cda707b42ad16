"""The leak audit: no event and no jet's content may stand in two splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import InputError
from bunchtrain.events.splits import SPLITS


def _in_two_splits(keys: NDArray[Any], split: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return, for one key that stands in two splits, the places of all jets with it; empty if there is none."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    crossing = np.flatnonzero(same & (split[order][1:] != split[order][:-1]))
    if len(crossing) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(keys == keys[order][crossing[0]])


def audit(events: NDArray[np.uint64], content: NDArray[Any], split: NDArray[np.uint8]) -> dict[str, int]:
    """Refuse a leak between splits.

    Parameters
    ----------
    events : uint64 [N]
        Hash of each jet's event.
    content : float32 [N, columns]
        The jets' own values; equal rows are the same jet under two names.
    split : uint8 [N]
        Index into `SPLITS`.

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
    for keys, what in ((events, "event"), (hashed, "jet")):
        found = _in_two_splits(keys, split)
        if len(found):
            where = ", ".join(f"jet {row} in {SPLITS[split[row]]}" for row in found[:4])
            mend = "the same simulation is in the campaign twice: leave one copy out"
            raise InputError(f"the same {what} stands in two splits", found=where, mend=mend)
    return {
        "jets": len(split),
        "events": len(np.unique(events)),
        "repeated_jets": len(split) - int(hashed.max(initial=-1)) - 1,
    }
