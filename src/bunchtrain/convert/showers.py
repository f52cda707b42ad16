"""The branches of a tree of showers: cells of any shape, elements of lists, and formulas of them.

n: showers of a step, m: their cells.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.eventwise import entry_of
from bunchtrain.convert.formula import evaluate
from bunchtrain.convert.table import Table, check_finite, lists, numbers
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import starts

Array = NDArray[Any]


class WantedColumn(NamedTuple):
    """A column: what the campaign says, as a tree, where it stands in the campaign, and what NaN means."""

    text: str
    tree: ast.expr
    key: str
    missing: float | None = None


class ShowerStep:
    """The arrays of one step."""

    def __init__(self, table: Table, first: int, arrays: Mapping[str, Any]) -> None:
        self.length = len(next(iter(arrays.values())))
        self._table, self._first, self._arrays = table, first, arrays

    def cells(self, branches: list[str]) -> tuple[Array, NDArray[np.int64], tuple[int, ...] | None]:
        """Return the energies [m], the number of cells of each shower [n], and the shape where it is fixed."""
        if self._arrays[branches[0]].ndim > 1:
            values, counts, shape = self._flat(branches[0])
            self._check(values, branches[0], counts)
            return values, counts, shape
        for branch in branches:
            self._check(numbers(self._arrays[branch]), branch, None)
        values = np.stack([numbers(self._arrays[branch]) for branch in branches], axis=1).ravel()
        return values, np.full(self.length, len(branches), np.int64), (len(branches),)

    def check_counts(self, counts: NDArray[np.int64], expected: int, key: str) -> None:
        """Refuse showers that have another number of cells than `expected`."""
        if (counts != expected).any():
            row = int(np.flatnonzero(counts != expected)[0])
            found = f"{counts[row]} in entry {self._first + row}"
            problem = "a shower has another number of cells"
            raise InputError(problem, file=self._table.path, key=key, found=found, expected=expected)

    def column(self, one: WantedColumn, counts: NDArray[np.int64] | None) -> Array:
        """Return a column, shape [n], or with the `counts` of the cells [m]."""
        length = self.length if counts is None else int(counts.sum())
        with np.errstate(all="ignore"):
            values = np.asarray(evaluate(one.tree, lambda name: self._values(name, one, counts)))
        values = np.broadcast_to(values, (length,))
        if one.missing is not None and values.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, one.missing)
        self._check(values, one.text, counts)
        return values

    def _values(self, name: str, one: WantedColumn, counts: NDArray[np.int64] | None) -> Array:
        branch, place = element(name)
        array = self._arrays[branch]
        if place is None and array.ndim > 1:
            values, own, _ = self._flat(branch)
            if counts is not None and not np.array_equal(own, counts):
                row = int(np.flatnonzero(own != counts)[0])
                found, expected = f"{own[row]} in entry {self._first + row}", f"{counts[row]}, as the cells"
                problem = "lists differ in length"
                raise InputError(problem, file=self._table.path, key=branch, found=found, expected=expected)
            return values
        values = numbers(array) if place is None else self._nth(branch, place, one.key)
        return values if counts is None else np.repeat(values, counts)

    def _nth(self, branch: str, place: int, key: str) -> Array:
        """Return one element of each list of a branch, shape [n]."""
        values, counts = lists(self._arrays[branch])
        if (counts <= place).any():
            row = int(np.flatnonzero(counts <= place)[0])
            found, expected = f"{branch}: {counts[row]} elements in entry {self._first + row}", f"at least {place + 1}"
            problem = "a list has no such element"
            raise InputError(problem, file=self._table.path, key=key, found=found, expected=expected)
        return values[starts(counts)[:-1] + place]

    def _flat(self, branch: str) -> tuple[Array, NDArray[np.int64], tuple[int, ...] | None]:
        """Return the numbers of a branch of lists, of any depth, [m], how many each shower has, and the fixed shape."""
        import awkward as ak

        array = self._arrays[branch]
        sizes = tuple(getattr(one, "size", None) for one in _list_types(array.type.content))
        while array.ndim > 2:
            array = ak.flatten(array, axis=2)
        values, counts = lists(array)
        return values, counts, None if None in sizes else tuple(int(one) for one in sizes if one is not None)

    def _check(self, values: Array, name: str, counts: NDArray[np.int64] | None) -> None:
        place = (lambda row: self._first + row) if counts is None else entry_of(self._first, counts)
        check_finite(values, self._table.path, name, place)


def _list_types(kind: Any) -> Iterator[Any]:
    """Yield the types of the lists inside one another."""
    while hasattr(kind, "content"):
        yield kind
        kind = kind.content


def element(name: str) -> tuple[str, int | None]:
    """Return branch and place of what `name[place]` was turned into, or the name alone."""
    branch, _, place = name.rpartition(".element_")
    return (branch, int(place)) if branch and place.isdigit() else (name, None)
