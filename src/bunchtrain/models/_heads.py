"""The heads of a network: what follows on its encoding of a jet, one for each level of answers.

B: batch, P: constituent, F: its features, H: width of its state, G: of the jet's state, W: hidden width, C: answer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from bunchtrain.levels import LEVELS, Logits, Shape


class Encoded(NamedTuple):
    """What the heads see: of a jet, shape [B, G], and of each constituent, [B, P, H]."""

    graph_BG: Tensor
    nodes_BPH: Tensor


class HeadConfig(Protocol):
    """What a network's Config says of its heads."""

    @property
    def head(self) -> int:
        """Width of the hidden layers."""
        ...

    @property
    def dropout(self) -> float:
        """Share that dropout leaves out."""
        ...


class Tagger(nn.Module):
    """A network whose heads, one a level, follow on what `encode` makes of a jet; dropout acts in the former alone."""

    def add_heads(self, shape: Shape, config: HeadConfig, *, graph: int, nodes: int, layers: int = 2) -> None:
        """Make the heads of the levels that are asked for.

        Parameters
        ----------
        shape : Shape
            Among others, how many numbers are wanted of a jet, of each constituent and of each pair.
        config : HeadConfig
            Width and dropout of the hidden layers.
        graph, nodes : int
            Widths of what `encode` gives of a jet and of each constituent.
        layers : int
            Hidden layers of the jet's head.
        """
        width, dropout = config.head, config.dropout
        self.head = classifier(graph, width, shape.outputs, dropout, layers) if shape.outputs else None
        seen = (nodes, graph, width)
        self.node_head = NodeHead(*seen, shape.node_outputs, dropout) if shape.node_outputs else None
        self.edge_head = EdgeHead(*seen, shape.edge_outputs, dropout) if shape.edge_outputs else None

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see."""
        raise NotImplementedError

    def decide(self, encoded: Encoded, levels: Collection[str] = LEVELS) -> Logits:
        """Return the answers on some levels from what `encode` gave."""
        graph_BG, nodes_BPH = encoded
        batch, nodes = nodes_BPH.shape[:2]
        none = nodes_BPH.new_zeros

        def asked(head: nn.Module | None, level: str) -> nn.Module | None:
            return head if level in levels else None

        head, of_nodes, of_edges = map(asked, (self.head, self.node_head, self.edge_head), LEVELS)
        return Logits(
            head(graph_BG) if head is not None else none(batch, 0),
            of_nodes(nodes_BPH, graph_BG) if of_nodes is not None else none(batch, nodes, 0),
            of_edges(nodes_BPH, graph_BG) if of_edges is not None else none(batch, nodes, nodes, 0),
        )

    def forward(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Logits:
        """Return the answers on all levels that were asked for."""
        return self.decide(self.encode(nodes_BPF, momenta_BP4, globals_BG, mask_BP))


class NodeHead(nn.Module):
    """A perceptron on the state of each constituent and the jet's."""

    def __init__(self, nodes: int, graph: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.node, self.graph = nn.Linear(nodes, width), nn.Linear(graph, width, bias=False)
        self.rest = _rest(width, outputs, dropout)

    def forward(self, nodes_BPH: Tensor, graph_BG: Tensor) -> Tensor:
        """Return logits, shape [B, P, C]."""
        logits_BPC: Tensor = self.rest(self.node(nodes_BPH) + self.graph(graph_BG)[:, None])
        return logits_BPC


class EdgeHead(nn.Module):
    """A perceptron on sum and distance of two constituents' states, and the jet's: a pair has no first and second."""

    def __init__(self, nodes: int, graph: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.node, self.graph = nn.Linear(nodes, width), nn.Linear(graph, width, bias=False)
        self.apart = nn.Linear(nodes, width, bias=False)
        self.rest = _rest(width, outputs, dropout)

    def forward(self, nodes_BPH: Tensor, graph_BG: Tensor) -> Tensor:
        """Return logits, shape [B, P, P, C]."""
        one_BPW = self.node(nodes_BPH) + self.graph(graph_BG)[:, None]
        apart_BPPH = (nodes_BPH[:, :, None] - nodes_BPH[:, None]).abs()
        logits_BPPC: Tensor = self.rest(one_BPW[:, :, None] + one_BPW[:, None] + self.apart(apart_BPPH))
        return logits_BPPC


def _rest(width: int, outputs: int, dropout: float) -> nn.Sequential:
    """Return what follows on a head's first linear layer."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, outputs),
    )


def classifier(inputs: int, width: int, outputs: int, dropout: float, layers: int = 2) -> nn.Sequential:
    """Return hidden layers with dropout, and the logits."""
    hidden: list[nn.Module] = []
    for number in range(layers):
        hidden += [nn.Linear(width if number else inputs, width), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))
