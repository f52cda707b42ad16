"""The branches of a tree whose rows own items: items of any shape, elements of lists, and formulas of them.

n: rows of a step, m: their items.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.expression import names, parse
from bunchtrain.convert import rootfile, rowwise
from bunchtrain.convert.eventwise import entry_of
from bunchtrain.convert.formula import evaluate
from bunchtrain.convert.mapping import Wanted
from bunchtrain.convert.table import Table, check_finite, lists, numbers
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import starts

Array = NDArray[Any]

#: Depths of lists that can hold items.
LISTS = (1, 2, 3, 4)

_ELEMENT = re.compile(r"([A-Za-z_][\w.]*)\[(\d+)\]")


class WantedColumn(NamedTuple):
    """A column: what the campaign says, as a tree, where it stands in the campaign, and what NaN means."""

    text: str
    tree: ast.expr
    key: str
    missing: float | None = None


class ItemStep:
    """The arrays of one step."""

    def __init__(self, table: Table, first: int, arrays: Mapping[str, Any], items: str) -> None:
        self._items = items
        self.length = len(next(iter(arrays.values())))
        self._table, self._first, self._arrays = table, first, arrays

    def items(self, branches: list[str]) -> tuple[Array, NDArray[np.int64], tuple[int, ...] | None]:
        """Return the values [m], the number of items of each row [n], and the shape where it is fixed."""
        if self._arrays[branches[0]].ndim > 1:
            values, counts, shape = self._flat(branches[0])
            self._check(values, branches[0], counts)
            return values, counts, shape
        for branch in branches:
            self._check(numbers(self._arrays[branch]), branch, None)
        values = np.stack([numbers(self._arrays[branch]) for branch in branches], axis=1).ravel()
        return values, np.full(self.length, len(branches), np.int64), (len(branches),)

    def check_counts(self, counts: NDArray[np.int64], expected: int, key: str, row_told: str) -> None:
        """Refuse rows that have another number of items than `expected`; `row_told`: what one is called."""
        if (counts != expected).any():
            row = int(np.flatnonzero(counts != expected)[0])
            found = f"{counts[row]} in entry {self._first + row}"
            problem = f"a {row_told} has another number of {self._items}"
            raise InputError(problem, file=self._table.path, key=key, found=found, expected=expected)

    def column(self, one: WantedColumn, counts: NDArray[np.int64] | None) -> Array:
        """Return a column, shape [n], or with the `counts` of the items [m]."""
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
                found, expected = f"{own[row]} in entry {self._first + row}", f"{counts[row]}, as the {self._items}"
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
        """Return the numbers of a branch of lists, of any depth, [m], how many each row has, and the fixed shape."""
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


class ItemSource:
    """An open file whose rows own items; all of `formats.base.Source` but the batches.

    Parameters
    ----------
    file, path
        From `rootfile.opened`, and where it is.
    config
        Options of the format; `config.<items>` names the branch of the items, or a branch for each.
    rows, items : str
        What they are called: showers and cells.
    """

    def __init__(self, file: Any, path: Path, config: Any, rows: str, items: str) -> None:
        self.tree, self.skipped = config.tree, list[str]()
        self.generator = rootfile.json_object(file, path, "metadata")  # of the embedded generator's files
        self._table, self._config, self._items = Table(file, path, config.tree, f"{rowwise.KEY}.tree"), config, items
        self.entries = self._table.entries
        given = getattr(config, items)
        self._values = [given] if isinstance(given, str) else given
        for branch in self._values:
            self._table.require(branch, f"{rowwise.KEY}.{items}", LISTS if isinstance(given, str) else (0,))
        self._wanted = {name: self._parsed(one) for name, one in rowwise.wanted(config, rows).items()}
        needed = [self._checked(name, one) for name, one in self._wanted.items()]
        self._branches = list(dict.fromkeys([*self._values, *(branch for several in needed for branch in several)]))
        rowwise.check_whole(self._table, config)

    def _parsed(self, one: Wanted) -> WantedColumn:
        tree: ast.expr = ast.Name(one.text)
        if one.text not in self._table:
            with contextlib.suppress(ValueError):  # it is no branch then, which `require` tells
                tree = parse(_ELEMENT.sub(r"\1.element_\2", one.text))
        return WantedColumn(one.text, tree, one.key, one.missing)

    def _checked(self, dataset: str, one: WantedColumn) -> list[str]:
        """Return the branches of a column that are there as they have to be."""
        branches = []
        for name in names(one.tree):
            branch, place = element(name)
            depths = (0,) if place is None else (1,)
            of_items = dataset.startswith(f"{self._items}/")
            self._table.require(branch, one.key, (0, *LISTS) if of_items else depths)
            branches.append(branch)
        return branches

    def _steps(self, step_size: str, start: int, stop: int) -> Iterator[tuple[int, ItemStep]]:
        """Yield the first entry of each step, and the step."""
        for first, arrays in self._table.steps(self._branches, step_size, start, stop):
            yield first, ItemStep(self._table, first, arrays, self._items)

    def _columns(self, step: ItemStep, counts: NDArray[np.int64]) -> dict[str, Array]:
        """Return the columns that are asked for, of rows and of items."""
        of_items = f"{self._items}/"
        return {
            dataset: step.column(one, counts if dataset.startswith(of_items) else None)
            for dataset, one in self._wanted.items()
        }


def _list_types(kind: Any) -> Iterator[Any]:
    """Yield the types of the lists inside one another."""
    while hasattr(kind, "content"):
        yield kind
        kind = kind.content


def element(name: str) -> tuple[str, int | None]:
    """Return branch and place of what `name[place]` was turned into, or the name alone."""
    branch, _, place = name.rpartition(".element_")
    return (branch, int(place)) if branch and place.isdigit() else (name, None)
