"""What a format of ROOT files offers to the conversion.

A format is a module of `convert.formats` with these names:

    ROWS                   what its rows are, a key of `events.layout.ROWS`, as a literal: a campaign is checked without
                           importing the module
    Config                 pydantic model of its options in a campaign; its defaults must be valid
    layout(config)         a `Layout`: what its rows are, and their columns
    opened(path, config)   context manager of a `Source`

It may have `guess(tables)`: how sure it is, from 0 to 1, that a file with these branches, by the name of their tree,
is of its kind; and `options(tables)`, the mapping to start from. `bunchtrain inspect` asks for both.

It raises `InputError` for whatever is wrong with a file, naming the file and the branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bunchtrain.errors import CampaignError
from bunchtrain.events.layout import Column, axis, required
from bunchtrain.events.ragged import Events


class Layout(NamedTuple):
    """What a format reads: the kind of its rows (see `events.layout.ROWS`), and every column, by dataset."""

    rows: str
    columns: dict[str, Column]


def layout(rows: str, sources: Mapping[str, str], more: Mapping[str, Column] | None = None) -> Layout:
    """Return a layout of the required columns, with the branches they come from, and of `more`."""
    columns = {name: replace(column, source=sources.get(name, "")) for name, column in required(rows).items()}
    for name in more or {}:
        check_new(name, rows, "convert.format.columns")
    return Layout(rows, {**columns, **(more or {})})


def check_new(dataset: str, rows: str, key: str) -> None:
    """Refuse a new column that would take the place of one of the contract, or of one computed from a four-momentum.

    Raises
    ------
    CampaignError
        Naming the column.
    """
    wanted, last = required(rows), dataset.rpartition("/")[2]
    computed = f"{axis(dataset)}/px" in wanted and last in ("pt", "eta", "phi", "mass")
    if dataset in wanted or computed:
        mend = "give the new column another name; to vary one, see convert.systematics"
        raise CampaignError("a new column would replace one of the contract", key=key, found=dataset, mend=mend)


class Batch(NamedTuple):
    """Rows read in one step.

    Attributes
    ----------
    events : Events
        The columns of the layout in GeV, rad and mm, but for those that the conversion fills in: label, file_id;
        where missing, weight (1), run_number (one for each file), event_number (the entry), and a jet's pt, eta, phi,
        mass (from its constituents).
    entries : int64 [n]
        The entry of the tree that each row comes from.
    read : int
        Entries of the tree that this step has covered, with rows or without.
    sum_of_weights : float
        Of all these entries, before any cut.
    """

    events: Events
    entries: NDArray[np.int64]
    read: int
    sum_of_weights: float


class Source(Protocol):
    """An open file."""

    @property
    def tree(self) -> str:
        """Name of the tree."""

    @property
    def entries(self) -> int:
        """Entries of the tree."""

    @property
    def generator(self) -> dict[str, Any]:
        """What the file says of its generator; empty if nothing."""

    @property
    def skipped(self) -> list[str]:
        """Branches that were wanted and could not be read, where the format can do without them."""

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the rows of the entries `start` to `stop` in file order, `step_size` of memory ("64 MB") at a time."""


class Format(Protocol):
    """The module of a format."""

    ROWS: str
    Config: type[BaseModel]

    def layout(self, config: Any) -> Layout:
        """Return what it reads."""

    def opened(self, path: Path, config: Any) -> AbstractContextManager[Source]:
        """Open a file."""
