"""Scaled features as tensors: kept on the device when the jets fit, else computed from the shards one step ahead.

B: batch, P: constituent, F: node feature, G: global feature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.events.features import Features
from bunchtrain.events.reader import Dataset, Index
from bunchtrain.events.scaling import Scaler
from bunchtrain.files import write_json
from bunchtrain.levels import GraphTargets, ResponseTargets, Targets
from bunchtrain.train.packing import packs
from bunchtrain.train.sampler import Step

#: Bytes of features that a rank keeps; above it reads the shards' memory maps, which the ranks of a node share.
IN_MEMORY = 1 << 30

#: Jets whose features are computed at once.
STEP = 8192

T = TypeVar("T")

_CPU = torch.device("cpu")


class Batch(NamedTuple):
    """Rows that are computed together; `constituents` is how many they have in all, or edges, `slots` with padding."""

    inputs: tuple[Tensor, ...]
    targets: Targets | GraphTargets | ResponseTargets
    constituents: int
    slots: int


class Source(Protocol):
    """What makes the batches of one split of `rows`: jets, or events."""

    rows: str
    #: Rows that a validation asks for at once.
    at_once: int

    @property
    def kept(self) -> bool:
        """Whether all that batches are made of is in memory."""

    def sizes(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the time that rows take grows with, int64 [B]."""

    def describe(self, path: Path, jets: NDArray[np.int64], where: str) -> None:
        """Write to `path` which rows these are."""

    def __call__(self, indices: NDArray[np.int64], turn: int | None = None) -> list[Batch]:
        """Return the given rows in batches; `turn`, in a training, is the number of the step."""


def sent(values: NDArray[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; real numbers in one precision."""
    tensor = torch.from_numpy(values)
    tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class BatchSource:
    """Makes the batches of one split.

    Parameters
    ----------
    data, scaler : Dataset, Scaler
        The jets, and what brings their features to order 1.
    indices : int64 [N]
        The split's jets.
    dtype : torch.dtype
        Of features and weights.
    device : torch.device
        Where batches are wanted.
    padding : float
        Largest share of padding in the batches of a call.
    truth : sequence of str
        Columns of constituents that a task learns from.
    width : int, optional
        Global features that the network sees: the first ones; all without it.
    bounds : sequence of pairs, optional
        What the truth may be; see `Dataset.require`.
    columns : sequence of str, optional
        Columns of jets that a task learns from.
    by_event : bool
        Whether jets weigh what their events weigh, whatever their class.
    """

    rows, at_once = "jets", 1024

    def __init__(
        self,
        data: Dataset,
        scaler: Scaler,
        indices: NDArray[np.int64],
        dtype: torch.dtype = torch.float32,
        device: torch.device = _CPU,
        padding: float = 1.0,
        truth: Sequence[str] = (),
        width: int | None = None,
        bounds: Sequence[tuple[int | None, int | None]] = (),
        columns: Sequence[str] = (),
        by_event: bool = False,
    ) -> None:
        scaler.require(data.inputs, data.variables, data.path)
        data.require(truth, bounds)
        self._data, self._scaler, self._dtype, self._device = data, scaler, dtype, device
        self._padding, self._truth, self._columns = padding, truth, columns
        self._width = len(data.globals) if width is None else width
        self._labels = data.column("label")
        self._weights = data.event_weights() if by_event else data.training_weights()
        self._indices = np.sort(indices)
        row = data.particles * (4 * (len(data.nodes) + 4 + len(truth)) + 1) + 4 * self._width
        self._kept = self._all() if len(indices) * row <= IN_MEMORY else None

    @property
    def kept(self) -> bool:
        """Whether all features are on the device."""
        return self._kept is not None

    def _all(self) -> Batch:
        """Return all jets, computed in steps so that no more than they is in memory."""
        count, particles = len(self._indices), self._data.particles
        whole = Features(
            np.empty((count, particles, len(self._data.nodes)), np.float32),
            np.empty((count, particles, 4), np.float32),
            np.empty((count, self._width), np.float32),
            np.empty((count, particles), bool),
        )
        for start in range(0, count, STEP):
            rows = slice(start, start + STEP)
            for values, part in zip(whole, self._compute(self._indices[rows]), strict=True):
                values[rows] = part
        return self._batch(whole, self._indices)

    def _compute(self, indices: NDArray[np.int64], width: int | None = None) -> Features:
        return self._scaler(self._data.features(indices, width)).of_width(self._width)

    def _batch(self, features: Features, indices: NDArray[np.int64]) -> Batch:
        nodes, momenta, jets, mask = map(self._sent, features)
        labels = self._sent(self._labels[indices].astype(np.int64))
        weights = self._sent(self._weights[indices].astype(np.float64))
        truth = self._sent(self._data.truth(self._truth, indices, features.mask_BP.shape[1]))
        columns = self._sent(self._data.numbers(self._columns, indices))
        targets = Targets(labels, weights, truth, mask, columns)
        return Batch((nodes, momenta, jets, mask), targets, int(features.mask_BP.sum()), mask.numel())

    def _sent(self, values: NDArray[Any]) -> Tensor:
        return sent(values, self._dtype, self._device)

    def sizes(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many constituents the given jets have, int64 [B]."""
        return self._data.counts(indices)

    def describe(self, path: Path, jets: NDArray[np.int64], where: str) -> None:
        """Write to `path` which jets these are: their events, labels and weights."""
        describe(self._data, path, jets, where)

    def __call__(self, indices: NDArray[np.int64], turn: int | None = None) -> list[Batch]:
        """Return the given jets in packs of similar size, each as wide as its largest jet."""
        return [self.pack(indices[pack.rows], pack.width) for pack in packs(self.sizes(indices), self._padding)]

    def pack(self, indices: NDArray[np.int64], width: int) -> Batch:
        """Return the given jets in one batch, so many constituents of each."""
        if self._kept is None:
            return self._batch(self._compute(indices, width), indices)
        rows = self._sent(np.searchsorted(self._indices, indices))
        (nodes, momenta, jets, mask), targets = self._kept.inputs, cast(Targets, self._kept.targets)
        items = (nodes, momenta, mask, targets.truth_BPT)
        nodes, momenta, mask, truth = (values[:, :width].index_select(0, rows) for values in items)
        targets = Targets(targets.labels_B[rows], targets.weights_B[rows], truth, mask, targets.columns_BV[rows])
        inputs = (nodes, momenta, jets.index_select(0, rows), mask)
        return Batch(inputs, targets, int(self.sizes(indices).sum()), mask.numel())


class Ahead(Generic[T]):
    """An iterator whose next item can be made before it is asked for."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._next: list[T] = []

    def look(self) -> None:
        """Make the next item now, if there is one."""
        if not self._next:
            self._next = list(islice(self._items, 1))

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self._next.pop() if self._next else next(self._items)


def describe(data: Index, path: Path, rows: NDArray[np.int64], where: str) -> None:
    """Write to `path` which rows these are: their events, labels and weights."""
    names = ("file_id", "run_number", "event_number", "label", "weight")
    columns = {name: _for_json(data.column(name, rows)) for name in names}
    write_json(path, {"where": where, "index": rows.tolist(), **columns})


def _for_json(values: NDArray[Any]) -> list[Any]:
    """Return numbers, in words where they are none: JSON has no NaN."""
    return [value if np.isfinite(value) else str(value) for value in values.tolist()]


def loaded(steps: Iterable[Step], source: Source, first: int = 0) -> Iterator[tuple[Step, list[list[Batch]]]]:
    """Yield each step with the packs of its pieces; where they are computed, the next step's are made meanwhile.

    `first` steps of the training came before these.
    """

    def load(step: Step) -> tuple[Step, list[list[Batch]]]:
        return step, [source(piece.jets, first + step.number) for piece in step.mine]

    if source.kept:
        yield from map(load, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for step in steps:
            after = pool.submit(load, step)
            if ahead is not None:
                yield ahead.result()
            ahead = after
        if ahead is not None:
            yield ahead.result()
