"""Numbers of jets, refused where they are none, with the sample and the column.

B: batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import InputError
from bunchtrain.events.reader import Dataset

Floats = NDArray[np.float64]


def column(data: Dataset, name: str, rows: NDArray[np.int64] | None = None) -> Floats:
    """Return a column of some jets, or of all.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    values = np.asarray(data.column(name) if rows is None else data.column(name, rows), np.float64)
    if not (good := np.isfinite(values)).all():
        place = int(np.argmin(good))
        raise InputError(
            "a column holds a value that is no number",
            file=data.path,
            key=f"jets/{name}",
            found=f"{values[place]}, event {place if rows is None else int(rows[place])}",
            mend="look at the column in convert.format.columns; `missing` there stands for such values",
        )
    return values


def weights(data: Dataset, rows: NDArray[np.int64]) -> Floats:
    """Return the event weights of some jets; one of them may be below zero.

    Raises
    ------
    InputError
        If one is no number, or they do not add up to a positive one.
    """
    found = column(data, "weight", rows)
    if found.sum() <= 0:
        problem = "the event weights of a sample do not add up to a positive number"
        raise InputError(
            problem, file=data.path, key="jets/weight", found=float(found.sum()), mend="convert more of it"
        )
    return found


def inputs(data: Dataset, rows: NDArray[np.int64], seen: Sequence[Any]) -> None:
    """Refuse what a network sees of jets, arrays or tensors [B, ...], if any of it is no number.

    Raises
    ------
    InputError
        Naming the sample and the first such jet.
    """
    for one in seen:
        good_B = np.isfinite(np.asarray(one)).reshape(len(rows), -1).all(1)
        if not good_B.all():
            raise InputError(
                "the network would see a value that is no number",
                file=data.path,
                key="constituents, or columns of prepare.inputs and prepare.variables",
                found=f"jet {int(rows[int(np.argmin(good_B))])}",
                mend="look at the columns in convert.format; `missing` there stands for such values",
            )
