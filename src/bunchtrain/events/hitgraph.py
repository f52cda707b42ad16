"""A graph of the hits of one event: candidate edges between hits of neighbouring layers, and which of them are true.

Layers are cylinders around the beam, numbered from the inside out, in a solenoid's field. A pair of hits becomes an
edge if a particle from the beam line can have made both: with at least `pt_min`, nearer than `d0_max` to the axis,
from within `z0_max` along it.

N: hits, E: edges, P: pairs of hits that are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import CampaignError, ContractError
from bunchtrain.events.ragged import within

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

#: GeV per T and mm: pt = BEND · B · R for one elementary charge (PDG, section Particle Detectors).
BEND = 0.299792458e-3

#: Most azimuthal bins: more gain nothing, and cost digits.
_BINS = 100_000

#: What is known of a hit (mm, rad, mm, 1, 1) and of an edge (mm, rad, mm, 1, 1, mm, 1/mm).
NODE_FEATURES = ("r", "phi", "z", "eta", "layer")
EDGE_FEATURES = ("dr", "dphi", "dz", "deta", "dR", "z0", "curvature")


@dataclass(frozen=True)
class Windows:
    """What an edge must be compatible with.

    Attributes
    ----------
    pt_min : float
        Lowest transverse momentum, GeV.
    field : float
        T.
    d0_max : float
        Largest distance of a track from the beam line, mm; it also allows for scattering and resolution.
    z0_max : float
        Largest |z| at which an edge, followed back on its circle, meets the beam line, mm.
    eta_max : float
        Largest |η| of the direction of an edge.
    skip : int
        Layers that an edge may leave out, against inefficiency.
    """

    pt_min: float = 0.5
    field: float = 2.0
    d0_max: float = 1.0
    z0_max: float = 200.0
    eta_max: float = 4.0
    skip: int = 1

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            least = 0 if one.name in ("skip", "d0_max") else None
            if not np.isfinite(value) or (value < least if least is not None else value <= 0):
                expected = "a number of at least 0" if least is not None else "a number above 0"
                raise CampaignError("a window of the graph cannot be", key=one.name, found=value, expected=expected)

    @property
    def curvature(self) -> float:
        """One over the smallest radius of a track's circle, 1/mm."""
        return BEND * self.field / self.pt_min

    def azimuth(self, inner: Floats | float, outer: Floats | float) -> Floats:
        """Return the largest angle between hits at two distances (mm) from the beam line, rad.

        On a circle of curvature c through the beam line the azimuth at distance r is arcsin(c r / 2), which ends where
        the circle turns back; a distance d0 of the circle from the line changes it by d0 / r.
        """
        inner, outer = np.asarray(inner), np.asarray(outer)
        curvature = np.minimum(self.curvature, 2 / outer)
        turned = np.arcsin(np.minimum(curvature * outer / 2, 1)) - np.arcsin(np.minimum(curvature * inner / 2, 1))
        window: Floats = np.minimum(turned + self.d0_max * (1 / inner - 1 / outer), np.pi)
        return window


@dataclass(frozen=True)
class HitGraph:
    """Hits and candidate edges.

    Attributes
    ----------
    nodes : float32 [N, 5]
        `NODE_FEATURES` of each hit.
    edges : int64 [2, E]
        Inner and outer hit of each edge, by inner hit, then by outer hit.
    features : float32 [E, 7]
        `EDGE_FEATURES` of each edge.
    """

    nodes: NDArray[np.float32]
    edges: Places
    features: NDArray[np.float32]


def build(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any], layer: NDArray[Any], windows: Windows) -> HitGraph:
    """Return the graph of the hits of one event.

    Hits are sorted by azimuthal bins and z; for each inner hit only those stretches of an outer layer are looked at
    in which a partner can lie. The cost grows as N log N, and with the pairs in those stretches.

    Parameters
    ----------
    x, y, z : [N]
        mm; no hit lies on the beam line.
    layer : [N]
        Whole numbers, from the inside out.
    windows : Windows
        What the edges must keep.

    Raises
    ------
    ContractError
        If the columns differ in length, or a hit lies on the beam line or nowhere.
    """
    place = _checked(x, y, z, layer)
    numbers = np.asarray(layer).astype(np.int64)
    found = np.unique(numbers)
    own = {int(one): np.flatnonzero(numbers == one) for one in found}
    pairs = [np.zeros((2, 0), np.int64)]
    for one in own:
        for other in range(one + 1, one + 2 + windows.skip):
            if other in own:
                pairs.append(_between(place, own[one], own[other], windows))
    edges = np.concatenate(pairs, axis=1)
    edges = edges[:, np.lexsort((edges[1], edges[0]))]
    features = np.stack([*_features(place, edges).values()], axis=1).astype(np.float32)
    nodes = np.stack([place["r"], place["phi"], place["z"], place["eta"], numbers], axis=1).astype(np.float32)
    return HitGraph(nodes, edges, features)


def _checked(*columns: NDArray[Any]) -> dict[str, Floats]:
    """Return cylindrical coordinates of hits: r, z (mm), phi (rad), eta."""
    lengths = [len(one) for one in columns]
    if len(set(lengths)) != 1:
        raise ContractError("the columns of hits differ in length", key="hits", found=lengths)
    x, y, z = (np.asarray(one, np.float64) for one in columns[:3])
    r = np.hypot(x, y)
    bad = np.flatnonzero(~((r > 0) & np.isfinite(r) & np.isfinite(z)))
    if len(bad):
        found = f"({x[bad[0]]}, {y[bad[0]]}, {z[bad[0]]}) mm, hit {bad[0]}"
        expected = "a finite place off the beam line"
        raise ContractError("a hit lies where no detector is", key="hits/x", found=found, expected=expected)
    return {"r": r, "phi": np.arctan2(y, x), "z": z, "eta": np.arcsinh(z / r)}


def _between(place: dict[str, Floats], inner: Places, outer: Places, windows: Windows) -> Places:
    """Return the edges from the hits of one layer to those of another, int64 [2, E]."""
    r_out = place["r"][outer]
    inner = inner[place["r"][inner] < r_out.max()]
    if not len(inner):
        return np.zeros((2, 0), np.int64)
    reach = windows.azimuth(place["r"][inner], r_out.max())
    bins = int(np.clip(2 * np.pi / reach.max(), 1, _BINS))
    low, high = _stretch(place, inner, r_out, reach, windows)
    cell = _cell(place["phi"][outer], bins)
    order = np.lexsort((place["z"][outer], cell))
    outer, cell = outer[order], cell[order]
    z = place["z"][outer]
    step = float(np.ptp(z)) + 4.0  # cells one after the other on one line: a margin keeps them apart
    line = cell * step + (z - z.min())
    own, pairs = _cell(place["phi"][inner], bins), []
    low, high = (np.clip(edge - z.min(), -1, step - 3) for edge in (low, high))
    for shift in sorted({0, 1, bins - 1}) if bins > 1 else [0]:
        first = (own + shift) % bins * step
        begin, end = np.searchsorted(line, first + low, "left"), np.searchsorted(line, first + high, "right")
        counts = np.maximum(end - begin, 0)
        pairs.append(np.stack([np.repeat(inner, counts), outer[within(begin, counts)]]))
    found = np.concatenate(pairs, axis=1)
    return found[:, _accepted(place, found, windows)]


def _cell(phi: Floats, bins: int) -> Places:
    """Return the azimuthal bin of each hit."""
    return np.minimum(((phi + np.pi) * (bins / (2 * np.pi))).astype(np.int64), bins - 1)


def _stretch(
    place: dict[str, Floats], inner: Places, outer: Floats, reach: Floats, windows: Windows
) -> tuple[Floats, Floats]:
    """Return between which z a partner of each inner hit can lie, mm.

    Along the circle z grows in proportion to the arc: what it gains between the hits is (z - z0) times the ratio of
    the arcs between them and before, which is smallest on a straight line and largest at the largest angle.
    """
    r, z = place["r"][inner], place["z"][inner]
    ends = []
    for far in (outer.min(), outer.max()):
        straight = np.maximum(far / r - 1, 0)
        _, before, after = _arcs(r, np.broadcast_to(far, r.shape), np.minimum(reach, np.arccos(np.minimum(r / far, 1))))
        bent = np.fmax(after / before - 1, straight)
        ends += [z + (z - z0) * gain for z0 in (-windows.z0_max, windows.z0_max) for gain in (straight, bent)]
    margin = 1e-6 * (1 + np.abs(z))
    return np.min(ends, axis=0) - margin, np.max(ends, axis=0) + margin


def _arcs(inner: Floats, outer: Floats, angle: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the curvature (1/mm) of the circle through the beam line and two hits, and its arcs to them (mm).

    By the law of sines in the triangle of beam line and hits: curvature = 2 sin(angle) / distance of the hits.

    Parameters
    ----------
    inner, outer : [P]
        Distances of the hits from the beam line, mm.
    angle : [P]
        Between them, as seen from the beam line, rad.
    """
    distance = np.sqrt((outer - inner) ** 2 + 4 * inner * outer * np.sin(angle / 2) ** 2)
    half = np.divide(np.sin(angle), distance, out=np.zeros_like(distance), where=distance > 0)
    arcs = [r * _arcsin_ratio(np.abs(half) * r) for r in (inner, outer)]
    return 2 * half, arcs[0], arcs[1]


def _arcsin_ratio(x: Floats) -> Floats:
    """Return arcsin(x) / x, of x from 0 to 1 and what rounding adds."""
    x = np.clip(x, 1e-9, 1)
    ratio: Floats = np.arcsin(x) / x
    return ratio


def _geometry(place: dict[str, Floats], pairs: Places) -> tuple[Floats, Floats, Floats, Floats]:
    """Return azimuthal difference (rad), curvature (1/mm), z0 (mm) and slope dz/ds of pairs of hits."""
    r, z = place["r"][pairs], place["z"][pairs]
    dphi = np.subtract(place["phi"][pairs[1]], place["phi"][pairs[0]])
    dphi = (dphi + np.pi) % (2 * np.pi) - np.pi
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature, before, after = _arcs(r[0], r[1], dphi)
        slope = (z[1] - z[0]) / (after - before)
        return dphi, curvature, z[0] - before * slope, slope


def _accepted(place: dict[str, Floats], pairs: Places, windows: Windows) -> NDArray[np.bool_]:
    """Return which pairs of hits keep all windows."""
    dphi, _, z0, slope = _geometry(place, pairs)
    r = place["r"][pairs]
    kept = (r[1] > r[0]) & (np.abs(dphi) <= windows.azimuth(r[0], r[1]))
    kept &= (np.abs(z0) <= windows.z0_max) & (np.abs(slope) <= np.sinh(windows.eta_max))
    return np.asarray(kept, np.bool_)


def _features(place: dict[str, Floats], edges: Places) -> dict[str, Floats]:
    dphi, curvature, z0, _ = _geometry(place, edges)
    dr, dz, deta = (place[name][edges[1]] - place[name][edges[0]] for name in ("r", "z", "eta"))
    values = (dr, dphi, dz, deta, np.hypot(deta, dphi), z0, curvature)
    return dict(zip(EDGE_FEATURES, values, strict=True))


def true_edges(edges: Places, layer: NDArray[Any], particle: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which edges join consecutive hits of one particle, bool [E].

    Consecutive: on two layers between which the particle has no other hit, whether or not they are neighbours.

    Parameters
    ----------
    edges : int64 [2, E]
        Inner and outer hits.
    layer, particle : [N]
        Of each hit; -1 is noise.
    """
    rank = _ranks(layer, particle)
    inner, outer = edges
    same = (particle[inner] == particle[outer]) & (particle[inner] >= 0)
    return np.asarray(same & (rank[outer] - rank[inner] == 1), np.bool_)


def _ranks(layer: NDArray[Any], particle: NDArray[Any]) -> Places:
    """Return on how many layers further inside a hit's particle has hits, up to one number for each particle."""
    order = np.lexsort((layer, particle))
    owner, number = particle[order], layer[order]
    new = np.diff(owner, prepend=owner[:1]) != 0
    rank = np.empty(len(order), np.int64)
    # A jump of 2 between particles, so that no two of them have consecutive ranks.
    rank[order] = np.cumsum((np.diff(number, prepend=number[:1]) != 0) | new) + np.cumsum(new)
    return rank


def count_true(layer: NDArray[Any], particle: NDArray[Any]) -> Places:
    """Return for each hit the true edges that leave it outwards, in whatever graph, int64 [N]; 0 for noise."""
    rank = _ranks(layer, particle)
    numbers = np.bincount(rank, minlength=int(rank.max(initial=0)) + 2)
    return np.where(particle >= 0, numbers[rank + 1], 0)


def quality(
    graph: HitGraph, layer: NDArray[Any], particle: NDArray[Any], wanted: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Return how good a graph is.

    Parameters
    ----------
    graph : HitGraph
        Of one event.
    layer, particle : [N]
        Of its hits.
    wanted : bool [N], optional
        Hits of particles that are to be found: only their true edges count for the efficiency.

    Returns
    -------
    dict
        true_edges: those that there are; kept: those in the graph; efficiency, the ratio; edges, and purity, the share
        of the graph's edges that are true, whatever their particle. A ratio without anything below is NaN.
    """
    true = true_edges(graph.edges, layer, particle)
    chosen = np.ones(len(particle), np.bool_) if wanted is None else wanted
    total = int(count_true(layer, particle)[chosen].sum())
    kept = int(np.sum(true & chosen[graph.edges[0]]))
    edges = graph.edges.shape[1]
    return {
        "true_edges": total,
        "kept": kept,
        "efficiency": kept / total if total else float("nan"),
        "edges": edges,
        "purity": int(true.sum()) / edges if edges else float("nan"),
    }
