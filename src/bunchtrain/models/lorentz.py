"""A network that commutes with boosts and rotations (after LorentzNet, arXiv:2201.08187).

It sees four-momenta, and of the node features those that follow from no momentum: such as charge, they are taken for
scalars. Other scalars are made of Minkowski products; momenta are changed only by adding to them momenta times scalars.
Its logits are the same in every frame.

B: batch, P: constituent, H: hidden width, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.models._layers import mean, perceptron
from bunchtrain.models.base import Encoded, Shape, Tagger


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(32, ge=1, le=1024, description="width of the scalars of a node")
    layers: int = Field(2, ge=1, le=12, description="blocks of messages")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


def products(one: Tensor, other: Tensor) -> Tensor:
    """Return Minkowski products of momenta (px, py, pz, energy), GeV²."""
    product = one * other
    return product[..., 3] - product[..., :3].sum(-1)


def squeezed(x: Tensor) -> Tensor:
    """Return sign(x) ln(1 + |x|), which brings products of any size to order 1."""
    return torch.sign(x) * torch.log1p(x.abs())


class Block(nn.Module):
    """Messages from scalars and products of pairs, which change the scalars and, but for the last block, momenta."""

    def __init__(self, width: int, *, last: bool) -> None:
        super().__init__()
        self.receiver, self.sender = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(2, width, bias=False)
        self.second = nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)
        self.push = None if last else nn.Linear(width, 1)
        self.node = perceptron(2 * width, width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, h_BPH: Tensor, x_BP4: Tensor, others_BPP1: Tensor) -> tuple[Tensor, Tensor]:
        """Return new scalars and momenta."""
        one, other = x_BP4[:, :, None], x_BP4[:, None]
        apart = one - other
        pairs_BPP2 = squeezed(torch.stack([products(apart, apart), products(one, other)], -1))
        message = self.receiver(h_BPH)[:, :, None] + self.sender(h_BPH)[:, None] + self.pair(pairs_BPP2)
        message = functional.relu(self.second(functional.relu(message))) * others_BPP1
        count_BP1 = others_BPP1.sum(2).clamp(min=1)
        heard_BPH = (torch.sigmoid(self.gate(message)) * message).sum(2) / count_BP1
        h_BPH = self.norm(h_BPH + self.node(torch.cat([h_BPH, heard_BPH], -1)))
        if self.push is not None:
            x_BP4 = x_BP4 + (torch.tanh(self.push(message)) * others_BPP1 * other).sum(2) / count_BP1
        return h_BPH, x_BP4


class Model(Tagger):
    """Blocks of messages, and the mean of the last scalars."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.inputs = shape.inputs
        self.embed = nn.Linear(2 + shape.inputs, config.hidden)
        last = config.layers - 1
        self.blocks = nn.ModuleList(Block(config.hidden, last=number == last) for number in range(config.layers))
        self.add_heads(shape, config, graph=config.hidden, nodes=config.hidden)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see, scalars; no dropout acts before it."""
        x_BP4 = momenta_BP4 * mask_BP[..., None]
        whole_B14 = x_BP4.sum(1, keepdim=True)
        others_BPP = mask_BP[:, None, :] & ~torch.eye(mask_BP.shape[1], dtype=torch.bool, device=mask_BP.device)
        others_BPP1 = others_BPP[..., None].to(x_BP4.dtype)
        # Of a constituent alone: its product with the jet, which is the jet's mass times its energy in the jet's frame.
        own_BP2 = torch.stack([products(x_BP4, whole_B14), products(whole_B14, whole_B14).expand_as(mask_BP)], -1)
        scalars_BPI = nodes_BPF[..., nodes_BPF.shape[-1] - self.inputs :]
        h_BPH = self.embed(torch.cat([squeezed(own_BP2), scalars_BPI], -1))
        for block in self.blocks:
            h_BPH, x_BP4 = block(h_BPH, x_BP4, others_BPP1)
        return Encoded(mean(h_BPH, mask_BP), h_BPH)
