"""Edge convolution on neighbours that are found anew in each block (after ParticleNet, arXiv:1902.08570).

The first block's neighbours are those in ΔR, later ones those in the block's own features. Batch normalisation is
replaced by that of each node: a step's result must not depend on how its jets were dealt out.

B: batch, P: constituent, K: neighbour, F: node feature, H: hidden width, G: global feature, C: class.
"""

from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.geometry import angles, differences, gathered, nearest, squared_distances
from bunchtrain.models._layers import largest, mean
from bunchtrain.models.base import Encoded, Shape, Tagger


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(64, ge=1, le=1024, description="width of the node states")
    blocks: int = Field(2, ge=1, le=8, description="edge convolutions")
    neighbours: int = Field(8, ge=1, le=128, description="edges per node")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class EdgeConvolution(nn.Module):
    """A node takes the mean of h(x_i, x_j - x_i) over its neighbours, h of two layers, beside what it was.

    The first layer of h is linear in x_i and x_j, so it is applied to nodes before they are gathered: P products in
    place of P·K.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, width)
        self.other = nn.Linear(inputs, width, bias=False)
        self.second = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.shortcut = nn.Identity() if inputs == width else nn.Linear(inputs, width)

    def forward(self, x_BPF: Tensor, index_BPK: Tensor, real_BPK: Tensor) -> Tensor:
        """Return the new node states, none of them negative."""
        other_BPH = self.other(x_BPF)
        own_BPH = self.own(x_BPF) - other_BPH
        edge_BPKH = functional.relu(own_BPH[:, :, None] + gathered(other_BPH, index_BPK))
        edge_BPKH = functional.relu(self.second(edge_BPKH)) * real_BPK[..., None]
        mean_BPH = edge_BPKH.sum(2) / real_BPK.sum(2).clamp(min=1)[..., None]
        return functional.relu(self.norm(mean_BPH) + self.shortcut(x_BPF))


class Model(Tagger):
    """Edge convolutions, pooled and joined with the jet's own features."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.neighbours = config.neighbours
        widths = [shape.nodes, *([config.hidden] * config.blocks)]
        self.blocks = nn.ModuleList(EdgeConvolution(one, after) for one, after in pairwise(widths))
        self.add_heads(shape, config, graph=2 * config.hidden + shape.globals, nodes=config.hidden)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        squared_BPP = differences(angles(momenta_BP4)).square().sum(-1)
        x_BPH = nodes_BPF
        for block in self.blocks:
            with torch.no_grad():
                squared_BPP = squared_distances(x_BPH) if x_BPH is not nodes_BPF else squared_BPP
                index_BPK, found_BPK = nearest(squared_BPP, mask_BP, self.neighbours)
            x_BPH = block(x_BPH, index_BPK, torch.isfinite(found_BPK).to(x_BPH.dtype))
        graph_BG = torch.cat([mean(x_BPH, mask_BP), largest(x_BPH, mask_BP), globals_BG], -1)
        return Encoded(graph_BG, x_BPH)
