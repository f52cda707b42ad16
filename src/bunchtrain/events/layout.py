"""The event contract: which datasets an HDF5 file of events holds, with units, and how a file is checked against it.

    jets/<column>                         one value per jet
    constituents/<column>                 flat float32, jet after jet, within a jet by falling pt
    constituents/offsets                  int64 [N + 1]: jet i owns the rows offsets[i] to offsets[i + 1]
    <collection>/<column>, .../offsets    likewise: tracks, cells, hits, particles
    systematics/<variation>/jets/<column> a column as a systematic variation has it; likewise for collections

A file's rows are jets, showers (in a calorimeter, with cells), events (in a tracker, with hits, and the true particles
where known) or responses (of anything: quantities that follow from parameters): attribute `rows`.
The name before the last stroke of a dataset is its axis: what it has one value for.

Readable by h5py alone. Every dataset carries `units`, `description` and `source_branch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from bunchtrain.errors import ContractError

#: Raised when a file of an older version can no longer be read.
CONTRACT = 1


@dataclass(frozen=True)
class Column:
    """One column of the contract; `source` is the branch or expression it comes from."""

    name: str
    dtype: str
    units: str
    description: str
    source: str = ""


KINEMATICS = (
    Column("pt", "f4", "GeV", "transverse momentum"),
    Column("eta", "f4", "1", "pseudorapidity"),
    Column("phi", "f4", "rad", "azimuth"),
    Column("mass", "f4", "GeV", "mass"),
)

COMMON = (
    Column("label", "i4", "1", "class, as index into the file's attribute classes"),
    Column("weight", "f4", "1", "event weight"),
    Column("run_number", "u8", "1", "run"),
    Column("event_number", "u8", "1", "event; the jets of one event share it"),
    Column("file_id", "i4", "1", "input file, as index into the file's attribute source_files"),
)

JETS = KINEMATICS + COMMON

CONSTITUENTS = (
    Column("px", "f4", "GeV", "momentum along x"),
    Column("py", "f4", "GeV", "momentum along y"),
    Column("pz", "f4", "GeV", "momentum along the beam"),
    Column("energy", "f4", "GeV", "energy"),
)

CELLS = (Column("energy", "f4", "GeV", "energy deposited in the cell"),)

QUANTITIES = (Column("value", "f4", "1", "value of the quantity, in units of its own"),)

HITS = (
    Column("x", "f4", "mm", "place along x"),
    Column("y", "f4", "mm", "place along y"),
    Column("z", "f4", "mm", "place along the beam"),
)

#: What the rows of a file may be, with the columns that it must have, by axis.
ROWS: dict[str, dict[str, tuple[Column, ...]]] = {
    "jets": {"jets": JETS, "constituents": CONSTITUENTS},
    "showers": {"showers": COMMON, "cells": CELLS},
    "events": {"events": COMMON, "hits": HITS},
    "responses": {"responses": COMMON, "quantities": QUANTITIES},
}

#: Collections that a row may own items of.
COLLECTIONS = ("constituents", "tracks", "cells", "hits", "particles", "quantities")

SYSTEMATICS = "systematics"


def axis(dataset: str) -> str:
    """Return what a dataset has one value for, e.g. `jets` for `jets/pt` and for `systematics/up/jets/pt`."""
    return dataset.split("/")[-2]


def required(rows: str) -> dict[str, Column]:
    """Return the columns that a file must have, by dataset."""
    return {f"{name}/{column.name}": column for name, columns in ROWS[rows].items() for column in columns}


def check(path: str | Path) -> int:
    """Check a file against the contract and return its number of rows.

    Raises
    ------
    ContractError
        Naming the file, the dataset and what is wrong with it.
    """
    try:
        with h5py.File(path) as file:
            return _check_open(file, path)
    except OSError as error:
        raise ContractError("a file is not readable HDF5", file=path, found=error) from None


def datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the columns of an open file, by name, without offsets."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and "/" in name and not name.endswith("/offsets"):
            found[name] = item

    file.visititems(visit)
    return found


def _check_open(file: h5py.File, path: str | Path) -> int:
    version = file.attrs.get("contract")
    if version != CONTRACT:
        mend = "convert the ROOT files again"
        raise ContractError("a file follows another contract", file=path, found=version, expected=CONTRACT, mend=mend)
    rows = str(file.attrs.get("rows", "jets"))
    if rows not in ROWS:
        raise ContractError("a file holds rows of an unknown kind", file=path, key="rows", found=rows, choices=ROWS)
    for name in required(rows):
        if name not in file:
            found = list(file.get(axis(name), {}))
            raise ContractError("a column is missing", file=path, key=name, found=found)
    lengths = {rows: len(file[f"{rows}/label"])}
    for collection in COLLECTIONS:
        if collection in file:
            lengths[collection] = _check_offsets(file, path, collection, lengths[rows])
    for name, dataset in datasets(file).items():
        length = lengths.get(axis(name))
        if length is not None and len(dataset) != length:
            problem = "columns differ in length" if axis(name) == rows else "a column's length is not the last offset"
            raise ContractError(problem, file=path, key=name, found=len(dataset), expected=length)
    return lengths[rows]


def _check_offsets(file: h5py.File, path: str | Path, collection: str, rows: int) -> int:
    key = f"{collection}/offsets"
    offsets = file[key][:] if key in file else np.zeros(0)
    if len(offsets) != rows + 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
        raise ContractError(f"offsets do not partition the {collection}", file=path, key=key)
    return int(offsets[-1])
