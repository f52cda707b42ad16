"""Write events under the contract: contiguous, uncompressed, so that readers can memory-map them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError
from bunchtrain.events.layout import CONSTITUENTS, CONTRACT, JETS, Column, check
from bunchtrain.files import atomic


class EventWriter:
    """Appends events to a file step by step, in memory bounded by one step.

    While it is being filled, a file has growing (chunked) columns; `finish` copies them into contiguous ones. Use `write_events`
    when everything is in memory.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = h5py.File(path, "w")
        for group, columns in (("jets", JETS), ("constituents", CONSTITUENTS)):
            for column in columns:
                self._file.create_dataset(
                    f"{group}/{column.name}", shape=(0,), maxshape=(None,), chunks=(65536,), dtype=column.dtype
                )
        self._file.create_dataset("constituents/counts", shape=(0,), maxshape=(None,), chunks=(65536,), dtype="i8")

    def append(
        self, jets: Mapping[str, NDArray[Any]], constituents: Mapping[str, NDArray[Any]], counts: NDArray[Any]
    ) -> None:
        """Append jets [n], their flat constituents [m] and the constituents per jet [n]; the counts add up to m."""
        total = int(np.sum(counts))
        for column in JETS:
            self._extend(f"jets/{column.name}", jets[column.name], len(counts))
        for column in CONSTITUENTS:
            self._extend(f"constituents/{column.name}", constituents[column.name], total)
        self._extend("constituents/counts", np.asarray(counts), len(counts))

    def _extend(self, name: str, values: NDArray[Any], expected: int) -> None:
        if len(values) != expected:
            raise ContractError("columns differ in length", file=self._file.filename, key=name, found=len(values), expected=expected)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ContractError("a value is not finite", file=self._file.filename, key=name, found=f"row {bad}: {values[bad]}")
        dataset = self._file[name]
        start = len(dataset)
        dataset.resize((start + expected,))
        dataset[start:] = values

    def finish(self, path: Path, attributes: Mapping[str, Any], source_branches: Mapping[str, str]) -> None:
        """Write the finished file to `path` and close."""
        with h5py.File(path, "w") as out:
            for group, columns in (("jets", JETS), ("constituents", CONSTITUENTS)):
                for column in columns:
                    name = f"{group}/{column.name}"
                    self._copy_contiguous(out, name)
                    describe(out[name], column, source_branches.get(name, ""))
            offsets = np.concatenate([[0], np.cumsum(self._file["constituents/counts"][:])]).astype("i8")
            out.create_dataset("constituents/offsets", data=offsets)
            describe(out["constituents/offsets"], Column("offsets", "i8", "1", "first row of each jet, then the end"), "")
            out.attrs["contract"] = CONTRACT
            out.attrs.update(attributes)
        self.close()

    def _copy_contiguous(self, out: h5py.File, name: str, step: int = 1 << 22) -> None:
        source = self._file[name]
        target = out.create_dataset(name, shape=source.shape, dtype=source.dtype)
        for start in range(0, len(source), step):
            target[start : start + step] = source[start : start + step]

    def close(self) -> None:
        """Close without finishing."""
        if self._file:
            self._file.close()


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
    with atomic(path) as temporary:
        scratch = temporary.with_name(temporary.name + "-growing")
        writer = EventWriter(scratch)
        try:
            writer.append(jets, constituents, counts)
            writer.finish(temporary, attributes, source_branches or {})
        finally:
            writer.close()
            scratch.unlink(missing_ok=True)
        check(temporary)
