"""The efficiency of a tagger as it is measured in data, on pseudo-data whose truth is known: tag and probe.

Of two jets of an event one is tagged, which enriches signal, and the other one, the probe, shows how often signal is
found. What background adds is taken off as the simulation has it. One half of the test events stands for the
simulation, the other one for the data, of which the method does not see the truth.

M: jet, K: pair, T: network, P: working point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import dropout
from bunchtrain.discrimination import half_width
from bunchtrain.evaluate.answers import Answers, load
from bunchtrain.evaluate.batches import Batches, Part
from bunchtrain.evaluate.references import Jury
from bunchtrain.events.reader import Index
from bunchtrain.events.splits import event_hash, mix
from bunchtrain.levels import Items
from bunchtrain.panels import Panel
from bunchtrain.rounding import alone, together
from bunchtrain.tasks.base import TaskProtocol

Floats = NDArray[np.float64]

#: What is not known of the simulation, relative: how much background there is, and how much of it passes.
BACKGROUND, MISTAG = 0.2, 0.2

#: Resamplings of events behind a statistical error, and the fewest signal probes that are worth a measurement.
_DRAWS, _FEWEST = 100, 30

#: Networks that dropout makes, at most.
_NETWORKS = 50

_TEXT = (
    "Tag and probe: in events with two jets, one that passes the {tag:.0f} % working point makes the other a probe. "
    "Half of the events play the simulation, half the data. Scale factor: efficiency in data over that in simulation, "
    "with its statistical error and that of the background, whose amount and passing share are taken to be known to "
    "{background:.0f} % and {mistag:.0f} %. True: what it should be; pull: how many errors of their difference it is "
    "off, of which what both have in common is no part. "
    "Dropout: relative spread of the efficiency over {passes} networks, each the same for all jets: what the network's "
    "own uncertainty makes of it, beside the errors of a measurement."
)


_OTHERWISE = (
    "The same measurement where the data are as a variation has them and the simulation is not: the scale factor is to "
    "come out as the true ratio of efficiencies, which is then no longer 1. It corrects the efficiency, whatever the "
    "network's own uncertainty says of it."
)


class Counts(NamedTuple):
    """Weights of probes: all and those that pass at each working point [P], of signal and of the rest."""

    signal: float
    signal_passing: Floats
    rest: float
    rest_passing: Floats


@dataclass(frozen=True)
class Probes:
    """Tagged pairs: what the probes are, the event of each, and which of its halves that is in.

    Parameters
    ----------
    passing_KP : bool [K, P]
        Whether the probe passes each working point.
    signal_K : bool [K]
        Whether it is signal.
    weights_K : float [K]
        Of the event.
    event_K : int64 [K]
        Number of the event, from 0.
    data_K : bool [K]
        Whether the event stands for data.
    """

    passing_KP: NDArray[np.bool_]
    signal_K: NDArray[np.bool_]
    weights_K: Floats
    event_K: NDArray[np.int64]
    data_K: NDArray[np.bool_]

    def signal_probes(self) -> tuple[int, int]:
        """Return how many signal probes there are in the data and in the simulation."""
        data, simulation = (int(np.sum(self.signal_K & (self.data_K == half))) for half in (True, False))
        return data, simulation

    def counts(self, of_data: bool, often: NDArray[np.int64] | None = None) -> Counts:
        """Return the counts in one half, each event as often as is said."""
        weights = self.weights_K * (self.data_K == of_data)
        if often is not None:
            weights = weights * often[self.event_K]
        passing = [(weights * here) @ self.passing_KP for here in (self.signal_K, ~self.signal_K)]
        return Counts(float(weights @ self.signal_K), passing[0], float(weights @ ~self.signal_K), passing[1])


def probes(
    events: NDArray[np.uint64],
    score_M: Floats,
    signal_M: NDArray[np.bool_],
    weights_M: Floats,
    cuts: Sequence[float],
    tag: float,
) -> Probes:
    """Return the probes of all events in which exactly two jets are judged and at least one is tagged.

    Parameters
    ----------
    events : uint64 [M]
        A hash of each jet's event.
    score_M, signal_M, weights_M : [M]
    cuts : sequence of float
        Thresholds of the working points.
    tag : float
        That of the tag.
    """
    order = np.argsort(events, kind="stable")
    _, start, count = np.unique(events[order], return_index=True, return_counts=True)
    first = order[start[count == 2]]
    second = order[start[count == 2] + 1]
    tags, others = np.concatenate([first, second]), np.concatenate([second, first])
    number = np.tile(np.arange(len(first)), 2)
    chosen = score_M[tags] >= tag
    probe, number = others[chosen], number[chosen]
    passing = score_M[probe][:, None] >= np.asarray(cuts)
    return Probes(passing, signal_M[probe], weights_M[probe].astype(np.float64), number, stand_for_data(events[probe]))


def stand_for_data(events: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which events play the data: by a bit of their hashes, so whatever the order of the jets."""
    found: NDArray[np.bool_] = (mix(events) >> np.uint64(17)) % np.uint64(2) == 1
    return found


def events_of(data: Index, jets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of the event of each jet, given by its index: numbers of other shards may be the same."""
    run, event = (data.column(name, jets) for name in ("run_number", "event_number"))
    with np.errstate(over="ignore"):
        return mix(event_hash("", run, event) + mix(data.shard_of(jets).astype(np.uint64)))


def scale_factors(data: Counts, simulation: Counts, *, background: float = 1.0, mistag: float = 1.0) -> Floats:
    """Return efficiency in data over that in simulation, shape [P]; data count as a whole.

    Both halves stand for the same luminosity. The factors are those by which background, and what passes of it, are
    scaled in the simulation.
    """
    probes_seen = data.signal + data.rest
    passing_seen = data.signal_passing + data.rest_passing
    with np.errstate(invalid="ignore", divide="ignore"):
        in_data = (passing_seen - background * mistag * simulation.rest_passing) / (
            probes_seen - background * simulation.rest
        )
        return _known_alone(in_data / (simulation.signal_passing / simulation.signal))


def _known_alone(values_P: Floats) -> Floats:
    """Return values with NaN where there is none: nothing passes on one side, or on both."""
    return np.where(np.isfinite(values_P), values_P, np.nan)


def measured(found: Probes, seed: int) -> dict[str, Floats]:
    """Return scale factors with statistical and systematic errors, and the true ones, each of shape [P]."""
    data, simulation = found.counts(True), found.counts(False)
    random, events = np.random.default_rng(seed), int(found.event_K.max(initial=-1)) + 1
    drawn, truths = [], []
    for _ in range(_DRAWS):  # of events: both jets of one come or go together
        often = random.poisson(1.0, events)
        pair = found.counts(True, often), found.counts(False, often)
        drawn.append(scale_factors(*pair))
        truths.append(_true(*pair))
    shifts = [{"background": 1 + BACKGROUND}, {"mistag": 1 + MISTAG}]
    nominal = scale_factors(data, simulation)
    systematic = [np.abs(scale_factors(data, simulation, **shift) - nominal) for shift in shifts]
    with np.errstate(invalid="ignore", divide="ignore"):
        efficiency = simulation.signal_passing / simulation.signal
    return {
        "efficiency": efficiency,
        "scale_factor": nominal,
        "statistical": _spread(np.array(drawn)),
        "systematic": np.sqrt(np.square(systematic).sum(0)),
        "true": _true(data, simulation),
        # The true ratio fluctuates with the jets as well: of the difference that alone counts which the method adds.
        "difference": _spread(np.array(drawn) - np.array(truths)),
    }


def _spread(drawn_DP: Floats) -> Floats:
    """Return the errors that draws show, [P]."""
    return np.array([half_width(drawn_D) for drawn_D in drawn_DP.T])


def _true(data: Counts, simulation: Counts) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return _known_alone((data.signal_passing / data.signal) / (simulation.signal_passing / simulation.signal))


def efficiencies(
    data: Index,
    task: TaskProtocol,
    folder: Path,
    indices: NDArray[np.int64],
    cuts: Sequence[float],
    passes: int,
    seed: int,
) -> Floats:
    """Return the signal efficiency at some thresholds for networks that dropout makes, shape [T, P].

    Each network is the same for all jets, see `dropout.one_network`.
    """
    model, card = load(data, task, folder)
    sums = np.zeros((passes, 1 + len(cuts)))
    for step in Batches(data, task, card, indices):
        for part in step:
            sums += [_passing(task, items, cuts) for items in _items(task, model, part, passes, seed)]
    total = sums[:, :1]
    return np.where(total > 0, sums[:, 1:] / np.where(total > 0, total, 1), np.nan)


def _items(task: TaskProtocol, model: torch.nn.Module, part: Part, passes: int, seed: int) -> Iterator[Items]:
    """Yield what each of the networks says of a batch."""
    with torch.no_grad():
        answer = dropout.repeated(model, part.inputs, (task.level,))
        for number in range(passes):
            with dropout.one_network(model, number, seed):
                yield task.items(answer(), part.targets)


def _passing(task: TaskProtocol, items: Items, cuts: Sequence[float]) -> list[float]:
    """Return the weight of the signal, and of what of it passes each threshold."""
    score = task.discriminant(items.probabilities_MC.double())
    signal = items.weights_M.double() * (items.labels_M == task.signal)
    return [float(signal.sum()), *(float(signal @ (score >= cut).double()) for cut in cuts)]


def close(jury: Jury, data: Index, answers: Answers, points: Sequence[dict[str, Any]]) -> Panel | None:
    """Measure the efficiency of the first network at its working points; None where there are too few pairs of jets.

    Parameters
    ----------
    jury : Jury
    data : Index
    answers : Answers
        Of the first network for the test split.
    points : sequence of dict
        Working points, as `Scores.rejection` gives them. The tag's is that nearest to 50 %.
    """
    task, spec = jury.task, jury.spec
    tag = min(points, key=lambda row: abs(row["efficiency"] - 0.5))
    cuts = [row["threshold"] for row in points]
    score, signal = answers.columns["score"], answers.labels == task.signal
    found = probes(events_of(data, answers.jets), score, signal, answers.weights, cuts, tag["threshold"])
    if min(found.signal_probes()) < _FEWEST:
        return None
    passes = min(int(spec.settings.passes), _NETWORKS)
    signals = answers.jets[signal]
    of_networks = efficiencies(data, task, jury.trainings[0], signals, cuts, passes, spec.seed)
    return panel(found, points, tag["efficiency"], of_networks, spec.seed)


def panel(found: Probes, points: Sequence[dict[str, Any]], tag: float, of_networks: Floats, seed: int) -> Panel:
    """Return the panel.

    Parameters
    ----------
    found : Probes
    points : sequence of dict
        Working points, as `Scores.rejection` gives them.
    tag : float
        Signal efficiency of the tag's working point.
    of_networks : float [T, P]
        Efficiencies of networks that dropout makes.
    seed : int
    """
    told = measured(found, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = of_networks.std(0, ddof=1) / of_networks.mean(0)
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    for number, point in enumerate(points):
        one = {name: float(values[number]) for name, values in told.items()}
        name = f"{100 * point['efficiency']:g} %"
        dropout_ = {"dropout": float(spread[number])}
        cell = f"{100 * dropout_['dropout']:.1f} %" if np.isfinite(dropout_["dropout"]) else "-"
        rows.append([name, _known(one["efficiency"]), *_factor(one), cell])
        figures |= {f"{key} at {name}": value for key, value in (one | dropout_).items() if np.isfinite(value)}
        if (pull := _pull(one)) is not None:
            figures[f"pull at {name}"] = pull
    columns = ["working point", "efficiency", "scale factor", "background", "true", "pull", "dropout"]
    about = {"tag": 100 * tag, "background": 100 * BACKGROUND, "mistag": 100 * MISTAG, "passes": len(of_networks)}
    return Panel("Efficiency measured in pseudo-data", _TEXT.format(**about), columns, rows, figures=figures)


def _factor(one: Mapping[str, float]) -> list[str]:
    """Return a scale factor with its errors, what it should be, and the pull."""
    pull = _pull(one)
    known = np.isfinite([one["scale_factor"], one["statistical"]]).all()
    factor = together(one["scale_factor"], one["statistical"]) if known else "-"
    systematic = f"± {alone(one['systematic'], 2)}" if np.isfinite(one["systematic"]) else "-"
    return [factor, systematic, _known(one["true"]), "-" if pull is None else f"{pull:+.1f}"]


def _known(value: float) -> str:
    return alone(value) if np.isfinite(value) else "-"


def _pull(one: Mapping[str, float]) -> float | None:
    """Return how many errors of the difference a scale factor is off; None where there is no such error."""
    pull = (one["scale_factor"] - one["true"]) / one["difference"] if one["difference"] > 0 else np.nan
    return float(pull) if np.isfinite(pull) else None


def otherwise(
    nominal: Mapping[str, NDArray[Any]],
    varied: Mapping[tuple[str, str], Mapping[str, NDArray[Any]]],
    signal: int,
    cut: float,
    seed: int,
) -> Panel | None:
    """Return what the method measures where data are as a variation has them, the simulation as it is.

    Parameters
    ----------
    nominal : mapping
        Columns of predictions: `event`, `label`, `weight`, `score`.
    varied : mapping
        The same of variations of these jets, by source and variation.
    signal : int
    cut : float
        Threshold of the working point, and of the tag.
    seed : int

    Returns
    -------
    Panel or None
        None where there are too few pairs, or no variations.
    """
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    for (source, variation), its in varied.items():
        halves = [~stand_for_data(nominal["event"]), stand_for_data(its["event"])]
        names = ("event", "score", "label", "weight")
        event, score, label, weight = (
            np.concatenate([one[name][half] for one, half in zip((nominal, its), halves, strict=True)])
            for name in names
        )
        found = probes(event, score.astype(np.float64), label == signal, weight, [cut], cut)
        if min(found.signal_probes()) < _FEWEST:
            continue
        one = {name: float(values[0]) for name, values in measured(found, seed).items()}
        rows.append([source, variation, *_factor(one)])
        figures |= {f"{source} {variation}: {key}": value for key, value in one.items() if np.isfinite(value)}
    if not rows:
        return None
    columns = ["source", "variation", "scale factor", "background", "true", "pull"]
    return Panel("If it were otherwise: what tag and probe measure", _OTHERWISE, columns, rows, figures=figures)
