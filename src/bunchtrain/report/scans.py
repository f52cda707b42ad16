"""The scan on the page: its course, what it found, what mattered, what failed, and how busy its slots were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bunchtrain.config.scan import REASONS
from bunchtrain.report.figures import BLUE, GREEN, GREY, ORANGE, legend, panels

Row = Mapping[str, str]

#: A range whose ends differ by more is drawn on a logarithmic scale.
_WIDE = 20


def text(rows: Sequence[Row], front: Mapping[str, Any]) -> str:
    """Return what the scan was, in a sentence or three."""
    if not rows:
        return "No scan was asked for; the campaign's own hyperparameters were trained."
    names = [one["name"] for one in front["objectives"]]
    told = f"{len(rows)} short trainings searched the hyperparameters; the best of them was then trained in full."
    if len(names) > 1:
        limits = [f"{one['name']} {one['limit']:g}" for one in front["objectives"] if one["limit"] is not None]
        within = f" within the limits ({', '.join(limits)})" if limits else ""
        told += f" They were judged by {', '.join(names)}; the best is the one with the best {names[0]}{within}."
    if stopped := sum(row["status"] == "stopped" for row in rows):
        told += f" {stopped} were stopped early, as others had come further after as many epochs."
    return told


def drawn(rows: Sequence[Row], front: Mapping[str, Any], best: int | None) -> list[tuple[str, str]]:
    """Return the figures that there is something for, each as SVG with its caption.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of `scan/results.csv`.
    front : mapping
        `scan/front.json`.
    best : int or None
        Number of the evaluation that was chosen.
    """
    if not rows:
        return []
    found = [_course(rows, front["objectives"][0])]
    finished = [row for row in rows if row["status"] == "ok"]
    if len(finished) > 1:
        found.append(_parallel(finished, front["objectives"][0], best))
    if len(front["objectives"]) > 1 and len(finished) > 1:
        found += [_front(finished, front, best), _growth(front)]
    if "absent" not in front["importance"]:
        found.append(_importance(front["importance"]))
    if any(row.get("slot") for row in rows):
        found.append(_slots(rows, front["busy"]))
    return found


def failures(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return the failed evaluations by reason: how many, which, and the share of the scan's time that they took."""
    total = sum(float(row["seconds"]) for row in rows)
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["status"].startswith("F_"):
            found[row["status"]].append(row)
    return [
        {
            "reason": reason,
            "told": REASONS.get(reason, ""),
            "count": str(len(those)),
            "which": ", ".join(str(int(row["trial"]) + 1) for row in those),
            "share": f"{sum(float(row['seconds']) for row in those) / total:.0%}" if total else "-",
        }
        for reason, those in sorted(found.items())
    ]


def hyperparameters(rows: Sequence[Row]) -> list[str]:
    """Return the columns that were varied, e.g. `model.hidden`."""
    return [name for name in (rows[0] if rows else {}) if "." in name]


def _course(rows: Sequence[Row], objective: Mapping[str, Any]) -> tuple[str, str]:
    """Draw the first objective of each evaluation, and the best so far."""
    name, larger = objective["name"], objective["larger"]
    with panels(1, 5.4, 3.7) as ((axes,), svg):
        for status, colour, marker in (("ok", BLUE, "o"), ("stopped", GREY, "x")):
            points = [(int(row["trial"]) + 1, float(row[name])) for row in rows if row["status"] == status]
            if points:
                axes.plot(
                    *zip(*points, strict=True), marker, color=colour, label={"ok": "finished"}.get(status, status)
                )
                if status == "ok":
                    numbers, values = zip(*points, strict=True)
                    so_far = np.maximum.accumulate(values) if larger else np.minimum.accumulate(values)
                    axes.step(numbers, so_far, where="post", color=GREEN, label="best so far", linewidth=2)
        failed = [int(row["trial"]) + 1 for row in rows if row["status"].startswith("F_")]
        for place, number in enumerate(failed):
            axes.axvline(number, color=ORANGE, alpha=0.4, label="" if place else "failed")
        axes.set(xlabel="evaluation", ylabel=_told(name))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)
    more = "more" if larger else "less"
    return svg[0], f"Each point is a training of its own; {more} is better."


def _parallel(rows: Sequence[Row], objective: Mapping[str, Any], best: int | None) -> tuple[str, str]:
    """Draw each finished evaluation as a line over all hyperparameters to its first objective."""
    names = [*hyperparameters(rows), objective["name"]]
    scales = [_Scale([row[name] for row in rows]) for name in names]
    value = scales[-1].heights if objective["larger"] else 1 - scales[-1].heights
    order = np.argsort(value)  # the better ones are drawn above the others
    with panels(1, 5.4 + 0.5 * max(0, len(names) - 5), 3.9) as ((axes,), svg):
        for place in order:
            chosen = best is not None and int(rows[place]["trial"]) == best
            heights = [scale.heights[place] for scale in scales]
            colour = ORANGE if chosen else (0.0, 0.447, 0.698, 0.1 + 0.6 * float(value[place]) ** 2)
            axes.plot(range(len(names)), heights, color=colour, linewidth=2.4 if chosen else 1.3)
        for place, scale in enumerate(scales):
            axes.axvline(place, color=GREY, linewidth=0.8)
            for height, label in scale.labels:
                axes.text(place, height, f" {label}", fontsize=7.5, va="center", color="#2b333b")
        axes.set(xlim=(-0.2, len(names) - 0.4), ylim=(-0.05, 1.05), yticks=[])
        axes.set_xticks(range(len(names)), [name.partition(".")[2] or _told(name) for name in names], rotation=20)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    return svg[0], "A line for each finished evaluation, the darker the better; orange is the one that was chosen."


class _Scale:
    """An axis of parallel coordinates: heights from 0 to 1 of values that are numbers or words, and a few labels."""

    def __init__(self, values: Sequence[str]) -> None:
        self.heights: NDArray[np.float64]
        try:
            known = np.array([float(value) for value in values if value != ""])
        except ValueError:
            words = sorted(set(values) - {""})
            places = {word: place / max(1, len(words) - 1) for place, word in enumerate(words)}
            self.heights = np.array([places.get(value, np.nan) for value in values])
            self.labels = [(height, word) for word, height in places.items()]
            return
        low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
        log = low > 0 and high / low > _WIDE
        numbers = np.array([float(value) if value != "" else np.nan for value in values])
        lower, upper = (np.log(low), np.log(high)) if log else (low, high)
        self.heights = ((np.log(numbers) if log else numbers) - lower) / (upper - lower if upper > lower else 1.0)
        middle = float(np.sqrt(low * high) if log else (low + high) / 2)
        self.labels = [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")] if high > low else [(0.0, f"{low:.3g}")]
        self.labels += [(0.5, f"{middle:.2g}")] if high > low else []


def _front(rows: Sequence[Row], front: Mapping[str, Any], best: int | None) -> tuple[str, str]:
    """Draw the first objective against each of the others, with the front."""
    first, *others = front["objectives"]
    on = {one["trial"] for one in front["front"]}
    with panels(len(others), 5.4 * max(1.0, 0.62 * len(others)), 3.7) as (grid, svg):
        for axes, other in zip(grid, others, strict=True):
            for row in rows:
                chosen, beaten = int(row["trial"]) == best, int(row["trial"]) not in on
                colour = ORANGE if chosen else GREY if beaten else BLUE
                size = 3.5 if beaten and not chosen else 6
                axes.plot(float(row[other["name"]]), float(row[first["name"]]), "o", color=colour, markersize=size)
            _limits(axes, other, first)
            axes.set(xlabel=_told(other["name"]), ylabel=_told(first["name"]))
    caption = "Blue: evaluations that no other beats in all objectives; grey: the rest; orange: the one that was chosen"
    limited = any(one["limit"] is not None for one in front["objectives"])
    return svg[0], caption + ("; dashed: the limits." if limited else ".")


def _limits(axes: Axes, across: Mapping[str, Any], up: Mapping[str, Any]) -> None:
    if across["limit"] is not None:
        axes.axvline(across["limit"], color=GREEN, linestyle="--")
    if up["limit"] is not None:
        axes.axhline(up["limit"], color=GREEN, linestyle="--")


def _growth(front: Mapping[str, Any]) -> tuple[str, str]:
    """Draw the volume that the front covers after each finished evaluation."""
    with panels(1, 5.4, 3.7) as ((axes,), svg):
        numbers = [one["trial"] + 1 for one in front["hypervolume"]]
        volumes = [one["volume"] for one in front["hypervolume"]]
        axes.step(numbers, volumes, where="post", color=BLUE, linewidth=2)
        axes.set(xlabel="evaluation", ylabel="hypervolume", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    reference = ", ".join(f"{name} {value:.4g}" for name, value in front["reference"].items())
    return svg[0], f"What the front covers, counted from {reference}, the worst of the first evaluations."


def _importance(found: Mapping[str, Any]) -> tuple[str, str]:
    """Draw how much each hyperparameter matters to each objective."""
    told = {name: one for name, one in found.items() if "absent" not in one}
    names = list(next(iter(told.values()))["hyperparameters"]) if told else []
    colours = (BLUE, ORANGE, GREEN, GREY)
    with panels(1, 5.4, 1.6 + 0.34 * max(1, len(names)) * max(1, len(told)) ** 0.5) as ((axes,), svg):
        height = 0.8 / max(1, len(told))
        for number, (name, one) in enumerate(told.items()):
            rows = [one["hyperparameters"][key] for key in names]
            places = np.arange(len(names)) + height * (number - (len(told) - 1) / 2)
            label = f"{_told(name)} (explained {one['explained']:.0%})"
            values, errors = [row["importance"] for row in rows], [row["spread"] for row in rows]
            axes.barh(places, values, height, xerr=errors, color=colours[number % 4], label=label, ecolor="#2b333b")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set(xlabel="importance")
        legend(axes)
    return svg[0], (
        "What mattered: how much worse a model of the scan tells an objective when the values of one hyperparameter "
        "are shuffled. Where it explains little of an objective, its bars say nothing."
    )


def _slots(rows: Sequence[Row], busy: float | None) -> tuple[str, str]:
    """Draw what every slot did over time; `busy` is their share of the time of all runs."""
    ran = [row for row in rows if row["slot"] != ""]
    begin = min(float(row["started"]) for row in ran)
    spans = list(_spans(ran, begin))
    slots = sorted({int(row["slot"]) for row in ran})
    end = max(start + length for _, start, length, _ in spans)
    unit, word = (3600.0, "hours") if end > 7200 else (60.0, "minutes") if end > 300 else (1.0, "seconds")
    with panels(1, 5.4, 1.4 + 0.22 * min(len(slots), 40)) as ((axes,), svg):
        for slot, start, length, status in spans:
            colour = ORANGE if status.startswith("F_") else GREY if status == "stopped" else BLUE
            axes.barh(
                slots.index(slot), length / unit, 0.8, start / unit, color=colour, edgecolor="white", linewidth=0.5
            )
        axes.set(xlabel=f"{word} since the scan began", ylabel="slot", xlim=(0, end / unit))
        told_of = range(0, len(slots), 1 + len(slots) // 12)
        axes.set_yticks(told_of, [str(slots[place]) for place in told_of])
        axes.grid(axis="y", visible=False)
    told = "What the slots did: a block is an evaluation, orange ones failed, grey ones were stopped early."
    return svg[0], told if busy is None else f"{told} They were busy {busy:.0%} of the time."


def _spans(rows: Sequence[Row], begin: float) -> Iterator[tuple[int, float, float, str]]:
    for row in rows:
        yield int(row["slot"]), float(row["started"]) - begin, float(row["seconds"]), row["status"]


def _told(name: str) -> str:
    """Return an objective as words, with its unit."""
    units = {"latency": "latency, ns", "rank_seconds": "rank seconds", "lut": "look-up tables"}
    return units.get(name, name.replace("_", " "))
