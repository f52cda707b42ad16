"""A network on the set of a jet's constituents (DeepSets, arXiv:1810.05165): each one embedded, then summed.

B: batch, P: constituent, F: node feature, H: hidden width, G: global feature, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models._layers import mean
from bunchtrain.models.base import Encoded, Shape, Tagger


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of a constituent's embedding")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class Model(Tagger):
    """Embedding, mean over the set, heads."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(shape.nodes, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.hidden), nn.ReLU()
        )
        self.add_heads(shape, config, graph=config.hidden + shape.globals, nodes=config.hidden, layers=1)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        x_BPH = self.embed(nodes_BPF)
        return Encoded(torch.cat([mean(x_BPH, mask_BP), globals_BG], -1), x_BPH)
