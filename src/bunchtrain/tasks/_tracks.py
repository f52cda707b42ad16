"""What the tracks are worth that scores of edges make: those of the network, of a geometric baseline, of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.levels import GraphTargets, Hits, Logits, Targets
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.tasks import _triplets
from bunchtrain.tasks.base import Merit
from bunchtrain.trackfinding import (
    Rate,
    Sought,
    Truth,
    candidates,
    efficiency_in_bins,
    figures,
    joined,
    rate,
    score,
)

Floats = NDArray[np.float64]

#: Candidate of each hit, and the truth.
Found = tuple[NDArray[np.int64], Truth]

#: What edges are judged by.
NETWORK, TRIPLETS, PERFECT = "network", "triplets (geometry)", "truth"

#: Thresholds of the curves, and tolerances that the baseline, which has no training, is tried with.
_THRESHOLDS, _WIDE = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9, 0.95), (1.0, 2.0, 3.0, 4.0)

#: Bins of pt above the lowest that is sought, as multiples of it, and of |eta| below the largest, as shares.
_PT, _ETA = (1, 1.25, 1.6, 2, 3, 5, 20), (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)

_TEXT = (
    "Edges by falling score make track candidates, each hit with one edge inwards and one outwards at most. "
    "Efficiency: particles with at least {hits} hits, pT above {pt:g} GeV and |η| below {eta:g} of which a candidate "
    "has more than half of the hits, and they more than half of its own. Fake: no particle has more than half of it. "
    "Duplicate: another candidate has more of the particle. Purity: hits of the candidates that are of their particle. "
    "Score: the share of all hits of particles with 4 hits or more that is in the right candidate, alike or weighed by "
    "pT (as TrackML's, without its weights by place). Triplets: edges that go on well in curvature and z0, without "
    "training; with the threshold, and the tolerance of 1 to 4 times the usual, of the highest efficiency at no more "
    "fakes than the network's, chosen on these very events in their favour; in the figure, that tolerance. Truth: what "
    "perfect scores would make of the same graphs; a track ends where the windows left out one of its edges, so it is "
    "no upper bound. Every event counts alike, whatever its weight."
)

_GRAPH = (
    "No track is better than the edges it is made of. Efficiency: true edges of the particles that are to be found, of "
    "those between their consecutive hits, that the windows of prepare.graph keep. Purity: edges that are true."
)


class _Part(NamedTuple):
    """A batch of events, numbered through."""

    hits: Hits
    true: NDArray[np.bool_]
    scores: dict[str, Floats]

    def judged_by(self, name: str, wide: float, layers: _triplets.Layers) -> Floats:
        """Return the scores of the edges."""
        if name != TRIPLETS:
            return self.scores[name]
        hits = self.hits
        of_hits = (hits.edges_2E.numpy(), hits.layer_N.numpy(), hits.r_N.numpy())
        return _triplets.scores(*of_hits, hits.z0_E.numpy(), hits.curvature_E.numpy(), layers, wide)

    @property
    def truth(self) -> Truth:
        """The particles."""
        return Truth(self.hits.particle_N.numpy(), self.hits.pt_Q.numpy(), self.hits.eta_Q.numpy())


class Tracks(Merit):
    """Track candidates by each way to judge edges.

    Parameters
    ----------
    threshold : float
        Lowest p(true) of the network that a candidate takes.
    shortest : int
        Hits of the shortest candidate.
    sought : Sought
        The particles that are to be found.
    """

    def __init__(self, threshold: float, shortest: int, sought: Sought) -> None:
        self._threshold, self._shortest, self._sought = threshold, shortest, sought
        self._parts: list[_Part] = []

    def add(self, seen: Tensor | Hits, logits: Logits, targets: Targets | GraphTargets) -> None:
        """Add a batch of events."""
        if not (isinstance(seen, Hits) and isinstance(targets, GraphTargets)):
            raise TypeError("jets have no hits")
        found = {
            NETWORK: torch.sigmoid(logits.edges_BPPC[:, 0]).double().numpy(),
            PERFECT: targets.true_E.double().numpy(),
        }
        self._parts.append(_Part(seen, targets.true_E.numpy(), found))

    def rivals(self) -> dict[str, Tensor]:
        """Return the scores of the triplets."""
        wide, _ = self._baseline
        return {
            TRIPLETS: torch.from_numpy(
                np.concatenate([one.judged_by(TRIPLETS, wide, self._layers) for one in self._parts])
            )
        }

    def panels(self) -> list[Panel]:
        """Return the figures of the tracks, and those of the graphs."""
        return [self._tracks(), self._graphs()] if self._parts else []

    def _made(self, name: str, thresholds: Sequence[float], wide: float = 1.0) -> list[Found]:
        """Return candidates and truth of all events, for each threshold."""
        judged = [(one, one.judged_by(name, wide, self._layers)) for one in self._parts]
        made = []
        for threshold in thresholds:
            found = (
                candidates(scores, one.hits.edges_2E.numpy(), len(one.hits.r_N), threshold, self._shortest)
                for one, scores in judged
            )
            made.append(joined(zip(found, (one.truth for one in self._parts), strict=True)))
        return made

    @cached_property
    def _layers(self) -> _triplets.Layers:
        """Those in which any event has a hit."""
        every = [number for one in self._parts if len(one.hits.layer_N) for number in one.hits.layer_N.aminmax()]
        return _triplets.Layers(int(min(every, default=0)), int(max(every, default=0)))

    @cached_property
    def _network(self) -> Found:
        return self._made(NETWORK, [self._threshold])[0]

    @cached_property
    def _baseline(self) -> tuple[float, float]:
        """Tolerance and threshold of the triplets that find most at no more fakes than the network; else the least."""
        most = np.nan_to_num(figures(*self._network, self._sought)["fake"].value)
        found = []
        for wide in _WIDE:
            for threshold, made in zip(_THRESHOLDS, self._made(TRIPLETS, _THRESHOLDS, wide), strict=True):
                rates = figures(*made, self._sought)
                fake, efficiency = (float(np.nan_to_num(rates[name].value)) for name in ("fake", "efficiency"))
                found.append((fake <= most, efficiency if fake <= most else -fake, wide, threshold))
        _, _, wide, threshold = max(found)
        return wide, threshold

    def _tracks(self) -> Panel:
        wide, threshold = self._baseline
        curves = []
        for name in (NETWORK, TRIPLETS):
            rates = [figures(*one, self._sought) for one in self._made(name, _THRESHOLDS, wide)]
            curves.append(_curve(name, [one["fake"].value for one in rates], [one["efficiency"] for one in rates]))
        made_by = {
            NETWORK: self._network,
            TRIPLETS: self._made(TRIPLETS, [threshold], wide)[0],
            PERFECT: self._made(PERFECT, [0.5])[0],
        }
        rows, numbers = _table(made_by, self._sought)
        columns = ["edges judged by", "efficiency", "fake rate", "duplicate rate", "purity", "score", "score by pT"]
        hits, pt, eta = self._sought
        text = _TEXT.format(hits=hits, pt=pt, eta=eta)
        told = "One point for each threshold; to the upper left is better."
        plots = [Plot("fake rate", "efficiency", _there(curves), told)]
        plots += [self._binned(made_by, "pt", "pT (GeV)", [pt * one for one in _PT] if pt else [0, 0.5, 1, 2, 5, 20])]
        plots += [self._binned(made_by, "eta", "η", [eta * one for one in _ETA])]
        return Panel("Tracks", text, columns, rows, plots, numbers)

    def _binned(self, made: dict[str, Found], by: str, axis: str, bounds: Sequence[float]) -> Plot:
        middle = [float(low + high) / 2 for low, high in pairwise(bounds)]
        curves = []
        for name, one in made.items():
            rates = efficiency_in_bins(*one, by, bounds, self._sought)
            curves.append(_curve(name, middle, rates))
        return Plot(axis, "efficiency", _there(curves), "Of the particles in each bin.")

    def _graphs(self) -> Panel:
        kept = total = true = edges = 0
        for one in self._parts:
            wanted = np.append(self._sought.among(one.truth), False)[one.hits.particle_N.numpy()]
            total += int(one.hits.leaving_N.numpy()[wanted].sum())
            kept += int(np.sum(one.true & wanted[one.hits.edges_2E[0].numpy()]))
            true, edges = true + int(one.true.sum()), edges + len(one.true)
        found = {"graph efficiency": rate(kept, total), "graph purity": rate(true, edges)}
        rows = [[name, _told(one), str(one.total)] for name, one in found.items()]
        numbers = {name: one.value for name, one in found.items() if one.total}
        return Panel("The graphs of hits", _GRAPH, ["", "share", "of edges"], rows, [], numbers)


def _table(made: dict[str, Found], sought: Sought) -> tuple[list[list[str]], dict[str, float]]:
    """Return the rows, and the numbers by name."""
    rows: list[list[str]] = []
    numbers: dict[str, float] = {}
    for name, one in made.items():
        rates = figures(*one, sought)
        scores = {"score": score(*one), "score by pT": score(*one, "pt")}
        told = {"efficiency": "efficiency", "fake": "fake rate", "duplicate": "duplicate rate", "purity": "purity"}
        rows.append([name, *map(_told, rates.values()), *(f"{value:.3f}" for value in scores.values())])
        values = {**{told[key]: value.value for key, value in rates.items()}, **scores}
        numbers |= {f"{key}, {name}": value for key, value in values.items() if np.isfinite(value)}
    return rows, numbers


def _told(one: Rate) -> str:
    return f"{one.value:.4f} ± {one.error:.4f}" if one.total else "-"


def _curve(name: str, x: Sequence[float], y: Sequence[Rate]) -> Curve:
    """Return a curve of the points that there are: a share of nothing is none."""
    real = [(place, one) for place, one in zip(x, y, strict=True) if np.isfinite([place, one.value]).all()]
    values = ([float(number) for number in row] for row in zip(*((p, o.value, o.error) for p, o in real), strict=True))
    across, up, errors = values if real else ([], [], [])
    return Curve(name, across, up, name != NETWORK, errors)


def _there(curves: Sequence[Curve]) -> list[Curve]:
    return [one for one in curves if one.x]
