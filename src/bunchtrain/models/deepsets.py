"""A network on the set of a jet's constituents (DeepSets, arXiv:1810.05165): each one embedded, then summed.

B: batch, P: constituent, F: node feature, H: hidden width, G: global feature, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.models._layers import Tagger, mean
from bunchtrain.models.base import Shape


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of a constituent's embedding")
    head: int = Field(64, ge=1, le=4096, description="width of the classifier's hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the classifier; MC dropout needs it above 0")


class Model(Tagger):
    """Embedding, mean over the set, classifier."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(shape.nodes, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.hidden), nn.ReLU()
        )
        self.head = nn.Sequential(
            nn.Linear(config.hidden + shape.globals, config.head),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.head, shape.outputs),
        )

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Tensor:
        """Return what the classifier sees; no dropout acts before it."""
        return torch.cat([mean(self.embed(nodes_BPF), mask_BP), globals_BG], -1)
