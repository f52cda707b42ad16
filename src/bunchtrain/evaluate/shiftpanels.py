"""The variations on the page: envelope, ranking, and whether the spread covers them.

X: points of a curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.evaluate.shifts import Floats, Judged, Shift, quadrature
from bunchtrain.panels import Bar, Bars, Curve, Panel, Plot
from bunchtrain.rounding import alone, together

if TYPE_CHECKING:
    from bunchtrain.evaluate.systematics import Compared, Nominal

_TITLE = "If it were otherwise: {}"

_ENVELOPE = (
    "The network is the same; what it sees is not. Band: shifts of ln(rejection) of all sources, added in quadrature; "
    "of a source with several variations the largest to each side counts, one alone counts to both sides."
)
_RANKING = (
    "Shift of the {background} rejection at {point:.0f} % {signal} efficiency, and of the AUC. Where a variation "
    "changes the nominal jets themselves, chance is mostly the same on both sides, and the error is that of the "
    "difference on the same jets; another simulation has other jets, and its errors are those of both samples. A shift "
    "below its error says that more jets are needed, not that there is no effect. Last: all sources in quadrature, as "
    "in the envelope."
)
_COVERAGE = (
    "Left: the share of jets whose score moved by at most 1 and 2 of its MC-dropout spreads. Right: shift of the "
    "efficiencies at the nominal threshold, beside what the spread allows: half their change if all scores moved up "
    "and down by their spread together. MC dropout knows how far the training jets fix the network's answer. It has "
    "seen no varied jet and knows nothing of energy scales, tracks or generators: that a shift lies within the spread "
    "is luck or caution, no calibration, and a source whose shift lies beyond it needs an uncertainty of its own."
)

#: Signal efficiency from which a curve is drawn.
_LEAST = 0.02

#: The figures by which sources are ranked, and what the axes say.
_AXES = {"log_rejection": "shift of the rejection, %", "auc": "shift of the AUC"}

#: A value and its error, where it has one.
Measured = tuple[float, float | None]


def panels(nominal: Nominal, compared: list[Compared]) -> list[Panel]:
    """Return what is to be shown; of variations with nothing to judge why that is so."""
    tables = [_ranking(nominal, compared), _coverage(nominal, compared)]
    known = [(one, one.judged) for one in compared if one.judged is not None]
    return [_envelope(nominal, known), *tables] if known else tables


def _envelope(nominal: Nominal, known: list[tuple[Compared, Judged]]) -> Panel:
    """Return the nominal curve with the band of all variations, and each variation over it."""
    scores, about = nominal.judged.scores(), nominal.about
    x, passing = scores.roc(100)
    shown = (passing >= scores.fewest) & (x > _LEAST)
    x_X, line_X = x[shown], 1 / passing[shown]
    logs = {one.name: _log_rejection(judged, x_X) - np.log(line_X) for one, judged in known}
    bands = np.array([quadrature(_at(place, known, logs)) for place in range(len(x_X))]).reshape(-1, 2)
    low, high = line_X * np.exp(-bands[:, 1]), line_X * np.exp(bands[:, 0])
    band = Curve("nominal, all variations", x_X.tolist(), line_X.tolist(), low=low.tolist(), high=high.tolist())
    ratios = []
    for name, log_X in logs.items():
        good = np.isfinite(log_X)
        ratios.append(Curve(name, x_X[good].tolist(), np.exp(log_X[good]).tolist()))
    axis = f"{about['signal']} efficiency"
    plots = [
        Plot(axis, f"{about['background']} rejection  1/ε$_B$", [band], logarithmic=True),
        Plot(axis, "rejection, varied over nominal", ratios, "Each variation by itself."),
    ]
    return Panel(_TITLE.format("the envelope"), _ENVELOPE, plots=plots)


def _at(place: int, known: list[tuple[Compared, Judged]], logs: dict[str, Floats]) -> dict[str, list[float]]:
    """Return the shifts at one point of the curve, by source."""
    found: dict[str, list[float]] = {}
    for one, _ in known:
        if np.isfinite(logs[one.name][place]):
            found.setdefault(one.about["source"], []).append(float(logs[one.name][place]))
    return found


def _log_rejection(judged: Judged, x_X: Floats) -> Floats:
    """Return ln of the rejection at signal efficiencies; NaN where less than one effective item passes."""
    scores = judged.scores()
    share_X = scores.background_efficiency(x_X)
    enough = share_X >= scores.fewest
    found: NDArray[np.float64] = np.where(enough, -np.log(np.where(enough, share_X, 1)), np.nan)
    return found


def _ranking(nominal: Nominal, compared: list[Compared]) -> Panel:
    """Return all shifts, those of the source with the largest first, and their sum."""
    about, order = nominal.about, _ranked(compared)
    rows = [_shift_row(one) for name in order for one in compared if one.about["source"] == name]
    sums = {name: quadrature(shifts) for name in _AXES if (shifts := _by_source(compared, name))}
    rows.append(["all, in quadrature", "", "", *(_sum(sums, name) for name in _AXES)])
    drawn = [found for name, axis in _AXES.items() if (found := _bars(compared, order, name, axis)).bars]
    text = _RANKING.format(point=100 * nominal.efficiency, signal=about["signal"], background=about["background"])
    columns = ["source", "variation", "what", "rejection", "AUC"]
    return Panel(_TITLE.format("which source matters"), text, columns, rows, bars=drawn)


def _sum(sums: dict[str, tuple[float, float]], figure: str) -> str:
    """Return the sum of all sources upwards and downwards, of a rejection relative."""
    if figure not in sums:
        return "-"
    up, down = sums[figure]
    if figure == "log_rejection":
        return f"+{alone(100 * np.expm1(up), 2)} / -{alone(-100 * np.expm1(-down), 2)} %"
    return f"+{alone(up, 2)} / -{alone(down, 2)}"


def _by_source(compared: list[Compared], figure: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in compared:
        if one.shifts and np.isfinite(one.shifts[figure].value):
            found.setdefault(one.about["source"], []).append(one.shifts[figure].value)
    return found


def _ranked(compared: list[Compared]) -> list[str]:
    """Return the sources, that with the largest shift of the rejection first."""
    sources = dict.fromkeys(one.about["source"] for one in compared)
    largest = {name: max(map(abs, values)) for name, values in _by_source(compared, "log_rejection").items()}
    return sorted(sources, key=lambda name: -largest.get(name, -1.0))


def _shift_row(one: Compared) -> list[str]:
    names = [one.about["source"], one.about["variation"], _what(one.about["kind"])]
    if not one.shifts:
        return [*names, f"nothing to judge: {one.about['problem']}", "-"]
    return [*names, _cell(_measured(one, "log_rejection"), " %"), _cell(_measured(one, "auc"))]


def _what(kind: dict[str, Any]) -> str:
    """Return a kind and its options in words, such as `energy scale, factor 1.02`."""
    options = {key: value for key, value in kind.items() if key != "kind" and value not in (None, False)}
    options |= options.pop("simulate", {})
    return ", ".join([kind["kind"], *_options(options)]).replace("_", " ")


def _options(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in options.items():
        if isinstance(value, dict):
            yield from _options(value, f"{prefix}{key}.")
        else:
            yield prefix + (key if value is True else f"{key} {value}")


def _bars(compared: list[Compared], order: list[str], figure: str, axis: str) -> Bars:
    """Return a bar for each variation of which the figure is known, source by source."""
    known = [(one.about, found) for one in compared if (found := _measured(one, figure)) is not None]
    known.sort(key=lambda row: order.index(row[0]["source"]))
    return Bars(axis, [Bar(about["source"], about["variation"], *found) for about, found in known])


def _measured(one: Compared, figure: str) -> Measured | None:
    """Return a shift with its error, of a rejection relative and in percent; None where there is none."""
    shift = one.shifts.get(figure, Shift(np.nan, np.nan))
    if not np.isfinite(shift.value):
        return None
    value, factor = shift.value, 1.0
    if figure == "log_rejection":
        value, factor = 100 * float(np.expm1(shift.value)), 100 * float(np.exp(shift.value))
    return value, factor * shift.error if np.isfinite(shift.error) else None


def _cell(found: Measured | None, unit: str = "") -> str:
    return "-" if found is None else f"{together(*found, sign=True)}{unit}"


def _coverage(nominal: Nominal, compared: list[Compared]) -> Panel:
    columns = ["source, variation", "within 1 spread (68 %)", "within 2 spreads (95 %)"]
    for key in ("signal", "background"):
        columns += [f"{nominal.about[key]} efficiency", "spread allows"]
    rows = [_coverage_row(nominal, one) for one in compared if one.shifts]
    return Panel(_TITLE.format("does the predicted uncertainty cover it?"), _COVERAGE, columns, rows)


def _coverage_row(nominal: Nominal, one: Compared) -> list[str]:
    cells: list[Any] = [f"{100 * one.covered[widths]:.0f} %" if one.covered else "-" for widths in (1, 2)]
    for name, allowed in zip(("signal_efficiency", "background_efficiency"), nominal.allowed, strict=True):
        shift = one.shifts[name]
        measured = 100 * shift.value, 100 * shift.error if np.isfinite(shift.error) else None
        cells += [_cell(measured, " %") if np.isfinite(shift.value) else "-", f"± {100 * allowed:.2g} %"]
    return [one.name, *cells]
