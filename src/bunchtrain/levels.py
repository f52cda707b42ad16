"""What a network answers and what it should have answered, on three levels: of a jet, its constituents, pairs of them.

B: batch, P: constituent, C: answer, T: column of truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

#: A jet as a whole, its constituents, pairs of them.
LEVELS = ("graph", "nodes", "edges")


class Widths(NamedTuple):
    """How many numbers a network answers with, of a jet as a whole, of each constituent and of each pair of them."""

    graph: int = 0
    nodes: int = 0
    edges: int = 0


class Shape(NamedTuple):
    """Widths of a network's inputs, and how many numbers it answers with of a jet, of each constituent, of each pair.

    `inputs` of the node features, the last, follow from no momentum.
    """

    nodes: int
    globals: int
    outputs: int
    inputs: int = 0
    node_outputs: int = 0
    edge_outputs: int = 0


class Logits(NamedTuple):
    """A network's answers; those of constituents that are padding, and of pairs with one, mean nothing.

    A level that no task asked for has width 0.
    """

    graph_BC: Tensor
    nodes_BPC: Tensor
    edges_BPPC: Tensor


class Targets(NamedTuple):
    """What is known of the jets of a batch: class, weight, and of each constituent the columns that a task names."""

    labels_B: Tensor
    weights_B: Tensor
    truth_BPT: Tensor
    mask_BP: Tensor


class Items(NamedTuple):
    """What a task tells apart, M of them in a batch: with class, weight and jet of each."""

    probabilities_MC: Tensor
    labels_M: Tensor
    weights_M: Tensor
    rows_M: Tensor
