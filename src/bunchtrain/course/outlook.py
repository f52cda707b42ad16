"""What a campaign has still to do and what that will take, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bunchtrain.course.forecast import Estimate, Range, forecast
from bunchtrain.course.planned import Planned, span

UNKNOWN = "unknown"


def outlook(
    jobs: Sequence[Planned],
    output: Path,
    folders: Sequence[Path],
    size: Callable[[Planned], float | None],
    *,
    cores: int,
    at_once: int | None = None,
) -> dict[str, Any]:
    """Return what jobs will take, by rule and in all, as JSON-like values; None for what is not known.

    Parameters
    ----------
    jobs, output, folders, size
        See `forecast`.
    cores : int
        That jobs share.
    at_once : int, optional
        In place of cores, how many jobs run at the same time.
    """
    estimates, seconds = forecast(jobs, output, folders, size)
    unknown = [one.rule for one in estimates if one.core_seconds is None]
    known = [one for one in seconds if one is not None]
    hours = [one.core_seconds for one in estimates if one.core_seconds is not None]
    wall = None
    if len(known) == len(jobs):
        spans = [span(jobs, [one[place] for one in known], cores, at_once) for place in range(3)]
        wall = Range(*spans)
    return {
        "jobs": len(jobs),
        "rules": [_row(one) for one in estimates],
        "core_hours": _hours(_sum([one.core_seconds for one in estimates])),
        "core_hours_of_known": _hours(_sum(hours)) if hours else None,
        "disk_bytes": _told(_sum([one.disk for one in estimates])),
        "wall_seconds": _told(wall),
        "memory_mb": max((one.memory for one in estimates if one.memory is not None), default=None),
        "unknown": unknown,
        **({"at_once": at_once} if at_once else {"cores": cores}),
    }


def _row(one: Estimate) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "jobs": one.jobs,
        "earlier_jobs": one.earlier,
        "basis": str(one.basis) if one.basis else None,
        "by_bytes_of_input": one.scaled,
        "seconds_a_job": _told(one.seconds),
        "core_hours": _hours(one.core_seconds),
        "memory_mb": one.memory,
        "disk_bytes": _told(one.disk),
    }


def _sum(ranges: Sequence[Range | None]) -> Range | None:
    """Return the sum of figures; None where one of them is not known."""
    known = [one for one in ranges if one is not None]
    return Range(*(sum(one[place] for one in known) for place in range(3))) if len(known) == len(ranges) else None


def _told(one: Range | None) -> dict[str, float] | None:
    return None if one is None else one._asdict()


def _hours(one: Range | None) -> dict[str, float] | None:
    return None if one is None else one.times(1 / 3600)._asdict()


def show(facts: dict[str, Any], as_json: bool) -> None:
    """Print what `outlook` has found."""
    console = Console(highlight=False)
    if as_json:
        print(json.dumps(facts, indent=1))
    elif not facts["jobs"]:
        console.print("nothing is to be done")
    else:
        console.print(_table(facts["rules"]))
        for line in _lines(facts):
            console.print(line, soft_wrap=True)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("stage", "jobs", "known from", "a job takes", "core-hours", "memory", "disk")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        certain, count = row["earlier_jobs"] > 1, row["earlier_jobs"]
        basis = f"{count} job{'s' if count > 1 else ''}" if count else "nothing"
        table.add_row(
            row["rule"],
            str(row["jobs"]),
            f"{basis}, by size" if row["by_bytes_of_input"] else basis,
            _figure(row["seconds_a_job"], time, certain),
            _figure(row["core_hours"], _plain, certain),
            UNKNOWN if row["memory_mb"] is None else amount(row["memory_mb"] * 1e6),
            _figure(row["disk_bytes"], amount, certain),
        )
    return table


def _lines(facts: dict[str, Any]) -> list[str]:
    """Return what is said below the table."""
    room = f"{facts['at_once']} jobs at once" if facts.get("at_once") else f"{facts['cores']} cores"
    figures = (
        ("core-hours", _figure(facts["core_hours"], _plain)),
        ("disk", _figure(facts["disk_bytes"], amount)),
        (f"time with {room}", _figure(facts["wall_seconds"], time)),
    )
    lines = [f"{facts['jobs']} jobs; " + "; ".join(f"{name}: {told}" for name, told in figures)]
    if facts["unknown"]:
        rest = _figure(facts["core_hours_of_known"], _plain)
        lines.append(f"no job of {', '.join(facts['unknown'])} has run yet; core-hours without them: {rest}")
    bases = list(dict.fromkeys(row["basis"] for row in facts["rules"] if row["basis"]))
    if bases:
        lines.append(
            f"By medians of earlier jobs in {' and '.join(bases)}; in brackets, if all jobs were like the quicker or "
            "the slower quarter of them. Memory is the most that one took. Waiting in a queue is not in it."
        )
    return lines


def _figure(found: dict[str, float] | None, say: Callable[[float], str], certain: bool = True) -> str:
    """Return a figure with its range, where there is one."""
    if found is None:
        return UNKNOWN
    low, median, high = (say(found[name]) for name in ("low", "median", "high"))
    return median if low == high or not certain else f"{median} ({low} to {high})"


def _plain(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def time(seconds: float) -> str:
    """Return a time as one says it."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def amount(count: float) -> str:
    """Return a number of bytes as one says it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
