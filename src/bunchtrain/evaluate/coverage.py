"""Conformal sets of classes for jets: what they promise, and whether it holds, in bins of pt too.

N: jet, C: class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain import conformal
from bunchtrain.discrimination import effective
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.rounding import alone, together

Floats = NDArray[np.float64]

#: Bins of pt, with as many validation jets each, and resamplings behind the closure.
_BINS, _RESAMPLINGS = 4, 20

_TEXT = (
    "In place of one class a jet gets a set of classes, chosen so that the promised share of sets holds the true one. "
    "Split: one threshold of the probability, from validation jets, for all. By pt: a threshold for each bin of pt, so "
    "that the promise holds in every bin. Errors: chance in test and validation jets. The smaller the sets, the better "
    "the network. Resamplings: threshold and coverage from random halves of the test jets, {count} times: how often "
    "the coverage lies within the interval that chance allows in 95 % of cases."
)


@dataclass(frozen=True)
class Labelled:
    """Jets with probabilities, classes, weights for which probabilities are stated, and pt (GeV)."""

    probabilities_NC: Floats
    labels_N: NDArray[np.int64]
    weights_N: Floats
    pt_N: Floats

    @property
    def true_N(self) -> Floats:
        """Probability of the true class."""
        return conformal.of_true(self.probabilities_NC, self.labels_N)


class Kept(NamedTuple):
    """How a promise is kept: share of sets that hold the true class with its error, and mean number of classes.

    The error is that of chance in the jets that are judged and in those that gave the threshold.
    """

    covered: float
    error: float
    size: float


def kept(sets_NC: NDArray[np.bool_], jets: Labelled, here: NDArray[np.bool_], calibrating: NDArray[Any]) -> Kept:
    """Return how sets [N, C] keep their promise on some jets; NaN where their weights add up to nothing.

    `calibrating` are the weights of the jets that gave the threshold.
    """
    weights = jets.weights_N[here]
    total = float(weights.sum())
    if total <= 0:
        return Kept(np.nan, np.nan, np.nan)
    share = float(np.sum(weights * conformal.covered(sets_NC, jets.labels_N)[here]) / total)
    size = float(np.sum(weights * sets_NC[here].sum(1)) / total)
    counts = sum(1 / max(effective(one), 1.0) for one in (weights, calibrating))
    return Kept(share, float(np.sqrt(max(share * (1 - share), 0.0) * counts)), size)


def resampled(jets: Labelled, coverage: float, seed: int) -> list[float]:
    """Return by how many standard deviations the coverage misses its promise, in random halves of the jets.

    One half gives the threshold, the other is judged; both halves' chance counts (arXiv:2107.07511, section 3.2). Equal
    probabilities are put in order by chance, else sets would hold the true class more often than they promise. Halves
    whose weights do not add up to a positive number say nothing.
    """
    random, found = np.random.default_rng(seed), []
    rank_N = np.empty(len(jets.labels_N))
    rank_N[np.lexsort((random.uniform(size=len(rank_N)), jets.true_N))] = np.arange(1, len(rank_N) + 1)
    for _ in range(_RESAMPLINGS):
        order = random.permutation(len(jets.labels_N))
        ours, theirs = order[: len(order) // 2], order[len(order) // 2 :]
        if min(float(jets.weights_N[half].sum()) for half in (ours, theirs)) <= 0:
            continue
        least = conformal.threshold(rank_N[ours], jets.weights_N[ours], coverage)
        weights, right = jets.weights_N[theirs], rank_N[theirs] >= least
        share = float(np.sum(weights * right) / np.sum(weights))
        sizes = [effective(jets.weights_N[half]) for half in (ours, theirs)]
        found.append((share - coverage) / float(np.sqrt(coverage * (1 - coverage) * sum(1 / n for n in sizes))))
    return found


def panel(validation: Labelled, test: Labelled, promised: list[float], seed: int) -> Panel:
    """Return the panel of conformal sets: thresholds from validation jets, judged on test jets."""
    inner = np.unique(np.quantile(validation.pt_N, np.linspace(0, 1, _BINS + 1)[1:-1]))

    def bin_of(jets: Labelled) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.searchsorted(inner, jets.pt_N, side="right")
        return found

    rows: list[list[str]] = []
    figures: dict[str, float] = {}
    plots: list[Plot] = []
    bins, ours = bin_of(test), bin_of(validation)
    every, weights = np.ones(len(bins), bool), validation.weights_N
    for share in promised:
        least = conformal.threshold(validation.true_N, weights, share)
        by_bin = conformal.thresholds(validation.true_N, ours, weights, share)
        split = conformal.sets(test.probabilities_NC, least)
        mondrian = conformal.sets_by_group(test.probabilities_NC, bins, by_bin)
        missed = np.array(resampled(test, share, seed))
        within = int(np.sum(np.abs(missed) < 1.96))
        numbers = [number for number in np.unique(bins) if float(test.weights_N[bins == number].sum()) > 0]
        of_bins = [
            [kept(split, test, bins == number, weights) for number in numbers],
            [kept(mondrian, test, bins == number, weights[ours == number]) for number in numbers],
        ]
        both = kept(split, test, every, weights), kept(mondrian, test, every, weights)
        rows.append([*_row(share, *both, of_bins), f"{within} of {len(missed)}"])
        name = f"{100 * share:g} %"
        figures |= {f"coverage at {name}": both[0].covered, f"coverage by pt at {name}": both[1].covered}
        figures |= {f"set size at {name}": both[0].size, f"resamplings within at {name}": within}
        if share == max(promised, key=lambda one: -abs(one - 0.9)):
            plots = [_plot(share, test, [bins == number for number in numbers], of_bins)]
    columns = ["promised", "split", "least in a bin", "classes", "by pt", "least in a bin", "classes", "resamplings"]
    text = _TEXT.format(count=_RESAMPLINGS)
    return Panel("Sets that hold the true class", text, columns, rows, plots, figures)


def _row(share: float, split: Kept, mondrian: Kept, of_bins: list[list[Kept]]) -> list[str]:
    def told(one: Kept) -> str:
        return f"{together(100 * one.covered, 100 * one.error)} %"

    def least(rows: list[Kept]) -> str:
        return told(min(rows, key=lambda one: one.covered))

    cells = [told(split), least(of_bins[0]), alone(split.size), told(mondrian), least(of_bins[1]), alone(mondrian.size)]
    return [f"{100 * share:g} %", *cells]


def _plot(share: float, test: Labelled, bins: list[NDArray[np.bool_]], of_bins: list[list[Kept]]) -> Plot:
    """Return the coverage in bins of pt."""
    ranges = [(test.pt_N[here].min(), test.pt_N[here].max()) for here in bins]
    x, widths = [float(a + b) / 2 for a, b in ranges], [float(b - a) / 2 for a, b in ranges]
    ends = [float(test.pt_N.min()), float(test.pt_N.max())]

    def curve(name: str, rows: list[Kept]) -> Curve:
        return Curve(name, x, [r.covered for r in rows], errors=[r.error for r in rows], widths=widths)

    curves = [curve(name, rows) for name, rows in zip(("split", "by pt"), of_bins, strict=True)]
    curves.append(Curve("promised", ends, [share, share], dashed=True))
    caption = f"Sets that are to hold the true class for {100 * share:g} % of the jets."
    wide = ends[0] > 0 and ends[1] > 4 * ends[0]
    return Plot("jet pt [GeV]", "share of sets that hold it", curves, caption, logarithmic_x=wide, share=True)
