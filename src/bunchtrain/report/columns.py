"""What the conversions saw of every column, over all files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def rows(sources: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return a row of the report's table for each column: how many values, their range and mean over all files.

    Parameters
    ----------
    sources : sequence of dict
        What the manifests say of each input file.
    """
    merged: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        for name, one in source.get("columns", {}).items():
            if one["values"]:
                merged.setdefault(name, []).append(one)
    return [_row(name, parts) for name, parts in sorted(merged.items())]


def _row(name: str, parts: Sequence[dict[str, Any]]) -> dict[str, str]:
    values = sum(part["values"] for part in parts)
    mean = sum(part["values"] * part["mean"] for part in parts) / values
    return {
        "name": name,
        "units": "" if parts[0]["units"] == "1" else parts[0]["units"],
        "values": f"{values:,}",
        "lowest": f"{min(part['lowest'] for part in parts):.4g}",
        "mean": f"{mean:.4g}",
        "highest": f"{max(part['highest'] for part in parts):.4g}",
        "zeros": f"{100 * sum(part['zeros'] for part in parts) / values:.1f} %",
    }


def warnings(sources: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what looked wrong, by file."""
    return [{"path": one["path"], "text": text} for one in sources for text in one.get("warnings", [])]
