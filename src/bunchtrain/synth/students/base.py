"""What a student is: a small network of fixed-point layers that sees a jet as a list of small integers.

A kind is a module with a `Config` of its sizes and a `Network(config, layout, outputs)`, a `Student`. `forward` gives
answers [B, C] for values [B, I] of the input format, and takes symbols [I] too; see `wires`. With `ROUTE = "hls4ml"`
its C++ and its circuit come from hls4ml, which must be able to read it; else both come from `forward`, by alkaid.

B: batch, N: constituent, F: number of a constituent, G: number of the jet, I: input, C: answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bunchtrain import registry
from bunchtrain.config.campaign import parse_section
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import SynthesisError
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.quantize import Dense, Relu, Rounded
from bunchtrain.synth.wires import Wires

#: Numbers that the widest layer may give.
WIDEST = 4096


class Layout(NamedTuple):
    """How a jet's numbers stand in the input: those of each constituent, then those of the jet."""

    constituents: int
    of_constituent: int
    of_jet: int

    @property
    def inputs(self) -> int:
        """How many there are."""
        return self.constituents * self.of_constituent + self.of_jet

    def split(self, x_BI: Wires) -> tuple[Wires, Wires]:
        """Return the numbers of constituents [B, N, F] and of the jet [B, G]."""
        size = self.constituents * self.of_constituent
        shape = (*x_BI.shape[:-1], self.constituents, self.of_constituent)
        return x_BI[..., :size].reshape(shape), x_BI[..., size:]


def build(network: Mapping[str, Any], layout: Layout, outputs: int) -> Student:
    """Return an untrained student of a kind, e.g. `{"kind": "dense", "hidden": [24, 16]}`."""
    options = dict(network)
    module: Any = registry.load("synth.students", str(options.pop("kind", "")), "synthesize.student.network.kind")
    config = parse_section(module.Config, options, "synthesize.student.network")
    _check_widths(config.model_dump())
    found: Student = module.Network(config, layout, outputs)
    return found


def _check_widths(options: Mapping[str, Any]) -> None:
    """Refuse widths that no core could have before memory is taken for them."""
    for name, value in options.items():
        for width in value if isinstance(value, list) else [value]:
            if isinstance(width, int) and width > WIDEST:
                raise SynthesisError(
                    "a layer is too large to be unrolled",
                    key=f"synthesize.student.network.{name}",
                    found=width,
                    expected=f"at most {WIDEST}",
                )


def route(network: Mapping[str, Any]) -> str:
    """Return by which converter a kind becomes C++ and a circuit: hls4ml or alkaid."""
    return registry.constant("synth.students", str(network["kind"]), "ROUTE") or "alkaid"


class Student(nn.Module):
    """Base of all students: formats, pruning and sparsity of whatever fixed-point layers they have."""

    #: Numbers that it sees.
    inputs: int

    def __init__(self) -> None:
        super().__init__()
        self.input_format: Fixed | None = None

    @property
    def dense(self) -> dict[str, Dense]:
        """The dense layers by name, in the order of their definition."""
        return {name: layer for name, layer in self.named_modules() if isinstance(layer, Dense)}

    def quantize(self, x_BI: Tensor, settings: Settings) -> None:
        """Set the format of every layer from its present weights and what it sees of `x_BI`, first to last."""

        def set_format(layer: nn.Module, seen_BI: Tensor) -> None:
            if isinstance(layer, Dense):
                layer.quantize(settings.weight_bits)
            elif isinstance(layer, Rounded):
                layer.quantize(seen_BI, settings.activation_bits)

        self.watch(self.modules(), set_format, x_BI)

    def watch(self, layers: Iterable[nn.Module], look: Callable[[Any, Tensor], None], x_BI: Tensor) -> None:
        """Answer `x_BI`; `look` is shown each of the layers with its input, just before it computes."""

        def show(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            look(layer, inputs[0])

        hooks = [layer.register_forward_pre_hook(show) for layer in layers]
        try:
            with torch.no_grad():
                self(x_BI)
        finally:
            for hook in hooks:
                hook.remove()

    def prune(self, share: float, *, inputs: bool = False) -> None:
        """Keep the largest weights, or inputs, of every layer; `share` of each layer goes."""
        for layer in self.dense.values():
            layer.prune(share, inputs=inputs)

    @property
    def sparsity(self) -> float:
        """Share of the weights that are zero as built."""
        weights = [layer.parameters_used()[0].detach() for layer in self.dense.values()]
        return 1 - sum(int((w != 0).sum()) for w in weights) / sum(w.numel() for w in weights)

    def products(self) -> dict[str, int]:
        """Return how many multiplications each dense layer is when it is unrolled: weights times uses in one answer."""
        uses: dict[nn.Module, int] = {}

        def count(layer: nn.Module, seen_BI: Tensor) -> None:
            uses[layer] = uses.get(layer, 0) + seen_BI.numel() // seen_BI.shape[-1]

        self.watch(self.dense.values(), count, torch.zeros(1, self.inputs))
        return {name: layer.weight_OI.numel() * uses.get(layer, 0) for name, layer in self.dense.items()}


def rectified(first: int, hidden: list[int]) -> nn.Sequential:
    """Return dense layers with a rectifier after each."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([first, *hidden]):
        layers += [Dense(before, after), Relu()]
    return nn.Sequential(*layers)
