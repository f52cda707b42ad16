"""The figures of the page, each an SVG that stands inside the HTML.

Colours are those of Okabe and Ito, told apart by most people with impaired colour vision.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import gain
from bunchtrain.rounding import together

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7a828c"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#1d252c")

#: Lines and markers of further rounds through the colours: no two curves look alike.
_LINES, _DASHED, _MARKERS = ("-", (0, (6, 1, 1, 1))), ("--", ":"), "osD^v"

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": "#2b333b",
    "axes.grid": True,
    "grid.color": "#e8ebee",
    "axes.axisbelow": True,
    "xtick.color": "#4a545e",
    "ytick.color": "#4a545e",
    "legend.frameon": False,
    "svg.hashsalt": "bunchtrain",
    "svg.fonttype": "path",
}


@contextmanager
def _figure(width: float = 5.4, height: float = 3.7) -> Iterator[tuple[Axes, list[str]]]:
    """Yield axes and an empty list, which holds the SVG afterwards."""
    with panels(1, width, height) as ((axes,), svg):
        yield axes, svg


@contextmanager
def panels(count: int, width: float, height: float) -> Iterator[tuple[list[Axes], list[str]]]:
    """Yield the axes of panels side by side and an empty list, which holds the SVG afterwards."""
    svg: list[str] = []
    with matplotlib.rc_context(_STYLE):
        figure, grid = plt.subplots(1, count, figsize=(width, height), layout="constrained", squeeze=False)
        with _drawn(figure, svg):
            yield list(grid[0]), svg


@contextmanager
def stacked(two: bool) -> Iterator[tuple[tuple[Axes, Axes | None], list[str]]]:
    """Yield one panel, or a high and a flat one above each other with a common x axis, and a list for the SVG."""
    svg: list[str] = []
    with matplotlib.rc_context(_STYLE):
        figure = plt.figure(figsize=(5.4, 3.9 + 0.9 * two), layout="constrained")
        grid = figure.add_gridspec(1 + two, 1, height_ratios=[3, 1][: 1 + two])
        upper = figure.add_subplot(grid[0])
        with _drawn(figure, svg):
            yield (upper, figure.add_subplot(grid[1], sharex=upper) if two else None), svg


@contextmanager
def _drawn(figure: Figure, svg: list[str]) -> Iterator[None]:
    """Append the figure as SVG to a list in the end, and close it."""
    try:
        yield
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        text = stream.getvalue()
        svg.append(text[text.index("<svg") :])
    finally:
        plt.close(figure)


def roc(metrics: Mapping[str, Any]) -> str:
    """Background rejection against signal efficiency: the network, and what simpler methods can do.

    Below it the ratio of the network's rejection to that of the first of them.
    """
    styles = [(BLUE, "-"), (ORANGE, "--"), (GREY, ":"), (GREEN, "-."), (PURPLE, "--")]
    with stacked(bool(metrics["baselines"])) as ((axes, below), svg):
        if below is not None:
            _ratio(below, metrics)
        for number, row in enumerate([{"name": "network", **metrics}, *metrics["baselines"]]):
            colour, line = styles[number % len(styles)]
            x, y, shown = _measured(row["roc"])
            label = f"{row['name']}, AUC {row['auc']['value']:.3f}"
            axes.plot(x[shown], 1 / y[shown], line, color=colour, label=label, linewidth=2)
        points = [row for row in metrics["working_points"] if row["error"] is not None]
        axes.errorbar(
            [row["efficiency"] for row in points],
            [row["rejection"] for row in points],
            [row["error"] for row in points],
            fmt="o",
            color=BLUE,
            capsize=3,
        )
        axes.set(yscale="log", ylabel=f"{metrics['background']} rejection  1/ε$_B$", xlim=(0, 1), ylim=(1, None))
        (below or axes).set_xlabel(f"{metrics['signal']} efficiency")
        legend(axes)
    return svg[0]


def _measured(curve: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return a ROC curve, and where at least one effective background item passes: there alone it was measured."""
    x, y = np.array(curve["signal_efficiency"]), np.array(curve["background_efficiency"])
    return x, y, (y >= curve["fewest"]) & (x > 0.02)


def _ratio(axes: Axes, metrics: Mapping[str, Any]) -> None:
    """Draw how many times the first baseline's rejection the network's is, where both let some background pass.

    At the working points with the errors that two networks on different jets would have.
    """
    baseline = metrics["baselines"][0]
    (x, y, shown), (_, other, its) = (_measured(one["roc"]) for one in (metrics, baseline))
    axes.plot(x[shown & its], other[shown & its] / y[shown & its], color=BLUE, linewidth=2)
    for one, two in zip(metrics["working_points"], baseline["working_points"], strict=True):
        if (found := gain(one, two)) is not None:
            axes.errorbar(one["efficiency"], *found, fmt="o", color=BLUE, capsize=3, markersize=4)
    axes.axhline(1, color=GREY, linestyle=":")
    axes.set(ylim=(0, None))
    axes.set_ylabel("network over\n" + fill(baseline["name"], 18), fontsize=8)


def training(rows: Sequence[Mapping[str, float]], best_epoch: int) -> str:
    """Loss by epoch, with the epoch whose weights were kept."""
    with _figure() as (axes, svg):
        epochs = [row["epoch"] for row in rows]
        axes.plot(
            epochs, [row["train_loss"] for row in rows], "o-", color=GREY, label="training (with chance)", markersize=4
        )
        axes.plot(epochs, [row["validation_loss"] for row in rows], "o-", color=BLUE, label="validation", markersize=4)
        axes.axvline(best_epoch, color=GREEN, linestyle="--", label="kept")
        axes.set(xlabel="epoch", ylabel="loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)
    return svg[0]


def reliability(metrics: Mapping[str, Any]) -> str:
    """How often the network is right, against how sure it says it is."""
    with _figure() as (axes, svg):
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
        for label, found, colour in (
            ("single pass", metrics["single_pass"]["calibration"], ORANGE),
            ("MC dropout", metrics["calibration"], BLUE),
        ):
            rows = found["bins"]
            axes.errorbar(
                [row["confidence"] for row in rows],
                [row["accuracy"] for row in rows],
                [row["error"] for row in rows],
                fmt="o",
                color=colour,
                capsize=2,
                markersize=4,
                label=f"{label}, ECE {together(100 * found['ece'], 100 * found['ece_error'])} %",
            )
        low = min(row["confidence"] for row in metrics["calibration"]["bins"])
        axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(max(0, low - 0.05), 1.02), ylim=(0, 1.05))
        legend(axes)
    return svg[0]


def plot(about: Mapping[str, Any]) -> str:
    """Curves that a task shows; see `panels.Plot`."""
    with _figure(height=3.4 + 0.12 * len(about["curves"])) as (axes, svg):
        for number, curve in enumerate(about["curves"]):
            values, errors = np.array(curve["y"]), np.array(curve["errors"])
            yerr: Any = errors if len(errors) else None
            xerr = curve["widths"] or None
            if about["share"] and len(errors):
                yerr = [np.minimum(errors, values), np.minimum(errors, 1 - values)]
            drawn = axes.errorbar(curve["x"], values, yerr, xerr, label=curve["name"], **style(curve, number))
            if curve.get("low"):
                colour = drawn.lines[0].get_color()
                axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.25, linewidth=0)
        scales = {True: "log", False: "linear"}
        axes.set(xlabel=about["x"], ylabel=about["y"])
        axes.set(xscale=scales[about["logarithmic_x"]], yscale=scales[about["logarithmic"]])
        if about["lowest"] is not None:
            axes.set_ylim(bottom=about["lowest"])
        if about["share"]:  # bars end at 1, and so do the axes but for a margin
            low, high = axes.get_ylim()
            axes.set_ylim(top=min(high, 1 + 0.03 * (1 - low)))
        low, high = axes.get_xlim()
        if about["logarithmic_x"] and high < 100 * low:  # else the ticks would be powers of ten, few or none
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
            axes.xaxis.set_minor_formatter("{x:g}")
        legend(axes)
    return svg[0]


def bars(about: Mapping[str, Any]) -> str:
    """Bars to both sides of zero, with their errors; see `panels.Bars`."""
    names, groups = (list(dict.fromkeys(one[key] for one in about["bars"])) for key in ("name", "group"))
    ordered = sorted(about["bars"], key=lambda one: names.index(one["name"]))
    # With half a bar of room before the next name.
    rows = [(row + 0.5 * names.index(one["name"]), one) for row, one in enumerate(ordered)]
    with _figure(height=1.4 + 0.22 * (len(rows) + 0.5 * len(names))) as (axes, svg):
        for number, group in enumerate(groups):
            own = [(place, one["value"], one["error"] or 0) for place, one in rows if one["group"] == group]
            where, values, errors = zip(*own, strict=True)
            options: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "alpha": 0.8, "ecolor": "#1d252c"}
            axes.barh(where, values, 0.85, xerr=errors, label=group, **options)
        axes.axvline(0, color=GREY, linewidth=1)
        middles = [np.mean([place for place, one in rows if one["name"] == name]) for name in names]
        axes.set(xlabel=about["x"], yticks=middles, yticklabels=[fill(name, 24) for name in names])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        legend(axes)
    return svg[0]


def legend(axes: Axes) -> None:
    """Put the legend below the axes, where it covers no curve."""
    figure = axes.figure
    if figure is not None:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)


def style(curve: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return how a curve is drawn: its colour by its group, its line by whether it is a baseline's.

    Of marked points and of bins there is no line; their markers say which they are.
    """
    group = number if curve["group"] is None else curve["group"]
    colour, again = COLOURS[group % len(COLOURS)], group // len(COLOURS)
    common = {"color": colour, "elinewidth": 1, "linewidth": 2}
    if curve["mark"]:
        return {**common, "fmt": _MARKERS[group % 5], "markersize": 8, "markeredgecolor": "white", "zorder": 5}
    if curve["widths"]:
        return {**common, "fmt": _MARKERS[group % 5], "markersize": 4, "linestyle": "none"}
    return {**common, "linestyle": (_DASHED if curve["dashed"] else _LINES)[again % 2]}


def retention(metrics: Mapping[str, Any]) -> str:
    """Accuracy when only the most certain items are kept."""
    with _figure() as (axes, svg):
        names = {"entropy": "entropy", "mutual_information": "mutual information", "spread": "spread"}
        for (name, label), colour in zip(names.items(), COLOURS, strict=False):
            found = metrics["uncertainty"][name]
            rows = found["retention"]
            area = "" if found["auroc"] is None else f", AUROC {found['auroc']:.2f}"
            axes.plot(
                [row["kept"] for row in rows], [row["accuracy"] for row in rows], color=colour, label=label + area
            )
        axes.set(xlabel=f"share of {metrics['items']} kept, most certain first", ylabel="accuracy", xlim=(0, 1))
        legend(axes)
    return svg[0]


def scores(score: NDArray[Any], labels: NDArray[Any], metrics: Mapping[str, Any]) -> str:
    """Distribution of the discriminant for each class."""
    with _figure() as (axes, svg):
        edges = np.linspace(0, 1, 41).tolist()
        for number, name in enumerate(metrics["classes"]):
            values = score[labels == number]
            if len(values):
                axes.hist(
                    values,
                    edges,
                    density=True,
                    histtype="step",
                    color=COLOURS[number % len(COLOURS)],
                    label=name,
                    linewidth=2,
                )
        axes.set(
            xlabel="score",
            ylabel=f"{metrics['items']}, normalised",
            yscale="log",
            xlim=(0, 1),
        )
        legend(axes)
    return svg[0]


def spread(values: NDArray[Any], right: NDArray[np.bool_], items: str) -> str:
    """Distribution of the MC-dropout spread for right and wrong answers."""
    with _figure() as (axes, svg):
        edges = np.linspace(0, max(float(np.quantile(values, 0.995)), 1e-6), 41).tolist()
        for chosen, label, colour in ((right, "right answers", BLUE), (~right, "wrong answers", ORANGE)):
            if chosen.any():
                axes.hist(
                    values[chosen], edges, density=True, histtype="stepfilled", alpha=0.45, color=colour, label=label
                )
        axes.set(xlabel="spread of the score over passes", ylabel=f"{items}, normalised")
        legend(axes)
    return svg[0]


def ladder(rows: Sequence[tuple[str, float]]) -> str:
    """AUC along the way to the FPGA."""
    with _figure(5.4, 0.55 * len(rows) + 0.9) as (axes, svg):
        places = np.arange(len(rows))[::-1]
        values = [value for _, value in rows]
        axes.plot(values, places, "o", color=BLUE, markersize=8)
        axes.hlines(places, min(values) - 0.01, values, color=BLUE, alpha=0.35)
        for place, value in zip(places, values, strict=True):
            axes.annotate(f"{value:.4f}", (value, place), (8, 0), textcoords="offset points", va="center")
        axes.set(yticks=places, yticklabels=[name for name, _ in rows], xlabel="AUC on the test split")
        axes.set_xlim(min(values) - 0.01, max(values) + 0.012)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
    return svg[0]


def front(
    points: Sequence[tuple[int, float]],
    line: Sequence[tuple[int, float]],
    core: tuple[int, float],
    published: Sequence[tuple[str, int, str]],
    estimated: Sequence[tuple[int, float]] = (),
) -> str:
    """AUC of quantised students against their look-up tables; `line` joins the best, published ones are costs alone."""
    with _figure(7.6, 4.6) as (axes, svg):
        if estimated:
            label = "proposed: validation jets, cost estimated"
            axes.plot(*zip(*estimated, strict=True), ".", color=GREY, label=label, markersize=5)
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=BLUE, label="student", markersize=6)
            axes.step(*zip(*line, strict=True), where="post", color=GREEN, linewidth=1.6, label="none is better")
        axes.plot(*core, "*", color=ORANGE, markersize=13, label="the campaign's core")
        heights = [auc for _, auc in (*points, core, *estimated)]
        room = max(max(heights) - min(heights), 0.01)
        axes.set_ylim(min(heights) - 0.1 * room, max(heights) + 0.55 * room)
        for name, lut, told in published:
            axes.axvline(lut, color=GREY, linestyle=":", linewidth=1)
            place = (lut, max(heights) + 0.53 * room)
            axes.annotate(
                f"{name}\n{told}",
                place,
                (-2, 0),
                textcoords="offset points",
                rotation=90,
                va="top",
                ha="right",
                fontsize=7,
                color="#4a545e",
            )
        axes.set(xscale="log", xlabel="look-up tables", ylabel="AUC on the test split")
        axes.legend(loc="lower right")
    return svg[0]
