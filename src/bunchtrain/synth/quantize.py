"""Layers that compute in fixed point while they are trained, and their pruning.

Forward, a value is rounded as the hardware rounds it; backward, the gradient passes as if it had not been (the
straight-through estimator of Bengio, Léonard and Courville, arXiv:1308.3432), except where the format saturates. Each
layer also takes symbols, and then says what circuit it is; see `wires`.

B: batch, I: input, O: output.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bunchtrain.errors import SynthesisError
from bunchtrain.synth.fixedpoint import Array, Fixed, exact_sum, fitted, holding
from bunchtrain.synth.wires import Wires, cast, product


def fake_quantize(values: Tensor, form: Fixed) -> Tensor:
    """Return `values` rounded and saturated to `form`, with the straight-through gradient."""
    held = values.clamp(form.low, form.high)
    offset = 0.5 if form.rounding == "RND" else 0.0
    rounded = (torch.floor(held / form.step + offset) * form.step).clamp(form.low, form.high)
    return held + (rounded - held).detach()


class Dense(nn.Module):
    """A dense layer on the last dimension; with formats, its weights and biases are fixed-point numbers."""

    mask_OI: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.weight_OI, self.bias_O = linear.weight, linear.bias
        self.register_buffer("mask_OI", torch.ones(outputs, inputs))
        self.weight_format: Fixed | None = None
        self.bias_format: Fixed | None = None
        #: While the layer learns its widths or which weights go, gives both from the numbers in floating point.
        self.compressor: nn.Module | None = None

    def parameters_used(self) -> tuple[Tensor, Tensor]:
        """Return weights [O, I] and biases [O] as they enter the product: pruned, and quantised if formats are set."""
        if self.compressor is not None:
            weight_OI, bias_O = self.compressor(self.weight_OI, self.bias_O)
            return weight_OI, bias_O
        weight_OI = self.weight_OI * self.mask_OI
        if self.weight_format is None or self.bias_format is None:
            return weight_OI, self.bias_O
        return fake_quantize(weight_OI, self.weight_format), fake_quantize(self.bias_O, self.bias_format)

    def forward(self, x_BI: Wires) -> Wires:
        """Return weights times inputs plus biases, shape [B, O]."""
        if isinstance(x_BI, Tensor):
            return functional.linear(x_BI, *self.parameters_used())
        weight_OI, bias_O = self.constants()
        return product(x_BI, weight_OI.T) + bias_O

    def constants(self) -> tuple[Array, Array]:
        """Return weights [O, I] and biases [O] as they are built, float64: exact."""
        weight_OI, bias_O = self.parameters_used()
        return weight_OI.detach().double().numpy(), bias_O.detach().double().numpy()

    def quantize(self, width: int) -> None:
        """Set the formats that suit the present weights best; a compressor has its own."""
        if self.compressor is not None:
            return
        self.weight_format = fitted((self.weight_OI * self.mask_OI).detach().numpy(), width)
        self.bias_format = fitted(self.bias_O.detach().numpy(), width)

    def settle(self) -> None:
        """Make the compressor's numbers the layer's own, in the narrowest formats that hold them, and drop it."""
        if self.compressor is None:
            return
        with torch.no_grad():
            weight_OI, bias_O = self.compressor.eval()(self.weight_OI, self.bias_O)
            self.weight_OI.copy_(weight_OI)
            self.bias_O.copy_(bias_O)
            self.mask_OI.copy_(weight_OI != 0)
        self.compressor = None
        self.weight_format, self.bias_format = holding(weight_OI.numpy()), holding(bias_O.numpy())

    def prune(self, share: float, *, inputs: bool = False) -> None:
        """Set the `share` of the smallest weights to zero, for good until the next call.

        With `inputs` it is a share of the layer's inputs, those with the smallest squares of weights: the neuron
        before it, or the number that the core is given, is then used no more. One input always stays.
        """
        size = self.weight_OI.detach().square()
        size = size.sum(0, keepdim=True) if inputs else size
        dropped = min(round(share * size.numel()), size.numel() - 1)
        mask = torch.ones(size.numel(), dtype=self.mask_OI.dtype)
        mask[size.flatten().argsort(stable=True)[:dropped]] = 0
        self.mask_OI = mask.view_as(size).expand_as(self.mask_OI).clone()

    def sum_format(self, source: Fixed) -> Fixed:
        """Return the format that holds the layer's sums exactly when its inputs have the format `source`."""
        if self.weight_format is None or self.bias_format is None:
            raise ValueError("a layer without formats has no exact sum")
        weight_OI, bias_O = self.constants()
        fractional = max(self.weight_format.fractional + source.fractional, self.bias_format.fractional, 0)
        return exact_sum(weight_OI, bias_O, source, fractional)


class Rounded(nn.Module):
    """A signed number cut down to a format, e.g. a sum over constituents; without one it is as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.format: Fixed | None = None

    def forward(self, x_BI: Wires) -> Wires:
        """Return the input, rounded; same shape."""
        if not isinstance(x_BI, Tensor):
            return cast(x_BI, declared(self.format))
        return x_BI if self.format is None else fake_quantize(x_BI, self.format)

    def quantize(self, seen_BI: Tensor, width: int) -> None:
        """Set the format that suits the inputs seen best."""
        self.format = fitted(seen_BI.detach().numpy(), width)


class Relu(Rounded):
    """The rectifier; with a format, its output is an unsigned fixed-point number."""

    def forward(self, x_BI: Wires) -> Wires:
        """Return the rectified input, rounded; same shape."""
        return super().forward(x_BI.relu())

    def quantize(self, seen_BI: Tensor, width: int) -> None:
        """Set the format that suits the outputs seen best."""
        positive = functional.relu(seen_BI).detach().numpy()
        self.format = (
            fitted(positive[positive > 0], width, signed=False)
            if np.any(positive > 0)
            else Fixed(width, 1, False, "RND", "SAT")
        )


class Squared(nn.Module):
    """The square, not above a power of two: what a latent number adds to a clipped divergence."""

    def __init__(self, log2_most: int) -> None:
        super().__init__()
        self.log2_most = log2_most

    def forward(self, x_BI: Wires) -> Wires:
        """Return min(x², 2**log2_most), same shape; exact."""
        most = 2.0**self.log2_most
        square = x_BI * x_BI
        return square.clamp(max=most) if isinstance(x_BI, Tensor) else np.minimum(square, most)


def declared(form: Fixed | None) -> Fixed:
    """Return a format that must have been set.

    Raises
    ------
    SynthesisError
        If it was not.
    """
    if form is None:
        raise SynthesisError("the precision of a layer is not declared", mend="call its `quantize` first")
    return form
