"""Graphs of hits as batches of tensors, one disjoint graph each: made once and kept while they fit, else anew.

N: hits, E: edges, B: events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.events.hitdata import TRUTH, Graphs, HitDataset, joined, packed
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.levels import GraphTargets
from bunchtrain.train.batches import IN_MEMORY, Batch, describe, sent

_CPU = torch.device("cpu")


class GraphSource:
    """Makes the batches of one split of events; see `batches.Source`.

    Parameters
    ----------
    data, scaler : HitDataset, GraphScaler
        The events, and what brings the features of their graphs to order 1.
    indices : int64 [N]
        The split's events.
    dtype : torch.dtype
        Of features and weights.
    device : torch.device
        Where batches are wanted.
    memory : int
        Bytes of graphs that are kept.
    """

    rows, at_once = "events", 8

    def __init__(
        self,
        data: HitDataset,
        scaler: GraphScaler,
        indices: NDArray[np.int64],
        dtype: torch.dtype = torch.float32,
        device: torch.device = _CPU,
        memory: int = IN_MEMORY,
    ) -> None:
        scaler.require(data.about, data.path)
        data.require(TRUTH)
        self._data, self._scaler, self._dtype, self._device = data, scaler, dtype, device
        self._labels, self._weights = data.column("label"), data.training_weights()
        self._missing = len(indices)
        self._room = memory
        self._graphs: dict[int, Graphs] = {}

    @property
    def kept(self) -> bool:
        """Whether the graphs of all events were made and are in memory."""
        return self._missing == 0

    def sizes(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many hits the given events have, int64 [B]."""
        return self._data.counts(indices)

    def describe(self, path: Path, jets: NDArray[np.int64], where: str) -> None:
        """Write to `path` which events these are: their numbers, labels and weights."""
        describe(self._data, path, jets, where)

    def __call__(self, indices: NDArray[np.int64], turn: int | None = None) -> list[Batch]:
        """Return the given events in batches of so many edges as are computed together."""
        graphs = self._some(indices)
        return [self._batch(joined([graphs[i] for i in pack]), indices[pack]) for pack in packed(graphs)]

    def _some(self, indices: NDArray[np.int64]) -> list[Graphs]:
        """Return the graphs of the given events; new ones are kept while there is room."""
        new = [index for index in indices if int(index) not in self._graphs]
        made = dict(zip(map(int, new), self._data.graphs(np.array(new, np.int64)), strict=True))
        for index, graph in made.items():
            if graph.nbytes <= self._room:
                self._graphs[index] = graph
                self._room, self._missing = self._room - graph.nbytes, self._missing - 1
        return [made.get(int(index)) or self._graphs[int(index)] for index in indices]

    def _batch(self, graphs: Graphs, indices: NDArray[np.int64]) -> Batch:
        nodes, features, edges, event, true = map(self._sent, (*self._scaler(graphs), graphs.event, graphs.true))
        labels = self._sent(self._labels[indices].astype(np.int64))
        weights = self._sent(self._weights[indices].astype(np.float64))
        targets, number = GraphTargets(labels, weights, event, true), len(graphs.features)
        return Batch((nodes, features, edges), targets, number, number)

    def _sent(self, values: NDArray[Any]) -> Tensor:
        return sent(values, self._dtype, self._device)
