"""The formulas of a campaign, such as `abs(eta) < 2.5 and pt > 30`: what they may hold, checked, not evaluated.

A formula is arithmetic, comparison, `and`, `or`, `not` and the functions below over names of columns or branches. A
name may hold dots (`constituents.pt`, `Jet.PT`).
"""

from __future__ import annotations

import ast
import difflib
from typing import Annotated

from pydantic import AfterValidator, Field

#: Functions of numbers, one result for each, with how many they take.
FUNCTIONS = {
    **dict.fromkeys(["abs", "sqrt", "exp", "log", "log10", "log1p", "sign", "floor", "isfinite"], 1),
    **dict.fromkeys(["sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh"], 1),
    **dict.fromkeys(["arctan2", "hypot", "minimum", "maximum", "delta_phi"], 2),
    **dict.fromkeys(("where",), 3),
    **dict.fromkeys(("delta_r",), 4),
}

#: Functions of a collection, one result for each row: `sum(constituents.pt)`.
REDUCTIONS = ("sum", "count", "max", "min", "mean", "any", "all")

_NODES = (
    ast.Expression,
    ast.Name,
    ast.Attribute,
    ast.Load,
    ast.Constant,
    ast.UnaryOp,
    ast.USub,
    ast.UAdd,
    ast.Not,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Mod,
    ast.Pow,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.Compare,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.Eq,
    ast.NotEq,
    ast.Call,
)


def parse(text: str) -> ast.expr:
    """Return the formula as a tree.

    Raises
    ------
    ValueError
        If it is no formula, or holds something that formulas do not have.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        what = error.msg if isinstance(error, SyntaxError) else error
        raise ValueError(f"a formula of columns, e.g. pt > 30 and abs(eta) < 2.5 ({what})") from None
    for node in nodes:
        _check(node)
    return tree


def _check(node: ast.AST) -> None:
    if not isinstance(node, _NODES):
        hint = "; write and, or, not" if isinstance(node, ast.BitAnd | ast.BitOr | ast.Invert) else ""
        raise ValueError(f"a formula without {type(node).__name__}{hint}")
    if isinstance(node, ast.Constant) and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
        raise ValueError(f"numbers in a formula, not {node.value!r}")
    if isinstance(node, ast.Attribute):
        name(node)
    if isinstance(node, ast.Call):
        _check_call(node)


def _check_call(call: ast.Call) -> None:
    known = [*FUNCTIONS, *REDUCTIONS]
    function = call.func.id if isinstance(call.func, ast.Name) else ast.unparse(call.func)
    if function not in known:
        near = difflib.get_close_matches(function, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ValueError(f"a function that formulas have, not {function} ({hint})")
    wanted = FUNCTIONS.get(function, 1)
    if call.keywords or len(call.args) != wanted:
        raise ValueError(f"{wanted} argument{'s' * (wanted > 1)} of {function}, found {ast.unparse(call)}")


def name(node: ast.expr) -> str:
    """Return a name with its dots, e.g. `Jet.PT`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name(node.value)}.{node.attr}"
    raise ValueError(f"a name of a column, not {ast.unparse(node)}")


def names(tree: ast.expr) -> list[str]:
    """Return the columns or branches that a formula reads, in order of appearance."""
    if isinstance(tree, ast.Name | ast.Attribute):
        return [name(tree)]
    children = tree.args if isinstance(tree, ast.Call) else ast.iter_child_nodes(tree)
    return list(dict.fromkeys(one for node in children if isinstance(node, ast.expr) for one in names(node)))


def _checked(text: str) -> str:
    parse(text)
    return text.strip()


#: A formula in a campaign.
Formula = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_checked)]
