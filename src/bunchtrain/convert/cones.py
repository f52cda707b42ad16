"""Which items of an event lie near which jets, in ΔR = √(Δη² + Δφ²) with η the pseudorapidity.

n: jets, m: items, both flat, event after event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.eventwise import Items
from bunchtrain.convert.formula import delta_r
from bunchtrain.events.ragged import starts

#: Pairs of a jet and an item that are compared at once: about 100 MB.
_MOST_PAIRS = 1_000_000


class Pairs(NamedTuple):
    """Pairs of a jet and an item of the same event, each of shape [pairs]; `distance` is their ΔR."""

    jet: NDArray[np.int64]
    item: NDArray[np.int64]
    distance: NDArray[np.float64]

    def take(self, chosen: NDArray[Any]) -> Pairs:
        """Return some pairs, by a mask or by places."""
        return Pairs(self.jet[chosen], self.item[chosen], self.distance[chosen])

    def closest(self) -> Pairs:
        """Return the pairs with each item's closest jet alone, in the order of the items.

        Of equally close jets the first counts.
        """
        order = np.lexsort((self.jet, self.distance, self.item))
        item = self.item[order]
        return self.take(order[np.concatenate([np.ones(min(len(item), 1), bool), item[1:] != item[:-1]])])


def within(jets: Items, items: Items, radius: float) -> Pairs:
    """Return all pairs with ΔR < `radius`, jet after jet.

    Parameters
    ----------
    jets, items : Items
        With columns eta and phi (rad), for the same events; what has no finite eta and phi is in no pair.
    radius : float
        Of the cone.
    """
    found = [_compared(jets, items, radius, *block) for block in _blocks(jets.counts * items.counts)]
    if not found:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def closest_within(jets: Items, items: Items, radius: float, axes: Items | None = None) -> Items:
    """Return for each jet the items that are closer to it than `radius` and than to any other jet, in file order.

    `axes` has eta and phi of the items, where they are no columns of theirs.
    """
    pairs = within(jets, axes or items, radius).closest()
    return items.given(pairs.jet, pairs.item, len(jets))


def _blocks(pairs: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges of events with at most `_MOST_PAIRS` pairs each, but for a single event with more."""
    ends, begin = np.cumsum(pairs), 0
    while begin < len(pairs):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _MOST_PAIRS, side="right")))
        yield begin, end
        begin = end


def _compared(jets: Items, items: Items, radius: float, begin: int, end: int) -> Pairs:
    """Return the close pairs of the events `begin` to `end`: jet after jet, each with all items of its event."""
    first, last = (int(starts(jets.counts)[one]) for one in (begin, end))
    event = np.repeat(np.arange(begin, end), jets.counts[begin:end])
    each = items.counts[event]
    jet = np.repeat(np.arange(first, last), each)
    item = np.arange(len(jet)) - np.repeat(starts(each)[:-1] - starts(items.counts)[event], each)
    eta, phi = (jets[name].astype(np.float64)[jet] for name in ("eta", "phi"))
    with np.errstate(invalid="ignore"):
        distance = delta_r(eta, phi, items["eta"][item].astype(np.float64), items["phi"][item].astype(np.float64))
        close = distance < radius
    return Pairs(jet[close], item[close], distance[close])
