"""Read events: memory-mapped columns of one shard, and the campaign's shards joined by their index.

B: batch, P: constituent.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.features import GLOBALS, NODES, Features, compute
from bunchtrain.events.layout import CONSTITUENTS, CONTRACT, SYSTEMATICS, datasets
from bunchtrain.events.ragged import within
from bunchtrain.events.splits import SPLITS

#: The columns of a four-momentum.
P4 = tuple(f"constituents/{column.name}" for column in CONSTITUENTS)


def map_column(dataset: h5py.Dataset, path: str | Path) -> NDArray[Any]:
    """Return a dataset as an array: memory-mapped where it is contiguous, read where it is chunked."""
    offset = dataset.id.get_offset()
    if offset is None or dataset.size == 0:
        values: NDArray[Any] = dataset[:]
        return values
    mapped = np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)
    return mapped.view(np.ndarray)  # the same memory, without what a subclass costs at every step


class Shard:
    """The columns of one HDF5 file of events, mapped when they are first asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._mapped: dict[str, NDArray[Any]] = {}
        self._offsets: dict[str, NDArray[np.int64]] = {}
        self.offsets = self.offsets_of("constituents")

    def offsets_of(self, collection: str) -> NDArray[np.int64]:
        """Return the place of each jet's first item in a collection, and the end, shape [N + 1]."""
        if collection not in self._offsets:
            with self._open() as file:
                self._offsets[collection] = file[f"{collection}/offsets"][:]
        return self._offsets[collection]

    def items(self, name: str) -> NDArray[Any]:
        """Return a column, e.g. `constituents/px`, as a map of the file."""
        if name not in self._mapped:
            with self._open() as file:
                self._mapped[name] = map_column(file[name], self.path)
        return self._mapped[name]

    @contextlib.contextmanager
    def _open(self) -> Iterator[h5py.File]:
        try:
            with h5py.File(self.path) as file:
                yield file
        except (OSError, KeyError) as error:
            raise ContractError(
                "a shard cannot be read", file=self.path, found=error, mend="run convert again"
            ) from None

    def gather(
        self, rows: NDArray[np.int64], width: int, names: Sequence[str] = P4
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the first items of the jets `rows` (local indices).

        Returns
        -------
        values_CBP : float32 [C, B, P]
            For each name, zero where padded.
        mask_BP : bool [B, P]
        """
        offsets = self.offsets_of(names[0].partition("/")[0])
        first = offsets[rows]
        mask_BP = np.arange(width) < (offsets[rows + 1] - first)[:, None]
        kept_BP = mask_BP.astype(np.float32)
        values_CBP = np.empty((len(names), len(rows), width), np.float32)
        for values_BP, name in zip(values_CBP, names, strict=True):
            values_BP[:] = _windows(self.items(name), first, width)
            values_BP *= kept_BP
        return values_CBP, mask_BP

    def ragged(self, rows: NDArray[np.int64], names: Sequence[str]) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """Return all items of the jets `rows`: flat columns, jet after jet, and how many each has."""
        offsets = self.offsets_of(names[0].partition("/")[0])
        first = offsets[rows]
        counts = offsets[rows + 1] - first
        places = within(first, counts)
        return [np.take(self.items(name), places, mode="clip") for name in names], counts


def _windows(column: NDArray[Any], first: NDArray[np.int64], width: int) -> NDArray[Any]:
    """Return `width` values from each place on, shape [B, P]; past the end of the column anything.

    A window is copied in one piece, twice as fast as value by value; what is beyond a jet's own items comes with it.
    """
    if len(column) < width:
        column = np.concatenate([column, np.zeros(width - len(column), column.dtype)])
    last = len(column) - width
    found: NDArray[Any] = sliding_window_view(column, width)[np.minimum(first, last)]
    late = np.flatnonzero(first > last)
    found[late] = np.take(column, first[late, None] + np.arange(width), mode="clip")
    return found


def _names(file: h5py.File, key: str) -> list[str]:
    """Return the names in an attribute of the index."""
    names = json.loads(file.attrs.get(key, "[]"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key} = {names}")
    return names


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
    inputs : list of str
        Columns of constituents that the network sees besides what follows from the momenta.
    variables : list of str
        Columns of jets that some networks see besides the other global features.
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
                self.inputs, self.variables = (_names(file, key) for key in ("inputs", "variables"))
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

    @property
    def nodes(self) -> list[str]:
        """The node features, in the order in which a network sees them."""
        return [*NODES, *self.inputs]

    @property
    def globals(self) -> list[str]:
        """The global features, in the order in which a network sees them."""
        return [*GLOBALS, *self.variables]

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

    def column(
        self, name: str, indices: NDArray[np.int64] | None = None, *, systematic: str | None = None
    ) -> NDArray[Any]:
        """Return the column `jets/<name>`, shape [N], of the given jets or of all.

        Parameters
        ----------
        name : str
            Of the column.
        indices : int64, optional
            Which jets.
        systematic : str, optional
            A variation: the column as it has it, or the nominal one where it leaves the column alone.

        Raises
        ------
        InputError
            If there is no such column, or no such variation.
        """
        dataset = f"jets/{name}"
        if systematic is not None:
            if systematic not in self.systematics:
                raise InputError(
                    "there is no such variation", file=self.path, found=systematic, choices=self.systematics
                )
            varied = f"{SYSTEMATICS}/{systematic}/{dataset}"
            dataset = varied if varied in self.columns else dataset
        if dataset not in self._cache:
            with h5py.File(self.path) as file:
                if dataset not in file:
                    raise InputError(
                        "there is no such jet column", file=self.path, found=name, choices=list(file["jets"])
                    )
                self._cache[dataset] = file[dataset][:]
        values = self._cache[dataset]
        return values if indices is None else values[indices]

    @functools.cached_property
    def columns(self) -> list[str]:
        """The columns that all shards have, e.g. `constituents/px`."""
        with h5py.File(self.path) as file:
            return [name for name in datasets(file) if not name.startswith("shards/")]

    @functools.cached_property
    def systematics(self) -> list[str]:
        """The systematic variations."""
        return sorted({name.split("/")[1] for name in self.columns if name.startswith(f"{SYSTEMATICS}/")})

    def training_weights(self) -> NDArray[Any]:
        """Return the weight of each jet in the training, shape [N]: of event, class, and pt and |eta|."""
        labels = self.column("label")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            found, mend = f"{labels.min()} to {labels.max()}", "run convert and prepare again"
            expected = f"0 to {len(self.classes) - 1}"
            raise ContractError(
                "a label is none", file=self.path, key="jets/label", found=found, expected=expected, mend=mend
            )
        weights: NDArray[Any] = self.column("weight") * self.class_weights[labels]
        return weights * self.column("kinematic_weight") if "jets/kinematic_weight" in self.columns else weights

    def padded(
        self, names: Sequence[str], indices: NDArray[np.int64], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the first items that the given jets have in a collection.

        Parameters
        ----------
        names : sequence of str
            Columns of one collection, e.g. `constituents/px`.
        indices : int64 [B]
            Which jets.
        width : int
            Items of each jet, P.

        Returns
        -------
        values_BPC : float32 [B, P, C]
            A column for each name, each contiguous by itself, zero where padded.
        mask_BP : bool [B, P]
        """
        values_CBP = np.zeros((len(names), len(indices), width), np.float32)
        mask_BP = np.zeros((len(indices), width), bool)
        for number, here in self._by_shard(indices):
            values, mask = self._shard(number).gather(indices[here] - self._starts[number], width, names)
            if len(here) == len(indices):
                values_CBP, mask_BP = values, mask
            else:
                values_CBP[:, here], mask_BP[here] = values, mask
        return np.moveaxis(values_CBP, 0, -1), mask_BP

    def _by_shard(self, indices: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield the numbers of the shards that hold some of the jets, and the places of these in `indices`."""
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(shard_of):
            yield int(number), np.flatnonzero(shard_of == number)

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            self._shards[number] = Shard(self._paths[number])
        return self._shards[number]

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
        return self.padded(P4, indices, particles or self.particles)

    def require(self, names: Sequence[str]) -> None:
        """Refuse columns of constituents that are wanted and that not all shards have.

        Raises
        ------
        InputError
            Naming the column and the nearest one.
        """
        known = [one.removeprefix("constituents/") for one in self.columns if one.startswith("constituents/")]
        for name in names:
            if name not in known:
                raise InputError(
                    "there is no such column of constituents, which the task learns from",
                    file=self.path,
                    key="task",
                    found=name,
                    choices=known,
                    mend="add it to convert.format.columns or convert.derive",
                )

    def truth(self, names: Sequence[str], indices: NDArray[np.int64], width: int) -> NDArray[np.int32]:
        """Return whole numbers that are known of the first constituents of the given jets, int32 [B, P, T].

        A number for each name; zero where padded.
        """
        if not names:
            return np.zeros((len(indices), width, 0), np.int32)
        return self.padded([f"constituents/{name}" for name in names], indices, width)[0].astype(np.int32)

    def counts(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many constituents the given jets have among the `particles` that are kept, int64 [B]."""
        return np.minimum(self._multiplicity[indices], self.particles)

    def features(self, indices: NDArray[np.int64], particles: int | None = None) -> Features:
        """Return the unscaled features of the given jets; `variables` are the last of the global ones."""
        names = [*P4, *(f"constituents/{name}" for name in self.inputs)]
        values_BPC, mask_BP = self.padded(names, indices, particles or self.particles)
        p4_BP4, inputs_BPI = values_BPC[..., : len(P4)], values_BPC[..., len(P4) :] if self.inputs else None
        jets = self._columns(("pt", "eta", "phi", "mass"), indices)
        found = compute(p4_BP4, mask_BP, jets, self._multiplicity[indices], inputs_BPI)
        if not self.variables:
            return found
        return found._replace(globals_BG=np.concatenate([found.globals_BG, self._columns(self.variables, indices)], -1))

    def _columns(self, names: Sequence[str], indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return columns of the given jets, float32 [B, names]."""
        return np.stack([self.column(name, indices) for name in names], -1).astype(np.float32)
