"""Calorimeter showers: a tree with one entry per shower, the energies of its cells and the incident particle.

The cells are a branch of fixed shape (`float[14][6][6]`: layers, rows, columns), a flat list with the shape given in
the campaign, a list of any length, or one branch for each cell. All cells are kept, those with noise below 0 too.

n: showers of a step, m: their cells.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bunchtrain.config.base import Positive, Section
from bunchtrain.config.convert import Branch, MappedColumns, only_axes
from bunchtrain.convert import rootfile, rowwise
from bunchtrain.convert.extras import extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.items import ItemSource
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Columns, Events, starts

#: What the rows are: see `formats.base`.
ROWS = "showers"


class Config(Section):
    """Which branches hold cells and incident particle; the defaults are those of the project's shower samples."""

    tree: str = Field("showers", description="name of the tree, one entry per shower")
    cells: str | Annotated[list[str], Field(min_length=1)] = Field(
        "cells", description="branch with the energies of the cells, or a list of branches with one cell each"
    )
    shape: list[Positive] | None = Field(
        None, description="layers, rows, columns of a flat list of cells: `[14, 6, 6]`; null: as the branch says"
    )
    cell_units: Literal["GeV", "MeV"] = Field("GeV", description="of the cells; columns are taken as they are")
    columns: Annotated[MappedColumns, only_axes("showers", "cells")] = Field(
        {
            "showers": {
                "energy": {"branch": "exp(par[0])", "units": "GeV"},
                "x": {"branch": "10 * par[1]", "units": "mm"},
                "y": {"branch": "10 * par[2]", "units": "mm"},
                "theta": {"branch": "par[3]", "units": "rad"},
                "phi": {"branch": "par[4]", "units": "rad"},
                "dead_material": {"branch": "par[5]", "units": "X0"},
                "is_photon": {"branch": "par[6]", "dtype": "i4"},
                "noise": {"branch": "par[7]"},
                "vertex": {"branch": "par[8]"},
                "stochastic_term": {"branch": "par[9]"},
            }
        },
        validate_default=True,
        description="columns of showers, and more columns of cells; `par[3]` is an element of a branch of fixed length",
    )
    run: Branch = Field(None, description="run; null: each file counts as a run")
    event: Branch = Field("event", description="event; null: each shower counts as an event")
    weight: Branch = Field(None, description="event weight; null: 1")


Array = NDArray[Any]

_PLACES = ("layer", "row", "column")
_INDEX = {
    "index": Column("index", "i4", "1", "place among the cells of the shower"),
    **{name: Column(name, "i4", "1", f"{name} of the cell; 0 where the file does not say") for name in _PLACES},
}


class Calorimeter(ItemSource):
    """An open file of showers; see `formats.base.Source`."""

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the showers of the entries `start` to `stop`, a step at a time."""
        for first, step in self._steps(step_size, start, stop):
            energy, counts, shape = step.items(self._values)
            if self._config.shape is not None:
                shape = tuple(self._config.shape)
                step.check_counts(counts, int(np.prod(shape)), f"{rowwise.KEY}.shape", "shower")
            columns = {f"cells/{name}": values for name, values in _places(shape, counts).items()}
            columns["cells/energy"] = energy * 1e-3 if self._config.cell_units == "MeV" else energy
            columns |= self._columns(step, counts)
            yield rowwise.batch(first, step.length, Events(columns, {"cells": counts}), ROWS)


def _places(shape: tuple[int, ...] | None, counts: NDArray[np.int64]) -> Columns:
    """Return index, layer, row and column of the cells, int32 [m].

    Of one dimension the layer is known, of two row and column; what is not known is 0.
    """
    index = (np.arange(int(counts.sum())) - np.repeat(starts(counts)[:-1], counts)).astype(np.int32)
    columns: Columns = {name: np.zeros(len(index), np.int32) for name in _PLACES}
    if shape is not None and len(shape) <= 3:
        known = {1: _PLACES[:1], 2: _PLACES[1:], 3: _PLACES}[len(shape)]
        columns |= dict(zip(known, (one.astype(np.int32) for one in np.unravel_index(index, shape)), strict=True))
    return {"index": index, **columns}


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[Calorimeter]:
    """Open a file of showers.

    Raises
    ------
    InputError
        If the file cannot be read, or its tree or branches are not those of `config`.
    """
    with rootfile.opened(path) as file:
        yield Calorimeter(file, path, config, ROWS, "cells")


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    cells = config.cells if isinstance(config.cells, str) else ", ".join(config.cells)
    sources = rowwise.sources(config, ROWS)
    more = {f"cells/{name}": column for name, column in _INDEX.items()}
    return base_layout(ROWS, {**sources, "cells/energy": cells}, {**more, **extra_columns(config.columns)})


def guess(tables: Mapping[str, list[str]]) -> float:
    """Return how sure it is that a file is of this kind, from 0 to 1."""
    return max((_sure(branches) for branches in tables.values()), default=0.0)


def options(tables: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options to start from."""
    tree = max(tables, key=lambda name: _sure(tables[name]), default="showers")
    branches = tables.get(tree, [])
    if set(branches) >= _OWN:
        return {} if tree == "showers" else {"tree": tree}
    cells = _first(branches, _CELLS)
    deposits = [name for name in branches if _DEPOSIT.match(name)]
    used = {cells} if cells else set(deposits)
    number = {name for name in branches if _EVENT.match(name)}
    columns = {name: name for name in branches if name not in used | number and name.isidentifier()}
    event = next(iter(number), None)
    return {
        "tree": tree,
        "cells": cells or deposits,
        **({} if cells else {"cell_units": "MeV"}),  # Geant4's own
        "columns": {"showers": columns} if columns else {},
        "event": event,
    }


_OWN = {"cells", "par", "event"}
_CELLS = re.compile(r"(?i)(calo_?)?(cells?|showers?|voxels?|deposits?)(_?(e|energy|energies))?$")
_DEPOSIT = re.compile(r"(E|e_|edep_?|Edep_?)(abs|gap|dep|layer|calo|[0-9])\w*$", re.IGNORECASE)
_EVENT = re.compile(r"(?i)event(_?(number|id|nr))?$")


def _first(branches: list[str], pattern: re.Pattern[str]) -> str | None:
    return next((name for name in branches if pattern.match(name)), None)


def _sure(branches: list[str]) -> float:
    if set(branches) >= _OWN:
        return 0.95
    if _first(branches, _CELLS):
        return 0.6
    return 0.5 if len(branches) <= 40 and sum(bool(_DEPOSIT.match(name)) for name in branches) > 1 else 0.0
