"""An interaction network: every pair of constituents sends a message (arXiv:1612.00222, for jets arXiv:1908.05318).

B: batch, P: constituent, F: node feature, H: hidden width, G: global feature, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.geometry import pair_features
from bunchtrain.models._layers import mean, perceptron
from bunchtrain.models.base import Encoded, Shape, Tagger


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of messages and node states")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class Model(Tagger):
    """Messages φ(x_i, x_j, e_ij), their mean over senders, a new state of each node, and the mean of those.

    φ's first layer is linear in its inputs, so nodes go through it before they are paired.
    """

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        width = config.hidden
        self.receiver = nn.Linear(shape.nodes, width)
        self.sender = nn.Linear(shape.nodes, width, bias=False)
        self.edge = nn.Linear(4, width, bias=False)
        self.message = nn.Linear(width, width)
        self.node = perceptron(shape.nodes + width, width, width)
        self.add_heads(shape, config, graph=width + shape.globals, nodes=width)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        others_BPP = mask_BP[:, None, :] & ~torch.eye(mask_BP.shape[1], dtype=torch.bool, device=mask_BP.device)
        others_BPP1 = others_BPP[..., None].to(nodes_BPF.dtype)
        sent_BPPH = self.receiver(nodes_BPF)[:, :, None] + self.sender(nodes_BPF)[:, None]
        sent_BPPH = functional.relu(sent_BPPH + self.edge(pair_features(momenta_BP4)))
        sent_BPPH = functional.relu(self.message(sent_BPPH)) * others_BPP1
        heard_BPH = sent_BPPH.sum(2) / others_BPP1.sum(2).clamp(min=1)
        x_BPH = functional.relu(self.node(torch.cat([nodes_BPF, heard_BPH], -1)))
        return Encoded(torch.cat([mean(x_BPH, mask_BP), globals_BG], -1), x_BPH)
