"""The event contract: which datasets an HDF5 file of events holds, with units, and how a file is checked against it.

    jets/<column>              one value per jet
    constituents/<column>      flat float32, jet after jet, within a jet by falling pt
    constituents/offsets       int64 [N + 1]: jet i owns the rows offsets[i] to offsets[i + 1]

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
    """One column of the contract."""

    name: str
    dtype: str
    units: str
    description: str


JETS = (
    Column("pt", "f4", "GeV", "transverse momentum"),
    Column("eta", "f4", "1", "pseudorapidity"),
    Column("phi", "f4", "rad", "azimuth"),
    Column("mass", "f4", "GeV", "mass"),
    Column("label", "i4", "1", "class, as index into the file's attribute classes"),
    Column("weight", "f4", "1", "event weight"),
    Column("run_number", "u8", "1", "run"),
    Column("event_number", "u8", "1", "event; the jets of one event share it"),
    Column("file_id", "i4", "1", "input file, as index into the file's attribute source_files"),
)

CONSTITUENTS = (
    Column("px", "f4", "GeV", "momentum along x"),
    Column("py", "f4", "GeV", "momentum along y"),
    Column("pz", "f4", "GeV", "momentum along the beam"),
    Column("energy", "f4", "GeV", "energy"),
)


def check(path: str | Path) -> int:
    """Check a file against the contract and return its number of jets.

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


def _check_open(file: h5py.File, path: str | Path) -> int:
    version = file.attrs.get("contract")
    if version != CONTRACT:
        mend = "convert the ROOT files again"
        raise ContractError("a file follows another contract", file=path, found=version, expected=CONTRACT, mend=mend)
    for group, columns in (("jets", JETS), ("constituents", CONSTITUENTS)):
        for column in columns:
            if f"{group}/{column.name}" not in file:
                found = list(file.get(group, {}))
                raise ContractError("a column is missing", file=path, key=f"{group}/{column.name}", found=found)
    n_jets = len(file["jets/pt"])
    for column in JETS:
        if len(file[f"jets/{column.name}"]) != n_jets:
            raise ContractError("columns differ in length", file=path, key=f"jets/{column.name}", expected=n_jets)
    offsets = file["constituents/offsets"][:]
    if len(offsets) != n_jets + 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
        raise ContractError("offsets do not partition the constituents", file=path, key="constituents/offsets")
    for column in CONSTITUENTS:
        if len(file[f"constituents/{column.name}"]) != offsets[-1]:
            key = f"constituents/{column.name}"
            raise ContractError("a column's length is not the last offset", file=path, key=key, expected=offsets[-1])
    return n_jets
