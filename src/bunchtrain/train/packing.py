"""Jets in packs of similar size: padding is computed in vain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pack(NamedTuple):
    """Which of some jets are computed together, and how many constituents the largest of them has."""

    rows: NDArray[np.int64]
    width: int


def packs(counts_B: NDArray[np.int64], padding: float) -> list[Pack]:
    """Share jets out by falling size into as few packs of equal number as keep padding at most at a share.

    Parameters
    ----------
    counts_B : int64 [B]
        Constituents of each jet.
    padding : float
        Largest share of padding among the constituents of all packs; a jet without constituents counts as one.

    Returns
    -------
    list of Pack
        Empty where there are no jets.
    """
    counts_B = np.maximum(counts_B, 1)
    order = np.argsort(-counts_B, kind="stable")
    for number in range(1, len(order) + 1):
        parts = np.array_split(order, number)
        slots = sum(int(counts_B[part[0]]) * len(part) for part in parts)
        if counts_B.sum() >= (1 - padding) * slots:
            return [Pack(part, int(counts_B[part[0]])) for part in parts]
    return []
