"""Rows of parameters and quantities through the campaign's index, and what brings parameters to order 1.

The quantities of a row are its items, e.g. the cells of a shower, as many in every row, and columns named beside them.

B: batch, A: parameter, U: feature of parameters, Q: quantity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.reader import Index
from bunchtrain.events.scaling import Moments, are_numbers
from bunchtrain.files import read_json, write_json

Floats = NDArray[np.float64]

#: Rows that have parameters and quantities, with the collection of the latter and its column.
ITEMS = {"showers": ("cells", "energy"), "responses": ("quantities", "value")}

#: Words for what is no number of a parameter.
_ANGLE = ("cos", "sin")


class ResponseDataset(Index):
    """All rows of a campaign whose task maps parameters to quantities.

    Attributes
    ----------
    parameters : dict
        How each column that is a parameter is scaled, see `config.prepare.Scale`, in the order of their names.
    beside : list of str
        Columns of rows that are quantities, after the items.
    width : int
        Items of a row.
    """

    VALUE = "value"

    def _read(self, file: h5py.File) -> None:
        self.parameters: dict[str, str] = json.loads(file.attrs["parameters"])
        self.beside: list[str] = json.loads(file.attrs["quantities"])
        self.width = int(self._multiplicity[0]) if len(self._multiplicity) else 0
        if len(different := np.flatnonzero(self._multiplicity != self.width)):
            row = int(different[0])
            raise ContractError(
                f"rows differ in the number of their {self.ITEMS}",
                file=self.path,
                key=f"row {row}",
                found=int(self._multiplicity[row]),
                expected=self.width,
                mend="give the cells a fixed shape under convert.format, and convert again",
            )

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._maps: dict[int, NDArray[Any]] = {}

    @property
    def quantities(self) -> list[str]:
        """The names of the quantities: `cells[0]`, ..., and those of columns."""
        return [*(f"{self.ITEMS}[{place}]" for place in range(self.width)), *self.beside]

    def given(self, indices: NDArray[np.int64]) -> Floats:
        """Return the parameters of some rows, float64 [B, A]."""
        return self._columns(list(self.parameters), indices)

    def known(self, indices: NDArray[np.int64]) -> Floats:
        """Return the quantities of some rows, float64 [B, Q].

        Raises
        ------
        InputError
            If one is not finite.
        """
        found = np.empty((len(indices), self.width + len(self.beside)))
        for number, here in self._by_shard(indices):
            if number not in self._maps:
                self._maps[number] = self._shard(number).items(f"{self.ITEMS}/{self.VALUE}").reshape(-1, self.width)
            found[here, : self.width] = self._maps[number][indices[here] - self._starts[number]]
        found[:, self.width :] = self._columns(self.beside, indices)
        if not np.isfinite(found).all():
            row = int(indices[np.argmax(~np.isfinite(found).all(1))])
            problem = "a quantity is no number"
            raise InputError(problem, file=self.path, key=f"row {row}", mend="leave such rows out by convert.select")
        return found

    def groups(self, column: str | None) -> list[int]:
        """Return the group of each quantity by a column of items; those beside the items have one each.

        Raises
        ------
        InputError
            If there is no such column of items.
        """
        if column is None:
            return []
        inside = np.unique(self.of_item(column, "physics.groups"), return_inverse=True)[1].ravel().tolist()
        first = max(inside, default=-1) + 1
        return [*map(int, inside), *range(first, first + len(self.beside))]

    def of_item(self, column: str, key: str = "convert.format") -> NDArray[np.int64]:
        """Return a column of whole numbers of the items, which are alike in every row, int64 [width].

        Raises
        ------
        InputError
            If there is none; `key` says who asks.
        """
        name = f"{self.ITEMS}/{column}"
        if name not in self.columns:
            known = [one.removeprefix(f"{self.ITEMS}/") for one in self.columns if one.startswith(f"{self.ITEMS}/")]
            problem = f"there is no such column of {self.ITEMS}"
            raise InputError(problem, file=self.path, key=key, found=column, choices=known)
        return np.asarray(self._shard(0).items(name)[: self.width], np.int64)

    def _columns(self, names: Sequence[str], indices: NDArray[np.int64]) -> Floats:
        found = np.empty((len(indices), len(names)))
        for place, name in enumerate(names):
            found[:, place] = self.column(name, indices)
        return found


class Showers(ResponseDataset):
    """Showers in a calorimeter: what particles came in, and the energies of the cells."""

    ROWS, ITEMS, VALUE = "showers", "cells", "energy"


class Responses(ResponseDataset):
    """Anything that follows from parameters."""

    ROWS, ITEMS, VALUE = "responses", "quantities", "value"


def opened(rows: str, path: str | Path) -> ResponseDataset:
    """Open the index of rows of one kind, see `ITEMS`."""
    return (Showers if rows == "showers" else Responses)(path)


@dataclass(frozen=True)
class ParameterScaler:
    """Maps parameters to features of centre 0 and width 1, and knows in which range they were learned.

    Attributes
    ----------
    scales : dict
        How each parameter is scaled: `linear`, `log`, or `angle`, which gives two features; in the order of names.
    mean, std : list of float
        Of the features.
    lowest, highest : list of float
        Of the parameters, in the training.
    """

    scales: dict[str, str]
    mean: list[float]
    std: list[float]
    lowest: list[float]
    highest: list[float]

    @classmethod
    def fitted(cls, scales: Mapping[str, str], parameters_BA: Floats, file: str | Path) -> ParameterScaler:
        """Fit to parameters.

        Raises
        ------
        InputError
            If there is none, one is no number, or a logarithm is to be taken of one that is not above 0.
        """
        _check(scales, parameters_BA, file)
        moments = Moments(len(features_of(scales)))
        moments.add(_features(scales, parameters_BA))
        low, high = parameters_BA.min(0), parameters_BA.max(0)
        return cls(dict(scales), *(one.tolist() for one in (moments.centre(), moments.spread(), low, high)))

    def __call__(self, parameters_BA: Floats) -> NDArray[np.float32]:
        """Return features, float32 [B, U]."""
        return ((_features(self.scales, parameters_BA) - self.mean) / self.std).astype(np.float32)

    def outside(self, parameters_BA: Floats) -> NDArray[np.bool_]:
        """Return which parameters lie outside of what was learned, bool [B, A]; of an angle none does."""
        angle = np.array([scale == "angle" for scale in self.scales.values()], bool)
        # An ulp of float32 is no extrapolation.
        room = 1e-6 * np.maximum(np.abs(self.lowest), np.abs(self.highest))
        found = (parameters_BA < np.asarray(self.lowest) - room) | (parameters_BA > np.asarray(self.highest) + room)
        return np.asarray(found & ~angle)

    def require(self, scales: Mapping[str, str], file: str | Path) -> None:
        """Refuse rows of `file` whose parameters are others than those that this was fitted to.

        Raises
        ------
        InputError
            Naming both.
        """
        if list(scales.items()) != list(self.scales.items()):
            raise InputError(
                "the rows have other parameters than a scaler or a network was made for",
                file=file,
                key="prepare.parameters",
                found=dict(scales),
                expected=self.scales,
                mend="train again with what prepare wrote last",
            )

    def save(self, path: str | Path) -> None:
        """Write as JSON, with the names of the features."""
        write_json(path, {**asdict(self), "features": features_of(self.scales)})

    @classmethod
    def load(cls, path: str | Path) -> ParameterScaler:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is no scaler of parameters, or is damaged.
        """
        return cls.of(read_json(path), path)

    @classmethod
    def of(cls, values: Any, file: str | Path) -> ParameterScaler:
        """Return what was written, or refuse it."""
        scales = values.get("scales") if isinstance(values, dict) else None
        if not isinstance(scales, dict) or not set(scales.values()) <= {"linear", "log", "angle"}:
            mend = "name the scaler.json that prepare wrote for this dataset"
            raise InputError("a file is no scaler of parameters", file=file, mend=mend)
        widths = {"mean": len(features_of(scales)), "std": len(features_of(scales))}
        for item in fields(cls)[1:]:
            width, found = widths.get(item.name, len(scales)), values.get(item.name)
            if not are_numbers(found, width):
                problem, expected = "a scaler is damaged", f"{width} numbers"
                raise InputError(problem, file=file, key=item.name, found=found, expected=expected, mend="run prepare")
        return cls(**{item.name: values[item.name] for item in fields(cls)})


def features_of(scales: Mapping[str, str]) -> list[str]:
    """Return the names of the features of parameters."""
    found: list[str] = []
    for name, scale in scales.items():
        found += [f"{word} {name}" for word in _ANGLE] if scale == "angle" else [f"{scale} {name}"]
    return found


def _features(scales: Mapping[str, str], parameters_BA: Floats) -> Floats:
    columns = []
    for scale, values in zip(scales.values(), parameters_BA.T, strict=True):
        if scale == "angle":
            columns += [np.cos(values), np.sin(values)]
        else:
            columns.append(np.log(np.maximum(values, 1e-300)) if scale == "log" else values)
    return np.stack(columns, -1) if columns else np.zeros((len(parameters_BA), 0))


def _check(scales: Mapping[str, str], parameters_BA: Floats, file: str | Path) -> None:
    if not scales or not len(parameters_BA):
        problem = "there are no parameters to start from" if len(parameters_BA) else "there are no rows to learn from"
        raise InputError(problem, file=file, key="prepare.parameters", mend="name columns, e.g. `{energy: log}`")
    require_sane(scales, parameters_BA, file)


def require_sane(scales: Mapping[str, str], parameters_BA: Floats, file: str | Path) -> None:
    """Refuse parameters that are no numbers, or not above zero where their logarithm is taken.

    Raises
    ------
    InputError
        Naming the file, the parameter, and the first row.
    """
    for (name, scale), values in zip(scales.items(), parameters_BA.T, strict=True):
        finite = np.isfinite(values)
        bad = ~finite if scale != "log" else ~(finite & (np.where(finite, values, 1) > 0))
        if bad.any():
            row = int(np.argmax(bad))
            expected = "a number above 0" if scale == "log" else "a number"
            raise InputError(
                "a parameter has a value that means nothing",
                file=file,
                key=name,
                found=f"{values[row]} in row {row}",
                expected=expected,
                mend="mend the row or leave it out; a `log` needs positive numbers",
            )
