"""Read jets through the campaign's index: memory-mapped columns of the shards that it joins.

B: batch, P: constituent.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events import chance
from bunchtrain.events.features import GLOBALS, NODES, Features, Raw, compute
from bunchtrain.events.layout import CONTRACT, SYSTEMATICS, datasets
from bunchtrain.events.shard import P4, Shard
from bunchtrain.events.splits import SPLITS
from bunchtrain.levels import DRAW


def _names(file: h5py.File, key: str) -> list[str]:
    """Return the names in an attribute of the index."""
    names = json.loads(file.attrs.get(key, "[]"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key} = {names}")
    return names


class Index:
    """All rows of a campaign, through the index that `prepare` wrote: what jets and events have in common.

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
    """

    #: What the rows are (see `layout.ROWS`), and the collection of which they all have items.
    ROWS, ITEMS = "jets", "constituents"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with h5py.File(path) as file:
                if file.attrs.get("contract") != CONTRACT:
                    found = file.attrs.get("contract")
                    raise ContractError("the index follows another contract", file=path, found=found, expected=CONTRACT)
                self._check_rows(str(file.attrs.get("rows", "jets")))
                self.classes: list[str] = json.loads(file.attrs["classes"])
                self.class_weights = np.array(json.loads(file.attrs["class_weights"]))
                self._split: NDArray[np.uint8] = file[f"{self.ROWS}/split"][:]
                self._multiplicity: NDArray[np.int64] = np.diff(file[f"{self.ITEMS}/offsets"][:])
                self._starts: NDArray[np.int64] = file["shards/start"][:]
                self._read(file)
                names = [name.decode() for name in file["shards/path"][:]]
        except OSError as error:
            raise InputError("the index cannot be read", file=path, found=error, mend="run prepare") from None
        except (KeyError, TypeError, ValueError) as error:
            kind, mend = "the index that prepare writes: dataset.h5", "name that one, or run prepare again"
            found = "a shard" if isinstance(error, KeyError) else error
            raise ContractError("a file is not the index", file=path, found=found, expected=kind, mend=mend) from None
        self._paths = [self.path.parent / name for name in names]
        if gone := [path for path in self._paths if not path.exists()]:  # HDF5 would read zeros in their place
            mend = "put it back, or run prepare again"
            raise InputError("a shard of the index is not there", file=self.path, found=gone[0], mend=mend)
        self._shards: dict[int, Shard] = {}
        self._cache: dict[str, NDArray[Any]] = {}

    def _read(self, file: h5py.File) -> None:
        """Read what rows of one kind have besides."""

    def _check_rows(self, found: str) -> None:
        if found != self.ROWS:
            mend = f"name the dataset.h5 of a campaign whose task learns from {self.ROWS}"
            raise ContractError(
                f"the index holds no {self.ROWS}", file=self.path, found=found, expected=self.ROWS, mend=mend
            )

    def __len__(self) -> int:
        """Return the number of rows in all splits."""
        return len(self._split)

    @functools.cached_property
    def shard_paths(self) -> list[Path]:
        """The HDF5 shards behind the index."""
        return list(self._paths)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the indices of the rows of a split, in file order."""
        if split not in SPLITS:
            raise InputError("there is no such split", found=split, choices=SPLITS)
        return np.flatnonzero(self._split == SPLITS.index(split))

    def column(
        self, name: str, indices: NDArray[np.int64] | None = None, *, systematic: str | None = None
    ) -> NDArray[Any]:
        """Return the column `jets/<name>`, or `events/<name>`, shape [N], of the given rows or of all.

        Parameters
        ----------
        name : str
            Of the column.
        indices : int64, optional
            Which rows.
        systematic : str, optional
            A variation: the column as it has it, or the nominal one where it leaves the column alone.

        Raises
        ------
        InputError
            If there is no such column, or no such variation.
        """
        dataset = f"{self.ROWS}/{name}"
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
                        f"there is no such column of {self.ROWS}",
                        file=self.path,
                        found=name,
                        choices=list(file[self.ROWS]),
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
        """Return the weight of each row in the training, shape [N]: of event, class, and pt and |eta|."""
        labels = self.column("label")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            found, mend = f"{labels.min()} to {labels.max()}", "run convert and prepare again"
            expected = f"0 to {len(self.classes) - 1}"
            raise ContractError(
                "a label is none", file=self.path, key=f"{self.ROWS}/label", found=found, expected=expected, mend=mend
            )
        weights: NDArray[Any] = self.column("weight") * self.class_weights[labels]
        return weights * self.column("kinematic_weight") if "jets/kinematic_weight" in self.columns else weights

    def event_weights(self) -> NDArray[Any]:
        """Return the weight of each row's event, shape [N], in units of their mean over the training split."""
        weights, train = self.column("weight"), self.indices("train")
        mean = float(np.mean(weights[train], dtype=np.float64)) if len(train) else 1.0
        if mean <= 0:
            problem, mend = "the event weights of the training split do not add up to a positive number", "convert more"
            raise InputError(problem, file=self.path, key=f"{self.ROWS}/weight", found=mean, mend=mend)
        return np.asarray(weights / mean)

    def shard_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the shard in which each of some rows is."""
        found: NDArray[np.int64] = np.searchsorted(self._starts, indices, side="right") - 1
        return found

    def _by_shard(self, indices: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield the numbers of the shards that hold some of the rows, and the places of these in `indices`."""
        shard_of = self.shard_of(indices)
        for number in np.unique(shard_of):
            yield int(number), np.flatnonzero(shard_of == number)

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            self._shards[number] = Shard(self._paths[number], self.ITEMS)
        return self._shards[number]


#: Start of the draws of events, and how many values they have.
_DRAWN, _STEPS = chance.seeded("draw of the event"), 2**24


class Dataset(Index):
    """All jets of a campaign.

    Attributes
    ----------
    particles : int
        Constituents kept per jet.
    inputs : list of str
        Columns of constituents that the network sees besides what follows from the momenta.
    variables : list of str
        Columns of jets that some networks see besides the other global features.
    """

    def _read(self, file: h5py.File) -> None:
        self.particles = int(file.attrs["particles"])
        self.inputs, self.variables = (_names(file, key) for key in ("inputs", "variables"))
        self._checked: set[tuple[str, int | None, int | None]] = set()

    @property
    def nodes(self) -> list[str]:
        """The node features, in the order in which a network sees them."""
        return [*NODES, *self.inputs]

    @property
    def globals(self) -> list[str]:
        """The global features, in the order in which a network sees them."""
        return [*GLOBALS, *self.variables]

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

    def require(self, names: Sequence[str], bounds: Sequence[tuple[int | None, int | None]] = ()) -> None:
        """Refuse columns of constituents that a task learns from, where they are missing, or not what they should be.

        Parameters
        ----------
        names : sequence of str
            Of the columns.
        bounds : sequence of pairs, optional
            The lowest and the highest number of each; None where any whole number will do.

        Raises
        ------
        InputError
            Naming the column, and the nearest one; or the shard and the first value that is none.
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
        for name, (low, high) in zip(names, bounds, strict=False):
            if (name, low, high) not in self._checked:  # each split of a training asks
                for number in range(len(self._paths)):
                    self._check_truth(number, name, low, high)
                self._checked.add((name, low, high))

    def _check_truth(self, number: int, name: str, low: int | None, high: int | None) -> None:
        shard = self._shard(number)
        values = shard.items(f"constituents/{name}")
        bad = values != np.floor(values)
        bad |= False if low is None else values < low
        bad |= False if high is None else values > high
        if bad.any():
            place = int(np.argmax(bad))
            least, most = (f" {word} {limit}" for word, limit in (("from", low), ("to", high)))
            raise InputError(
                "a column of the truth holds a number that means nothing",
                file=shard.path,
                key=f"constituents/{name}",
                found=f"{values[place]}, constituent {place} of the file",
                expected=f"whole numbers{'' if low is None else least}{'' if high is None else most}",
                mend="look at convert.format.columns, and at what made the file",
            )

    def truth(self, names: Sequence[str], indices: NDArray[np.int64], width: int) -> NDArray[np.int32]:
        """Return whole numbers that are known of the first constituents of the given jets, int32 [B, P, T].

        A number for each name; zero where padded.
        """
        if not names:
            return np.zeros((len(indices), width, 0), np.int32)
        return self.padded([f"constituents/{name}" for name in names], indices, width)[0].astype(np.int32)

    def numbers(self, names: Sequence[str], indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return columns of the given jets from which a task learns, float64 [B, V]; see also `levels.DRAW`.

        Raises
        ------
        InputError
            If there is no such column, or a value is not finite.
        """
        found = np.empty((len(indices), len(names)))
        for place, name in enumerate(names):
            found[:, place] = self._draw(indices) if name == DRAW else self.column(name, indices)
            if not np.isfinite(found[:, place]).all():
                problem = "a column of jets that the task learns from has values that are no numbers"
                raise InputError(problem, file=self.path, key=name, mend="leave such jets out by convert.select")
        return found

    def _draw(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a number for each jet that follows from run and event alone, in steps that single precision holds."""
        keys = chance.keys(_DRAWN, *(self.column(name, indices) for name in ("run_number", "event_number")))
        drawn: NDArray[np.float64] = np.floor(chance.uniform(keys) * _STEPS) / _STEPS
        return drawn

    def counts(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many constituents the given jets have among the `particles` that are kept, int64 [B]."""
        return np.minimum(self._multiplicity[indices], self.particles)

    def features(self, indices: NDArray[np.int64], particles: int | None = None) -> Features:
        """Return the unscaled features of the given jets; `variables` are the last of the global ones."""
        raw = self.raw(indices, particles or self.particles)
        inputs = raw.inputs_BPI if self.inputs else None
        found = compute(raw.p4_BP4, raw.mask_BP, raw.jets_B4, raw.multiplicity_B, inputs)
        if not self.variables:
            return found
        return found._replace(globals_BG=np.concatenate([found.globals_BG, raw.variables_BV], -1))

    def raw(self, indices: NDArray[np.int64], particles: int) -> Raw:
        """Return what the features of the given jets are computed from; so many constituents of each."""
        names = [*P4, *(f"constituents/{name}" for name in self.inputs)]
        values_BPC, mask_BP = self.padded(names, indices, particles)
        jets_B4 = self._columns(("pt", "eta", "phi", "mass"), indices)
        p4_BP4, inputs_BPI = values_BPC[..., : len(P4)], values_BPC[..., len(P4) :]
        variables_BV = self._columns(self.variables, indices)
        return Raw(p4_BP4, mask_BP, jets_B4, self._multiplicity[indices], inputs_BPI, variables_BV)

    def _columns(self, names: Sequence[str], indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return columns of the given jets, float32 [B, names]."""
        if not names:
            return np.zeros((len(indices), 0), np.float32)
        return np.stack([self.column(name, indices) for name in names], -1).astype(np.float32)
