"""What prepare does for events alone: their columns, the windows of their graphs, the scaler of hits and edges."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.prepare import Graph, Prepare
from bunchtrain.errors import InputError
from bunchtrain.events.hitdata import HITS, TRUTH, HitDataset
from bunchtrain.events.hitgraph import EDGE_FEATURES, NODE_FEATURES
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.events.scaling import Moments, Quantiles
from bunchtrain.prepare.index import ShardInfo, require

#: Events whose graphs are made at once by a thread.
_STEP = 4


def attributes(infos: Sequence[ShardInfo], settings: Prepare) -> dict[str, Any]:
    """Return what the index of events says of itself: the windows of their graphs.

    Raises
    ------
    InputError
        If a shard has not the columns of which graphs are made.
    """
    known = [name for name in TRUTH if all(name in info.columns for info in infos if info.jets)]
    for name in (*HITS, *known):
        axis, _, column = name.partition("/")
        require(infos, axis, [column], "prepare.graph")
    return {"graph": (settings.graph or Graph()).model_dump_json()}


def fit_scaler(data: HitDataset, kind: str = "standard", threads: int = 1) -> GraphScaler:
    """Fit the scaler to the graphs of the training split alone, in one pass, a few graphs in memory at a time.

    The parts are the same and merge in the same order however many threads there are: so is the result.

    Raises
    ------
    InputError
        If the events of the training split have no hits, or no edges.
    """
    make: Any = Quantiles if kind == "robust" else Moments
    indices = data.indices("train")
    parts = [indices[start : start + _STEP] for start in range(0, len(indices), _STEP)]
    nodes, edges, total = make(len(NODE_FEATURES)), make(len(EDGE_FEATURES)), 0
    with ThreadPoolExecutor(threads) as pool:
        for of_nodes, of_edges, number in pool.map(partial(_statistics, data, make), parts):
            nodes.merge(of_nodes)
            edges.merge(of_edges)
            total += number
    if total == 0:
        mend = "look at the hits, and at the windows of prepare.graph"
        raise InputError("the graphs of the training split have no edges", file=data.path, mend=mend)
    return GraphScaler.fitted(nodes, edges, data.about)


def _statistics(data: HitDataset, make: Any, indices: NDArray[np.int64]) -> tuple[Any, Any, int]:
    nodes, edges, total = make(len(NODE_FEATURES)), make(len(EDGE_FEATURES)), 0
    for one in data.graphs(indices):
        nodes.add(one.nodes)
        edges.add(one.features)
        total += len(one.features)
    return nodes, edges, total
