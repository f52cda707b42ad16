"""A graph network of a jet: constituents are nodes, neighbours in ΔR are edges, the jet's mass is a global feature.

B: batch, P: constituent, K: neighbour, F: node feature, H: hidden width, G: global feature, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.geometry import angles, differences, gathered, nearest
from bunchtrain.models._layers import largest, mean
from bunchtrain.models.base import Encoded, Shape, Tagger


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of the node states")
    layers: int = Field(2, ge=1, le=12, description="rounds of message passing")
    neighbours: int = Field(8, ge=1, le=128, description="edges per node, to the nearest in ΔR")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class MessagePassing(nn.Module):
    """One round: each node takes the mean and the largest of relu(A x_i + B x_j + c(ΔR_ij)) over its neighbours.

    The edge network's first layer is linear in (x_i, x_j, e_ij), so it is applied to the nodes before they are
    gathered: P products in place of P·K.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(2, width, bias=False)
        self.update = nn.Linear(3 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BPH: Tensor, index_BPK: Tensor, edges_BPK2: Tensor, real_BPK: Tensor) -> Tensor:
        """Return the new node states."""
        other_BPKH = gathered(self.other(x_BPH), index_BPK)
        message_BPKH = functional.relu(self.own(x_BPH)[:, :, None] + other_BPKH + self.edge(edges_BPK2))
        message_BPKH = message_BPKH * real_BPK[..., None]
        mean_BPH = message_BPKH.sum(2) / real_BPK.sum(2).clamp(min=1)[..., None]
        update = self.update(torch.cat([x_BPH, mean_BPH, message_BPKH.amax(2)], -1))
        return x_BPH + functional.relu(self.norm(update))


class Model(Tagger):
    """Message passing on the neighbour graph, pooled and joined with the jet's own features."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.neighbours = config.neighbours
        self.embed = nn.Linear(shape.nodes, config.hidden)
        self.rounds = nn.ModuleList(MessagePassing(config.hidden) for _ in range(config.layers))
        self.add_heads(shape, config, graph=2 * config.hidden + shape.globals, nodes=config.hidden)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        squared_BPP = differences(angles(momenta_BP4)).square().sum(-1)
        index_BPK, squared_BPK = nearest(squared_BPP, mask_BP, self.neighbours)
        real_BPK = torch.isfinite(squared_BPK)
        distance_BPK = squared_BPK.masked_fill(~real_BPK, 0.0).sqrt()
        edges_BPK2 = torch.stack([distance_BPK, torch.log(distance_BPK + 1e-3)], -1)
        real_BPK = real_BPK.to(nodes_BPF.dtype)
        x_BPH = functional.relu(self.embed(nodes_BPF))
        for passing in self.rounds:
            x_BPH = passing(x_BPH, index_BPK, edges_BPK2, real_BPK)
        graph_BG = torch.cat([mean(x_BPH, mask_BP), largest(x_BPH, mask_BP), globals_BG], -1)
        return Encoded(graph_BG, x_BPH)
