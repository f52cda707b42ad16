"""PQuantML's pruning layers and quantisers: which weights go is learnt, or found by its methods.

The weights that stay have the width that the student asks for, per layer.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.synth.compressors import base
from bunchtrain.synth.fixedpoint import fitted
from bunchtrain.synth.quantize import Dense
from bunchtrain.synth.students.base import Student

PACKAGES = ("pquant",)


class Config(BaseModel):
    """The method of pruning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["pdp", "dst", "autosparse", "cs"] = Field(
        "pdp",
        description="how it prunes: pdp up to the student's sparsity; dst, autosparse and cs find their own",
    )


class Layer(base.Learnt):
    """One layer's pruning and quantisers."""

    def __init__(self, layer: Dense, method: str, settings: Settings) -> None:
        from pquant.core.torch.quantizer import Quantizer
        from pquant.core.torch.utils import get_pruning_layer

        super().__init__()
        self._width = settings.weight_bits
        self.pruning: Any = get_pruning_layer(_options(method, settings), "linear")
        self.pruning.build(layer.weight_OI.shape)
        self.pruning.post_pre_train_function()
        fixed = {"overflow": "SAT", "round_mode": "RND", "is_heterogeneous": False}
        self.quantizers: Any = nn.ModuleList(Quantizer(1.0, 0.0, self._width - 1.0, **fixed) for _ in range(2))

    def forward(self, weight_OI: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights and biases, pruned and quantised."""
        weights, biases = self.quantizers
        return weights(self.pruning(weight_OI)), biases(bias_O)

    def fit(self, layer: Dense) -> None:
        """Put the binary points where they suit the present numbers."""
        numbers = (self.pruning(layer.weight_OI), layer.bias_O)
        for quantizer, values in zip(self.quantizers, numbers, strict=True):
            form = fitted(values.detach().numpy(), self._width)
            quantizer.set_quantization_bits(form.integer - 1.0, float(form.fractional))


class Compressor(base.LearntCompressor):
    """Runs PQuantML's schedule: a training in which weights go, then one in which those that went stay away."""

    def __init__(self, config: Config, student: Student, x_BI: Tensor, settings: Settings) -> None:
        self._method = config.method
        self._last = max(math.ceil(base.PRUNING * settings.epochs), 1)
        super().__init__(student, x_BI, settings)

    def learnt(self, layer: Dense) -> Layer:
        """Return the pruning and the quantisers of one layer."""
        return Layer(layer, self._method, self.settings)

    def begin_epoch(self, number: int) -> None:
        """Tell the pruning layers where the training stands, and fit all formats."""
        for layer, learnt in self.pairs:
            if number == self._last:
                learnt.pruning.pre_finetune_function()
            if number < self._last:
                learnt.pruning.pre_epoch_function(number, self._last)
            learnt.fit(layer)
        super().begin_epoch(number)

    def end_epoch(self, number: int) -> None:
        """Let the pruning layers look at the weights."""
        if number >= self._last:
            return
        for layer, learnt in self.pairs:
            if hasattr(learnt.pruning, "update_mask"):
                learnt.pruning.update_mask(layer.weight_OI)
            learnt.pruning.post_epoch_function(number, self._last)

    def penalty(self) -> Tensor | float:
        """Return what the methods that learn thresholds add to the loss."""
        losses = [learnt.pruning.calculate_additional_loss() for _, learnt in self.pairs]
        return sum(losses, start=0.0)

    def finish(self) -> None:
        """Prune for good, then settle the layers."""
        for layer, learnt in self.pairs:
            if self.settings.epochs <= self._last:
                learnt.pruning.pre_finetune_function()
            learnt.fit(layer)
        super().finish()


def _options(method: str, settings: Settings) -> object:
    import pquant

    options = getattr(pquant, f"{method}_config")()
    if method == "pdp":
        goal = {"sparsity": settings.sparsity, "epsilon": 1 / max(base.PRUNING * settings.epochs, 1)}
        pruning = options.pruning_parameters.model_copy(update=goal)
        options = options.model_copy(update={"pruning_parameters": pruning})
    return options
