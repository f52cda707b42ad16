"""Formulas evaluated over columns: see `config.expression` for what they may hold."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.expression import REDUCTIONS, name, names, parse
from bunchtrain.errors import InputError
from bunchtrain.events.ragged import Events, largest, total

Array = NDArray[Any]
Lookup = Callable[[str], Any]

_BINARY: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Mod: np.mod,
    ast.Pow: lambda a, b: np.power(np.asarray(a, np.float64), b),
}
_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


def delta_phi(a: Any, b: Any) -> Array:
    """Return a - b (rad) folded into [-pi, pi)."""
    return np.asarray((a - b + np.pi) % (2 * np.pi) - np.pi)


def delta_r(eta: Any, phi: Any, other_eta: Any, other_phi: Any) -> Array:
    """Return the distance √(Δη² + Δφ²)."""
    return np.asarray(np.hypot(eta - other_eta, delta_phi(phi, other_phi)))


_OWN: dict[str, Any] = {"delta_phi": delta_phi, "delta_r": delta_r}


def evaluate(tree: ast.expr, lookup: Lookup, of_rows: Callable[[str, ast.expr], Any] | None = None) -> Any:
    """Return the value of a formula.

    Parameters
    ----------
    tree : ast.expr
        From `config.expression.parse`.
    lookup : callable
        Name to array; all of one shape, or such that they broadcast.
    of_rows : callable, optional
        Name of a reduction and its argument to an array; without it there are none.
    """
    match tree:
        case ast.Constant():
            return tree.value
        case ast.Name() | ast.Attribute():
            return lookup(name(tree))
        case ast.Call():
            function = name(tree.func)
            if function in REDUCTIONS:
                if of_rows is None:
                    raise InputError("a function of a collection cannot stand here", found=ast.unparse(tree))
                return of_rows(function, tree.args[0])
            widen = _whole if function in _OF_WHOLE else _real
            values = [widen(evaluate(one, lookup, of_rows)) for one in tree.args]
            return (_OWN[function] if function in _OWN else getattr(np, function))(*values)
        case ast.BinOp():
            left, right = (_whole(evaluate(one, lookup, of_rows)) for one in (tree.left, tree.right))
            return _checked(_BINARY[type(tree.op)], left, right, tree)
        case ast.UnaryOp():
            value = evaluate(tree.operand, lookup, of_rows)
            if isinstance(tree.op, ast.Not):
                return np.logical_not(value)
            return -_whole(value) if isinstance(tree.op, ast.USub) else value
        case ast.BoolOp():
            join = np.logical_and if isinstance(tree.op, ast.And) else np.logical_or
            value = evaluate(tree.values[0], lookup, of_rows)
            for other in tree.values[1:]:
                value = join(value, evaluate(other, lookup, of_rows))
            return value
        case ast.Compare():
            sides = [evaluate(one, lookup, of_rows) for one in (tree.left, *tree.comparators)]
            found = [_COMPARE[type(op)](a, b) for op, a, b in zip(tree.ops, sides, sides[1:], strict=False)]
            return np.logical_and.reduce(found) if len(found) > 1 else found[0]
    raise InputError("a formula holds something unknown", found=ast.unparse(tree))


#: Functions that leave whole numbers whole.
_OF_WHOLE = ("abs", "sign", "minimum", "maximum", "where")

_MOST = 2**63 - 1


def _whole(value: Any) -> Any:
    """Return whole numbers and truth values with 64 bits: narrow ones would wrap around."""
    array = np.asarray(value)
    if array.dtype.kind not in "iub" or array.dtype == np.int64:
        return value
    if array.dtype == np.uint64 and array.size and int(array.max()) > _MOST:
        raise InputError(
            "a whole number is too large to be computed with", found=int(array.max()), expected="below 2^63"
        )
    return array.astype(np.int64)


def _real(value: Any) -> Any:
    """Return whole numbers and truth values in double precision: narrow ones would give half precision."""
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iub" else value


def _checked(operation: Any, left: Any, right: Any, tree: ast.expr) -> Any:
    """Return the result of an operation; whole numbers may not run over."""
    found = operation(left, right)
    if np.asarray(found).dtype.kind == "i" and np.asarray(found).size:
        real = operation(np.asarray(left, np.float64), np.asarray(right, np.float64))
        if not np.all(np.abs(real) < 2.0**63):
            raise InputError("a whole number runs over", found=ast.unparse(tree), mend="multiply one side by 1.0")
    return found


class Scope:
    """What the names of a formula mean on one axis of some events.

    A bare name is a column of the axis; `pt`, `eta`, `phi`, `mass` of items with px, py, pz, energy are computed. On a
    collection, `jets.eta` (the name of the rows, a dot, a column) is that of the row that owns the item. On the rows,
    `sum(constituents.pt)` and the like reduce a collection.

    Parameters
    ----------
    events : Events
        Whose columns are meant.
    rows, axis : str
        The name of the rows, and the axis that the result has one value for.
    key : str
        Where the formula stands in the campaign, for messages.
    """

    def __init__(self, events: Events, rows: str, axis: str, key: str) -> None:
        self._events, self._rows, self._axis, self.key = events, rows, axis, key
        self._kinematics: dict[str, dict[str, Array]] = {}

    def __call__(self, formula: str) -> Array:
        """Return the values of a formula, one for each row or item.

        Raises
        ------
        InputError
            If it names a column that is not there.
        """
        with np.errstate(all="ignore"):  # what is not finite is found when it is written
            found = np.asarray(evaluate(parse(formula), self._lookup, self._reduce))
        return np.broadcast_to(found, (self._length(),)) if found.ndim == 0 else found

    def _length(self) -> int:
        counts = self._events.counts.get(self._axis)
        return len(self._events.columns[f"{self._rows}/weight"]) if counts is None else int(counts.sum())

    def _lookup(self, text: str) -> Array:
        head, _, last = text.rpartition(".")
        if head in ("", self._axis):
            return self._column(self._axis, last, text)
        if head == self._rows:
            return np.repeat(self._column(head, last, text), self._events.counts[self._axis])
        raise self._unknown(text)

    def _reduce(self, function: str, argument: ast.expr) -> Array:
        if self._axis != self._rows:
            raise InputError("a formula of items cannot reduce a collection", key=self.key, found=ast.unparse(argument))
        heads = {one.rpartition(".")[0] for one in names(argument)} - {"", self._rows}
        if len(heads) != 1 or not heads <= self._events.counts.keys():
            expected = "a formula of the columns of one collection, e.g. sum(constituents.pt)"
            found = f"{function}({ast.unparse(argument)})"
            raise InputError("a function of a collection lacks one", key=self.key, found=found, expected=expected)
        collection = heads.pop()
        counts = self._events.counts[collection]

        def lookup(text: str) -> Array:
            head, _, last = text.rpartition(".")
            if head == collection:
                return self._column(collection, last, text)
            return np.repeat(self._column(self._rows, last, text), counts)

        return reduce(function, np.asarray(evaluate(argument, lookup)), counts)

    def _column(self, axis: str, last: str, text: str) -> Array:
        columns = self._events.columns
        if (found := columns.get(f"{axis}/{last}")) is not None:
            return found
        if last in ("pt", "eta", "phi", "mass") and f"{axis}/px" in columns:
            if axis not in self._kinematics:
                self._kinematics[axis] = polar(self._events.of(axis))
            return self._kinematics[axis][last]
        raise self._unknown(text)

    def _unknown(self, text: str) -> InputError:
        own = [*self._events.of(self._axis)]
        others = [f"{name}.{one}" for name in (self._rows, *self._events.counts) for one in self._events.of(name)]
        return InputError("a formula names no column", key=self.key, found=text, choices=[*own, *others])


def polar(columns: Mapping[str, Array]) -> dict[str, Array]:
    """Return pt, mass (GeV), eta and phi (rad) of four-momenta px, py, pz, energy."""
    px, py, pz, energy = (columns[name].astype(np.float64) for name in ("px", "py", "pz", "energy"))
    pt = np.hypot(px, py)
    squared = energy**2 - pt**2 - pz**2
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    return {"pt": pt, "eta": eta, "phi": np.arctan2(py, px), "mass": np.sqrt(np.maximum(squared, 0))}


def reduce(function: str, values: Array, counts: NDArray[np.int64]) -> Array:
    """Return what a function of `config.expression.REDUCTIONS` makes of each row's items, shape [n]."""
    return _REDUCE[function](np.broadcast_to(values, (int(counts.sum()),)), counts)


def _mean(values: Array, counts: NDArray[np.int64]) -> Array:
    return total(values.astype(np.float64), counts) / np.maximum(counts, 1)


_REDUCE: dict[str, Callable[[Array, NDArray[np.int64]], Array]] = {
    "sum": total,
    "mean": _mean,
    "count": lambda values, counts: total(values != 0, counts),
    "max": largest,
    "min": lambda values, counts: largest(values, counts, -1),
    "any": lambda values, counts: total(values != 0, counts) > 0,
    "all": lambda values, counts: total(values != 0, counts) == counts,
}
