"""Columns that a campaign asks for beyond those of an event-wise format.

e: events of a step, m: items of a list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.convert import Mapped
from bunchtrain.config.expression import REDUCTIONS, names, parse
from bunchtrain.convert.eventwise import entry_of, flat
from bunchtrain.convert.formula import evaluate
from bunchtrain.convert.table import Table, check_finite, numbers
from bunchtrain.errors import InputError
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Columns


class Extras:
    """Columns of one axis, each a branch or a formula of branches.

    A branch may be named in short, without the prefix of its collection. One number per event is given to every item.

    Parameters
    ----------
    table : Table
        One entry per event.
    columns : mapping
        Name to what is asked for.
    prefixes : iterable of str
        Tried in turn before a name, such as `Jet_`; the bare name comes last.
    key : str
        Where in the campaign they stand, such as `convert.format.columns.jets`.
    scale : float
        Factor of columns with the unit GeV.

    Attributes
    ----------
    branches : list of str
        What has to be read.

    Raises
    ------
    InputError
        If a branch is missing, holds no numbers, or a formula reduces a list.
    """

    def __init__(
        self, table: Table, columns: Mapping[str, Mapped], prefixes: Iterable[str], key: str, scale: float = 1.0
    ) -> None:
        self._table, self._columns, self._scale = table, dict(columns), scale
        self._prefixes, self._key = [*prefixes, ""], key
        self._trees = {name: self._tree(name, one.branch) for name, one in self._columns.items()}
        self._full = {short: self._resolved(short, name) for name, tree in self._trees.items() for short in names(tree)}
        self._depths = {branch: table.require(branch, key).depth for branch in self._full.values()}
        self.branches = list(self._depths)

    def _tree(self, name: str, text: str) -> ast.expr:
        """Return a branch as a name, a formula as a tree."""
        if any(prefix + text in self._table for prefix in self._prefixes):
            return ast.Name(text)
        try:
            tree = parse(text)
        except ValueError:
            return ast.Name(text)
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        if calls & set(REDUCTIONS):
            key, expected = f"{self._key}.{name}", "a formula of numbers of one item or of its event"
            raise InputError("a formula reduces a list", file=self._table.path, key=key, found=text, expected=expected)
        return tree

    def _resolved(self, short: str, name: str) -> str:
        for prefix in self._prefixes:
            if prefix + short in self._table:
                return prefix + short
        self._table.require(self._prefixes[0] + short, f"{self._key}.{name}")
        return short

    def __call__(self, first: int, arrays: Mapping[str, Any], counts: NDArray[np.int64]) -> Columns:
        """Return the columns of one step, each of shape [m].

        Parameters
        ----------
        first : int
            The step's first entry.
        arrays : mapping
            From `Table.steps`.
        counts : int64 [e]
            Items of each event.

        Raises
        ------
        InputError
            If a list has another length, or a value is not finite and nothing stands for it.
        """
        read = {branch: self._values(first, arrays, branch, counts) for branch in self.branches}
        found = {}
        for name, one in self._columns.items():
            with np.errstate(all="ignore"):
                values = np.asarray(evaluate(self._trees[name], lambda short: read[self._full[short]]))
            values = np.broadcast_to(values, (int(counts.sum()),))
            values = values * self._scale if one.units == "GeV" and self._scale != 1 else values
            if one.missing is not None and values.dtype.kind == "f":
                values = np.where(np.isfinite(values), values, one.missing)
            check_finite(values, self._table.path, one.branch, entry_of(first, counts))
            found[name] = values
        return found

    def _values(self, first: int, arrays: Mapping[str, Any], branch: str, counts: NDArray[np.int64]) -> NDArray[Any]:
        if self._depths[branch] == 0:
            return np.repeat(numbers(arrays[branch]), counts)
        return flat(self._table, first, arrays, branch, counts, "its collection")


def extra_columns(columns: Mapping[Any, Mapping[str, Mapped]]) -> dict[str, Column]:
    """Return what `Extras` gives, for the layout: by dataset."""
    return {
        f"{axis}/{name}": Column(name, one.dtype, one.units, one.description, one.branch)
        for axis, several in columns.items()
        for name, one in several.items()
    }
