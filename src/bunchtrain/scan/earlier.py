"""What earlier scans found, as a search may learn from it before it has results of its own.

N: evaluation, O: objective.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bunchtrain.config.combinations import lies_in
from bunchtrain.config.scan import Choice, Dimension, Integers, Scan
from bunchtrain.errors import InputError, nearest
from bunchtrain.scan.objective import larger_is_better
from bunchtrain.scan.suggest import Known

#: How a table of ours calls an evaluation that has figures.
ENDED_WELL = ("ok", "stopped")


def earlier(settings: Scan) -> Known:
    """Return the evaluations of all tables that `scan.warm_start` names.

    Their losses need not be comparable: of each table and objective only the order counts, as ranks from 0 to 1.
    Evaluations outside today's space are left out, failures stay failures.

    Raises
    ------
    InputError
        If a table cannot be read, or lacks a column.
    """
    found: list[tuple[dict[str, Any], float | list[float] | str]] = []
    for name in settings.warm_start:
        known = _of_one(settings, Path(name))
        print(f"[scan] {len(known)} evaluations of {name} lie in the space", flush=True)
        found += known
    return found


def _of_one(settings: Scan, path: Path) -> list[tuple[dict[str, Any], float | list[float] | str]]:
    rows = _rows(path)
    for name in [*settings.space, *settings.objectives, "status"] if rows else []:
        if name not in rows[0]:
            near = nearest(name, rows[0])
            mend = f"did you mean {near}? " if near else ""
            mend += "Take the table of a scan with the same space and objectives, or leave it out"
            raise InputError("the table of an earlier scan lacks a column", file=path, key=name, mend=mend)
    try:
        points = [_point(settings.space, row, number) for number, row in enumerate(rows, 1)]
        good = [place for place, row in enumerate(rows) if not row["status"].startswith("F_")]
        figures_NO = [[larger_is_better(name, float(rows[one][name])) for name in settings.objectives] for one in good]
        if not np.isfinite(figures_NO).all():
            raise ValueError("a figure that is not finite in a row that ended well")
    except (ValueError, OverflowError) as error:
        raise InputError("the table of an earlier scan is damaged", file=path, found=error) from None
    ranks = dict(zip(good, _ranked(figures_NO), strict=True))
    return [
        (point, ranks[place] if place in ranks else rows[place]["status"])
        for place, point in enumerate(points)
        if all(lies_in(value, settings.space[name]) for name, value in point.items())
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("the table of an earlier scan cannot be read", file=path, found=error) from None


def _point(space: Mapping[str, Dimension], row: Mapping[str, str], number: int) -> dict[str, Any]:
    """Return the values of a row; those that did not count are empty."""
    if None in row or None in row.values():
        raise ValueError(f"row {number} has not as many cells as there are columns")
    if row["status"] not in ENDED_WELL and not row["status"].startswith("F_"):
        raise ValueError(f"row {number} has the status {row['status']!r}")
    if not any(row[name] for name in space):
        raise ValueError(f"row {number} has no values")
    return {name: _value(dimension, row[name]) for name, dimension in space.items() if row[name]}


def _value(dimension: Dimension, text: str) -> Any:
    if isinstance(dimension, Choice):
        return next((choice for choice in dimension.choices if str(choice) == text), text)
    number = float(text)
    return int(number) if isinstance(dimension, Integers) and number == int(number) else number


def _ranked(figures_NO: Sequence[Sequence[float]]) -> list[float | list[float]]:
    """Return each objective's rank among all evaluations, 0 for the worst and 1 for the best."""
    if not figures_NO:
        return []
    from scipy.stats import rankdata

    shares_NO = (rankdata(np.array(figures_NO), axis=0) - 1) / max(1, len(figures_NO) - 1)
    return [row if len(row) > 1 else row[0] for row in shares_NO.tolist()]
