"""What formats with one entry per row share: run, event and weight, columns that are asked for, and the `Batch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bunchtrain.config.convert import Mapped
from bunchtrain.convert.formats.base import Batch
from bunchtrain.convert.mapping import Wanted
from bunchtrain.convert.table import Table
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import Events

#: Where in the campaign the options stand.
KEY = "convert.format"

#: Options that name a branch or a formula with one number per row, with the column that it becomes; null: none.
NUMBERS = {"run": "run_number", "event": "event_number", "weight": "weight"}


def sources(config: Any, rows: str) -> dict[str, str]:
    """Return the branches of run, event and weight by dataset, those that are given."""
    given = {name: getattr(config, option) for option, name in NUMBERS.items()}
    return {f"{rows}/{name}": branch for name, branch in given.items() if branch is not None}


def wanted(config: Any, rows: str, scale: float = 1.0) -> dict[str, Wanted]:
    """Return run, event and weight, and the columns that are asked for; `scale` is that of columns in GeV."""
    numbers = {
        f"{rows}/{name}": Wanted(branch, f"{KEY}.{option}")
        for option, name in NUMBERS.items()
        if (branch := getattr(config, option)) is not None
    }
    columns: Mapping[str, Mapping[str, Mapped]] = config.columns
    return numbers | {
        f"{axis}/{name}": Wanted(
            one.branch, f"{KEY}.columns.{axis}.{name}", scale if one.units == "GeV" else 1.0, one.missing
        )
        for axis, several in columns.items()
        for name, one in several.items()
    }


def check_whole(table: Table, config: Any) -> None:
    """Refuse run and event numbers that are floats.

    Raises
    ------
    InputError
        Naming the branch and where the campaign names it.
    """
    for option in ("run", "event"):
        branch = getattr(config, option)
        shape = table.shape(branch) if branch else None
        if shape is not None and shape.dtype.startswith("float"):
            key, found = f"{KEY}.{option}", f"{branch}: {shape.dtype}"
            expected = "whole numbers: a float would merge neighbouring numbers"
            raise InputError("a branch has another type", file=table.path, key=key, found=found, expected=expected)


def batch(first: int, read: int, events: Events, rows: str) -> Batch:
    """Return the `read` entries from `first` on, a row each; without weights each counts 1."""
    weights = events.columns.get(f"{rows}/weight")
    total = float(read) if weights is None else float(np.sum(weights, dtype=np.float64))
    return Batch(events, np.arange(first, first + read), read, total)
