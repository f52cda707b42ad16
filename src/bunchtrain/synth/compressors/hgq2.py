"""High-granularity quantisation: every weight learns how many bits it is worth (Sun et al., arXiv:2405.00645), by HGQ2.

A weight that is worth none is pruned. The price of a bit is `beta`.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.synth.compressors import base
from bunchtrain.synth.quantize import Dense
from bunchtrain.synth.students.base import Student

PACKAGES = ("hgq", "keras")


class Config(BaseModel):
    """What bits cost."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    beta: float = Field(1e-5, gt=0, description="added to the loss per bit of a weight times bit of its input")
    rate: float = Field(5.0, gt=0, description="learning rate of the widths, as a multiple of the student's")


class Layer(base.Learnt):
    """One layer's quantisers, with a width for each of its numbers.

    They begin with the student's `weight_bits` beside the sign, the binary point where the largest weight fits.
    """

    def __init__(self, layer: Dense, settings: Settings) -> None:
        from hgq.quantizer import Quantizer, QuantizerConfig

        super().__init__()
        numbers = {"weight": layer.weight_OI, "bias": layer.bias_O}
        self.weights, self.biases = (
            Quantizer(QuantizerConfig("kif", place, k0=1, i0=whole, f0=settings.weight_bits - whole))
            for place, values in numbers.items()
            for whole in [max(1, math.ceil(math.log2(float(values.detach().abs().max()) + 1e-9)))]
        )
        self.weights.build(tuple(layer.weight_OI.shape))
        self.biases.build(tuple(layer.bias_O.shape))

    def forward(self, weight_OI: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights and biases, each rounded to its own number of bits."""
        return self.weights(weight_OI, training=self.training), self.biases(bias_O, training=self.training)

    @property
    def bits(self) -> Tensor:
        """Bits of all weights, with gradients."""
        total: Tensor = self.weights.bits.sum()
        return total


class Compressor(base.LearntCompressor):
    """Adds the price of the bits to the loss."""

    def __init__(self, config: Config, student: Student, x_BI: Tensor, settings: Settings) -> None:
        self._config = config
        super().__init__(student, x_BI, settings)

    def learnt(self, layer: Dense) -> Layer:
        """Return the quantisers of one layer."""
        return Layer(layer, self.settings)

    def groups(self, student: Student, rate: float) -> list[dict[str, Any]]:
        """Return the weights, and the widths, which have further to go: whole bits."""
        widths = [one for _, learnt in self.pairs for one in learnt.parameters()]
        taken = {id(one) for one in widths}
        weights = [one for one in student.parameters() if id(one) not in taken]
        return [{"params": weights, "lr": rate}, {"params": widths, "lr": rate * self._config.rate}]

    def penalty(self) -> Tensor | float:
        """Return the price of the effective bit operations: the products of the widths of weights and inputs."""
        price = self._config.beta * self.settings.activation_bits
        return sum((price * learnt.bits for _, learnt in self.pairs), start=0.0)
