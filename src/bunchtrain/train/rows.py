"""What a training makes of the rows that its task learns from: jets, events as graphs of hits, or responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bunchtrain.config import literals
from bunchtrain.config.physics import Physics
from bunchtrain.config.surrogates import check_field
from bunchtrain.events import responses
from bunchtrain.events.features import GLOBALS
from bunchtrain.events.hitdata import HitDataset
from bunchtrain.events.hitgraph import EDGE_FEATURES, NODE_FEATURES
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.events.variations.base import opened as variation
from bunchtrain.levels import ResponseShape, Shape, Widths
from bunchtrain.tasks.base import TaskProtocol, require
from bunchtrain.tasks.base import columns as columns_of
from bunchtrain.train import responses as responses_source
from bunchtrain.train.batches import BatchSource, Source
from bunchtrain.train.graphs import GraphSource
from bunchtrain.train.responses import ResponseSource
from bunchtrain.train.varied import VariedSource

Where = tuple[torch.dtype, torch.device]

#: Rows that a network finds its units in.
_ADJUST = 20000


class Jets:
    """Jets of an index, scaled; see `opened`."""

    def __init__(self, dataset: Path, scaler: Path, model: str) -> None:
        self.data, self._scaler = Dataset(dataset), Scaler.load(scaler)
        self._globals = len(self.data.globals if literals.sees_variables(model) else GLOBALS)
        #: What a network's card says of its inputs.
        self.about: dict[str, Any] = {"particles": self.data.particles, "scaler": asdict(self._scaler)}

    def shape(self, wanted: Widths) -> Shape:
        """Return the widths of a network with the answers that are wanted."""
        widths = {"outputs": wanted.graph, "node_outputs": wanted.nodes, "edge_outputs": wanted.edges}
        return Shape(len(self.data.nodes), self._globals, inputs=len(self.data.inputs), **widths)

    def source(self, indices: NDArray[np.int64], where: Where, padding: float, task: TaskProtocol) -> BatchSource:
        """Return what makes the batches of some jets."""
        return self._source(self.data, indices, where, padding, task)

    def varied(
        self,
        indices: NDArray[np.int64],
        where: Where,
        padding: float,
        task: TaskProtocol,
        variations: Sequence[Mapping[str, Any]],
        seed: int,
    ) -> VariedSource:
        """Return what makes batches of some jets, each as it is or as one of the variations has it."""
        several = [self.data, *(variation(one, self.data.path, seed) for one in variations)]
        return VariedSource([self._source(data, indices, where, padding, task) for data in several], seed, padding)

    def _source(
        self, data: Dataset, indices: NDArray[np.int64], where: Where, padding: float, task: TaskProtocol
    ) -> BatchSource:
        names = columns_of(task)
        require(task, data.numbers(names, indices), data.path)
        asked: dict[str, Any] = {"truth": task.truth, "bounds": task.bounds, "columns": names}
        asked["by_event"] = getattr(task, "by_event", False)
        return BatchSource(data, self._scaler, indices, *where, padding, width=self._globals, **asked)


class Events:
    """Events of an index as graphs of their hits, scaled; see `opened`."""

    def __init__(self, dataset: Path, scaler: Path, model: str) -> None:
        self.data, self._scaler = HitDataset(dataset), GraphScaler.load(scaler)
        self.about: dict[str, Any] = {"particles": None, "scaler": asdict(self._scaler)}

    def shape(self, wanted: Widths) -> Shape:
        """Return the widths of a network with the answers that are wanted."""
        widths = {"outputs": wanted.graph, "node_outputs": wanted.nodes, "edge_outputs": wanted.edges}
        return Shape(len(NODE_FEATURES), 0, edges=len(EDGE_FEATURES), **widths)

    def source(self, indices: NDArray[np.int64], where: Where, padding: float, task: TaskProtocol) -> Source:
        """Return what makes the batches of some events."""
        return GraphSource(self.data, self._scaler, indices, *where)


class Surrogated:
    """Rows of parameters and quantities of an index, scaled; see `opened`."""

    def __init__(self, rows: str, model: str, dataset: Path, scaler: Path, physics: Physics) -> None:
        self.data, self._scaler = responses.opened(rows, dataset), responses.ParameterScaler.load(scaler)
        check_field(physics, model, self.data.parameters, len(self.data.quantities), dataset)
        self._physics = physics
        about = {"quantities": self.data.quantities, "physics": physics.model_dump(mode="json")}
        self.about: dict[str, Any] = {"particles": None, "scaler": asdict(self._scaler), **about}

    def shape(self, wanted: Widths) -> ResponseShape:
        """Return what a network maps, and what it obeys."""
        physics = self._physics
        return ResponseShape(
            features=len(self._scaler.mean),
            quantities=len(self.data.quantities),
            groups=self.data.groups(physics.groups),
            share=physics.total is not None,
            conserved=physics.conserved,
            positive=physics.positive,
            weight=physics.weight,
            maxwell=physics.maxwell,
            widths=self._scaler.std if physics.maxwell != "none" else (),
        )

    def source(self, indices: NDArray[np.int64], where: Where, padding: float, task: TaskProtocol) -> ResponseSource:
        """Return what makes the batches of some rows."""
        return ResponseSource(self.data, self._scaler, self._physics.total, indices, *where)

    def adjust(self, model: nn.Module, seed: int) -> None:
        """Let a network see quantities of the training, to find the units in which they are of order 1."""
        indices = self.data.indices("train")
        if len(indices) > _ADJUST:
            indices = np.sort(np.random.default_rng(seed).choice(indices, _ADJUST, replace=False))
        totals_B = responses_source.totals(self.data, self._physics.total)[indices]
        features_BU = torch.from_numpy(self._scaler(self.data.given(indices)))
        cast(Any, model).adjust(torch.from_numpy(totals_B), torch.from_numpy(self.data.known(indices)), features_BU)


def opened(
    task: str, model: str, dataset: Path, scaler: Path, physics: Physics | None = None
) -> Jets | Events | Surrogated:
    """Open what a task learns from, for a kind of network.

    Raises
    ------
    ContractError
        If the index holds other rows than the task learns from.
    """
    rows = literals.rows("tasks", task)
    if rows in responses.ITEMS:
        return Surrogated(rows, model, dataset, scaler, physics or Physics())
    return (Events if rows == "events" else Jets)(dataset, scaler, model)
