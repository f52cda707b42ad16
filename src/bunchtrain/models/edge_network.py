"""An interaction network on a given list of edges, which it tells apart (arXiv:1612.00222, of hits arXiv:2103.16701).

N: node (hit), E: edge, T: pair of edges that meet in a node, F: feature, H: hidden width, C: answer.
"""

from collections.abc import Collection
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.levels import LEVELS as ALL
from bunchtrain.levels import Logits
from bunchtrain.models._heads import classifier
from bunchtrain.models._layers import perceptron
from bunchtrain.models.base import Shape

#: See `models.base`.
ROWS = "events"
LEVELS = ("edges",)

#: Difference of scaled features below which a logarithm no longer falls.
_SMALL = 1e-3

#: Largest message before the exponential.
_LOUD = 20.0

#: Pairs of edges that are looked at together: their numbers stay in the cache, and without gradients a pair takes the
#: bytes of its two places alone.
_AT_ONCE = 1 << 15


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of the states of nodes and edges")
    layers: int = Field(2, ge=1, le=16, description="rounds of messages between nodes and edges")
    head: int = Field(32, ge=1, le=4096, description="width of the head's hidden layers")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout in the head; MC dropout needs it above 0")


class Encoded(NamedTuple):
    """What the head sees: the states of the edges [E, H], and how many nodes there are."""

    edges_EH: Tensor
    nodes: int


def consecutive(edges_2E: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Return all pairs of edges of which the second begins where the first ends, two int64 [T]."""
    inner, outer = edges_2E.unbind(0)
    order = torch.argsort(inner, stable=True)
    leaving = torch.bincount(inner, minlength=nodes)
    begin = leaving.cumsum(0) - leaving
    counts = leaving.index_select(0, outer)
    first = torch.repeat_interleave(torch.arange(len(inner), device=inner.device), counts)
    shift = begin.index_select(0, outer) - (counts.cumsum(0) - counts)
    second = torch.arange(len(first), device=inner.device) + shift.index_select(0, first)
    return first, order.index_select(0, second)


class Continuation(nn.Module):
    """What an edge hears of the edges that go on from its ends: of each number ln(1 + Σ exp), about the largest.

    A track's edges agree in curvature and z0 to a hundredth of what these vary by, so the logarithms of the differences
    are given, too. Sums at the nodes could not tell one good continuation from many bad ones.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, width), nn.Linear(features, width, bias=False)
        self.apart = nn.Linear(features, width, bias=False)
        self.message = nn.Linear(width, width)

    def forward(self, features_EF: Tensor, edges_2E: Tensor, nodes: int) -> Tensor:
        """Return what is heard outwards and inwards, shape [E, 2 H]; zero where nothing goes on."""
        one_EH, other_EH = self.first(features_EF), self.second(features_EF)
        heard = [torch.zeros_like(one_EH, dtype=features_EF.dtype) for _ in range(2)]
        for first, second in zip(*(torch.split(one, _AT_ONCE) for one in consecutive(edges_2E, nodes)), strict=True):
            apart_TF = (features_EF.index_select(0, first) - features_EF.index_select(0, second)).abs()
            sent_TH = one_EH.index_select(0, first) + other_EH.index_select(0, second)
            sent_TH = functional.relu(sent_TH + self.apart(torch.log(apart_TF + _SMALL)))
            sent_TH = self.message(sent_TH).clamp(max=_LOUD).exp().to(features_EF.dtype)
            for one, places in zip(heard, (first, second), strict=True):
                one.index_add_(0, places, sent_TH)  # in place: a copy for each piece would cost pieces times edges
        return torch.cat(heard, -1).log1p()


class Round(nn.Module):
    """One round: edges take up both of their nodes, nodes the sums of the edges that come in and that go out.

    The first layer on (x_i, x_j, e) is linear in them, so nodes go through it before they are gathered. Sums, not
    means: how many edges agree on a node is what tells a track from chance; LayerNorm brings them to order 1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(width, width, bias=False)
        self.message = nn.Linear(width, width)
        self.node = perceptron(3 * width, width, width)
        self.of_edges, self.of_nodes, self.sums = (nn.LayerNorm(one) for one in (width, width, 3 * width))

    def forward(self, x_NH: Tensor, e_EH: Tensor, edges_2E: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new states of nodes and edges."""
        inner, outer = edges_2E.unbind(0)
        both_EH = self.inner(x_NH).index_select(0, inner) + self.outer(x_NH).index_select(0, outer)
        e_EH = e_EH + self.of_edges(self.message(functional.relu(both_EH + self.edge(e_EH))))
        none_NH = torch.zeros(x_NH.shape, dtype=e_EH.dtype, device=x_NH.device)
        heard = [none_NH.index_add(0, places, e_EH) for places in (outer, inner)]
        x_NH = x_NH + self.of_nodes(self.node(self.sums(torch.cat([x_NH, *heard], -1))))
        return x_NH, e_EH


class Model(nn.Module):
    """Edges first hear of those that go on from them; then rounds of messages between hits and edges, and a head."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        width = config.hidden
        self.continuation = Continuation(shape.edges, width)
        self.embed_nodes = perceptron(shape.nodes, width, width)
        self.embed_edges = perceptron(shape.edges + 2 * width, width, width)
        self.rounds = nn.ModuleList(Round(width) for _ in range(config.layers))
        self.last = nn.ModuleList(nn.Linear(width, width, bias=number == 0) for number in range(3))
        self.edge_head = classifier(width, config.head, shape.edge_outputs, config.dropout)

    def encode(self, nodes_NF: Tensor, features_EF: Tensor, edges_2E: Tensor) -> Encoded:
        """Return what the head sees; no dropout acts before it."""
        going_on = self.continuation(features_EF, edges_2E, len(nodes_NF))
        x_NH, e_EH = self.embed_nodes(nodes_NF), self.embed_edges(torch.cat([features_EF, going_on], -1))
        for one in self.rounds:
            x_NH, e_EH = one(x_NH, e_EH, edges_2E)
        inner, outer, edge = self.last
        places_i, places_o = edges_2E.unbind(0)
        seen_EH = inner(x_NH).index_select(0, places_i) + outer(x_NH).index_select(0, places_o) + edge(e_EH)
        return Encoded(functional.relu(seen_EH), len(nodes_NF))

    def decide(self, encoded: Encoded, levels: Collection[str] = ALL) -> Logits:
        """Return the answers of edges, if their level is asked for, from what `encode` gave."""
        edges_EH, nodes = encoded
        none = edges_EH.new_zeros
        logits_EC = self.edge_head(edges_EH) if "edges" in levels else none(len(edges_EH), 0)
        return Logits(none(0, 0), none(nodes, 0), logits_EC)

    def forward(self, nodes_NF: Tensor, features_EF: Tensor, edges_2E: Tensor) -> Logits:
        """Return the answers of all edges."""
        return self.decide(self.encode(nodes_NF, features_EF, edges_2E))
