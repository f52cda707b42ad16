"""Write events under the contract: contiguous, uncompressed, so that readers can memory-map them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError
from bunchtrain.events.layout import CONSTITUENTS, CONTRACT, JETS, Column, check
from bunchtrain.files import atomic

_GROUPS = (("jets", JETS), ("constituents", CONSTITUENTS))
_COUNTS = Column("counts", "i8", "1", "constituents of each jet")
_OFFSETS = Column("offsets", "i8", "1", "first row of each jet, then the end")

#: Values copied at a time.
_STEP = 1 << 20


class Mark(NamedTuple):
    """A length to which a writer can go back."""

    jets: int
    constituents: int


class EventWriter:
    """Gathers events step by step, in memory bounded by one step, and writes them as one file in the end.

    While it is being filled, each column is a nameless temporary file in `folder`: it vanishes with the process,
    however that ends. Use `write_events` when everything is in memory.
    """

    def __init__(self, folder: str | Path) -> None:
        self.jets = 0
        self.constituents = 0
        self._columns: dict[str, tuple[Column, IO[bytes]]] = {}
        for group, columns in (*_GROUPS, ("constituents", (_COUNTS,))):
            for column in columns:
                self._columns[f"{group}/{column.name}"] = column, tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> EventWriter:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the temporary files."""
        self.close()

    def append(
        self,
        jets: Mapping[str, NDArray[Any]],
        constituents: Mapping[str, NDArray[Any]],
        counts: NDArray[Any],
        *,
        source: str | Path | None = None,
    ) -> None:
        """Append jets.

        Parameters
        ----------
        jets : mapping
            The columns `layout.JETS`, each of shape [n].
        constituents : mapping
            The columns `layout.CONSTITUENTS`, flat, jet after jet, each of shape [m].
        counts : int [n]
            Constituents of each jet; they add up to m.
        source : path, optional
            The file they come from, for the error's sake.

        Raises
        ------
        ContractError
            If a column has another length, or a value is not finite in the column's precision.
        """
        given = {**{f"jets/{name}": values for name, values in jets.items()}, "constituents/counts": counts}
        given |= {f"constituents/{name}": values for name, values in constituents.items()}
        lengths = {"jets": len(counts), "constituents": int(np.sum(counts))}
        ready = {}
        for name, (column, _) in self._columns.items():
            length = lengths["jets" if column is _COUNTS else name.partition("/")[0]]
            ready[name] = _checked(given[name], column, name, length, source)
        for name, values in ready.items():
            self._columns[name][1].write(values.data)
        self.jets += lengths["jets"]
        self.constituents += lengths["constituents"]

    def mark(self) -> Mark:
        """Return the present length, for `rollback`."""
        return Mark(self.jets, self.constituents)

    def rollback(self, mark: Mark) -> None:
        """Forget what was appended since `mark`."""
        for name, (column, stream) in self._columns.items():
            rows = mark.jets if column is _COUNTS or name.startswith("jets/") else mark.constituents
            stream.seek(rows * np.dtype(column.dtype).itemsize)
            stream.truncate()
        self.jets, self.constituents = mark

    def finish(self, path: Path, attributes: Mapping[str, Any], source_branches: Mapping[str, str]) -> None:
        """Write all events to the HDF5 file `path`.

        Parameters
        ----------
        path : path
            Replaced if it exists; make it atomic outside.
        attributes : mapping
            Attributes of the file.
        source_branches : mapping
            Dataset, e.g. `jets/pt`, to the branch it comes from.
        """
        with h5py.File(path, "w") as out:
            out.attrs["contract"] = CONTRACT
            out.attrs.update(attributes)
            for group, columns in _GROUPS:
                for column in columns:
                    name = f"{group}/{column.name}"
                    self._copy(out, name)
                    describe(out[name], column, source_branches.get(name, ""))
            self._write_offsets(out)

    def _copy(self, out: h5py.File, name: str) -> None:
        column, stream = self._columns[name]
        rows = self.jets if name.startswith("jets/") else self.constituents
        target = out.create_dataset(name, shape=(rows,), dtype=column.dtype)
        stream.seek(0)
        for start in range(0, rows, _STEP):
            target[start : start + _STEP] = _read(stream, column.dtype, min(_STEP, rows - start))

    def _write_offsets(self, out: h5py.File) -> None:
        target = out.create_dataset("constituents/offsets", shape=(self.jets + 1,), dtype=_OFFSETS.dtype)
        describe(target, _OFFSETS, "")
        stream = self._columns["constituents/counts"][1]
        stream.seek(0)
        end = 0
        for start in range(0, self.jets, _STEP):
            ends = end + np.cumsum(_read(stream, _COUNTS.dtype, min(_STEP, self.jets - start)))
            target[start + 1 : start + 1 + len(ends)] = ends
            end = int(ends[-1])

    def close(self) -> None:
        """Close the temporary files, which removes them."""
        for _, stream in self._columns.values():
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


def describe(dataset: h5py.Dataset, column: Column, source_branch: str) -> None:
    """Attach units, description and source branch to a dataset."""
    dataset.attrs.update(units=column.units, description=column.description, source_branch=source_branch)


def write_events(
    path: str | Path,
    jets: Mapping[str, NDArray[Any]],
    constituents: Mapping[str, NDArray[Any]],
    counts: NDArray[Any],
    *,
    attributes: Mapping[str, Any],
    source_branches: Mapping[str, str] | None = None,
) -> None:
    """Write events that are in memory to `path`, atomically, and check the file against the contract."""
    with atomic(path) as temporary, EventWriter(temporary.parent) as writer:
        writer.append(jets, constituents, counts)
        writer.finish(temporary, attributes, source_branches or {})
        check(temporary)
