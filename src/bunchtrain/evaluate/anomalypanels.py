"""What the page shows of an anomaly search: areas by signal, what truncations cost, distributions, mass sculpting.

M: jet, K: draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain import registry
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.discrimination import Scores, half_width
from bunchtrain.evaluate.scored import Floats, Jets, scores_of
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.rounding import alone, together

Seeds = Sequence[Mapping[str, Jets]]

#: Scores that stand in for the full divergence in hardware, and what they are compared with.
FULL, TRUNCATED = "divergence", ("no logarithm", "mean", "clipped mean")

#: Shares of the background that a cut on the score keeps when its mass is looked at.
KEPT = (0.1, 0.02)

_BINS = 30

_APART = (
    "Area under the ROC curve of jets that no training has seen against those that it has learned, of the score "
    "{score}: {told}. The network answers once, with the mean of its code. Beside it one variable alone, and a forest "
    "on what the network sees of the hardest constituents, as a list.{seeds}"
)
_STEPS = (
    "Every score of the same network. In a trigger the logarithm, and σ with it, cost time and area; the lower part "
    "says what leaving them out costs in area under the curve. Its errors are of the difference on the same jets."
)
_MASS = (
    "Background jets alone. A score that follows the mass makes a bump where there is none: what passes a cut should "
    "have the spectrum of all. Divergence: of Jensen and Shannon, in bits, between both spectra, 0 for equal ones; by "
    "chance: what a cut at random gives."
)


def panels(spec: EvaluateSpec, seeds: Seeds, warnings: Mapping[str, Sequence[str]]) -> list[Panel]:
    """Return the panels.

    Parameters
    ----------
    spec : EvaluateSpec
    seeds : sequence of mapping
        What every network says, by sample; the background's name is empty.
    warnings : mapping
        What the trainings said was wrong with them.
    """
    score = str(spec.task["score"])
    found = [_apart(spec, seeds, score), _steps(spec, seeds[0]), _distributions(seeds[0], score)]
    told = [[name, text] for name, texts in warnings.items() for text in texts]
    if told:
        text = "What the trainings say of themselves: figures of such a network mean little."
        found.insert(0, Panel("Something is wrong with a training", text, ["training", "what"], told))
    return [*found, _sculpting(spec, seeds[0], score)]


def _signals(jets: Mapping[str, Jets]) -> list[str]:
    return [name for name in jets if name]


def _scores(jets: Mapping[str, Jets], signal: str, name: str) -> Scores:
    return scores_of(jets[signal], jets[""], name)


def _apart(spec: EvaluateSpec, seeds: Seeds, score: str) -> Panel:
    """Return areas by signal, with the spread between seeds, and the curves of the first network."""
    first = seeds[0]
    rivals = list(first[""].rivals)
    rows, headlines, curves, figures = [], [], [], {}
    for group, signal in enumerate(_signals(first)):
        areas = np.array([[_scores(jets, signal, name).auc() for name in (score, *rivals)] for jets in seeds])
        chance = _scores(first, signal, score).auc_error()
        between = areas.std(0, ddof=1) if len(seeds) > 1 else np.zeros(areas.shape[1])
        mean = areas.mean(0)
        cells = [together(value, float(error) or None) for value, error in zip(mean, between, strict=True)]
        rows.append([signal, *cells, alone(chance, 2)])
        best = max(zip(mean[1:], rivals, strict=True))
        note = f"{best[1]}: {best[0]:.3f}"
        headlines.append(Headline(f"AUC, {signal}", float(mean[0]), float(np.hypot(chance, between[0])), note=note))
        figures[f"auc, {signal}"] = float(areas[0, 0])
        for name in (score, *rivals):
            curves.append(_curve(signal, name, _scores(first, signal, name), name != score, group, rivals))
    titles = ["hidden signal", "network", *rivals, "error of a sample this large"]
    several = f" Of {len(seeds)} trainings: mean and spread between them." if len(seeds) > 1 else ""
    told = _APART.format(score=score, told=_meant(spec, score), seeds=several)
    caption = "No curve goes on where less than one jet of the background would pass."
    shown = [curve for curve in curves if curve is not None]
    plot = Plot("signal efficiency", "rejection  1/ε$_B$", shown, caption, logarithmic=True)
    return Panel("What stands out", told, titles, rows, [plot], figures=figures, headlines=headlines)


def _meant(spec: EvaluateSpec, score: str) -> str:
    """Return a score in words."""
    return str(registry.constant("tasks", spec.task["kind"], "SCORES")[score])


def _curve(signal: str, name: str, scores: Scores, dashed: bool, group: int, rivals: Sequence[str]) -> Curve | None:
    """Return a rejection curve: of the network, and of the first of the simpler methods."""
    if dashed and name != rivals[0]:
        return None
    x, y = scores.roc()
    shown = (y >= scores.fewest) & (x > 0.05)
    label = f"{signal}, {name}" if dashed else f"{signal}, network"
    return Curve(label, x[shown].tolist(), (1 / y[shown]).tolist(), dashed=dashed, group=group)


def _steps(spec: EvaluateSpec, jets: Mapping[str, Jets]) -> Panel:
    """Return the areas of all scores, and what the truncated ones lose."""
    signals, names = _signals(jets), list(jets[""].scores)
    rows = [
        [name, *(together(one.auc(), one.auc_error()) for one in (_scores(jets, signal, name) for signal in signals))]
        for name in names
    ]
    lost = {name: [_lost(spec, jets, signal, name) for signal in signals] for name in TRUNCATED if name in names}
    rows += [[f"{name}, against {FULL}", *(together(*one, sign=True) for one in found)] for name, found in lost.items()]
    figures = {
        f"{name} against {FULL}, {signal}": found[0]
        for name, both in lost.items()
        for signal, found in zip(signals, both, strict=True)
    }
    return Panel("Scores side by side, and what a trigger's cost", _STEPS, ["score", *signals], rows, figures=figures)


def _lost(spec: EvaluateSpec, jets: Mapping[str, Jets], signal: str, name: str) -> tuple[float, float]:
    """Return the difference of two areas and its error, by resampling the jets of both samples (Poisson)."""
    samples = jets[signal], jets[""]
    random = np.random.default_rng(spec.seed)
    draws = []
    for draw in range(spec.settings.bootstrap + 1):
        weights = [one.weights * (random.poisson(1, len(one.weights)) if draw else 1) for one in samples]
        areas = [Scores(*(one.scores[key] for one in samples), *weights).auc() for key in (name, FULL)]
        draws.append(areas[0] - areas[1])
    return draws[0], half_width(np.array(draws[1:]))


def _distributions(jets: Mapping[str, Jets], score: str) -> Panel:
    """Return the score of every sample."""
    every = np.concatenate([one.scores[score] for one in jets.values()])
    low, high = np.quantile(every, [0.001, 0.99])
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    curves = [
        Curve(name or "background", *_spectrum(one.scores[score], one.weights, edges), group=group)
        for group, (name, one) in enumerate(jets.items())
    ]
    plot = Plot(f"score: {score}", "share of jets per bin", curves, "Further jets lie beyond the right edge.", lowest=0)
    return Panel("The score of every sample", "More is more unlike what was learned.", plots=[plot])


def _spectrum(values: Floats, weights: Floats, edges: Floats) -> tuple[list[float], list[float]]:
    """Return the middles of bins and the share of the weights in each."""
    counts = np.histogram(values, edges, weights=weights)[0]
    share = counts / max(float(weights.sum()), 1e-300)
    return ((edges[1:] + edges[:-1]) / 2).tolist(), share.tolist()


def _sculpting(spec: EvaluateSpec, jets: Mapping[str, Jets], score: str) -> Panel:
    """Return what a cut makes of the background's mass."""
    background, name = jets[""], str(spec.task["mass"])
    mass, weights = background.mass, background.weights
    low, high = np.quantile(mass, [0.002, 0.995])
    edges = np.linspace(low, high, _BINS + 1)
    curves = [Curve("all", *_shape(mass, weights, edges), group=0)]
    rows, figures = [], {}
    for group, kept in enumerate(KEPT, 1):
        passing = {key: _passing(values, weights, kept) for key, values in _judged(background, score).items()}
        chance = np.mean([divergence(mass, weights, _at_random(spec, len(mass), kept, k), edges) for k in range(20)])
        found = {key: divergence(mass, weights, pass_M, edges) for key, pass_M in passing.items()}
        rows.append([f"{100 * kept:g} %", *(f"{one:.3f}" for one in found.values()), f"{chance:.3f}"])
        figures[f"mass sculpting at {kept:g}"] = found["network"]
        own = passing["network"]
        curves.append(Curve(f"{100 * kept:g} % pass", *_shape(mass[own], weights[own], edges), group=group))
    titles = ["kept", *_judged(background, score), "by chance"]
    plot = Plot(f"{name} (GeV)" if name == "mass" else name, "share of jets per bin", curves, lowest=0)
    return Panel("Does a cut on the score shape the mass?", _MASS, titles, rows, [plot], figures=figures)


def _judged(jets: Jets, score: str) -> dict[str, Floats]:
    return {"network": jets.scores[score], **jets.rivals}


def _shape(values: Floats, weights: Floats, edges: Floats) -> tuple[list[float], list[float]]:
    """Return a spectrum of area 1."""
    x, share = _spectrum(values, weights, edges)
    total = max(sum(share), 1e-300)
    return x, [one / total for one in share]


def _passing(score: Floats, weights: Floats, kept: float) -> NDArray[np.bool_]:
    """Return which jets a cut passes that keeps a share of the weights."""
    order = np.argsort(-score, kind="stable")
    passing = np.zeros(len(score), bool)
    passing[order[: 1 + int(np.searchsorted(np.cumsum(weights[order]), kept * weights.sum()))]] = True
    return passing


def _at_random(spec: EvaluateSpec, count: int, kept: float, draw: int) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = np.random.default_rng([spec.seed, draw]).random(count) < kept
    return chosen


def divergence(mass: Floats, weights: Floats, passing: NDArray[np.bool_], edges: Floats) -> float:
    """Return the divergence of Jensen and Shannon between the spectra of all jets and of some, in bits: 0 to 1."""
    spectra: list[Any] = [
        np.maximum(np.histogram(mass[chosen], edges, weights=weights[chosen])[0], 0)
        for chosen in (np.ones(len(mass), bool), passing)
    ]
    if not all(spectrum.sum() > 0 for spectrum in spectra):
        return 1.0
    first, second = (spectrum / spectrum.sum() for spectrum in spectra)
    middle = (first + second) / 2

    def apart(one: Floats) -> float:
        inside = one > 0
        return float(np.sum(one[inside] * np.log2(one[inside] / middle[inside])))

    return (apart(first) + apart(second)) / 2
