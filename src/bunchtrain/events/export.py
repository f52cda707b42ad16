"""The padded, structured layout that tools of flavour tagging read: one record per jet, a fixed number of tracks each.

jets     [N]      one record per jet, all jet columns; `flavour_label` is the class
tracks   [N, P]   one record per track, all columns of a collection, and `valid`: false where padded
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import BunchtrainError, ContractError, InputError
from bunchtrain.events.layout import CONTRACT, datasets
from bunchtrain.events.ragged import within
from bunchtrain.events.splits import SPLITS
from bunchtrain.files import atomic, disk_errors

#: Jets copied at a time, which are also the rows of a chunk.
_STEP = 8192
_CHUNK = 256


def export(
    source: Path,
    out: Path,
    *,
    collection: str = "constituents",
    width: int = 40,
    name: str = "tracks",
    split: str | None = None,
    columns: Sequence[str] = (),
) -> int:
    """Write a shard of `convert`, or the index of `prepare`, in the padded layout, and return the number of jets.

    Parameters
    ----------
    source : path
        HDF5 file under the event contract.
    out : path
        HDF5 file to write.
    collection : str
        What the tracks are: constituents, tracks, cells or hits.
    width : int
        Tracks per jet, the first ones; jets with fewer are padded with zeros.
    name : str
        Name of the dataset of tracks.
    split : str, optional
        Only the jets of this split; for an index.
    columns : sequence of str, optional
        The columns of the collection that are written, in this order; all of them without it.

    Raises
    ------
    InputError
        If there is no such collection or split.
    ContractError
        If the file does not follow the contract.
    BunchtrainError
        If the disk is full; nothing is left of the output.
    """
    try:
        with h5py.File(source) as file:
            rows = str(file.attrs.get("rows", "jets"))
            if file.attrs.get("contract") != CONTRACT or rows != "jets":
                found = rows if file.attrs.get("contract") == CONTRACT else file.attrs.get("contract")
                raise ContractError("a file holds no jets under the contract", file=source, found=found)
            plan = _Export(file, source, collection, width, columns)
            chosen = _chosen(file, source, split)
            _check_target(source, out, name, plan.bytes * len(chosen))
            with disk_errors(out), atomic(out) as temporary, h5py.File(temporary, "w") as target:
                return plan.write(target, name, chosen)
    except OSError as error:
        raise ContractError("a file is not readable HDF5", file=source, found=error) from None


def _check_target(source: Path, out: Path, name: str, size: int) -> None:
    """Refuse what would lose something, or fill the disk: HDF5 does not survive that."""
    if not name.isidentifier() or name == "jets":
        raise InputError("the tracks need a name of their own", key="--name", found=repr(name), expected="e.g. tracks")
    if out.exists() and out.samefile(source):
        raise InputError("the output is the input", file=out, key="--out", mend="name another file")
    if out.exists() and h5py.is_hdf5(out):
        with h5py.File(out) as file:
            if "contract" in file.attrs:
                mend = "name another file, or remove this one"
                raise InputError("the output is a file of a campaign", file=out, key="--out", mend=mend)
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if size > free:
        found, mend = f"{free / 1e6:.0f} MB are free, up to {size / 1e6:.0f} are needed", "make room and run again"
        raise BunchtrainError("the disk is too full", file=out, found=found, mend=mend)


def _chosen(file: h5py.File, source: Path, split: str | None) -> NDArray[np.int64]:
    """Return the jets that are written."""
    if split is None:
        return np.arange(len(file["jets/label"]))
    if split not in SPLITS:
        raise InputError("there is no such split", found=split, choices=SPLITS)
    if "jets/split" not in file:
        mend = "name dataset.h5 of the stage prepare"
        raise InputError("a file has no splits", file=source, key="--split", found=split, mend=mend)
    return np.flatnonzero(file["jets/split"][:] == SPLITS.index(split))


class _Export:
    def __init__(self, file: h5py.File, source: Path, collection: str, width: int, wanted: Sequence[str] = ()) -> None:
        if width < 1:
            raise InputError("a jet needs room for at least one track", key="--width", found=width)
        columns = datasets(file)
        self._jets = _columns(columns, "jets")
        self._tracks = _columns(columns, collection)
        if not self._tracks or f"{collection}/offsets" not in file:
            known = [one for one in file if f"{one}/offsets" in file]
            raise InputError("a file has no such collection", file=source, found=collection, choices=known)
        for name in wanted:
            if name not in self._tracks:
                raise InputError("a collection has no such column", file=source, found=name, choices=self._tracks)
        self._tracks = {name: self._tracks[name] for name in wanted or self._tracks}
        self._file, self._offsets, self._width = file, file[f"{collection}/offsets"][:], width
        of_jets = sum(one.dtype.itemsize for one in self._jets.values())
        self.bytes = of_jets + width * (1 + sum(one.dtype.itemsize for one in self._tracks.values()))

    def write(self, target: h5py.File, name: str, chosen: NDArray[np.int64]) -> int:
        kinds = [("flavour_label" if key == "label" else key, one.dtype) for key, one in self._jets.items()]
        jets = _dataset(target, "jets", (len(chosen),), np.dtype(kinds))
        kinds = [*((key, one.dtype) for key, one in self._tracks.items()), ("valid", np.dtype(bool))]
        tracks = _dataset(target, name, (len(chosen), self._width), np.dtype(kinds))
        for start in range(0, len(chosen), _STEP):
            rows = chosen[start : start + _STEP]
            # A run of jets in one piece: what was not chosen in between is read and left out.
            first, last = int(rows[0]), int(rows[-1]) + 1
            jets[start : start + len(rows)] = self._records(first, last)[rows - first]
            tracks[start : start + len(rows)] = self._padded(first, last)[rows - first]
        for key in ("classes", "sample", "sum_of_weights", "generator"):
            if key in self._file.attrs:
                target.attrs[key] = self._file.attrs[key]
        return len(chosen)

    def _records(self, first: int, last: int) -> NDArray[Any]:
        kinds = [("flavour_label" if key == "label" else key, one.dtype) for key, one in self._jets.items()]
        records = np.zeros(last - first, np.dtype(kinds))
        for (key, _), one in zip(kinds, self._jets.values(), strict=True):
            records[key] = one[first:last]
        return records

    def _padded(self, first: int, last: int) -> NDArray[Any]:
        offsets = self._offsets[first : last + 1]
        kinds = [*((key, one.dtype) for key, one in self._tracks.items()), ("valid", np.dtype(bool))]
        records = np.zeros((last - first, self._width), np.dtype(kinds))
        counts = np.minimum(np.diff(offsets), self._width)
        records["valid"] = np.arange(self._width) < counts[:, None]
        places = within(offsets[:-1] - offsets[0], counts)
        for key, one in self._tracks.items():
            records[key][records["valid"]] = one[offsets[0] : offsets[-1]][places]
        return records


def _columns(columns: dict[str, h5py.Dataset], axis: str) -> dict[str, h5py.Dataset]:
    found = {name.partition("/")[2]: one for name, one in columns.items() if name.partition("/")[0] == axis}
    return {name: one for name, one in found.items() if "/" not in name}


def _dataset(target: h5py.File, name: str, shape: Sequence[int], kind: np.dtype[Any]) -> h5py.Dataset:
    if shape[0] == 0:
        return target.create_dataset(name, tuple(shape), kind)
    chunks = (min(_CHUNK, shape[0]), *shape[1:])
    return target.create_dataset(name, tuple(shape), kind, chunks=chunks, compression="lzf", shuffle=True)
