"""What a network answers and what it should have answered, on three levels: of a jet, its constituents, pairs of them.

Of events the levels are the event, its hits, and the edges of their graph. The graphs of a batch are one list of hits
and one of edges, numbered through, in place of padded arrays: [N, C] stands for [B, P, C], and [E, C] for [B, P, P, C].

B: batch, P: constituent, C: answer, T: column of truth, V: column of jets, L: number of a code; N: hits, E: edges,
Q: particles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

#: A jet as a whole, its constituents, pairs of them.
LEVELS = ("graph", "nodes", "edges")


#: Stands among the columns of jets that a task learns from: a number from 0 to below 1 of each event, at random.
DRAW = "draw of the event"


class Widths(NamedTuple):
    """How many numbers a network answers with, of a jet as a whole, of each constituent and of each pair of them."""

    graph: int = 0
    nodes: int = 0
    edges: int = 0


class Shape(NamedTuple):
    """Widths of a network's inputs, and how many numbers it answers with of a jet, of each constituent, of each pair.

    `inputs` of the node features, the last, follow from no momentum. `edges` features of edges are given, not made of
    the nodes': those of a graph of hits.
    """

    nodes: int
    globals: int
    outputs: int
    inputs: int = 0
    node_outputs: int = 0
    edge_outputs: int = 0
    edges: int = 0


class ResponseShape(NamedTuple):
    """What a surrogate maps: so many features of parameters to so many quantities, and the physics that it obeys.

    Attributes
    ----------
    features, quantities : int
        Widths of input and output.
    groups : sequence of int
        The group of each quantity, from 0 on without a gap: those that share a sum, such as the cells of a layer.
    share : bool
        Whether quantities are shares of a total that is given with the parameters.
    conserved, positive : str
        How they add up to it, and whether they may be negative: `construction`, `penalty` or `none`.
    weight : float
        Of penalties.
    maxwell : str
        How the quantities, components of a field along the axes of the features, keep ∇·B = 0 and ∇×B = 0.
    widths : sequence of float
        Of the features, in the unit of their parameters; needed for slopes alone.
    """

    features: int
    quantities: int
    groups: Sequence[int] = ()
    share: bool = False
    conserved: str = "none"
    positive: str = "none"
    weight: float = 1.0
    maxwell: str = "none"
    widths: Sequence[float] = ()


class Logits(NamedTuple):
    """A network's answers; those of constituents that are padding, and of pairs with one, mean nothing.

    A level that no task asked for has width 0.
    """

    graph_BC: Tensor
    nodes_BPC: Tensor
    edges_BPPC: Tensor


class Latent(NamedTuple):
    """What an autoencoder answers of the jets of a batch.

    Attributes
    ----------
    mean_BL, log_variance_BL : Tensor [B, L]
        Of the code; one without chance has a variance of 1, whose logarithm is 0.
    error_B : Tensor [B]
        What the reconstruction misses of the jet: minus the logarithm of its likelihood, up to a constant.
    """

    mean_BL: Tensor
    log_variance_BL: Tensor
    error_B: Tensor


class Response(NamedTuple):
    """What a surrogate says of rows whose quantities it is shown.

    Attributes
    ----------
    loss_B : Tensor [B]
        What it is trained by: minus the logarithm of the likelihood, a bound on it, or what stands for it.
    missed_B, negative_B : Tensor [B]
        Of one answer without the quantities: by how much it misses the total, as a share of it, and the negative
        quantities, summed, likewise; 0 where there is no total.
    """

    loss_B: Tensor
    missed_B: Tensor
    negative_B: Tensor


class ResponseTargets(NamedTuple):
    """What is known of rows of parameters and quantities beside these, which are a network's inputs."""

    labels_B: Tensor
    weights_B: Tensor


class Targets(NamedTuple):
    """What is known of the jets of a batch: class, weight, columns of constituents and of jets that a task names."""

    labels_B: Tensor
    weights_B: Tensor
    truth_BPT: Tensor
    mask_BP: Tensor
    columns_BV: Tensor


class GraphTargets(NamedTuple):
    """What is known of the events of a batch: class, weight, and of each edge its event and whether it is true."""

    labels_B: Tensor
    weights_B: Tensor
    event_E: Tensor
    true_E: Tensor


class Hits(NamedTuple):
    """What figures of merit are made of for the events of a batch.

    Attributes
    ----------
    edges_2E : int64
        Inner and outer hits.
    z0_E, curvature_E : float64
        Where an edge, followed back on the circle through the beam line, meets it (mm), and its curvature (1/mm).
    r_N : float64
        Distance of a hit from the beam line, mm.
    layer_N, particle_N : int64
        Layer and particle of each hit; -1 is noise.
    leaving_N : int64
        True edges that leave a hit outwards, whether or not they are among the edges.
    pt_Q, eta_Q : float64
        Of the particles; GeV, 1.
    """

    edges_2E: Tensor
    z0_E: Tensor
    curvature_E: Tensor
    r_N: Tensor
    layer_N: Tensor
    particle_N: Tensor
    leaving_N: Tensor
    pt_Q: Tensor
    eta_Q: Tensor


class Items(NamedTuple):
    """What a task tells apart, M of them in a batch: with class, weight and jet of each."""

    probabilities_MC: Tensor
    labels_M: Tensor
    weights_M: Tensor
    rows_M: Tensor
