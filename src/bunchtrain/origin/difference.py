"""What two campaigns differ in: settings, inputs, versions, figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from bunchtrain.files import as_json
from bunchtrain.origin.sides import Side, side

#: Figures that are printed, those that differ most in relation to their size; JSON has all.
SHOWN = 40

Row = dict[str, Any]


def show(one: Path, other: Path, *, as_json: bool = False) -> int:
    """Print what two campaigns differ in; return 1 if they do, else 0.

    Raises
    ------
    InputError, CampaignError
        See `sides.side`.
    """
    found = differences(side(one), side(other))
    if as_json:
        _print_json(one, other, found)
    else:
        _print(one, other, found)
    return 1 if any(found.values()) else 0


def differences(one: Side, other: Side) -> dict[str, list[Row]]:
    """Return the rows that differ: settings, inputs, versions, tools, commits, figures."""
    if one.settings is not None and other.settings is not None:
        settings = _rows(one.settings, other.settings)
    else:  # what the stages were told stands for what the file says
        settings = _rows(one.specs, other.specs)
    return {
        "settings": settings,
        "inputs": _inputs(one.inputs, other.inputs),
        "versions": _rows(one.versions, other.versions),
        "tools": _rows(one.tools, other.tools),
        "commits": _rows({"commit": one.commits}, {"commit": other.commits}),
        "figures": [_with_difference(row) for row in _rows(one.figures, other.figures)],
    }


def _rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Row]:
    missing = object()
    return [
        {"key": key, "one": one.get(key), "other": other.get(key)}
        for key in sorted({*one, *other})
        if one.get(key, missing) != other.get(key, missing)
    ]


def _inputs(one: Mapping[str, str], other: Mapping[str, str]) -> list[Row]:
    """Return the inputs whose content the other side does not have, by whatever name."""
    both = {*one.values()} & {*other.values()}
    return _rows(
        {path: digest for path, digest in one.items() if digest not in both},
        {path: digest for path, digest in other.items() if digest not in both},
    )


def _with_difference(row: Row) -> Row:
    numbers = [value for value in (row["one"], row["other"]) if isinstance(value, int | float)]
    return {**row, "difference": numbers[1] - numbers[0] if len(numbers) == 2 else None}


def _print_json(one: Path, other: Path, found: Mapping[str, list[Row]]) -> None:
    print(as_json({"one": str(one), "other": str(other), **found}), end="")


def _print(one: Path, other: Path, found: Mapping[str, list[Row]]) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"--- {one}\n+++ {other}")
    for name, rows in found.items():
        shown, left = rows, 0
        if name == "figures":
            shown = sorted(sorted(rows, key=_weight)[:SHOWN], key=lambda row: str(row["key"]))
            left = len(rows) - len(shown)
        if rows:
            console.print(name, style="bold")
        for row in shown:
            console.print(f"  {row['key']}: {_text(row['one'])} -> {_text(row['other'])}{_change(row)}")
        if left:
            console.print(f"  {left} more figures differ less; --json shows them")
    if not any(found.values()):
        console.print("no difference", style="green")


def _weight(row: Row) -> float:
    """Return by how much a figure has changed in relation to its size, the most first."""
    change = row["difference"]
    return float("-inf") if change is None else -abs(change) / (abs(row["one"]) + abs(row["other"]))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _change(row: Row) -> str:
    change = row.get("difference")
    return "" if change is None else f" ({change:+.4g})"
