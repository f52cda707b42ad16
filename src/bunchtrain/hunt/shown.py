"""What a hunt shows on the page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from bunchtrain.config.hunt import Hunt
from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.rounding import alone, together

_BOX = (
    "Windows of the dijet mass; in each, classifiers that tell it from its neighbours without labels keep a share of "
    "the events, and the background is fitted beside it. First the spectrum of the largest excess, with the fit; last "
    "the local p-values of all windows and cuts: the global one counts them all."
)
_EXPECTED = (
    "From labelled samples: by how much a cut multiplies the significance, with labels, and without where the signal "
    "stands at S/√B = {strength:g}. A feature that goes with the dijet mass lets a cut shape the spectrum: "
    "correlations are Spearman's, in the background."
)
_CLOSURE = "The whole hunt, trainings included, in the labelled background, where nothing is to be found."

#: The lowest p-value that is drawn.
_LOWEST = 1e-40


def verdict(result: dict[str, Any]) -> str:
    """Return in a line what was found."""
    worth = f"local {result['local']['z']:.1f} σ, global {_global(result)}"
    found = result["found"]
    if not result["claimed"]:
        return f"no resonance; largest excess {worth}"
    return f"a resonance of {together(found['mass'], found['error'])} GeV; {worth}"


def _global(result: dict[str, Any]) -> str:
    """Return the global significance in words."""
    worth = result["global"]
    return f"{worth['z']:.1f} σ" + (f" (as {worth['trials']:.0f} independent trials)" if worth["extrapolated"] else "")


def of_box(result: dict[str, Any], settings: Hunt) -> list[dict[str, Any]]:
    """Return the panel of a box."""
    best, found = result["best"], result["found"]
    low, high = best["window"]
    rows = [
        ["verdict", verdict(result)],
        ["window, GeV", f"{low:.0f} to {high:.0f}"],
        ["events kept", f"{100 * best['cut']:g} %"],
        ["in the window", f"{best['observed']:.0f}"],
        ["background there", together(best["expected"], best["error"])],
        ["local significance", f"{result['local']['z']:.1f} σ (p = {result['local']['p']:.1e})"],
        ["global significance", f"{_global(result)} (p = {result['global']['p']:.1e})"],
        ["fit beside the window", f"χ² = {best['goodness']['chi2']:.1f} / {best['goodness']['degrees']}"],
    ]
    if result["claimed"]:
        rows.insert(1, ["mass, GeV", together(found["mass"], found["error"])])
        rows.insert(2, ["events of the peak", alone(found["signal"], 2)])
    plots = [_spectrum(result), _pulls(result), _local(result, settings)]
    figures = {"local_z": result["local"]["z"], "global_z": result["global"]["z"]}
    return [asdict(Panel(f"Box {result['box']}", _BOX, ["what", "found"], rows, plots, figures))]


def _spectrum(result: dict[str, Any]) -> Plot:
    counts, background, total = (np.array(result["spectrum"][key]) for key in ("counts", "background", "with_peak"))
    edges = np.array(result["spectrum"]["edges"])
    centre, half = np.sqrt(edges[1:] * edges[:-1]), np.diff(edges) / 2
    seen = counts > 0
    points = Curve(
        "events kept",
        centre[seen].tolist(),
        counts[seen].tolist(),
        errors=np.sqrt(counts[seen]).tolist(),
        widths=half[seen].tolist(),
        group=6,
    )
    curves = [points, Curve("background, fitted beside the window", centre.tolist(), background.tolist(), group=0)]
    if result["claimed"]:
        curves.append(Curve("with a peak", centre.tolist(), total.tolist(), dashed=True, group=1))
    text = f"The largest excess: {result['local']['z']:.1f} σ."
    return Plot("dijet mass, GeV", "events in a bin", curves, text, logarithmic=True, logarithmic_x=True, lowest=0.1)


def _pulls(result: dict[str, Any]) -> Plot:
    counts, background = (np.array(result["spectrum"][key]) for key in ("counts", "background"))
    edges = np.array(result["spectrum"]["edges"])
    shown = background >= 1
    pulls = ((counts - background) / np.sqrt(np.maximum(background, 1)))[shown].tolist()
    centre, half = np.sqrt(edges[1:] * edges[:-1])[shown].tolist(), (np.diff(edges) / 2)[shown].tolist()
    curve = Curve("pulls", centre, pulls, errors=[1.0] * len(pulls), widths=half, group=6)
    low, high = result["best"]["window"]
    zero = Curve("window", [low, high], [0.0, 0.0], group=1)
    text = "Bins of one expected event or more; the window took no part in the fit."
    return Plot("dijet mass, GeV", "(events - background) / √background", [curve, zero], text, logarithmic_x=True)


def _local(result: dict[str, Any], settings: Hunt) -> Plot:
    curves = []
    for cut in [1.0, *settings.cuts]:
        own = [one for one in result["tests"] if one["cut"] == cut]
        centres = [float(np.sqrt(one["window"][0] * one["window"][1])) for one in own]
        values = [max(one["p"], _LOWEST) for one in own]
        curves.append(Curve(f"{100 * cut:g} % kept", centres, values, mark=len(own) == 1))  # one has no line
    return Plot("centre of the window, GeV", "local p-value", curves, logarithmic=True)


def of_sensitivity(result: dict[str, Any], settings: Hunt) -> list[dict[str, Any]]:
    """Return the panels of what a hunt can do."""
    curves = [
        _improvement("with labels", result["supervised"]["improvement"]),
        _improvement("without labels", result["weak"]["improvement"]),
    ]
    rows = [
        [
            one["name"],
            together(one["correlation"], one["error"], sign=True),
            together(one["near"], one["error"], sign=True),
        ]
        for one in result["features"]
    ]
    columns = ["feature", "correlation with the dijet mass", "near the window"]
    text = _EXPECTED.format(strength=result["weak"]["strength"])
    told = f"A resonance of {result['mass']:g} GeV. Its mass is measured to {100 * result['resolution']:.1f} %."
    plot = Plot("signal efficiency", "significance improvement  ε$_S$/√ε$_B$", curves, told, lowest=0)
    expected = Panel("What a hunt can find", text, columns, rows, [plot])
    return [asdict(expected), asdict(_closure(result["closure"], settings))]


def _improvement(name: str, curve: dict[str, list[float]]) -> Curve:
    low, high = (
        [value + sign * error for value, error in zip(curve["value"], curve["error"], strict=True)] for sign in (-1, 1)
    )
    return Curve(name, curve["efficiency"], curve["value"], low=low, high=high)


def _closure(closure: dict[str, Any], settings: Hunt) -> Panel:
    z = np.array(closure["z"])
    curves = [
        Curve(f"{100 * cut:g} % kept", closure["centres"], z[:, place].tolist(), mark=len(z) == 1)
        for place, cut in enumerate([1.0, *settings.cuts])
    ]
    worth = closure["global"]
    told = f"Largest local excess {closure['local']:.1f} σ; global {worth['z']:.1f} σ (p = {alone(worth['p'], 2)})."
    plot = Plot("centre of the window, GeV", "local significance, σ", curves, told)
    return Panel("What a hunt finds where nothing is", _CLOSURE, plots=[plot])
