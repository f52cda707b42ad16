"""Write events under the contract: contiguous, uncompressed, so that readers can memory-map them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError
from bunchtrain.events.layout import CONTRACT, Column, axis, check, required
from bunchtrain.events.ragged import Events
from bunchtrain.events.spool import Spool
from bunchtrain.files import atomic

_OFFSETS = Column("offsets", "i8", "1", "first item of each row, then the end")

#: Bytes kept in memory before they go to temporary files.
KEPT = 1 << 28


@contextlib.contextmanager
def in_memory(path: Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file that is made in memory and then written to `path`: HDF5 does not survive a full disk."""
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)


class EventWriter:
    """Gathers events step by step, in memory bounded by `KEPT`, and writes them as one file in the end.

    What is beyond that goes to nameless temporary files in `folder`. Use `write_events` when everything is in memory.

    Parameters
    ----------
    folder : path
        For the temporary files: on the disk of the output.
    layout : mapping, optional
        Columns by dataset, beside those that the contract requires.
    rows : str
        What the rows are: see `layout.ROWS`.
    """

    def __init__(self, folder: str | Path, layout: Mapping[str, Column] | None = None, rows: str = "jets") -> None:
        self.rows = rows
        self.layout = {**required(rows), **(layout or {})}
        axes = dict.fromkeys(axis(name) for name in self.layout)
        self._lengths = dict.fromkeys(axes, 0)
        self._collections = [name for name in axes if name != rows]
        names = [*self.layout, *(f"{name}/counts" for name in self._collections)]
        self._spools = {name: Spool(folder, self.layout.get(name, _OFFSETS).dtype) for name in names}

    def __enter__(self) -> EventWriter:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the temporary files."""
        self.close()

    def __len__(self) -> int:
        """Return how many rows it holds."""
        return self._lengths[self.rows]

    def append(self, events: Events, *, source: str | Path | None = None) -> None:
        """Append events.

        Parameters
        ----------
        events : Events
            With all columns of the layout; others are not kept.
        source : path, optional
            The file they come from, for the error's sake.

        Raises
        ------
        ContractError
            If a column is missing or has another length, or a value is not finite in the column's precision.
        """
        lengths = {name: int(np.sum(events.counts[name])) for name in self._collections}
        lengths[self.rows] = len(events.columns[f"{self.rows}/weight"])
        ready = {}
        for name, column in self.layout.items():
            if name not in events.columns:
                raise ContractError("a column is missing", file=source, key=name, choices=events.columns)
            ready[name] = _checked(events.columns[name], column, name, lengths[axis(name)], source)
        for name in self._collections:
            counts = events.counts[name]
            ready[f"{name}/counts"] = _checked(counts, _OFFSETS, f"{name}/counts", lengths[self.rows], source)
        for name, values in ready.items():
            self._spools[name].append(values)
        if sum(spool.memory for spool in self._spools.values()) > KEPT:
            for spool in self._spools.values():
                spool.spill()
        for name, length in lengths.items():
            self._lengths[name] += length

    def mark(self) -> dict[str, int]:
        """Return the present lengths, for `rollback`."""
        return dict(self._lengths)

    def rollback(self, mark: Mapping[str, int]) -> None:
        """Forget what was appended since `mark`."""
        for name, spool in self._spools.items():
            counts = name.endswith("/counts") and name not in self.layout
            spool.cut(mark[self.rows if counts else axis(name)])
        self._lengths = dict(mark)

    def finish(self, path: Path, attributes: Mapping[str, Any]) -> None:
        """Write all events to the HDF5 file `path`.

        Parameters
        ----------
        path : path
            Replaced if it exists; make it atomic outside.
        attributes : mapping
            Attributes of the file.
        """
        names = [f"{name}/offsets" for name in self._collections]
        columns = {**self.layout, **dict.fromkeys(names, _OFFSETS)}
        sizes = {name: self._length(name) * np.dtype(column.dtype).itemsize for name, column in columns.items()}
        with path.open("wb") as stream:
            stream.truncate(sum(sizes.values()))  # a limit of the system speaks here, and not inside HDF5
        with h5py.File(path, "w") as out:
            out.attrs["contract"] = CONTRACT
            out.attrs["rows"] = self.rows
            out.attrs.update(attributes)
            places = {name: self._create(out, name, column) for name, column in columns.items()}
        # HDF5 does not survive a disk that fills up under it: it lays the file out, and the values are written here.
        with path.open("r+b") as stream:
            for name, place in places.items():
                if place is not None:
                    stream.seek(place)
                    for values in self._values(name):
                        stream.write(np.ascontiguousarray(values).data)

    def _length(self, name: str) -> int:
        """Return how many values a dataset has."""
        return self._lengths[self.rows] + 1 if name.endswith("/offsets") else self._lengths[axis(name)]

    def _create(self, out: h5py.File, name: str, column: Column) -> int | None:
        """Make a dataset without values and return its place in the file; None for one that has none."""
        options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        options.set_obj_track_times(False)
        options.set_layout(h5py.h5d.CONTIGUOUS)
        options.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        options.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        group, _, last = name.rpartition("/")
        kind = h5py.h5t.py_create(np.dtype(column.dtype), logical=True)
        space = h5py.h5s.create_simple((self._length(name),))
        h5py.h5d.create(out.require_group(group).id, last.encode(), kind, space, dcpl=options)
        describe(out[name], column)
        place: int | None = out[name].id.get_offset()
        return place

    def _values(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the values of a dataset, a piece at a time."""
        collection, _, last = name.rpartition("/")
        if last != "offsets":
            yield from self._spools[name].pieces()
            return
        end = 0
        yield np.zeros(1, _OFFSETS.dtype)
        for counts in self._spools[f"{collection}/counts"].pieces():
            ends = end + np.cumsum(counts, dtype=_OFFSETS.dtype)
            end = int(ends[-1]) if len(ends) else end
            yield ends

    def close(self) -> None:
        """Close the temporary files, which removes them."""
        for spool in self._spools.values():
            spool.close()


def _checked(values: NDArray[Any], column: Column, name: str, length: int, source: str | Path | None) -> NDArray[Any]:
    """Return values in a column's precision."""
    if len(values) != length:
        raise ContractError("columns differ in length", file=source, key=name, found=len(values), expected=length)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(values, column.dtype)
    if converted.dtype.kind in "iu" and converted.dtype != values.dtype:
        wrong = np.flatnonzero((converted != values) | ((converted < 0) != (values < 0)))
        if len(wrong):
            found = f"{values[wrong[0]]} in row {wrong[0]} of a step"
            problem = "a value is not a whole number of the column's range"
            raise ContractError(problem, file=source, key=name, found=found, expected=column.dtype)
    if converted.dtype.kind == "f" and not np.isfinite(converted).all():
        bad = int(np.flatnonzero(~np.isfinite(converted))[0])
        found = f"{values[bad]} in row {bad} of a step"
        raise ContractError("a value is not a finite number", file=source, key=name, found=found, expected=column.dtype)
    return converted


def describe(dataset: h5py.Dataset, column: Column) -> None:
    """Attach units, description and source branch to a dataset."""
    dataset.attrs.update(units=column.units, description=column.description, source_branch=column.source)


def write_events(
    path: str | Path,
    events: Events,
    *,
    attributes: Mapping[str, Any],
    layout: Mapping[str, Column] | None = None,
    rows: str = "jets",
) -> None:
    """Write events that are in memory to `path`, atomically, and check the file against the contract."""
    with atomic(path) as temporary, EventWriter(temporary.parent, layout, rows) as writer:
        writer.append(events)
        writer.finish(temporary, attributes)
        check(temporary)
