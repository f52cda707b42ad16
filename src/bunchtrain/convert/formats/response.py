"""Responses of anything: a tree with one entry per row, its parameters as columns and its quantities as a branch.

The quantities are a branch of fixed shape (`float[3]`), a list as long in every entry, or one branch for each. The
defaults are those of the project's probes of a magnetic field.

n: rows of a step, m: their quantities.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, only_axes
from bunchtrain.convert import rootfile, rowwise
from bunchtrain.convert.extras import extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.items import ItemSource
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Events

#: What the rows are: see `formats.base`.
ROWS = "responses"


class Config(Section):
    """Which branches hold quantities and parameters; the defaults are those of the project's probes of a field."""

    tree: str = Field("responses", description="name of the tree, one entry per row")
    quantities: str | Annotated[list[str], Field(min_length=1)] = Field(
        "quantities", description="branch with the quantities, as many in every entry, or a list of branches"
    )
    columns: Annotated[MappedColumns, only_axes("responses", "quantities")] = Field(
        {
            "responses": {
                "x": {"branch": "par[0]", "units": "mm"},
                "y": {"branch": "par[1]", "units": "mm"},
                "z": {"branch": "par[2]", "units": "mm"},
                "true_x": {"branch": "true[0]", "units": "T"},
                "true_y": {"branch": "true[1]", "units": "T"},
                "true_z": {"branch": "true[2]", "units": "T"},
            }
        },
        validate_default=True,
        description="parameters and further columns, also of quantities; `par[2]` is an element of a branch",
    )
    run: Branch = Field(None, description="run; null: each file counts as a run")
    event: Branch = Field("event", description="event; null: each row counts as an event")
    weight: Branch = Field(None, description="event weight; null: 1")


_INDEX = {"quantities/index": Column("index", "i4", "1", "place among the quantities of the row")}
_OWN = {"quantities", "par", "true", "event"}
_QUANTITIES = re.compile(r"(?i)(quantities|targets?|outputs?)$")
_EVENT = re.compile(r"(?i)event(_?(number|id|nr))?$")


class Responses(ItemSource):
    """An open file of responses; see `formats.base.Source`."""

    _width: int | None = None

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the rows of the entries `start` to `stop`, a step at a time."""
        for first, step in self._steps(step_size, start, stop):
            values, counts, _ = step.items(self._values)
            self._width = int(counts[0]) if self._width is None else self._width
            step.check_counts(counts, self._width, f"{rowwise.KEY}.quantities", "row")
            columns = {"quantities/value": values, **self._columns(step, counts)}
            columns["quantities/index"] = np.tile(np.arange(self._width, dtype=np.int32), len(counts))
            yield rowwise.batch(first, step.length, Events(columns, {"quantities": counts}), ROWS)


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[Responses]:
    """Open a file of responses.

    Raises
    ------
    InputError
        If the file cannot be read, or its tree or branches are not those of `config`.
    """
    with rootfile.opened(path) as file:
        yield Responses(file, path, config, ROWS, "quantities")


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    quantities = config.quantities if isinstance(config.quantities, str) else ", ".join(config.quantities)
    sources = {**rowwise.sources(config, ROWS), "quantities/value": quantities}
    return base_layout(ROWS, sources, {**_INDEX, **extra_columns(config.columns)})


def guess(tables: Mapping[str, list[str]]) -> float:
    """Return how sure it is that a file is of this kind, from 0 to 1."""
    return max((_sure(branches) for branches in tables.values()), default=0.0)


def options(tables: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options to start from."""
    tree = max(tables, key=lambda name: _sure(tables[name]), default="responses")
    branches = tables.get(tree, [])
    if set(branches) >= _OWN:
        return {} if tree == "responses" else {"tree": tree}
    quantities = next((name for name in branches if _QUANTITIES.match(name)), "quantities")
    event = next((name for name in branches if _EVENT.match(name)), None)
    columns = {name: name for name in branches if name not in (quantities, event) and name.isidentifier()}
    return {
        "tree": tree,
        "quantities": quantities,
        "columns": {"responses": columns} if columns else {},
        "event": event,
    }


def _sure(branches: list[str]) -> float:
    if set(branches) >= _OWN:
        return 0.95
    return 0.4 if any(_QUANTITIES.match(name) for name in branches) else 0.0
