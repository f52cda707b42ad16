"""Scores of edges without a network: how well an edge goes on, inwards and outwards, in curvature and z0.

N: hits, E: edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Expected differences of consecutive edges of a track, by the rule of thumb: of curvature (1/mm) a part and a share of
#: the curvature, of z0 (mm) a part and a share of what the track bends away up to the middle hit.
_CURVATURE, _Z0 = (5e-5, 0.1), (0.5, 7.0)

#: Pairs of edges that are looked at together: their numbers take 80 MB.
_AT_ONCE = 1_000_000


class Layers(NamedTuple):
    """The numbers of the innermost and the outermost layer of the detector."""

    first: int
    last: int


def scores(
    edges: NDArray[np.int64],
    layer: NDArray[Any],
    r: Floats,
    z0: Floats,
    curvature: Floats,
    layers: Layers,
    wide: float = 1.0,
) -> Floats:
    """Return a score of each edge, from 0 to 1, [E].

    On each side that has a layer left, the best of the edges that go on gives exp(-χ²/2) of the differences in
    curvature and z0, in units of those that resolution and scattering make; the score is the mean of the sides. An edge
    over several layers has a share of that: of an edge and a longer one, the edge.

    Parameters
    ----------
    edges : int64 [2, E]
        Inner and outer hits, in the order of the inner ones; of several events, if hits are numbered through.
    layer, r : [N]
        Of the hits; r in mm. The numbers of neighbouring layers differ by one.
    z0, curvature : [E]
        Of the edges; mm, 1/mm.
    layers : Layers
        Of the detector, whether or not these events have hits there.
    wide : float
        Factor for the expected differences, which are for 2 % of a radiation length a layer.
    """
    inner, outer = edges
    begin = np.concatenate([[0], np.cumsum(np.bincount(inner, minlength=len(layer)))])
    counts = np.diff(begin)[outer]
    sides = np.zeros((2, len(inner)))
    for start, stop in _pieces(counts):
        before = np.repeat(np.arange(start, stop), counts[start:stop])
        own = counts[start:stop]
        after = begin[outer[before]] + np.arange(len(before)) - np.repeat(np.cumsum(own) - own, own)
        bend = np.abs(curvature[before])
        apart = (curvature[after] - curvature[before]) / (_CURVATURE[0] + _CURVATURE[1] * bend)
        shift = (z0[after] - z0[before]) / (_Z0[0] + _Z0[1] * r[outer[before]] * bend)
        likely = np.exp(-(apart**2 + shift**2) / (2 * wide**2))
        np.maximum.at(sides[0], before, likely)
        np.maximum.at(sides[1], after, likely)
    possible = np.stack([layer[outer] < layers.last, layer[inner] > layers.first])
    total = sides.sum(axis=0) / np.maximum(possible.sum(axis=0), 1)
    found: Floats = total / np.maximum(layer[outer] - layer[inner], 1)
    return found


def _pieces(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield stretches of edges that have about `_AT_ONCE` pairs together."""
    total = np.cumsum(counts)
    ends = np.searchsorted(total, np.arange(_AT_ONCE, int(total[-1]) if len(total) else 0, _AT_ONCE)) + 1
    yield from pairwise(np.unique([0, *ends.tolist(), len(counts)]).tolist())
