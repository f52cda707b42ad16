"""An interaction network at linear cost, for FPGAs (JEDI-linear, arXiv:2508.15468).

Messages that are linear in their sender add up before they are sent: all nodes share one mean.

B: batch, P: constituent, F: node feature, H: hidden width, G: global feature, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.models._layers import mean
from bunchtrain.models.base import Encoded, Shape, Tagger


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of the node states")
    layers: int = Field(2, ge=1, le=12, description="rounds of messages")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class Model(Tagger):
    """Rounds of x_i <- relu(A x_i + B mean_j x_j), and the mean of the last states."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Linear(shape.nodes, config.hidden)
        self.own = nn.ModuleList(nn.Linear(config.hidden, config.hidden) for _ in range(config.layers))
        self.all = nn.ModuleList(nn.Linear(config.hidden, config.hidden, bias=False) for _ in range(config.layers))
        self.add_heads(shape, config, graph=config.hidden + shape.globals, nodes=config.hidden)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        x_BPH = functional.relu(self.embed(nodes_BPF))
        for own, shared in zip(self.own, self.all, strict=True):
            x_BPH = functional.relu(own(x_BPH) + shared(mean(x_BPH, mask_BP))[:, None])
        return Encoded(torch.cat([mean(x_BPH, mask_BP), globals_BG], -1), x_BPH)
