"""What the page shows of a surrogate of a calorimeter: how like true showers drawn ones are.

M: shower, K: cell, L: layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.calorimeter import readout
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError
from bunchtrain.evaluate import twosample
from bunchtrain.evaluate.showershapes import Cells, layer_energies, listed, observables
from bunchtrain.events.responses import ResponseDataset
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.rounding import alone, together

if TYPE_CHECKING:
    from bunchtrain.evaluate.responses import Drawn, Truth

Floats = NDArray[np.float64]

#: Bins of the incident energy, for linearity and resolution.
_BINS = 6

_APART = (
    "Classifiers see cells (a dense network) or observables of the shower (boosted trees), and the parameters, of "
    "{rows:,} true showers and as many drawn ones with the same parameters. Area under their ROC curve, on showers "
    "they have not learned from: 0.5, and they cannot tell them apart; 1, and they always can. {read}"
)
_READ = "Read out: truth and draws both go through the readout, with the sampling term and the noise of the shower."
_LAYERS = "Mean energy of each layer, drawn over true, with the error of the mean of both."
_SHAPES = (
    "Distance of the distributions of drawn and true showers (Wasserstein, of order 1), in standard deviations of the "
    "truth. By chance: between two halves of the truth, scaled to as many showers."
)
_RESPONSE = (
    "Mean and spread of the energy in all cells over that of the particle, in bins of the latter, of truth and draws. "
    "No comparison with Geant4 was made: the truth is the embedded parametrised simulation."
)


class _Eyes:
    """How showers are looked at: the deposits, and what is read out of them."""

    def __init__(self, task: Any, data: ResponseDataset, truth: Truth, seed: int) -> None:
        self.config, self._seed = task.config, seed
        self.cells = Cells(*(data.of_item(name) for name in Cells._fields))
        self.energy_M = _column(data, "task.energy", self.config.energy, truth)
        asked = {"stochastic_term": self.config.stochastic_term, "noise": self.config.noise}
        self._asked = {key: _column(data, f"task.{key}", name, truth) for key, name in asked.items() if name}

    @property
    def reads(self) -> bool:
        """Whether there is a readout."""
        return bool(self._asked)

    def deposits(self, quantities_MQ: Floats) -> Floats:
        """Return the energies of the cells, [M, K]."""
        return quantities_MQ[:, : len(self.cells.layer)]

    def read(self, quantities_MQ: Floats, draw: int) -> Floats:
        """Return what is read out of the cells, [M, K]; `draw` tells truth from draws."""
        random = np.random.default_rng([self._seed, draw])
        term, noise = (self._asked.get(key, np.zeros(1)) for key in ("stochastic_term", "noise"))
        return readout(np.clip(self.deposits(quantities_MQ), 0, None), term, noise, random)

    def ways(self) -> dict[str, Callable[[Floats, int], Floats]]:
        """Return the ways to look, by name."""
        found: dict[str, Callable[[Floats, int], Floats]] = {"deposits": lambda rows, draw: self.deposits(rows)}
        return found | ({"read out": self.read} if self.reads else {})


def _column(data: ResponseDataset, key: str, name: str, truth: Truth) -> Floats:
    try:
        return data.column(name, truth.index).astype(np.float64)
    except InputError as error:
        error.details = {**error.details, "key": key}
        raise


def panels(
    spec: EvaluateSpec, task: Any, data: ResponseDataset, truth: Truth, drawn: Sequence[Drawn], loose: Sequence[Drawn]
) -> tuple[list[Panel], list[dict[str, float]]]:
    """Return the panels, and the figures of each network.

    Parameters
    ----------
    spec : EvaluateSpec
    task : Task
        Of kind calorimeter.
    data : ResponseDataset
    truth : Truth
    drawn, loose : sequence of Drawn
        The networks, one per seed, and another one beside them.
    """
    eyes = _Eyes(task, data, truth, spec.seed)
    apart, headline = _apart(spec, eyes, truth, [*drawn[:1], *loose])
    layers, worst = _layers(eyes, truth, drawn)
    found = [apart, layers, _shapes(eyes, truth, [*drawn[:1], *loose]), _response(eyes, truth, drawn[0])]
    figures = [{"worst layer energy, %": 100 * one} for one in worst]
    figures[0] = {"two-sample AUC": headline, **figures[0]}
    return found, figures


def _apart(spec: EvaluateSpec, eyes: _Eyes, truth: Truth, drawn: Sequence[Drawn]) -> tuple[Panel, float]:
    threshold = eyes.config.threshold
    rows, headlines, areas = [], [], {}
    for number, one in enumerate(drawn):
        for way, look in eyes.ways().items():
            true, made = look(truth.quantities_MQ, 0), look(one.quantities_MQ, 1 + number)
            unit = max(threshold, 1e-9)
            seen = {
                "network": (np.arcsinh(true / unit), np.arcsinh(made / unit)),
                "trees": (listed(true, eyes.cells, threshold), listed(made, eyes.cells, threshold)),
            }
            found = twosample.apart(seen, truth.features_MU, truth.weights_M, spec.seed)
            rows.append([f"{one.name}, {way}", *(together(area.auc, area.error) for area in found.values())])
            areas[number, way] = max(found.values(), key=lambda area: area.auc)
    shown = "read out" if eyes.reads else "deposits"
    best = areas[0, shown]
    note = f"deposits alone: {areas[0, 'deposits'].auc:.3f}" if eyes.reads else "0.5: like the truth"
    headlines.append(Headline("two-sample AUC", best.auc, best.error, note=note))
    weights = sum(p.numel() for p in drawn[0].surrogate.model.parameters())
    text = _APART.format(rows=len(truth.index), read=_READ if eyes.reads else "")
    text += f" The first network has {weights:,} weights."
    figures = {f"two-sample AUC, {way}": areas[0, way].auc for way in eyes.ways()}
    titles = ["showers", "network on cells", "trees on observables"]
    title = "Can drawn showers be told from true ones?"
    return Panel(title, text, titles, rows, figures=figures, headlines=headlines), best.auc


def _layers(eyes: _Eyes, truth: Truth, drawn: Sequence[Drawn]) -> tuple[Panel, list[float]]:
    true = layer_energies(eyes.deposits(truth.quantities_MQ), eyes.cells)
    curves: list[Curve] = []
    worst: list[float] = []
    errors: list[float] = []
    weights = truth.weights_M / truth.weights_M.sum()
    mean = weights @ true
    for one in drawn:
        made = layer_energies(eyes.deposits(one.quantities_MQ), eyes.cells)
        ratio = (weights @ made) / np.maximum(mean, 1e-12)
        # Drawn and true showers have the same parameters: the error is that of the mean difference.
        error = np.sqrt((weights**2) @ (made - true - (weights @ (made - true))) ** 2) / np.maximum(mean, 1e-12)
        places = np.arange(len(ratio), dtype=float)
        curves.append(Curve(one.name, places.tolist(), ratio.tolist(), errors=error.tolist()))
        place = int(np.abs(ratio - 1).argmax())
        worst.append(float(abs(ratio[place] - 1)))
        errors.append(float(error[place]))
    curves.append(Curve("as the truth", [0.0, len(mean) - 1.0], [1.0, 1.0], dashed=True))
    plot = Plot("layer", "mean energy, drawn / true", curves)
    headline = Headline(
        "worst layer's mean energy", 100 * worst[0], 100 * errors[0], "% off", "the error is statistical"
    )
    figures = {"worst layer energy, %": 100 * worst[0]}
    return Panel("Energy by layer", _LAYERS, [], [], [plot], figures=figures, headlines=[headline]), worst


def _shapes(eyes: _Eyes, truth: Truth, drawn: Sequence[Drawn]) -> Panel:
    from scipy.stats import wasserstein_distance

    threshold, rows = eyes.config.threshold, []
    true = observables(eyes.deposits(truth.quantities_MQ), eyes.cells, threshold)
    made = [observables(eyes.deposits(one.quantities_MQ), eyes.cells, threshold) for one in drawn]
    even = np.arange(len(truth.index)) % 2 == 0
    w = np.clip(truth.weights_M, 0, None)
    for name, values in true.items():
        width = max(float(values.std()), 1e-12)
        chance = wasserstein_distance(values[even], values[~even], w[even], w[~even]) / np.sqrt(2)
        found = [wasserstein_distance(values, one[name], w, w) for one in made]
        rows.append([name, *(alone(one / width) for one in (*found, chance))])
    titles = ["observable", *(one.name for one in drawn), "by chance"]
    return Panel("Shapes of showers", _SHAPES, titles, rows)


def _response(eyes: _Eyes, truth: Truth, drawn: Drawn) -> Panel:
    edges = np.quantile(eyes.energy_M, np.linspace(0, 1, _BINS + 1))
    bins = np.clip(np.searchsorted(edges, eyes.energy_M, side="right") - 1, 0, _BINS - 1)
    linear, resolution, rows = [], [], []
    table: dict[str, list[tuple[float, float, float, float]]] = {}
    look = eyes.ways()["read out" if eyes.reads else "deposits"]
    for number, (name, quantities) in enumerate((("true", truth.quantities_MQ), ("drawn", drawn.quantities_MQ))):
        ratio = look(quantities, number).sum(1) / eyes.energy_M
        table[name] = [_moments(ratio[bins == one]) for one in range(_BINS) if (bins == one).sum() > 1]
        centre = [float(np.exp(np.log(eyes.energy_M[bins == one]).mean())) for one in range(_BINS)]
        centre = [at for at, one in zip(centre, range(_BINS), strict=True) if (bins == one).sum() > 1]
        mean, mean_error, spread, spread_error = (list(one) for one in zip(*table[name], strict=True))
        linear.append(Curve(name, centre, mean, errors=mean_error))
        resolution.append(Curve(name, centre, spread, errors=spread_error))
    for at, one, other in zip(centre, table["true"], table["drawn"], strict=True):
        cells = (together(one[0], one[1]), together(other[0], other[1]))
        rows.append([alone(at), *cells, together(one[2], one[3]), together(other[2], other[3])])
    titles = ["energy, GeV", "E / E(particle), true", "drawn", "σ / E, true", "drawn"]
    plots = [
        Plot("energy of the particle [GeV]", "energy in cells / energy of the particle", linear, logarithmic_x=True),
        Plot("energy of the particle [GeV]", "σ / E", resolution, logarithmic_x=True, lowest=0.0),
    ]
    return Panel("Linearity and resolution", _RESPONSE, titles, rows, plots)


def _moments(ratio: Floats) -> tuple[float, float, float, float]:
    """Return mean with its error, and spread over mean with its error."""
    mean, spread, number = float(ratio.mean()), float(ratio.std(ddof=1)), len(ratio)
    relative = spread / max(abs(mean), 1e-12)
    return mean, spread / np.sqrt(number), relative, relative / np.sqrt(2 * (number - 1))
