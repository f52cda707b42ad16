"""Write events under the contract: contiguous, uncompressed, so that readers can memory-map them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError
from bunchtrain.events.layout import CONTRACT, Column, axis, check, required
from bunchtrain.events.ragged import Events
from bunchtrain.files import atomic

_OFFSETS = Column("offsets", "i8", "1", "first item of each row, then the end")

#: Values copied at a time.
_STEP = 1 << 20


class EventWriter:
    """Gathers events step by step, in memory bounded by one step, and writes them as one file in the end.

    While it is being filled, each column is a nameless temporary file in `folder`: it vanishes with the process,
    however that ends. Use `write_events` when everything is in memory.

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
        self._streams: dict[str, IO[bytes]] = {name: tempfile.TemporaryFile(dir=folder) for name in names}  # noqa: SIM115

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
            self._streams[name].write(values.data)
        for name, length in lengths.items():
            self._lengths[name] += length

    def mark(self) -> dict[str, int]:
        """Return the present lengths, for `rollback`."""
        return dict(self._lengths)

    def rollback(self, mark: Mapping[str, int]) -> None:
        """Forget what was appended since `mark`."""
        for name, stream in self._streams.items():
            counts = name.endswith("/counts") and name not in self.layout
            column = _OFFSETS if counts else self.layout[name]
            stream.seek(mark[self.rows if counts else axis(name)] * np.dtype(column.dtype).itemsize)
            stream.truncate()
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
        with h5py.File(path, "w") as out:
            out.attrs["contract"] = CONTRACT
            out.attrs["rows"] = self.rows
            out.attrs.update(attributes)
            for name, column in self.layout.items():
                self._copy(out, name, column)
            for name in self._collections:
                self._write_offsets(out, name)

    def _copy(self, out: h5py.File, name: str, column: Column) -> None:
        stream, rows = self._streams[name], self._lengths[axis(name)]
        target = out.create_dataset(name, shape=(rows,), dtype=column.dtype)
        describe(target, column)
        stream.seek(0)
        for start in range(0, rows, _STEP):
            target[start : start + _STEP] = _read(stream, column.dtype, min(_STEP, rows - start))

    def _write_offsets(self, out: h5py.File, collection: str) -> None:
        rows = self._lengths[self.rows]
        target = out.create_dataset(f"{collection}/offsets", shape=(rows + 1,), dtype=_OFFSETS.dtype)
        describe(target, _OFFSETS)
        stream = self._streams[f"{collection}/counts"]
        stream.seek(0)
        end = 0
        for start in range(0, rows, _STEP):
            ends = end + np.cumsum(_read(stream, _OFFSETS.dtype, min(_STEP, rows - start)))
            target[start + 1 : start + 1 + len(ends)] = ends
            end = int(ends[-1])

    def close(self) -> None:
        """Close the temporary files, which removes them."""
        for stream in self._streams.values():
            with contextlib.suppress(OSError):  # on a full disk: what could not be written is not wanted any more
                stream.close()


def _read(stream: IO[bytes], dtype: str, rows: int) -> NDArray[Any]:
    return np.frombuffer(stream.read(rows * np.dtype(dtype).itemsize), dtype)


def _checked(values: NDArray[Any], column: Column, name: str, length: int, source: str | Path | None) -> NDArray[Any]:
    """Return values in a column's precision."""
    if len(values) != length:
        raise ContractError("columns differ in length", file=source, key=name, found=len(values), expected=length)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, column.dtype)
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
