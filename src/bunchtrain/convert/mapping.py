"""Columns read from a tree with one entry per row: each from a branch, or from a formula of branches.

n: rows, m: items of a collection.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.expression import REDUCTIONS, name, names, parse
from bunchtrain.convert.formula import evaluate, reduce
from bunchtrain.convert.table import Table, check_finite, lists, numbers
from bunchtrain.errors import InputError
from bunchtrain.events.layout import axis
from bunchtrain.events.ragged import Events, row_of

Array = NDArray[Any]


class Wanted(NamedTuple):
    """A column to read: branch or formula, where the campaign names it, what it is multiplied with, what NaN means."""

    text: str
    key: str
    factor: float = 1.0
    missing: float | None = None


class MappedTable:
    """The wanted columns of a tree.

    Parameters
    ----------
    table : Table
        One entry per row.
    rows : str
        Axis of the columns with one number per row; all others are lists.
    wanted : mapping
        By dataset.

    Raises
    ------
    InputError
        If a branch is missing or of another type.
    """

    def __init__(self, table: Table, rows: str, wanted: Mapping[str, Wanted]) -> None:
        self._table, self._rows, self._wanted = table, rows, dict(wanted)
        self._trees = {dataset: self._tree(dataset, one) for dataset, one in wanted.items()}
        self._branches = {
            branch: self._table.shape(branch).depth  # type: ignore[union-attr]
            for tree in self._trees.values()
            for branch in ([tree] if isinstance(tree, str) else names(tree))
        }

    def _tree(self, dataset: str, one: Wanted) -> str | ast.expr:
        """Return the branch, or the formula, of a dataset."""
        depth = 0 if axis(dataset) == self._rows else 1
        if one.text in self._table:
            self._table.require(one.text, one.key, (depth,))
            return one.text
        try:
            tree = parse(one.text)
        except ValueError:
            tree = ast.Name(one.text)
        found = [self._table.require(branch, one.key).depth for branch in names(tree)]
        if depth and 1 not in found:
            expected = "a formula with at least one list of numbers per entry"
            raise InputError(
                "a formula has no list", file=self._table.path, key=one.key, found=one.text, expected=expected
            )
        if not depth:
            self._check_row(tree, one, inside=False)
        return tree

    def _check_row(self, tree: ast.expr, one: Wanted, inside: bool) -> None:
        """Refuse lists in a formula of rows, but for those inside a reduction."""
        if isinstance(tree, ast.Name | ast.Attribute):
            self._table.require(name(tree), one.key, (0, 1) if inside else (0,))
            return
        inside = inside or (isinstance(tree, ast.Call) and name(tree.func) in REDUCTIONS)
        for node in tree.args if isinstance(tree, ast.Call) else ast.iter_child_nodes(tree):
            if isinstance(node, ast.expr):
                self._check_row(node, one, inside)

    def steps(self, step_size: str, start: int, stop: int) -> Iterator[tuple[int, int, Events]]:
        """Yield the first entry of each step, how many entries it has, and the columns.

        Raises
        ------
        InputError
            If a part of the file cannot be read, lists differ in length, or a value is not finite.
        """
        for first, arrays in self._table.steps(self._branches, step_size, start, stop):
            step = _Step(self, first, arrays)
            yield first, len(next(iter(arrays.values()))), step.events()


class _Step:
    """The arrays of one step."""

    def __init__(self, mapped: MappedTable, first: int, arrays: dict[str, Any]) -> None:
        self._of, self._first = mapped, first
        self._flat = {branch: numbers(arrays[branch]) for branch, depth in mapped._branches.items() if depth == 0}
        self._lists = {branch: lists(arrays[branch]) for branch, depth in mapped._branches.items() if depth == 1}
        self._leaders: dict[str, str] = {}
        self._length = len(next(iter(arrays.values()))) if arrays else 0

    def events(self) -> Events:
        columns, counts = {}, {}
        for dataset, tree in self._of._trees.items():
            collection = axis(dataset)
            if collection != self._of._rows:
                counts[collection] = self._counts(collection, tree)
            values = self._values(dataset, tree, counts.get(collection))
            columns[dataset] = self._finished(dataset, values, counts.get(collection))
        return Events(columns, counts)

    def _counts(self, collection: str, tree: str | ast.expr) -> NDArray[np.int64]:
        """Return the items of each row; all lists of a collection must agree."""
        for branch in [tree] if isinstance(tree, str) else names(tree):
            if branch not in self._lists:
                continue
            leader = self._leaders.setdefault(collection, branch)
            expected, found = self._lists[leader][1], self._lists[branch][1]
            if not np.array_equal(expected, found):
                row = int(np.flatnonzero(expected != found)[0])
                raise InputError(
                    f"the lists of {collection} differ in length",
                    file=self._of._table.path,
                    key=branch,
                    found=f"{found[row]} in entry {self._first + row}",
                    expected=f"{expected[row]}, as in {leader}",
                )
        return self._lists[self._leaders[collection]][1]

    def _values(self, dataset: str, tree: str | ast.expr, counts: NDArray[np.int64] | None) -> Array:
        if isinstance(tree, str):
            return self._flat[tree] if counts is None else self._lists[tree][0]

        def lookup(branch: str) -> Array:
            if counts is None:
                return self._flat[branch]
            return self._lists[branch][0] if branch in self._lists else np.repeat(self._flat[branch], counts)

        with np.errstate(all="ignore"):
            found = np.asarray(evaluate(tree, lookup, self._reduce if counts is None else None))
        if found.ndim == 0:
            return np.broadcast_to(found, (self._length if counts is None else int(counts.sum()),))
        return found

    def _reduce(self, function: str, argument: ast.expr) -> Array:
        counts = self._counts(f"{function}({ast.unparse(argument)})", argument)

        def lookup(branch: str) -> Array:
            return self._lists[branch][0] if branch in self._lists else np.repeat(self._flat[branch], counts)

        return reduce(function, np.asarray(evaluate(argument, lookup)), counts)

    def _finished(self, dataset: str, values: Array, counts: NDArray[np.int64] | None) -> Array:
        one = self._of._wanted[dataset]
        values = values if one.factor == 1 else values * one.factor
        if one.missing is not None and values.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, one.missing)
        check_finite(values, self._of._table.path, one.text, lambda place: self._first + row_of(place, counts))
        return values
