"""Fronts of what costs something and is worth something."""

from __future__ import annotations

import math
from collections.abc import Iterable


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
