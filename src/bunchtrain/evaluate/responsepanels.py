"""What the page shows of any surrogate: the physics that it keeps, and whether its spread is the right one.

M: row, Q: quantity, D: draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import dropout
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.rounding import alone, together

if TYPE_CHECKING:
    from bunchtrain.evaluate.responses import Drawn, Truth

Floats = NDArray[np.float64]

#: Draws of each row, of the spread's test, and most rows of it.
_DRAWS, _ROWS = 49, 2000

#: Central intervals whose coverage is told.
_INTERVALS = (0.5, 0.68, 0.9)

_PHYSICS = (
    "How far answers are from what `physics` says. Missed total: |Σ quantities - total| over the total; below zero: "
    "the negative quantities, summed, over the total. The truth has its own, from the precision of the files. {loose}"
)
_COVERAGE = (
    "For every row of the test split {draws} draws. If their spread is right, the truth ranks anywhere among them "
    "equally often, and an interval that holds a share of the draws holds the same share of truths. Looked at "
    "are the sums of groups, such as the energies of layers, or single quantities where there are no groups."
)
_PARTS = (
    "A deterministic network states a variance for each quantity, learnt from the data (noise), and dropout repeated "
    "{passes} times shows what the network does not know. Both in units of the quantity's own width, in the mean over "
    "quantities. Covered: truths within one standard deviation of the mean; 68 % where errors are normal."
)


def panels(spec: EvaluateSpec, truth: Truth, drawn: Sequence[Drawn], loose: Sequence[Drawn]) -> list[Panel]:
    """Return the panels.

    Parameters
    ----------
    spec : EvaluateSpec
    truth : Truth
    drawn : sequence of Drawn
        The networks, one per seed.
    loose : sequence of Drawn
        Another network beside them, if there is one.
    """
    physics = drawn[0].surrogate.card["physics"]
    declared = physics["total"] is not None or physics["positive"] != "none"
    found = [_physics(truth, drawn, loose)] if declared else []
    found.append(_coverage(spec, truth, drawn[0]))
    if hasattr(drawn[0].surrogate.model, "moments"):
        found.append(_parts(spec, truth, drawn))
    return found


def broken(truth: Truth, quantities_MQ: Floats, share: bool) -> tuple[Floats, Floats]:
    """Return by how much rows miss their total, and what is negative of them, as shares of it, [M] each."""
    shares = quantities_MQ / truth.totals_M[:, None]
    missed = np.abs(shares.sum(1) - 1) if share else np.zeros(len(shares))
    return missed, np.clip(-shares, 0, None).sum(1)


def _physics(truth: Truth, drawn: Sequence[Drawn], loose: Sequence[Drawn]) -> Panel:
    physics = drawn[0].surrogate.card["physics"]
    share = physics["total"] is not None
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    named = [("truth", truth.quantities_MQ), *((one.name, one.quantities_MQ) for one in (*drawn, *loose))]
    for name, quantities in named:
        missed, negative = broken(truth, quantities, share)
        rows.append([name, f"{missed.mean():.1e}", f"{missed.max():.1e}", f"{negative.mean():.1e}"])
        rows[-1].append(f"{(quantities < 0).any(1).mean():.1%}")
        figures |= {f"missed total, {name}": float(missed.max())} if name == drawn[0].name else {}
    how = f"Conserved: {physics['conserved']}; positive: {physics['positive']}."
    others = ", ".join(_told(one) for one in loose)
    told = f"{how} Beside it {others}." if others else how
    titles = ["network", "missed total, mean", "largest", "below zero, mean", "rows with any"]
    return Panel("Is the declared physics kept?", _PHYSICS.format(loose=told), titles, rows, figures=figures)


def _told(one: Drawn) -> str:
    card = one.surrogate.card
    how = f"conserved: {card['physics']['conserved']}, positive: {card['physics']['positive']}"
    return f"{one.name}, of kind {card['model']['kind']} ({how})"


def _coverage(spec: EvaluateSpec, truth: Truth, drawn: Drawn) -> Panel:
    """Return how truths rank among draws, and what intervals cover: of all groups, and of their sum."""
    rows = np.arange(len(truth.index))
    if len(rows) > _ROWS:
        rows = np.sort(np.random.default_rng(spec.seed).choice(rows, _ROWS, replace=False))
    member = _member(drawn)
    true = truth.quantities_MQ[rows] @ member
    ranks = np.zeros(true.shape)
    random = np.random.default_rng(spec.seed)
    for draw in range(_DRAWS):
        seed = spec.seed + 1000 + draw
        parts = drawn.surrogate.draw(truth.parameters_MA[rows], truth.totals_M[rows], seed=seed) @ member
        ranks += (parts < true) + (parts == true) * random.random(true.shape)
    share = (ranks + random.random(ranks.shape)) / (_DRAWS + 1)
    varied = true.std(0) > 0
    table = [
        [f"{interval:.0%}", together(100 * found.mean(), 100 * found.std() / np.sqrt(len(rows)))]
        for interval in _INTERVALS
        for found in [(np.abs(share[:, varied] - 0.5) < interval / 2).mean(1)]
    ]
    edges = np.linspace(0, 1, 11)
    heights = np.histogram(share[:, varied], edges)[0] / max(share[:, varied].size, 1) * (len(edges) - 1)
    curve = Curve("truth among draws", ((edges[1:] + edges[:-1]) / 2).tolist(), heights.tolist())
    even = Curve("right spread", [0.0, 1.0], [1.0, 1.0], dashed=True)
    plot = Plot("rank of the truth among the draws", "rows, relative to even", [curve, even], lowest=0.0)
    figures = {"coverage of 68 %": float((np.abs(share[:, varied] - 0.5) < 0.34).mean())}
    text, titles = _COVERAGE.format(draws=_DRAWS), ["interval", "truths inside, %"]
    return Panel("Is the spread the right one?", text, titles, table, [plot], figures=figures)


def _member(drawn: Drawn) -> Floats:
    """Return which quantity belongs to which group, [Q, G]; each to its own without groups, no more than 64 of them."""
    groups = drawn.surrogate.card["shape"]["groups"]
    numbers = np.array(groups) if len(groups) else np.arange(len(drawn.surrogate.quantities))
    found: Floats = (numbers[:, None] == np.arange(min(numbers.max() + 1, 64))).astype(np.float64)
    return found


def _parts(spec: EvaluateSpec, truth: Truth, drawn: Sequence[Drawn]) -> Panel:
    """Return noise and what the network does not know, of a network that states means and variances."""
    passes = spec.settings.passes if isinstance(spec.settings.passes, int) else 50
    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    for one in drawn:
        noise, unknown, covered = _decomposed(one, truth, passes, spec.seed)
        values = (noise, unknown, float(np.hypot(noise, unknown)), 100 * covered)
        rows.append([one.name, *(alone(value) for value in values)])
        figures = figures or {"noise": noise, "unknown": unknown, "covered within one sigma": covered}
    titles = ["network", "noise (learnt)", "unknown (dropout)", "both", "covered, %"]
    title, text = "What the uncertainty of the mean is made of", _PARTS.format(passes=passes)
    return Panel(title, text, titles, rows, figures=figures)


def _decomposed(one: Drawn, truth: Truth, passes: int, seed: int) -> tuple[float, float, float]:
    """Return root mean square noise and unknown, in widths of the coordinates, and the share of truths covered."""
    model = cast(Any, one.surrogate.model)
    features, totals = one.surrogate.inputs(truth.parameters_MA, truth.totals_M)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dropout.switch_on(model)
        count, mean, square, noise = 0, torch.zeros(()), torch.zeros(()), torch.zeros(())
        for _ in range(passes):
            found, log_variance = model.moments(features)
            count, delta = count + 1, found - mean
            mean = mean + delta / count
            square = square + delta * (found - mean)
            noise = noise + (log_variance.exp() - noise) / count
        unknown = square / max(count - 1, 1)
        z = model.coordinates(totals, torch.from_numpy(truth.quantities_MQ).to(features.dtype))
    model.eval()
    covered = ((z - mean).square() <= noise + unknown).double().mean()
    return float(noise.double().mean().sqrt()), float(unknown.double().mean().sqrt()), float(covered)
