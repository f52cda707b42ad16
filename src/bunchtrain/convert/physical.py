"""Values that no detector has seen: finite, and yet beyond what single precision and the features can bear.

n: jets, m: constituents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.arrays import Tidy
from bunchtrain.errors import InputError
from bunchtrain.events.layout import CONSTITUENTS, Column, axis

#: Largest energy, momentum or mass, GeV: a hundred times the energy of any collider that is thought of.
MOST = 1e7

#: Largest absolute pseudorapidity of a jet; a proton of the LHC has less than 10.
STEEPEST = 20.0


def check(step: Tidy, path: Path | str, columns: Mapping[str, Column]) -> None:
    """Refuse a jet that cannot be: |eta| above `STEEPEST`, pt not above 0, an energy beyond `MOST`.

    Parameters
    ----------
    step : Tidy
        What is about to be kept, shapes [n] and [m].
    path : path
        The file it comes from.
    columns : mapping
        By dataset, with the branches they come from.

    Raises
    ------
    InputError
        Naming file, branch, entry and value of the first one.
    """
    values = step.events.columns
    for name in (name for name in values if name.endswith(("/run_number", "/event_number")) and name.count("/") == 1):
        if values[name].dtype.kind == "f":
            expected = "whole numbers: a float would merge neighbouring numbers"
            key, found = columns[name].source or name, values[name].dtype.name
            raise InputError(
                "a number of a run or event is a float", file=path, key=key, found=found, expected=expected
            )
        if values[name].dtype.kind == "i":
            _refuse(step, path, columns, name, values[name] < 0, "a number from 0")
    if "jets/pt" in values:
        expected = f"a number above 0, at most {MOST:g} GeV"
        _refuse(step, path, columns, "jets/pt", ~((values["jets/pt"] > 0) & (values["jets/pt"] <= MOST)), expected)
        expected = f"a number from {-STEEPEST:g} to {STEEPEST:g}"
        _refuse(step, path, columns, "jets/eta", ~(np.abs(values["jets/eta"]) <= STEEPEST), expected)
    expected = f"a number from {-MOST:g} to {MOST:g} GeV"
    for name in ("jets/mass", *(f"constituents/{column.name}" for column in CONSTITUENTS), "cells/energy"):
        if name in values:
            _refuse(step, path, columns, name, ~(np.abs(values[name]) <= MOST), expected)


def _refuse(
    step: Tidy, path: Path | str, columns: Mapping[str, Column], name: str, bad: NDArray[np.bool_], expected: str
) -> None:
    if not bad.any():
        return
    place = int(np.flatnonzero(bad)[0])
    counts = step.events.counts.get(axis(name))
    row = place if counts is None else int(np.searchsorted(np.cumsum(counts), place, side="right"))
    column = columns[name]
    raise InputError(
        "a jet is not physical" if "jets/pt" in step.events.columns else "a row is not physical",
        file=path,
        key=column.source or f"{column.name}, computed from the constituents",
        found=f"{column.name} {step.events.columns[name][place]:g} in entry {step.entries[row]}",
        expected=expected,
        mend="mend `convert.format.units` or the branches if they are wrong, or make the file again",
    )
