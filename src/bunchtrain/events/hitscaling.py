"""The scaler of graphs: centre and width of each feature of hits and edges, from the training split alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from bunchtrain.errors import InputError
from bunchtrain.events.features import Floats
from bunchtrain.events.hitdata import Graphs
from bunchtrain.events.hitgraph import EDGE_FEATURES, NODE_FEATURES
from bunchtrain.events.scaling import Statistics, are_numbers, float32
from bunchtrain.files import read_json, write_json

#: Units of the features; of what has none, 1.
UNITS = {
    **dict.fromkeys(("r", "z", "dr", "dz", "z0"), "mm"),
    **dict.fromkeys(("phi", "dphi"), "rad"),
    **dict.fromkeys(("eta", "layer", "deta", "dR"), "1"),
    "curvature": "1/mm",
}

_WIDTHS = {"nodes": len(NODE_FEATURES), "edges": len(EDGE_FEATURES)}


class Inputs(NamedTuple):
    """What a network sees of graphs: scaled features [N, 5] and [E, 7], and the edges, int64 [2, E]."""

    nodes_NF: Floats
    features_EF: Floats
    edges_2E: Any


@dataclass(frozen=True)
class GraphScaler:
    """Maps features to centre 0 and width 1; `graph` are the windows of the graphs that it was fitted to."""

    nodes_mean: list[float]
    nodes_std: list[float]
    edges_mean: list[float]
    edges_std: list[float]
    graph: dict[str, float]

    @classmethod
    def fitted(cls, nodes: Statistics, edges: Statistics, graph: Mapping[str, float]) -> GraphScaler:
        """Build from the statistics of the features of hits and of edges."""
        widths = [(one.centre().tolist(), one.spread().tolist()) for one in (nodes, edges)]
        return cls(*widths[0], *widths[1], graph=dict(graph))

    def require(self, graph: Mapping[str, float], file: str | Path) -> None:
        """Refuse events of `file` whose graphs are made otherwise than those that this was fitted to.

        Raises
        ------
        InputError
            Naming both.
        """
        if dict(graph) != self.graph:
            raise InputError(
                "the graphs are made otherwise than those that a scaler or a network was made for",
                file=file,
                key="prepare.graph",
                found=dict(graph),
                expected=self.graph,
                mend="train again with what prepare wrote last",
            )

    def __call__(self, graphs: Graphs) -> Inputs:
        """Return what a network sees."""
        return Inputs(
            (graphs.nodes - float32(self.nodes_mean)) / float32(self.nodes_std),
            (graphs.features - float32(self.edges_mean)) / float32(self.edges_std),
            graphs.edges,
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON, with the names and units of the features."""
        write_json(path, {**asdict(self), "nodes": NODE_FEATURES, "edges": EDGE_FEATURES, "units": UNITS})

    @classmethod
    def load(cls, path: str | Path) -> GraphScaler:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is no scaler of graphs, or is damaged.
        """
        values = read_json(path)
        names = {"nodes": [*NODE_FEATURES], "edges": [*EDGE_FEATURES]}
        if not isinstance(values, dict) or any(values.get(key) != found for key, found in names.items()):
            mend = "name the scaler.json that prepare wrote for this dataset"
            raise InputError("a file is no scaler of graphs of hits", file=path, mend=mend)
        for item in fields(cls)[:4]:
            width, found = _WIDTHS[item.name.partition("_")[0]], values.get(item.name)
            if not are_numbers(found, width):
                mend = "run prepare again"
                raise InputError(
                    "a scaler is damaged", file=path, key=item.name, found=found, expected=f"{width} numbers", mend=mend
                )
        if not isinstance(values.get("graph"), dict):
            raise InputError("a scaler is damaged", file=path, key="graph", mend="run prepare again")
        return cls(**{item.name: values[item.name] for item in fields(cls)})
