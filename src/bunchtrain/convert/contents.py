"""What a ROOT file holds: trees, branches, how they are stored, and whether they can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunchtrain.convert import names
from bunchtrain.convert.rootfile import damage, opened
from bunchtrain.convert.table import trees
from bunchtrain.errors import BunchtrainError

#: Entries of which the values are looked at.
_ENTRIES = 200

#: Momenta in GeV have medians below, those in MeV above.
_MEV = 2000.0

_NUMBERS = "iufb"

_ALGORITHMS = {b"ZL": "ZLIB", b"XZ": "LZMA", b"L4": "LZ4", b"ZS": "ZSTD", b"CS": "ZLIB of old"}

#: ROOT 5 writes no algorithm, 0: it knew no other than ZLIB.
_CODES = {0: "ZLIB", 1: "ZLIB", 2: "LZMA", 3: "ZLIB of old", 4: "LZ4", 5: "ZSTD"}


@dataclass(frozen=True)
class Branch:
    """A branch.

    Attributes
    ----------
    name, kind : str
        Its name without those of the branches that hold it, and its C++ type.
    depth : int, optional
        0: a number for each entry, 1: a list, 2: a list of lists; None if it holds no numbers.
    dtype : str
        Of the numbers.
    units : str
        What it looks like, by name and size.
    size : int
        Bytes on disk.
    trouble : str
        Why it cannot be read.
    """

    name: str
    kind: str
    depth: int | None = None
    dtype: str = ""
    units: str = ""
    size: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Tree:
    """A tree; `compression` names what its baskets are compressed with."""

    name: str
    kind: str
    entries: int
    size: int
    unpacked: int
    compression: str
    branches: list[Branch]


def read(path: Path | str) -> list[Tree]:
    """Return the trees of a file; the first entries of every branch are read.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    with opened(path) as file:
        return [_tree(file, path, name, kind) for name, kind in trees(file, path).items()]


def _tree(file: Any, path: Path | str, name: str, kind: str) -> Tree:
    with damage(path, name):
        tree = file[name]
        entries = int(tree.num_entries)
        if kind == "ROOT::RNTuple":
            branches = [_field(tree, one, entries) for one in tree.keys(recursive=False)]
            return Tree(name, "RNTuple", entries, 0, 0, _file_compression(file), branches)
        leaves = [branch for branch in tree.itervalues(recursive=True) if len(branch.branches) == 0]
        found = [_branch(branch, entries) for branch in leaves]
        packed = sum(int(branch.compressed_bytes) for branch in leaves)
        unpacked = sum(int(branch.uncompressed_bytes) for branch in leaves)
        return Tree(name, kind, entries, packed, unpacked, _algorithm(file, name, leaves), found)


def _branch(branch: Any, entries: int) -> Branch:
    """Return what a branch of a TTree is; whatever goes wrong is told."""
    name = branch.name if branch.name.count("/") == 0 else branch.name.rpartition("/")[2]
    about: dict[str, Any] = {"name": name, "kind": "?"}
    try:
        about |= {"kind": str(branch.typename), "size": int(branch.compressed_bytes)}
        about |= _values(branch, name, entries)
    except BunchtrainError as error:
        about["trouble"] = error.problem
    except Exception as error:
        about["trouble"] = _short(error)
    return Branch(**about)


def _field(tree: Any, name: str, entries: int) -> Branch:
    """Return what a field of an RNTuple is."""
    about: dict[str, Any] = {"name": name, "kind": "?"}
    try:
        about["kind"] = str(tree[name].typename)
        about |= _values(tree[name], name, entries)
    except Exception as error:
        about["trouble"] = _short(error)
    return Branch(**about)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:50]}"


def _values(branch: Any, name: str, entries: int) -> dict[str, Any]:
    """Read the first entries and return shape and unit."""
    import awkward as ak

    if type(getattr(branch, "interpretation", None)).__name__ == "UnknownInterpretation":
        return {"trouble": "uproot does not know this type"}
    array = branch.array(entry_stop=min(entries, _ENTRIES))
    kind, depth = array.type.content, 0
    while isinstance(kind, ak.types.ListType | ak.types.RegularType):
        if kind.parameter("__array__") in ("string", "bytestring"):
            return {}
        kind, depth = kind.content, depth + 1
    if not isinstance(kind, ak.types.NumpyType) or np.dtype(kind.primitive).kind not in _NUMBERS:
        return {}
    flat = np.asarray(ak.to_numpy(ak.flatten(array, axis=None)))
    return {"depth": depth, "dtype": kind.primitive, "units": _unit(name, flat)}


def _unit(name: str, values: np.ndarray) -> str:
    """Return the unit that name and size of values speak for."""
    unit = names.units(name) if values.dtype.kind == "f" else ""
    unit = "mm or cm" if unit == "mm" else unit  # experiments differ, and a name does not tell
    if unit != "GeV":
        return unit
    with np.errstate(all="ignore"):
        known = np.abs(values[np.isfinite(values) & (values != 0)])
    return "MeV" if len(known) and float(np.median(known)) > _MEV else "GeV"


def _algorithm(file: Any, tree: str, leaves: list[Any]) -> str:
    """Return what a tree is compressed with, by first bytes: what files and branches say of it may be wrong.

    Baskets that would not get smaller are not compressed, so the branch that saves most is looked at. Trees with few
    entries hold their baskets, and are compressed as a whole.
    """
    try:
        stored = [branch for branch in leaves if branch.num_baskets]
        best = max(stored, key=lambda branch: branch.uncompressed_bytes - branch.compressed_bytes, default=None)
        keys = [file.key(tree)] if best is None else map(best.basket_key, range(best.num_baskets))
        packed = (key for key in keys if key.data_compressed_bytes < key.data_uncompressed_bytes)
        if (key := next(packed, None)) is None:
            return "uncompressed"
        start = int(key.data_cursor.index)
        mark = bytes(file.file.source.chunk(start, start + 2).raw_data[:2])
        return _ALGORITHMS.get(mark, "unknown compression")
    except Exception:  # of no use beyond the display
        return "unknown compression"


def _file_compression(file: Any) -> str:
    """Return what a file says of its compression: a hundred times the algorithm, and the level."""
    try:
        algorithm, level = divmod(int(file.file.fCompress), 100)
    except Exception:  # of no use beyond the display
        return "unknown compression"
    return _CODES.get(algorithm, "unknown compression") if level else "uncompressed"


def unreadable(tree: Tree) -> Iterator[Branch]:
    """Yield the branches that cannot be read."""
    return (branch for branch in tree.branches if branch.trouble)
