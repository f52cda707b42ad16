"""Read events: memory-mapped columns of one shard, and the campaign's shards joined by their index.

B: batch, P: constituent.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.features import Features, compute
from bunchtrain.events.layout import CONSTITUENTS, CONTRACT
from bunchtrain.events.splits import SPLITS


def map_column(dataset: h5py.Dataset, path: str | Path) -> NDArray[Any]:
    """Return a dataset as an array: memory-mapped where it is contiguous, read where it is chunked."""
    offset = dataset.id.get_offset()
    if offset is None or dataset.size == 0:
        values: NDArray[Any] = dataset[:]
        return values
    return np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)


class Shard:
    """The columns of one HDF5 file of events."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with h5py.File(path) as file:
                self.offsets: NDArray[np.int64] = file["constituents/offsets"][:]
                self._columns = [map_column(file[f"constituents/{c.name}"], path) for c in CONSTITUENTS]
        except (OSError, KeyError) as error:
            raise ContractError("a shard cannot be read", file=path, found=error, mend="run convert again") from None

    def gather(self, rows: NDArray[np.int64], out_BP4: NDArray[np.float32], mask_BP: NDArray[np.bool_]) -> None:
        """Fill `out_BP4` and `mask_BP` with the hardest constituents of the jets `rows` (local indices)."""
        starts = self.offsets[rows]
        counts = np.minimum(self.offsets[rows + 1] - starts, out_BP4.shape[1])
        mask_BP[:] = np.arange(out_BP4.shape[1]) < counts[:, None]
        places = (starts[:, None] + np.arange(out_BP4.shape[1]))[mask_BP]
        for axis, column in enumerate(self._columns):
            out_BP4[mask_BP, axis] = column[places]


class Dataset:
    """All jets of a campaign, through the index that `prepare` wrote.

    Parameters
    ----------
    path : path
        `prepare/dataset.h5`.

    Attributes
    ----------
    classes : list of str
        Names of the labels 0, 1, ...
    class_weights : float64 [classes]
        Weights that give every class the same sum over the training split.
    particles : int
        Constituents kept per jet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with h5py.File(path) as file:
                if file.attrs.get("contract") != CONTRACT:
                    found = file.attrs.get("contract")
                    raise ContractError("the index follows another contract", file=path, found=found, expected=CONTRACT)
                self.classes: list[str] = json.loads(file.attrs["classes"])
                self.class_weights = np.array(json.loads(file.attrs["class_weights"]))
                self.particles = int(file.attrs["particles"])
                self._split: NDArray[np.uint8] = file["jets/split"][:]
                self._multiplicity: NDArray[np.int64] = np.diff(file["constituents/offsets"][:])
                self._starts: NDArray[np.int64] = file["shards/start"][:]
                names = [name.decode() for name in file["shards/path"][:]]
        except OSError as error:
            raise InputError("the index cannot be read", file=path, found=error, mend="run prepare") from None
        except (KeyError, TypeError, ValueError) as error:
            kind, mend = "the index that prepare writes: dataset.h5", "name that one, or run prepare again"
            found = "a shard" if isinstance(error, KeyError) else error
            raise ContractError("a file is not the index", file=path, found=found, expected=kind, mend=mend) from None
        self._paths = [self.path.parent / name for name in names]
        self._shards: dict[int, Shard] = {}
        self._cache: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        """Return the number of jets in all splits."""
        return len(self._split)

    @functools.cached_property
    def shard_paths(self) -> list[Path]:
        """The HDF5 shards behind the index."""
        return list(self._paths)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the indices of the jets of a split, in file order."""
        if split not in SPLITS:
            raise InputError("there is no such split", found=split, choices=SPLITS)
        return np.flatnonzero(self._split == SPLITS.index(split))

    def column(self, name: str, indices: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Return the column `jets/<name>`, shape [N], of the given jets or of all."""
        if name not in self._cache:
            with h5py.File(self.path) as file:
                if f"jets/{name}" not in file:
                    raise InputError(
                        "there is no such jet column", file=self.path, found=name, choices=list(file["jets"])
                    )
                self._cache[name] = file[f"jets/{name}"][:]
        values = self._cache[name]
        return values if indices is None else values[indices]

    def four_momenta(
        self, indices: NDArray[np.int64], particles: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the hardest constituents of the given jets.

        Returns
        -------
        p4_BP4 : float32 [B, P, 4]
            px, py, pz, energy (GeV), zero where padded.
        mask_BP : bool [B, P]
        """
        width = particles or self.particles
        p4_BP4 = np.zeros((len(indices), width, len(CONSTITUENTS)), np.float32)
        mask_BP = np.zeros((len(indices), width), bool)
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(shard_of):
            here = np.flatnonzero(shard_of == number)
            if number not in self._shards:
                self._shards[number] = Shard(self._paths[number])
            p4, mask = p4_BP4[here], mask_BP[here]
            self._shards[number].gather(indices[here] - self._starts[number], p4, mask)
            p4_BP4[here], mask_BP[here] = p4, mask
        return p4_BP4, mask_BP

    def features(self, indices: NDArray[np.int64], particles: int | None = None) -> Features:
        """Return the unscaled features of the given jets."""
        p4_BP4, mask_BP = self.four_momenta(indices, particles)
        jets = np.stack([self.column(name, indices) for name in ("pt", "eta", "phi", "mass")], -1)
        return compute(p4_BP4, mask_BP, jets.astype(np.float32), self._multiplicity[indices])
