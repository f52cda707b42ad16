"""Read events through the campaign's index, as graphs of their hits, and join graphs into one.

N: hits, E: edges, P: particles, B: events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.hitgraph import Windows, build, count_true, true_edges
from bunchtrain.events.reader import Index

#: Columns without which there is no graph, and those without which nothing is known of its edges.
HITS = ("hits/x", "hits/y", "hits/z", "hits/layer")
TRUTH = ("hits/particle", "particles/px", "particles/py", "particles/pz")

#: Edges of the events that are computed together: more gain nothing, and a network needs some 2 kB for each.
EDGES = 200_000


class Places(NamedTuple):
    """Where the hits of an event are: mm, and layers from the inside out; [N]."""

    x: NDArray[Any]
    y: NDArray[Any]
    z: NDArray[Any]
    layer: NDArray[np.int64]


@dataclass(frozen=True)
class Graphs:
    """The graphs of some events as one: hits, edges and particles are numbered through, event after event.

    Attributes
    ----------
    nodes : float32 [N, 5]
        `hitgraph.NODE_FEATURES`.
    features : float32 [E, 7]
        `hitgraph.EDGE_FEATURES`.
    edges : int64 [2, E]
        Inner and outer hits, by inner hit, then by outer hit.
    true : bool [E]
        Whether an edge joins consecutive hits of a particle.
    leaving : int64 [N]
        True edges that leave a hit outwards, whether or not they are among the edges.
    layer, particle : int64 [N]
        Layer, and particle of each hit; -1 is noise.
    pt, eta : float64 [P]
        Of the particles; GeV, 1.
    hits, counts, particles : int64 [B]
        Hits, edges and particles of each event.
    """

    nodes: NDArray[np.float32]
    features: NDArray[np.float32]
    edges: NDArray[np.int64]
    true: NDArray[np.bool_]
    leaving: NDArray[np.int64]
    layer: NDArray[np.int64]
    particle: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    hits: NDArray[np.int64]
    counts: NDArray[np.int64]
    particles: NDArray[np.int64]

    def __post_init__(self) -> None:
        for values, number, key in ((self.edges, len(self.nodes), "edges"), (self.particle, len(self.pt), "particle")):
            low, high = int(values.min(initial=0)), int(values.max(initial=-1))
            if high >= number or low < (0 if key == "edges" else -1):
                what = "an edge names a hit" if key == "edges" else "a hit names a particle"
                raise ContractError(
                    f"{what} that is not there", key=key, found=f"{low} to {high}", expected=f"below {number}"
                )

    @property
    def event(self) -> NDArray[np.int64]:
        """The event of each edge, int64 [E]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, one.name).nbytes for one in fields(self))


def joined(parts: Sequence[Graphs]) -> Graphs:
    """Return several graphs as one."""
    hits = [0, *accumulate(len(one.nodes) for one in parts)]
    particles = [0, *accumulate(len(one.pt) for one in parts)]
    own: dict[str, Any] = {
        "edges": np.concatenate([one.edges + shift for one, shift in zip(parts, hits, strict=False)], axis=1),
        "particle": np.concatenate(
            [np.where(one.particle < 0, -1, one.particle + n) for one, n in zip(parts, particles, strict=False)]
        ),
    }
    others = [one.name for one in fields(Graphs) if one.name not in own]
    return Graphs(**own, **{name: np.concatenate([getattr(one, name) for one in parts]) for name in others})


def packed(parts: Sequence[Graphs], edges: int = EDGES) -> list[list[int]]:
    """Return the places of graphs that go together, in order: as many as have at most so many edges, one at least."""
    packs: list[list[int]] = []
    room = 0
    for place, one in enumerate(parts):
        if not packs or len(one.features) > room:
            packs.append([])
            room = edges
        packs[-1].append(place)
        room -= len(one.features)
    return packs


class HitDataset(Index):
    """All events of a campaign.

    Attributes
    ----------
    windows : Windows
        What the edges of its graphs must be compatible with.
    """

    ROWS, ITEMS = "events", "hits"

    def _read(self, file: h5py.File) -> None:
        self.windows = Windows(**json.loads(file.attrs["graph"]))

    @property
    def about(self) -> dict[str, float]:
        """The windows, as they stand in a file."""
        return asdict(self.windows)

    def counts(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many hits the given events have, int64 [B]."""
        return self._multiplicity[indices]

    def require(self, names: Sequence[str]) -> None:
        """Refuse events without columns that are wanted, e.g. `TRUTH`.

        Raises
        ------
        InputError
            Naming the column and the nearest one.
        """
        for name in names:
            if name not in self.columns:
                known = [one for one in self.columns if one.startswith(("hits/", "particles/"))]
                mend = "map it under convert.format.columns: `bunchtrain inspect` shows how"
                raise InputError(
                    "there is no such column of events", file=self.path, found=name, choices=known, mend=mend
                )

    def graphs(self, indices: NDArray[np.int64]) -> Iterator[Graphs]:
        """Yield the graph of each of the given events; where nothing is known of particles, all hits are noise.

        Raises
        ------
        ContractError
            If a hit lies nowhere, names a particle that its event has not, or its layer is no whole number.
        """
        known = all(name in self.columns for name in TRUTH)
        for index in indices:
            number = int(np.searchsorted(self._starts, index, side="right")) - 1
            shard, row = self._shard(number), np.array([index - self._starts[number]])
            try:
                x, y, z, layer = shard.ragged(row, HITS)[0]
                particle, momenta = np.full(len(x), -1), [np.zeros(0)] * 3
                if known:
                    particle = _whole(shard.ragged(row, TRUTH[:1])[0][0], TRUTH[0])
                    momenta = shard.ragged(row, TRUTH[1:])[0]
                places = Places(x, y, z, _whole(layer, HITS[3]))
                yield graph_of(places, particle, momenta, self.windows)
            except ContractError as error:
                error.details = {"file": f"{shard.path}, event {row[0]}", **error.details}
                raise


def _whole(values: NDArray[Any], key: str) -> NDArray[np.int64]:
    """Return whole numbers as such; refuse others."""
    if values.dtype.kind == "f" and (bad := values[values != np.floor(values)]).size:  # NaN is among them
        raise ContractError("a column of whole numbers holds another", key=key, found=float(bad[0]))
    return values.astype(np.int64)


def graph_of(places: Places, particle: NDArray[np.int64], momenta: Sequence[Any], windows: Windows) -> Graphs:
    """Return the graph of one event.

    Parameters
    ----------
    places : Places
        Of its hits.
    particle : int64 [N]
        Of each hit; -1 is noise.
    momenta : sequence of [P]
        px, py, pz of the particles, GeV.
    windows : Windows
        What edges must be compatible with.

    Raises
    ------
    ContractError
        If a hit lies nowhere, or names a particle that there is not.
    """
    graph, layer = build(places.x, places.y, places.z, places.layer, windows), places.layer
    px, py, pz = (np.asarray(one, np.float64) for one in momenta)
    pt = np.hypot(px, py)
    if len(particle) and not -1 <= particle.min() <= particle.max() < len(pt):
        found, expected = f"{particle.min()} to {particle.max()}", f"-1, noise, to {len(pt) - 1}"
        raise ContractError("a hit names a particle that is not there", key="particle", found=found, expected=expected)
    sizes = (len(layer), graph.edges.shape[1], len(pt))
    return Graphs(
        graph.nodes,
        graph.features,
        graph.edges,
        true_edges(graph.edges, layer, particle),
        count_true(layer, particle),
        layer,
        particle,
        pt,
        np.arcsinh(pz / np.maximum(pt, 1e-9)),
        *(np.array([size]) for size in sizes),
    )
