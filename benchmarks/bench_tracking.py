"""Tracking: what graphs of hits and a network on them cost, and how far perfect and simple scores of edges go.

Events are simulated collisions with pile-up; an event of less pile-up is made of one of much by leaving out collisions.
"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.config.barrel import Barrel
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.events.hitgraph import EDGE_FEATURES, NODE_FEATURES, HitGraph, Windows, build, quality, true_edges
from bunchtrain.events.ragged import starts
from bunchtrain.levels import Shape
from bunchtrain.models import base as models
from bunchtrain.models.edge_network import consecutive
from bunchtrain.simulate import VERSION
from bunchtrain.simulate.collisions import Crossings, Source
from bunchtrain.tasks import _triplets
from bunchtrain.trackfinding import Rate, Sought, Truth, candidates, efficiency_in_bins, figures, joined, score
from marks import Mark, conclude, table

#: Collisions in an event, of which the others are parts.
COLLISIONS = 100
EVENTS = 8
POOL = 300
FEWER = (3, 10, 30, 100)
#: Shares of an event's azimuth, one over these: hits grow, their density does not.
WEDGES = (8, 4, 2, 1)
#: Collisions of which the network's events are.
PARTS = 30
REPEATS = 3
WINDOWS = Windows()
#: Of the default barrel.
LAYERS = _triplets.Layers(0, len(Barrel().radii) - 1)
SOUGHT = Sought(min_hits=5, pt_min=0.6, eta_max=2.0)
BOUNDS = {"pt": (0.6, 0.8, 1.0, 1.5, 2.5, 10), "eta": (-2, -1, -0.5, 0, 0.5, 1, 2)}


class Event(NamedTuple):
    """Hits of one event (mm), their particles, and pt (GeV) and eta of these."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    layer: NDArray[np.int32]
    particle: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    collision: NDArray[np.int32]

    def part(self, kept: NDArray[np.bool_]) -> Event:
        """Return the event with these hits alone."""
        return self._replace(**{name: getattr(self, name)[kept] for name in ("x", "y", "z", "layer", "particle")})

    def of(self, collisions: int) -> Event:
        """Return the event with so many of its collisions, and its noise."""
        return self.part(np.append(self.collision < collisions, True)[self.particle])

    def wedge(self, share: float) -> Event:
        """Return the hits in a share of the azimuth, from where it begins."""
        return self.part(np.arctan2(self.y, self.x) < np.pi * (2 * share - 1))

    def graph(self) -> HitGraph:
        """Return its graph."""
        return build(self.x, self.y, self.z, self.layer, WINDOWS)

    def truth(self) -> Truth:
        """Return its particles."""
        return Truth(self.particle, self.pt, self.eta)


def simulated() -> list[Event]:
    values = {"sample": "tracking", "process": "collisions", "shard": 0, "jets": EVENTS, "seed": 1}
    settings = {"pileup": COLLISIONS - 1, "pileup_pool": POOL, "barrel": {}}
    spec = SimulateSpec.model_validate({"version": VERSION, **values, "settings": settings})
    return [event for batch in Source(spec).batches(EVENTS) for event in split(batch)]


def split(batch: Crossings) -> list[Event]:
    """Return the events of a batch, one by one."""
    hits, begin = batch.hits, starts(batch.counts)
    pt = np.hypot(batch.particles["px"], batch.particles["py"])
    eta = np.arcsinh(batch.particles["pz"] / pt)
    events = []
    for number, (first, last) in enumerate(pairwise(begin)):
        own = hits.event == number
        particle = np.where(hits.particle[own] < 0, -1, hits.particle[own] - first)
        places = (getattr(hits, name)[own] for name in ("x", "y", "z", "layer"))
        kinematics = (pt[first:last], eta[first:last], batch.particles["vertex"][first:last])
        events.append(Event(*places, particle, *kinematics))
    return events


def seconds(event: Event) -> float:
    """Return the median of the CPU seconds that the event's graph takes."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        event.graph()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def exponent(hits: list[float], times: list[float]) -> float:
    """Return the power of the number of hits that the time grows with."""
    return float(np.polyfit(np.log(hits), np.log(times), 1)[0])


def cost(events: list[Event]) -> list[Mark]:
    found = {}
    for what, parts in (
        ("share of the azimuth", {f"1/{n}": [e.wedge(1 / n) for e in events[:3]] for n in WEDGES}),
        ("collisions", {str(n): [e.of(n) for e in events[:3]] for n in FEWER}),
    ):
        rows, sizes, times = [], [], []
        for name, some in parts.items():
            sizes.append(float(np.mean([len(one.x) for one in some])))
            times.append(float(np.mean([seconds(one) for one in some])))
            edges = float(np.mean([one.graph().edges.shape[1] for one in some]))
            rows.append(
                (name, f"{sizes[-1]:.0f}", f"{edges:.0f}", f"{1e3 * times[-1]:.1f}", f"{1e6 * times[-1] / edges:.2f}")
            )
        table([what, "hits", "edges", "CPU ms", "CPU us an edge"], rows)
        found[what] = exponent(sizes, times) if what != "collisions" else exponent(sizes[-2:], times[-2:])
    told = "the time of a graph grows with the hits to the power"
    denser = f"{found['collisions']:.2f} with the density, between the last two rows"
    print(f"{told} {found['share of the azimuth']:.2f} at the same density, {denser}\n")
    return [Mark("exponent_at_fixed_occupancy", found["share of the azimuth"], 1.3, at_least=False)]


def graphs(events: list[Event]) -> list[Mark]:
    """Compare what graphs keep, and how much of them is true."""
    rows, least = [], 1.0
    for number in FEWER:
        some = [event.of(number) for event in events]
        found = []
        for event in some:
            wanted = np.append(SOUGHT.among(event.truth()), False)[event.particle]
            found.append(quality(event.graph(), event.layer, event.particle, wanted))
        kept, total, edges = (sum(one[name] for one in found) for name in ("kept", "true_edges", "edges"))
        purity = sum(one["purity"] * one["edges"] for one in found) / edges
        rows.append((number, f"{np.mean([len(e.x) for e in some]):.0f}", f"{kept / total:.4f}", f"{purity:.4f}"))
        least = min(least, kept / total)
    table(["collisions", "hits", "true edges kept", "edges that are true"], rows)
    return [Mark("true_edges_kept", least, 0.98)]


def triplets(graph: HitGraph, layer: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the geometric baseline's score of each edge."""
    named = dict(zip(EDGE_FEATURES, graph.features.T.astype(np.float64), strict=True))
    return _triplets.scores(
        graph.edges, layer, graph.nodes[:, 0].astype(np.float64), named["z0"], named["curvature"], LAYERS
    )


def network(events: list[Event]) -> list[Mark]:
    """Compare what the answers of an untrained edge network cost: they cost what a trained one's do."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    shape = Shape(len(NODE_FEATURES), 0, 0, edge_outputs=1, edges=len(EDGE_FEATURES))
    model = models.build({"kind": "edge_network"}, shape).eval()
    rows, sizes, times = [], [], []
    some = [event.of(PARTS) for event in events[:2]]
    for share in WEDGES:
        parts = [event.wedge(1 / share) for event in some]
        found = [answered(model, event.graph()) for event in parts]
        sizes.append(float(np.mean([len(event.x) for event in parts])))
        pairs, edges, spent = (float(np.mean(column)) for column in zip(*found, strict=True))
        times.append(spent)
        cells = (f"{sizes[-1]:.0f}", f"{edges:.0f}", f"{pairs:.0f}", f"{1e3 * spent:.0f}", f"{1e6 * spent / edges:.1f}")
        rows.append((f"1/{share}", *cells))
    table([f"share of the azimuth, {PARTS} collisions", "hits", "edges", "pairs", "CPU ms", "CPU us an edge"], rows)
    power = exponent(sizes, times)
    print(f"the time of the network grows with the hits to the power {power:.2f} at the same density\n")
    return [Mark("exponent_of_the_network", power, 1.3, at_least=False)]


def answered(model: torch.nn.Module, graph: HitGraph) -> tuple[int, int, float]:
    """Return the pairs of edges, the edges, and the median of the CPU seconds that the network takes for a graph."""
    scaled = [(one - one.mean(0)) / np.maximum(one.std(0), 1e-9) for one in (graph.nodes, graph.features)]
    inputs = (*(torch.from_numpy(one) for one in scaled), torch.from_numpy(graph.edges))
    times = []
    with torch.no_grad():
        for _ in range(REPEATS):
            start = time.process_time()
            model(*inputs)
            times.append(time.process_time() - start)
    pairs = len(consecutive(inputs[2], len(graph.nodes))[0])
    return pairs, graph.edges.shape[1], statistics.median(times)


def tracks(events: list[Event]) -> list[Mark]:
    """Compare perfect scores, and those of triplets, in candidates and figures of merit."""
    rows, ceiling, simple = [], Rate(0, 0, 0), Rate(0, 0, 0)
    for number in FEWER:
        some = [event.of(number) for event in events]
        perfect, plain = [], []
        for event in some:
            graph = event.graph()
            true = true_edges(graph.edges, event.layer, event.particle).astype(np.float64)
            guessed = triplets(graph, event.layer)
            for into, scores, threshold in ((perfect, true, 0.5), (plain, guessed, 0.3)):
                into.append((candidates(scores, graph.edges, len(event.x), threshold), event.truth()))
        for name, made in (("perfect", perfect), ("triplets", plain)):
            found, truth = joined(made)
            merit = figures(found, truth, SOUGHT)
            told = [f"{one.value:.4f} ± {one.error:.4f}" for one in merit.values()]
            rows.append(
                (number, name, *told, f"{score(found, truth).value:.3f}", f"{score(found, truth, 'pt').value:.3f}")
            )
            ceiling, simple = (merit["efficiency"], simple) if name == "perfect" else (ceiling, merit["efficiency"])
    header = ("efficiency", "fake rate", "duplicate rate", "purity", "score", "by pt")
    table(["collisions", "scores of edges", *header], rows)
    for by, bounds in BOUNDS.items():
        columns = [efficiency_in_bins(*joined(made), by, bounds, SOUGHT) for made in (perfect, plain)]
        bins = [f"{low:g} to {high:g}" for low, high in pairwise(bounds)]
        cells = [[f"{one.value:.3f} ± {one.error:.3f}" for one in column] for column in columns]
        table([f"{by}, {COLLISIONS} collisions", "perfect", "triplets"], list(zip(bins, *cells, strict=True)))
    return [Mark("ceiling_of_efficiency", ceiling.value, 0.99), Mark("efficiency_of_triplets", simple.value, 0.9)]


def main() -> None:
    start = time.process_time()
    events = simulated()
    hits, noise = (sum(int(np.sum(event.particle >= low)) for event in events) for low in (-1, 0))
    spent = f"{time.process_time() - start:.0f} CPU s, start and pool included"
    print(f"{EVENTS} events of about {COLLISIONS} collisions in {spent}")
    print(f"{hits / EVENTS:.0f} hits an event, {1 - noise / hits:.1%} of them noise\n")
    conclude([*cost(events), *graphs(events), *tracks(events), *network(events)])


if __name__ == "__main__":
    main()
