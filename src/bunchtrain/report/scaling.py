"""The figure of a training's scaling: measured against predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bunchtrain.report.figures import BLUE, COLOURS, GREY, ORANGE, panels


def figure(result: Mapping[str, Any]) -> str:
    """Return an SVG of what `bunchtrain scaling` found: throughput, step by its parts, measured against predicted."""
    with panels(3, 14.5, 4.2) as ((speed, parts, against), svg):
        _speed(speed, result)
        _parts(parts, result)
        _against(against, result)
    return svg[0]


def _speed(axes: Axes, result: Mapping[str, Any]) -> None:
    ranks, speeds, low, high = np.array(
        [
            (row["ranks"], *(row["jets_per_second"][name] for name in ("value", "low", "high")))
            for row in result["predictions"]
        ]
    ).T
    axes.fill_between(ranks, low, high, color=BLUE, alpha=0.2, linewidth=0, label="68 % band")
    axes.plot(ranks, speeds, color=BLUE, linewidth=2, label="predicted")
    axes.plot(ranks, speeds[0] * ranks, ":", color=GREY, label="every rank as fast as one alone")
    for row in result["probes"]:
        if row["batch"] == result["batch"]:
            fill = ORANGE if row["used"] else "none"
            axes.plot(row["ranks"], row["jets_per_second"], "o", color=ORANGE, markerfacecolor=fill, zorder=3)
    axes.plot([], [], "o", color=ORANGE, label="measured")
    axes.axvline(result["largest_measured"], color=GREY, linewidth=0.8)
    axes.annotate(
        " most ranks measured",
        (result["largest_measured"], 0.03),
        xycoords=("data", "axes fraction"),
        color=GREY,
        fontsize=9,
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(xlabel="ranks", ylabel="jets per second", title=f"{result['batch']} jets a step")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.legend(loc="upper left")


def _parts(axes: Axes, result: Mapping[str, Any]) -> None:
    rows = [row for row in result["predictions"] if row["ranks"] & (row["ranks"] - 1) == 0]
    places, below = np.arange(len(rows)), np.zeros(len(rows))
    for colour, part in zip(COLOURS, ("compute", "input", "communication"), strict=False):
        values = np.array([1e3 * row["parts"].get(part, 0.0) for row in rows])
        axes.bar(places, values, 0.7, below, color=colour, label=part)
        below += values
    axes.set(
        xlabel="ranks", ylabel="predicted step, ms", xticks=places, xticklabels=[str(row["ranks"]) for row in rows]
    )
    axes.legend()


def _against(axes: Axes, result: Mapping[str, Any]) -> None:
    rows = [row for row in result["probes"] if row["predicted_step"]]
    many = sorted({row["ranks"] for row in rows})
    for row in rows:
        colour = COLOURS[many.index(row["ranks"]) % len(COLOURS)]
        fill = colour if row["used"] else "none"
        error = float(np.sqrt(sum(value**2 for value in row["errors"].values())))
        x, y = 1e3 * row["step"], 1e3 * row["predicted_step"]["value"]
        axes.errorbar(x, y, xerr=1e3 * error, fmt="o", color=colour, markerfacecolor=fill, capsize=2)
    for number, ranks in enumerate(many):
        axes.plot([], [], "o", color=COLOURS[number % len(COLOURS)], label=f"{ranks} rank{'s' if ranks > 1 else ''}")
    if not all(row["used"] for row in rows):
        axes.plot([], [], "o", color=GREY, markerfacecolor="none", label="too few cores: not in the fit")
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], ":", color=GREY)
    axes.set(xlabel="measured step, ms", ylabel="step of the fitted model, ms")
    axes.legend()
