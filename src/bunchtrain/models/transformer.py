"""A particle transformer: attention biased by what pairs of constituents are to each other (arXiv:2202.03772).

B: batch, P: constituent, F: node feature, H: hidden width, N: attention head, G: global feature, C: class.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.geometry import pair_features
from bunchtrain.models.base import Encoded, Shape, Tagger

#: Centre and width of ln ΔR, ln kT, ln z, ln m² in jets of some hundred GeV: the bias network sees values of order 1.
_PAIR_CENTRE, _PAIR_WIDTH = (-1.5, 0.0, -1.5, 1.0), (1.0, 1.5, 1.0, 3.0)


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(64, ge=1, le=1024, description="width of the node states")
    layers: int = Field(2, ge=1, le=24, description="blocks of attention among the constituents")
    heads: int = Field(4, ge=1, le=64, description="attention heads of a block")
    head: int = Field(64, ge=1, le=4096, description="width of the heads' hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the heads; MC dropout needs it above 0")


class Block(nn.Module):
    """Attention and a perceptron, each on normalised states and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * -(-width // heads)  # so that any width goes with any number of heads
        self.before = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)
        self.between = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x_BQH: Tensor, seen_BPH: Tensor, bias: Tensor) -> Tensor:
        """Return the new states of x; `bias` is added to its attention to what is seen, broadcast to [B, N, Q, P]."""
        normal = self.before(x_BQH)
        seen = normal if seen_BPH is x_BQH else self.before(seen_BPH)
        key, value = self.key_value(seen).chunk(2, -1)
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (self.query(normal), key, value)
        )
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x_BQH = x_BQH + self.out(heard.transpose(1, 2).flatten(2))
        fed: Tensor = x_BQH + self.feed(self.between(x_BQH))
        return fed


class Model(Tagger):
    """Attention among the constituents, then a learned query's attention to them."""

    centre: Tensor
    width: Tensor

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(shape.nodes, config.hidden), nn.GELU())
        self.pairs = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, config.heads))
        self.blocks = nn.ModuleList(Block(config.hidden, config.heads) for _ in range(config.layers))
        self.query = nn.Parameter(torch.empty(config.hidden).normal_(0, 0.02))
        self.summary = Block(config.hidden, config.heads)
        self.norm = nn.LayerNorm(config.hidden)
        self.add_heads(shape, config, graph=config.hidden + shape.globals, nodes=config.hidden)
        self.register_buffer("centre", torch.tensor(_PAIR_CENTRE), persistent=False)
        self.register_buffer("width", torch.tensor(_PAIR_WIDTH), persistent=False)

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Encoded:
        """Return what the heads see; no dropout acts before it."""
        x_BPH = self.embed(nodes_BPF)
        # Finite, so that a jet without constituents attends to its padding instead of to nothing, which is NaN.
        hidden_B11P = (~mask_BP)[:, None, None].to(x_BPH.dtype) * -1e4
        bias_BNPP = self._bias(momenta_BP4) + hidden_B11P
        for block in self.blocks:
            x_BPH = block(x_BPH, x_BPH, bias_BNPP)
        query_B1H = self.query.expand(len(x_BPH), 1, -1)
        summary_BH = self.norm(self.summary(query_B1H, x_BPH, hidden_B11P)[:, 0])
        real_B1 = mask_BP.any(1, keepdim=True).to(x_BPH.dtype)
        return Encoded(torch.cat([summary_BH * real_B1, globals_BG], -1), x_BPH)

    def _bias(self, momenta_BP4: Tensor) -> Tensor:
        """Return the bias of each pair, shape [B, N, P, P]; it is symmetric, so half of the pairs are computed."""
        count = momenta_BP4.shape[1]
        row, column = torch.triu_indices(count, count, device=momenta_BP4.device)
        place_PP = torch.empty(count, count, dtype=torch.long, device=row.device)
        place_PP[row, column] = place_PP[column, row] = torch.arange(len(row), device=row.device)
        features = pair_features(momenta_BP4)[:, row, column]
        bias_BUN: Tensor = self.pairs((features - self.centre) / self.width)
        return bias_BUN.mT.index_select(2, place_PP.reshape(-1)).reshape(len(bias_BUN), -1, count, count)
