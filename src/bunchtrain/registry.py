"""Kinds by file name: `models/gnn.py` is the kind `gnn` of `models`; other packages add kinds by entry point.

An entry point group is called `bunchtrain.<family>`, its name is the kind, its value the module.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from bunchtrain.errors import CampaignError

#: A module that is not a kind: the family's shared protocol.
SHARED = "base"

_DECLARATIVE = ("__future__", "typing", "collections", "pydantic", "bunchtrain.config")


@functools.cache
def _modules(family: str) -> dict[str, str]:
    spec = importlib.util.find_spec(f"bunchtrain.{family}")
    if spec is None:
        raise LookupError(f"no family of kinds is called {family}")
    found = {
        module.name: f"bunchtrain.{family}.{module.name}"
        for module in pkgutil.iter_modules(spec.submodule_search_locations)
        if module.name != SHARED and not module.name.startswith("_")
    }
    outside = importlib.metadata.entry_points(group=f"bunchtrain.{family}")
    return {**{entry.name: entry.value for entry in outside}, **found}


def kinds(family: str) -> list[str]:
    """Return the names of the kinds of a family, e.g. `kinds("models")`, without importing them."""
    return sorted(_modules(family))


def _module_name(family: str, kind: str, key: str | None) -> str:
    try:
        return _modules(family)[kind]
    except KeyError:
        problem = "no kind of this name is installed"
        raise CampaignError(problem, key=key, found=kind, choices=kinds(family)) from None


def load(family: str, kind: str, key: str | None = None) -> ModuleType:
    """Import the module of one kind.

    Raises
    ------
    CampaignError
        If no such kind exists; `key` says where in the campaign it was named.
    """
    return importlib.import_module(_module_name(family, kind, key))


@functools.cache
def constant(family: str, kind: str, name: str, key: str | None = None) -> Any:
    """Return what the module of a kind sets `name` to, a literal at its top level, without importing the module.

    None if it sets no such name.

    Raises
    ------
    CampaignError
        If there is no such kind, or the name stands for something that would have to be computed.
    """
    tree, _, origin = _source(family, kind, key)
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                problem, found = "a constant of a kind is no literal", ast.unparse(node)
                raise CampaignError(problem, file=origin, key=key, found=found, expected="a text or number") from None
    return None


@functools.cache
def declared(family: str, kind: str, key: str | None = None) -> type[BaseModel]:
    """Return the `Config` of a kind without importing its module.

    A campaign is checked when Snakemake parses the DAG, where importing torch would cost seconds. So only the module's
    declarative imports and its class `Config` are executed.
    """
    tree, name, origin = _source(family, kind, key)
    body: list[ast.stmt] = [node for node in tree.body if _is_declarative(node)]
    namespace: dict[str, object] = {"__name__": name}
    exec(compile(ast.Module(body=body, type_ignores=[]), origin, "exec"), namespace)
    config = namespace.get("Config")
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise CampaignError("the module of a kind declares no class Config", file=origin, key=key)
    config.model_rebuild(force=True, _types_namespace=namespace)
    return config


def _source(family: str, kind: str, key: str | None) -> tuple[ast.Module, str, str]:
    """Return the parsed module of a kind, its name and its file."""
    name = _module_name(family, kind, key)
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise CampaignError("the module of a kind cannot be found", key=key, found=name, mend="reinstall its package")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")), name, spec.origin


def _is_declarative(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith(_DECLARATIVE)
    return isinstance(node, ast.ClassDef) and node.name == "Config"
