"""The rows of a split in batches: what a network sees of them, what it should answer, what figures of merit need.

B: batch, N: hits, E: edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.events.hitdata import TRUTH, Graphs, HitDataset, joined, packed
from bunchtrain.events.hitgraph import EDGE_FEATURES, NODE_FEATURES
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.events.reader import Dataset, Index
from bunchtrain.events.scaling import Scaler
from bunchtrain.levels import GraphTargets, Hits, Targets
from bunchtrain.tasks.base import TaskProtocol
from bunchtrain.tasks.base import columns as columns_of

#: Jets of one batch; with answers for all pairs of constituents there are fewer. Events whose graphs are made at once.
BATCH, BATCH_OF_PAIRS, EVENTS = 1024, 128, 8


class Part(NamedTuple):
    """A batch of rows: their indices [B], the network's inputs, the truth, and what a `Merit` is shown."""

    rows: NDArray[np.int64]
    inputs: tuple[Tensor, ...]
    targets: Targets | GraphTargets
    seen: Tensor | Hits


def weights_of(data: Index, task: TaskProtocol, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weights [B] by which rows are judged: that of the event.

    Where a task does not make classes equal, what a network states follows from the mixture that it saw; so it is
    judged with the mixture of the training, in which the classes of rows weigh the same.
    """
    weights = data.column("weight", indices).astype(np.float64)
    return weights if task.balanced else weights * data.class_weights[data.column("label", indices)]


class Batches:
    """Batches of some rows for a network.

    Parameters
    ----------
    data : Index
        Jets or events.
    task : TaskProtocol
        What is asked of them.
    card : mapping
        Of the network.
    indices : int64 [N]
        The rows.

    Raises
    ------
    InputError
        If the network was trained for other inputs, or the data lack what the task needs.
    """

    def __init__(self, data: Index, task: TaskProtocol, card: Mapping[str, Any], indices: NDArray[np.int64]) -> None:
        self._data, self._task, self._card = data, task, card
        if isinstance(data, HitDataset):
            self._of_graphs = GraphScaler(**card["scaler"])
            self._of_graphs.require(data.about, data.path)
            data.require(TRUTH)
        elif isinstance(data, Dataset):
            self._of_jets = Scaler(**card["scaler"])
            self._of_jets.require(data.inputs, data.variables, data.path)
            data.require(task.truth, task.bounds)
        size = EVENTS if isinstance(data, HitDataset) else BATCH_OF_PAIRS if task.widths.edges else BATCH
        self._parts = [indices[start : start + size] for start in range(0, len(indices), size)]

    def __len__(self) -> int:
        """Return the number of steps in which rows are read."""
        return len(self._parts)

    def __iter__(self) -> Iterator[list[Part]]:
        """Yield the batches of each step."""
        for chosen in self._parts:
            if isinstance(self._data, HitDataset):
                yield _events(self._data, self._task, self._of_graphs, chosen)
            elif isinstance(self._data, Dataset):
                yield [self._jets(self._data, chosen)]

    def _jets(self, data: Dataset, chosen: NDArray[np.int64]) -> Part:
        card, task = self._card, self._task
        features = self._of_jets(data.features(chosen, card["particles"])).of_width(card["shape"]["globals"])
        inputs = tuple(torch.from_numpy(values) for values in features)
        truth = torch.from_numpy(data.truth(task.truth, chosen, inputs[3].shape[1]))
        columns = torch.from_numpy(data.numbers(columns_of(task), chosen))
        return Part(chosen, inputs, Targets(*_labels(data, task, chosen), truth, inputs[3], columns), inputs[1])


def _labels(data: Index, task: TaskProtocol, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    labels = torch.from_numpy(data.column("label", chosen).astype(np.int64))
    return labels, torch.from_numpy(weights_of(data, task, chosen))


def _events(data: HitDataset, task: TaskProtocol, scaler: GraphScaler, chosen: NDArray[np.int64]) -> list[Part]:
    graphs, parts = [*data.graphs(chosen)], []
    for pack in packed(graphs):
        one, rows = joined([graphs[place] for place in pack]), chosen[pack]
        inputs = tuple(torch.from_numpy(values) for values in scaler(one))
        event, true = torch.from_numpy(one.event), torch.from_numpy(one.true)
        parts.append(Part(rows, inputs, GraphTargets(*_labels(data, task, rows), event, true), _hits(one)))
    return parts


def _hits(graphs: Graphs) -> Hits:
    """Return what figures of merit are made of."""
    of_edges = dict(zip(EDGE_FEATURES, graphs.features.T.astype(np.float64), strict=True))
    r = graphs.nodes[:, NODE_FEATURES.index("r")].astype(np.float64)
    known = (graphs.layer, graphs.particle, graphs.leaving, graphs.pt, graphs.eta)
    columns = (graphs.edges, of_edges["z0"], of_edges["curvature"], r, *known)
    return Hits(*(torch.from_numpy(np.ascontiguousarray(values)) for values in columns))
