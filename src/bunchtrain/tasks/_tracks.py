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
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.rounding import alone, together
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

#: Thresholds of the curves: even steps, and finer ones towards both ends, where few fakes or few tracks are left.
_ENDS = (0.001, 0.002, 0.005, 0.01, 0.02)
_THRESHOLDS = (*_ENDS, *(round(0.05 * step, 2) for step in range(1, 20)), *(1 - one for one in reversed(_ENDS)))

#: Tolerances that the baseline, which has no training, is tried with.
_WIDE = (1.0, 2.0, 3.0, 4.0)

#: Bins of pt above the lowest that is sought, as multiples of it, the last of which is open and drawn up to a number,
#: and of |eta| below the largest, as shares.
_PT, _OPEN, _ETA = (1, 1.25, 1.6, 2, 3, 5), 10, (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)

_TEXT = (
    "Edges by falling score make track candidates, each hit with one edge inwards and one outwards at most. "
    "Efficiency: particles with at least {hits} hits, pT above {pt:g} GeV and |η| below {eta:g} of which a candidate "
    "has more than half of the hits, and they more than half of its own. Fake rate: of all candidates, whatever their "
    "pT, those of which no particle has more than half. Duplicate rate: of the same, those of a particle of which "
    "another one has more. Purity: of the hits of candidates that are no fakes, those of their particle. "
    "Score: the share of all hits of particles with 4 hits or more that is in the right candidate, alike or weighed by "
    "pT (as TrackML's, without its weights by place); particles below prepare.graph.pt_min count there, though the "
    "graphs are not made for them, so that perfect scores stay far below 1. Errors take particles, or candidates, as "
    "independent. Triplets: edges that go on well in curvature and z0, without training; with the threshold, and the "
    "tolerance of 1 to 4 times the usual, of the highest efficiency at no more fakes than the network's, chosen on "
    "these very events in their favour. Truth: what perfect scores would make of the same graphs; a track ends where "
    "the windows left out one of its edges, so it is no upper bound. Every event counts alike, whatever its weight."
)

_CURVES = (
    "One point for each threshold, the working points of the table marked; to the upper left is better. A rate of no "
    "fake at all is drawn at half a fake. The triplets have one tolerance, that of the table. The axis leaves out "
    "efficiencies far below."
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
            for threshold, rates in zip(_THRESHOLDS, self._rates(TRIPLETS, wide), strict=True):
                fake, efficiency = (float(np.nan_to_num(rates[name].value)) for name in ("fake", "efficiency"))
                found.append((fake <= most, efficiency if fake <= most else -fake, wide, threshold))
        _, _, wide, threshold = max(found)
        return wide, threshold

    def _rates(self, name: str, wide: float = 1.0) -> list[dict[str, Rate]]:
        """Return the figures at each threshold of the curves."""
        return [figures(*one, self._sought) for one in self._made(name, _THRESHOLDS, wide)]

    def _tracks(self) -> Panel:
        wide, threshold = self._baseline
        made_by = {
            NETWORK: self._network,
            TRIPLETS: self._made(TRIPLETS, [threshold], wide)[0],
            PERFECT: self._made(PERFECT, [0.5])[0],
        }
        cuts = {NETWORK: f"{self._threshold:g}", TRIPLETS: f"{threshold:g}, tolerance × {wide:g}", PERFECT: "-"}
        rates = {name: _figures(one, self._sought) for name, one in made_by.items()}
        rows = [[name, cuts[name], *map(_told, one.values())] for name, one in rates.items()]
        numbers = {
            f"{key}, {name}": rate.value for name, one in rates.items() for key, rate in one.items() if rate.total
        }
        hits, pt, eta = self._sought
        binned = ("pt", "pT (GeV)", [pt * one for one in _PT] if pt else [0, 0.5, 1, 2, 5], _OPEN * (pt or 1.0))
        plots = [self._against_fakes(cuts, rates), self._binned(made_by, *binned)]
        plots += [self._binned(made_by, "eta", "η", [eta * one for one in _ETA])]
        text, headlines = _TEXT.format(hits=hits, pt=pt, eta=eta), _headlines(rates)
        return Panel("Tracks", text, ["edges judged by", "cut", *rates[NETWORK]], rows, plots, numbers, headlines)

    def _against_fakes(self, cuts: dict[str, str], chosen: dict[str, dict[str, Rate]]) -> Plot:
        """Return efficiency against fake rate, with the working points marked."""
        curves = []
        for group, name in enumerate((NETWORK, TRIPLETS)):
            rates = self._rates(name, self._baseline[0])
            fakes = [_above_zero(one["fake"]) for one in rates]
            curves.append(_curve(name, fakes, [one["efficiency"] for one in rates], group=group))
            point, label = chosen[name], f"{name}, cut {cuts[name]}"
            place = [_above_zero(point["fake rate"])]
            curves.append(_curve(label, place, [point["efficiency"]], group=group, mark=True))
        worst = min((one.y[0] for one in curves if one.mark and one.y), default=0.0)
        lowest = max(0.0, 1 - 5 * max(1 - worst, 0.01))
        return Plot("fake rate", "efficiency", _there(curves), _CURVES, logarithmic_x=True, share=True, lowest=lowest)

    def _binned(
        self, made: dict[str, Found], by: str, axis: str, bounds: Sequence[float], last: float | None = None
    ) -> Plot:
        """Return the efficiency in bins; with a last bound, one more bin is open, and drawn up to that."""
        drawn = [*bounds] if last is None else [*bounds, last]
        counted = [*bounds] if last is None else [*bounds, float("inf")]
        middle, widths = ([(high + sign * low) / 2 for low, high in pairwise(drawn)] for sign in (1, -1))
        curves = []
        for name, one in made.items():
            rates = efficiency_in_bins(*one, by, counted, self._sought)
            curves.append(_curve(name, middle, rates, widths=widths))
        told = "Of the particles in each bin." + ("" if last is None else " The last one has no upper end.")
        return Plot(axis, "efficiency", _there(curves), told, logarithmic_x=min(drawn) > 0, share=True)

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


def _figures(made: Found, sought: Sought) -> dict[str, Rate]:
    """Return the figures as the table names them."""
    names = {"efficiency": "efficiency", "fake": "fake rate", "duplicate": "duplicate rate", "purity": "purity"}
    rates = {names[key]: one for key, one in figures(*made, sought).items()}
    return rates | {"score": score(*made), "score by pT": score(*made, "pt")}


def _headlines(rates: dict[str, dict[str, Rate]]) -> list[Headline]:
    """Return efficiency, at its fake rate, and duplicate rate, beside those of the triplets."""
    network, triplets = rates[NETWORK], rates[TRIPLETS]

    def percent(one: Rate, digits: int = 3) -> str:
        return f"{alone(100 * one.value, digits)} %" if one.total else "-"

    notes = {
        "efficiency": " at {} fakes; triplets: {} at {}".format(
            percent(network["fake rate"], 2), percent(triplets["efficiency"]), percent(triplets["fake rate"], 2)
        ),
        "duplicate rate": f"triplets: {percent(triplets['duplicate rate'])}",
    }
    return [
        Headline(f"track {key}", 100 * network[key].value, 100 * network[key].error, "%", note.strip())
        for key, note in notes.items()
        if network[key].total
    ]


def _told(one: Rate) -> str:
    return together(one.value, one.error) if one.total else "-"


def _above_zero(one: Rate) -> float:
    """Return a rate for a logarithmic axis: none at all is half of one."""
    return one.value or 0.5 / one.total


def _curve(
    name: str,
    x: Sequence[float],
    y: Sequence[Rate],
    *,
    widths: Sequence[float] = (),
    group: int | None = None,
    mark: bool = False,
) -> Curve:
    """Return a curve of the points that there are: a share of nothing is none."""
    real = [place for place, one in enumerate(y) if np.isfinite([x[place], one.value]).all()]
    columns = (x, [one.value for one in y], [one.error for one in y], widths or [0.0] * len(x))
    across, up, errors, half = ([float(values[place]) for place in real] for values in columns)
    return Curve(name, across, up, name != NETWORK and not mark, errors, half if widths else [], group, mark)


def _there(curves: Sequence[Curve]) -> list[Curve]:
    return [one for one in curves if one.x]
