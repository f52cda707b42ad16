"""Random numbers that belong to a jet: they follow from what it is, not from when, or beside which others, it is read.

A key is mixed with the number of the draw (SplitMix64, doi:10.1145/2714064.2660195), so that any draw of any jet is
made by itself.

B: batch, P: constituent.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.events.splits import mix

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seeded(*words: object) -> np.uint64:
    """Return the start of the keys of one purpose."""
    digest = hashlib.blake2b(":".join(map(str, words)).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def keys(start: np.uint64, *columns: NDArray[Any]) -> Keys:
    """Return a key for each row of some columns, shape [B]: the same for the same values, whatever the order of rows.

    Numbers count by their bits.
    """
    found = np.full(len(columns[0]), start, np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            bits = column.astype(np.float32).view(np.uint32) if column.dtype.kind == "f" else column
            found = mix(found ^ mix(bits.astype(np.uint64) + _GOLDEN))
    return found


def of_items(keys_B: Keys, items: int) -> Keys:
    """Return a key for each item of each row by its place, shape [B, P]."""
    with np.errstate(over="ignore"):
        found: Keys = mix(keys_B[:, None] + _GOLDEN * np.arange(1, items + 1, dtype=np.uint64))
    return found


def uniform(keys: Keys, draw: int = 0) -> NDArray[np.float64]:
    """Return a number from 0 to below 1 for each key."""
    with np.errstate(over="ignore"):
        bits = mix(keys + _GOLDEN * np.uint64(2 * draw + 1))
    found: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def normal(keys: Keys) -> NDArray[np.float64]:
    """Return a number of mean 0 and width 1 for each key (Box and Muller, doi:10.1214/aoms/1177706645)."""
    radius = np.sqrt(-2 * np.log1p(-uniform(keys, 1)))
    found: NDArray[np.float64] = radius * np.cos(2 * np.pi * uniform(keys, 2))
    return found
