"""What cannot become a core is refused before any long work: the layer, the reason, the mend."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import limits
from bunchtrain.synth.quantize import Dense, Rounded, Squared
from bunchtrain.synth.students.base import Student

#: Multiplications of one layer that a fully parallel core can unroll; the HLS compilers stop at the same number.
LAYER_MULTIPLICATIONS = 4096

#: Multiplications of the whole core.
TOTAL_MULTIPLICATIONS = 12288

#: Numbers that are rounded on the way to one answer, e.g. those of every pair of constituents.
TOTAL_NUMBERS = 4096

#: Why a layer that people use does not go through, and what to use in its place.
_REASONS = {
    "Dropout": ("it is dropped without a word, so the core would not be the network", "remove it after training"),
    "LayerNorm": ("it divides by a spread that changes from jet to jet", "use batch normalisation and fold it in"),
    "BatchNorm1d": ("it has no declared precision", "fold it into the dense layer before it"),
    "Conv1d": (
        "hls4ml wants its channels in another order than torch and says nothing",
        "use a kind of student that shares dense layers among the constituents, e.g. deepsets",
    ),
    "GELU": ("it has no exact fixed-point form", "use a rectifier"),
    "Softmax": ("it has no exact fixed-point form", "leave the logits as they are; the order of scores is the same"),
    "Sigmoid": ("it has no exact fixed-point form", "leave the logit as it is; the order of scores is the same"),
    "Linear": ("it has no declared precision", "use bunchtrain.synth.quantize.Dense"),
    "ReLU": ("it has no declared precision", "use bunchtrain.synth.quantize.Relu"),
}


def check_layers(model: Student) -> None:
    """Refuse kinds of layers that would be wrong in hardware, and cores that are too large.

    Raises
    ------
    SynthesisError
        Naming the first such layer.
    """
    for name, layer in _leaves(model):
        if not isinstance(layer, Dense | Rounded | Squared):
            raise _refused(name, layer)
    products = model.products()
    for name, layer in model.dense.items():
        _check_size(name, layer, products[name])
    total = sum(products.values())
    if total == 0:
        raise SynthesisError("the network has no dense layer", found=type(model).__name__)
    fewer = "use fewer or narrower hidden layers, or fewer constituents"
    _check_total("too large", f"{total} multiplications", total, TOTAL_MULTIPLICATIONS, fewer)
    numbers = sum(size for _, size in limits.cut(model, torch.zeros(1, model.inputs))[1])
    pairs = "use fewer constituents: pairs grow with the square of their number"
    _check_total("too wide", f"{numbers} rounded numbers", numbers, TOTAL_NUMBERS, pairs)


def _check_total(what: str, found: str, number: int, most: int, mend: str) -> None:
    if number > most:
        raise SynthesisError(
            f"the network is {what} to be unrolled",
            key="synthesize.student",
            found=found,
            expected=f"at most {most}",
            mend=mend,
        )


def check_precision(model: nn.Module) -> None:
    """Refuse layers whose precision is not declared; to be called on the trained network.

    Raises
    ------
    SynthesisError
        Naming the first such layer.
    """
    if getattr(model, "input_format", None) is None:
        raise SynthesisError("the precision of the inputs is not declared", key="input_format", mend="set it")
    for name, layer in _leaves(model):
        if isinstance(layer, Squared):  # it rounds nothing
            continue
        formats = (layer.weight_format, layer.bias_format) if isinstance(layer, Dense) else (_format(layer),)
        if any(form is None for form in formats):
            raise SynthesisError(
                "the precision of a layer is not declared",
                key=name,
                found=type(layer).__name__,
                mend="call its `quantize` before the last training",
            )


def _format(layer: nn.Module) -> object:
    return getattr(layer, "format", None)


def _leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in model.named_modules():
        if layer is not model and not list(layer.children()) and not isinstance(layer, nn.ModuleList | nn.Sequential):
            yield name, layer


def _refused(name: str, layer: nn.Module) -> SynthesisError:
    kind = type(layer).__name__
    reason, mend = _REASONS.get(kind, ("this chain has no exact form for it", "use dense layers and rectifiers"))
    return SynthesisError(
        f"a layer cannot go into the core: {reason}", key=name, found=kind, expected="Dense or Relu", mend=mend
    )


def _check_size(name: str, layer: Dense, products: int) -> None:
    if products > LAYER_MULTIPLICATIONS:
        outputs, inputs = layer.weight_OI.shape
        uses = products // layer.weight_OI.numel()
        raise SynthesisError(
            "a layer is too large to be unrolled",
            key=f"synthesize.student ({name})",
            found=f"{inputs} x {outputs}{f' x {uses} constituents' if uses > 1 else ''} = {products} multiplications",
            expected=f"at most {LAYER_MULTIPLICATIONS}",
            mend="use fewer constituents or a narrower hidden layer",
        )
