"""What the page shows of a surrogate of a magnetic field: how near it comes, whether it is one, and how far it knows.

M: row, T: row of the training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError
from bunchtrain.evaluate.fieldsplines import splines
from bunchtrain.events.responses import ResponseDataset
from bunchtrain.maxwell import residuals
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.rounding import alone

if TYPE_CHECKING:
    from bunchtrain.evaluate.responses import Drawn, Truth

Floats = NDArray[np.float64]

#: Draws whose mean stands for the answer of a network that states none; most rows that slopes are looked at for; bins.
_DRAWS, _ROWS, _BINS = 30, 2000, 8

_ERROR = (
    "Length of the difference of the found and the true field at {rows:,} places that no network has learned from, in "
    "millionths of the mean field of {central:.4g} (as the quantities are given). {true} Beside the networks: splines "
    "through the {probes:,} probes of the training, a component at a time, whose smoothing is chosen on the "
    "validation split. All have learned from the same probes."
)
_SOURCES = (
    "Divergence and curl at up to {rows:,} of these places, by automatic differentiation of the network in double "
    "precision: the largest, as shares of the mean field over the length of the volume, {length:.4g}. Declared of the "
    "first networks: {how}. A static field without currents has neither."
)
_KNOWN = (
    "A network that knows how far it knows the field states a standard deviation of each component. Pull: error over "
    "that, of a component at a place; a width of 1 is right, above that it knows less than it says. Of several seeds: "
    "their mean, and what they state together with how far they are apart."
)


def panels(
    spec: EvaluateSpec, task: Any, data: ResponseDataset, truth: Truth, drawn: Sequence[Drawn], loose: Sequence[Drawn]
) -> tuple[list[Panel], list[dict[str, float]]]:
    """Return the panels, and the figures of each network.

    Parameters
    ----------
    spec : EvaluateSpec
    task : Task
        Of kind field.
    data : ResponseDataset
    truth : Truth
    drawn, loose : sequence of Drawn
        The networks, one per seed, and another one beside them.

    Raises
    ------
    InputError
        If rows have not three parameters and three quantities.
    """
    _check(data)
    named = [getattr(task.config, f"true_{axis}") for axis in "xyz"]
    true_M3 = np.stack(
        [
            truth.quantities_MQ[:, axis] if name is None else data.column(name, truth.index).astype(np.float64)
            for axis, name in enumerate(named)
        ],
        1,
    )
    weights = truth.weights_M / truth.weights_M.sum()
    central = float(weights @ np.linalg.norm(true_M3, axis=1))
    found = {one.name: _answer(one, truth.parameters_MA, spec.seed) for one in (*drawn, *loose)}
    found |= splines(data, truth.parameters_MA)
    off = {name: 1e6 * np.linalg.norm(values - true_M3, axis=1) / central for name, values in found.items()}
    errors, ratio = _errors(drawn, loose, off, weights, central, data, None not in named)
    sources, worst = _sources(truth, drawn, loose, central)
    parts = [errors, sources, *_known(drawn, truth, found, true_M3), _map(truth, drawn, loose, off, true_M3, spec.seed)]
    figures = []
    for one in drawn:
        rms = float(np.sqrt(weights @ off[one.name] ** 2))
        told = {"field error, ppm": rms, "largest, ppm": float(off[one.name].max())}
        figures.append({**told, "residual": worst[one.name]})
    figures[0] |= {} if ratio is None else {"times below the other network": ratio}
    return parts, figures


def _check(data: ResponseDataset) -> None:
    widths = (len(data.parameters), len(data.quantities))
    if widths != (3, 3) or set(data.parameters.values()) != {"linear"}:
        found = f"parameters {data.parameters}, {widths[1]} quantities"
        problem, expected = "the rows are no magnetic field", "a place, three `linear` parameters, and three components"
        raise InputError(problem, file=data.path, key="prepare.parameters", found=found, expected=expected)


def _answer(one: Drawn, places: Floats, seed: int) -> Floats:
    """Return the most likely field, or the mean of draws where there is none, [M, 3]."""
    model, surrogate = cast(Any, one.surrogate.model), one.surrogate
    if not hasattr(model, "expect"):
        draws = [surrogate.draw(places, seed=seed + 5000 + draw) for draw in range(_DRAWS)]
        return cast(Floats, np.mean(draws, 0))
    with torch.no_grad():
        features, totals = surrogate.inputs(places)
        return cast(Floats, model.expect(features, totals).double().numpy())


def _errors(
    drawn: Sequence[Drawn],
    loose: Sequence[Drawn],
    off: dict[str, Floats],
    weights: Floats,
    central: float,
    data: ResponseDataset,
    known: bool,
) -> tuple[Panel, float | None]:
    rms = {name: float(np.sqrt(weights @ one**2)) for name, one in off.items()}
    kinds = {one.name: one.surrogate.card["model"]["kind"] for one in (*drawn, *loose)}
    rows = [
        [
            f"{name}, {kinds[name]}" if name in kinds else name,
            alone(rms[name]),
            alone(float(np.median(one))),
            alone(float(one.max())),
        ]
        for name, one in off.items()
    ]
    first, others = rms[drawn[0].name], [rms[one.name] for one in drawn]
    spread = float(np.std(others, ddof=1)) if len(others) > 1 else None
    headlines = [Headline("field error", first, spread, "ppm", "of the mean field, held-out places")]
    ratio = rms[loose[0].name] / first if loose else None
    if ratio is not None:
        note = f"{loose[0].name}: {rms[loose[0].name]:.3g} ppm"
        headlines.append(Headline("times below the unconstrained network", ratio, None, note=note))
    true = "The true field is known." if known else "The true field is not known: what probes found, with their noise."
    probes = len(data.indices("train"))
    text = _ERROR.format(rows=len(weights), central=central, true=true, probes=probes)
    columns = ["found by", "rms, ppm", "median, ppm", "largest, ppm"]
    figures = {"field error, ppm": first}
    return Panel("How near is the field?", text, columns, rows, figures=figures, headlines=headlines), ratio


def _sources(
    truth: Truth, drawn: Sequence[Drawn], loose: Sequence[Drawn], central: float
) -> tuple[Panel, dict[str, float]]:
    """Return the panel, and the largest residual of each network."""
    length = float((truth.parameters_MA.max(0) - truth.parameters_MA.min(0)).max())
    rows, worst = [], {}
    for one in (*drawn, *loose):
        if not hasattr(one.surrogate.model, "expect"):
            continue
        divergence, curl = slopes(one.surrogate, truth.parameters_MA[:_ROWS])
        largest = [float(np.abs(divergence).max()), float(np.linalg.norm(curl, axis=1).max())]
        shares = [size * length / central for size in largest]
        rows.append([one.name, *(f"{share:.1e}" for share in shares)])
        worst[one.name] = max(shares)
    how, count = drawn[0].surrogate.card["physics"]["maxwell"], min(_ROWS, len(truth.index))
    text = _SOURCES.format(rows=count, length=length, how=how)
    figures = {"largest residual": worst.get(drawn[0].name, float("nan"))}
    columns = ["network", "|∇·B|, largest", "|∇×B|, largest"]
    for one in drawn:
        worst.setdefault(one.name, float("nan"))
    return Panel("Is it a magnetic field?", text, columns, rows, figures=figures), worst


def slopes(surrogate: Any, places: Floats) -> tuple[Floats, Floats]:
    """Return divergence [M] and curl [M, 3] of a surrogate's field, in double precision."""
    model, scaler = copy.deepcopy(surrogate.model).double(), surrogate.scaler
    features = torch.from_numpy((places - np.array(scaler.mean)) / np.array(scaler.std))
    totals = torch.ones(len(places), dtype=torch.float64)
    divergence, curl = residuals(lambda one: model.expect(one, totals), features, scaler.std)
    return divergence.detach().numpy(), curl.detach().numpy()


def _known(drawn: Sequence[Drawn], truth: Truth, found: dict[str, Floats], true_M3: Floats) -> list[Panel]:
    knowing = [one for one in drawn if hasattr(one.surrogate.model, "unknown")]
    if not knowing:
        return []
    answers, widths = [found[one.name] for one in knowing], [_width(one, truth) for one in knowing]
    told = [(one.name, answer, width) for one, answer, width in zip(knowing, answers, widths, strict=True)]
    if len(knowing) > 1:
        # Seeds have other waves: how far their answers are apart shows what is missing between waves.
        both = np.sqrt(np.mean(np.square(widths), 0) + np.var(answers, 0, ddof=1))
        told.append((f"mean of {len(knowing)} seeds", np.mean(answers, 0), both))
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    central = float(np.linalg.norm(true_M3, axis=1).mean())
    for name, answer, width in told:
        pull = (answer - true_M3) / width
        spread, covered = float(np.sqrt((pull**2).mean())), float((np.abs(pull) < 1).mean())
        stated, error = (1e6 * float(np.sqrt((one**2).sum(1).mean())) / central for one in (width, answer - true_M3))
        rows.append([name, alone(error), alone(stated), alone(spread), f"{covered:.1%}"])
        figures = {"width of pulls": spread, "within one standard deviation": covered, "field error, ppm": error}
    columns = ["network", "error, rms, ppm", "stated, rms, ppm", "width of pulls", "within one σ"]
    return [Panel("Does it know how far it knows?", _KNOWN, columns, rows, figures=figures)]


def _width(one: Drawn, truth: Truth) -> Floats:
    with torch.no_grad():
        features, _ = one.surrogate.inputs(truth.parameters_MA)
        return cast(Floats, cast(Any, one.surrogate.model).unknown(features).double().numpy())


def _map(
    truth: Truth,
    drawn: Sequence[Drawn],
    loose: Sequence[Drawn],
    off: dict[str, Floats],
    true_M3: Floats,
    seed: int,
) -> Panel:
    """Return the field along the line through the middle, and the errors along it and across."""
    places = truth.parameters_MA
    middle, low, high = (places.min(0) + places.max(0)) / 2, places[:, 2].min(), places[:, 2].max()
    line = np.tile(middle, (101, 1))
    line[:, 2] = np.linspace(low, high, len(line))
    aside = np.linalg.norm(places[:, :2] - middle[:2], axis=1)
    curves = [
        Curve(one.name, line[:, 2].tolist(), np.linalg.norm(_answer(one, line, seed), axis=1).tolist(), dashed=dashed)
        for one, dashed in [(drawn[0], False), *((one, True) for one in loose)]
    ]
    near = np.flatnonzero(aside <= np.quantile(aside, 0.05))
    near = near[np.argsort(places[near, 2])]
    strength = np.linalg.norm(true_M3[near], axis=1).tolist()
    curves.append(Curve("true, near the line", places[near, 2].tolist(), strength, mark=True))
    names = drawn[0].surrogate.parameters
    error = "rms error [ppm]"
    plots = [
        Plot(f"{names[2]} on the line through the middle", "|B|", curves),
        Plot(names[2], error, _binned(places[:, 2], off), logarithmic=True),
        Plot("distance from the line", error, _binned(aside, off), logarithmic=True),
    ]
    text = f"The field along {names[2]} in the middle of the other two, and errors in bins of equally many places."
    return Panel("Map of the field", text, [], [], plots)


def _binned(values: Floats, off: dict[str, Floats]) -> list[Curve]:
    edges = np.quantile(values, np.linspace(0, 1, _BINS + 1))
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
    kept = [one for one in range(_BINS) if (bins == one).any()]
    centres = [float(values[bins == one].mean()) for one in kept]
    return [
        Curve(name, centres, [float(np.sqrt((one[bins == number] ** 2).mean())) for number in kept])
        for name, one in off.items()
    ]
