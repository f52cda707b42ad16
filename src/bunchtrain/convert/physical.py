"""Values that no detector has seen: finite, and yet beyond what single precision and the features can bear.

n: jets, m: constituents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.arrays import Tidy
from bunchtrain.errors import InputError
from bunchtrain.events.layout import CONSTITUENTS, SYSTEMATICS, Column, axis
from bunchtrain.events.ragged import row_of

#: Largest energy, momentum or mass, GeV: a hundred times the energy of any collider that is thought of.
MOST = 1e7

#: Largest absolute pseudorapidity of a jet; a proton of the LHC has less than 10.
STEEPEST = 20.0


class Limits(NamedTuple):
    """What a value may be: from `lowest`, or above it, to `highest`; `expected` says so."""

    lowest: float
    highest: float
    expected: str
    above: bool = False

    def broken(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which values are not so, NaN among them; None where all are."""
        if len(values) == 0:
            return None
        least, most = values.min(), values.max()  # NaN if any value is
        if (least > self.lowest if self.above else least >= self.lowest) and most <= self.highest:
            return None
        high_enough = values > self.lowest if self.above else values >= self.lowest
        return ~(high_enough & (values <= self.highest))


_ENERGY = Limits(-MOST, MOST, f"a number from {-MOST:g} to {MOST:g} GeV")

#: By dataset, in the order in which they are looked at.
LIMITS = {
    "jets/pt": Limits(0, MOST, f"a number above 0, at most {MOST:g} GeV", above=True),
    "jets/eta": Limits(-STEEPEST, STEEPEST, f"a number from {-STEEPEST:g} to {STEEPEST:g}"),
    "jets/mass": _ENERGY,
    **{f"constituents/{column.name}": _ENERGY for column in CONSTITUENTS},
    "cells/energy": _ENERGY,
}


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
        if values[name].dtype.kind == "i" and (values[name] < 0).any():
            raise _not_physical(step, path, columns[name], name, values[name] < 0, "a number from 0")
    for name, limits in LIMITS.items():
        if name in values and (bad := limits.broken(values[name])) is not None:
            raise _not_physical(step, path, columns[name], name, bad, limits.expected)


def check_variations(step: Tidy, path: Path | str, columns: Mapping[str, Column]) -> None:
    """Refuse a systematic variation that makes of a jet what `check` refuses.

    Parameters
    ----------
    step, path, columns
        As in `check`, with the columns of the variations, `systematics/<variation>/<dataset>`.

    Raises
    ------
    InputError
        Naming file, variation, entry and value of the first one.
    """
    for name, values in step.events.columns.items():
        if not name.startswith(f"{SYSTEMATICS}/"):
            continue
        _, variation, dataset = name.split("/", 2)
        bad = LIMITS[dataset].broken(values) if dataset in LIMITS else None
        if bad is None:
            continue
        place, entry = _first(step, name, bad)
        raise InputError(
            f"the variation {variation} makes {_row(step)} that is not physical",
            file=path,
            key=f"convert.systematics.{variation}.{dataset.replace('/', '.')}",
            found=f"{columns[name].name} {values[place]:g} in entry {entry}, from {columns[name].source}",
            expected=LIMITS[dataset].expected,
            mend="mend the formula of the variation, or cut such rows with convert.select",
        )


def _not_physical(
    step: Tidy, path: Path | str, column: Column, name: str, bad: NDArray[np.bool_], expected: str
) -> InputError:
    place, entry = _first(step, name, bad)
    return InputError(
        f"{_row(step)} is not physical",
        file=path,
        key=column.source or f"{column.name}, computed from the constituents",
        found=f"{column.name} {step.events.columns[name][place]:g} in entry {entry}",
        expected=expected,
        mend="mend `convert.format.units` or the branches if they are wrong, or make the file again",
    )


def _row(step: Tidy) -> str:
    return "a jet" if "jets/pt" in step.events.columns else "a row"


def _first(step: Tidy, name: str, bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the place of the first bad value of a dataset, and the entry of the file that it comes from."""
    place = int(np.flatnonzero(bad)[0])
    counts = step.events.counts.get(axis(name))
    return place, int(step.entries[row_of(place, counts)])
