"""Dense layers with rectifiers between them, on all inputs at once."""

from __future__ import annotations

import itertools

from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

from bunchtrain.synth.quantize import Dense, Relu
from bunchtrain.synth.students.base import Layout, Student
from bunchtrain.synth.wires import Wires

#: It is a chain of layers that hls4ml reads; see `base`.
ROUTE = "hls4ml"


class Config(BaseModel):
    """Sizes of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: list[PositiveInt] = Field([24, 16], min_length=1, max_length=6, description="widths of the hidden layers")


class Network(Student):
    """The last layer gives the answers, shape [B, C]."""

    def __init__(self, config: Config, layout: Layout, outputs: int) -> None:
        super().__init__()
        self.inputs = layout.inputs
        widths = [layout.inputs, *config.hidden, outputs]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
            layers += [Relu()] if number > 1 else []
            layers.append(Dense(before, after))
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BI: Wires) -> Wires:
        """Return the answers; `x_BI` holds values of the input format."""
        for layer in self.layers:
            x_BI = layer(x_BI)
        return x_BI
