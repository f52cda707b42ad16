"""Values that no detector has seen: finite, and yet beyond what single precision and the features can bear.

n: jets, m: constituents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.arrays import Tidy
from bunchtrain.errors import InputError
from bunchtrain.events.layout import CONSTITUENTS

#: Largest energy, momentum or mass, GeV: a hundred times the energy of any collider that is thought of.
MOST = 1e7

#: Largest absolute pseudorapidity of a jet; a proton of the LHC has less than 10.
STEEPEST = 20.0


def check(step: Tidy, path: Path, branches: Mapping[str, str]) -> None:
    """Refuse a jet that cannot be: |eta| above `STEEPEST`, pt not above 0, an energy beyond `MOST`.

    Parameters
    ----------
    step : Tidy
        What is about to be kept, shapes [n] and [m].
    path : path
        The file it comes from.
    branches : mapping
        Dataset of the event contract to the branch it comes from; see `convert.formats.base`.

    Raises
    ------
    InputError
        Naming file, branch, entry and value of the first one.
    """
    jets = step.jets
    expected = f"a number above 0, at most {MOST:g} GeV"
    _refuse(step, path, branches, "jets/pt", ~((jets["pt"] > 0) & (jets["pt"] <= MOST)), expected)
    expected = f"a number from {-STEEPEST:g} to {STEEPEST:g}"
    _refuse(step, path, branches, "jets/eta", ~(np.abs(jets["eta"]) <= STEEPEST), expected)
    expected = f"a number from {-MOST:g} to {MOST:g} GeV"
    _refuse(step, path, branches, "jets/mass", ~(np.abs(jets["mass"]) <= MOST), expected)
    for column in CONSTITUENTS:
        bad = ~(np.abs(step.constituents[column.name]) <= MOST)
        _refuse(step, path, branches, f"constituents/{column.name}", bad, expected)


def _refuse(
    step: Tidy, path: Path, branches: Mapping[str, str], name: str, bad: NDArray[np.bool_], expected: str
) -> None:
    if not bad.any():
        return
    group, _, column = name.partition("/")
    row = int(np.flatnonzero(bad)[0])
    columns: Mapping[str, NDArray[Any]] = step.jets if group == "jets" else step.constituents
    jet = row if group == "jets" else int(np.searchsorted(np.cumsum(step.counts), row, side="right"))
    branch = branches.get(name, f"{column}, computed from the constituents")
    raise InputError(
        "a jet is not physical",
        file=path,
        key=branch,
        found=f"{column} {columns[column][row]:g} in entry {step.entries[jet]}",
        expected=expected,
        mend="mend `convert.format.units` or the branches if they are wrong, or make the file again",
    )
