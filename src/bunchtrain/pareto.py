"""Fronts of what costs something and is worth something, and of any number of things that should be large."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def front(points: Iterable[tuple[float, float]]) -> list[int]:
    """Return the places of the points (cost, worth) that no other beats in one without losing in the other.

    The cheapest comes first; of equal points it is the first.
    """
    found: list[int] = []
    best = -math.inf
    for place, (_, worth) in sorted(enumerate(points), key=lambda one: (one[1][0], -one[1][1], one[0])):
        if worth > best:
            best = worth
            found.append(place)
    return found


def joined(front: Iterable[int], points: Sequence[Sequence[float]], place: int) -> list[int]:
    """Return a front of points, of which all numbers should be large, after another point has come to it.

    It stays outside if one there is as good in everything, also an equal one; those that it beats leave.
    """
    found, new = list(front), points[place]
    if any(_as_good(points[one], new) for one in found):
        return found
    return [*(one for one in found if not _as_good(new, points[one])), place]


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))
