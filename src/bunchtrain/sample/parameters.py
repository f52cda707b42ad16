"""Files of parameters: columns of an HDF5 file, by name.

B: row, A: parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import InputError

Floats = NDArray[np.float64]

#: Groups in which columns may lie: none, their own, or those of the rows of a shard.
_PLACES = ("", "parameters/", "showers/", "responses/")


def read(path: Path, names: Sequence[str]) -> dict[str, Floats]:
    """Return columns of a file by name, float64 [B] each.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing or no list of numbers, or their lengths differ.
    """
    try:
        with h5py.File(path) as file:
            found = {name: _column(file, path, name) for name in names}
    except OSError as error:
        mend = "give an HDF5 file with one data set for each parameter"
        raise InputError("a file of parameters cannot be read", file=path, found=error, mend=mend) from None
    lengths = {len(values) for values in found.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(values)}" for name, values in found.items())
        raise InputError("the parameters differ in length", file=path, found=told, expected="one number for each row")
    return found


def _column(file: h5py.File, path: Path, name: str) -> Floats:
    place = next((place + name for place in _PLACES if isinstance(file.get(place + name), h5py.Dataset)), None)
    if place is None:
        known = [one for one in _known(file) if "/" not in one or one.partition("/")[0] + "/" in _PLACES]
        mend = f"write it as a data set: `file['{name}'] = values`"
        raise InputError("a parameter is missing", file=path, key=name, choices=known, mend=mend)
    values = file[place][()]
    if values.dtype.kind not in "fiub" or values.ndim != 1:
        found, expected = f"{values.dtype}, shape {values.shape}", "numbers, shape [rows]"
        raise InputError("a parameter is no list of numbers", file=path, key=place, found=found, expected=expected)
    return np.asarray(values, np.float64)


def _known(file: h5py.File) -> list[str]:
    """Return the names of the data sets of a file."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return [name for place in _PLACES for name in found if place and name.startswith(place)] + found
