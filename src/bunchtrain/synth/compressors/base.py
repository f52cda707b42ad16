"""What a compressor is: it goes along with a student's second training and leaves weights that the core can hold.

A kind is a module with a `Config` of its options and a `Compressor(config, student, x_BI, settings)`. With
`PACKAGES = ("name",)` it names what must be installed for it, with `PRUNES = ("weights", "inputs")` that it prunes
whole inputs too. Those that learn which weights go, or how many bits each of them keeps, give every dense layer a
`Learnt`.

B: batch, I: input, O: output.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bunchtrain import registry
from bunchtrain.config.campaign import parse_section
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import MissingDependency
from bunchtrain.synth.quantize import Dense
from bunchtrain.synth.students.base import Student

FAMILY, KEY = "synth.compressors", "synthesize.student.compression"

#: Share of the quantised epochs in which weights are pruned away; the rest lets the network recover.
PRUNING = 0.6


class Compressor:
    """Base of all compressors: nothing is asked of the training, and nothing is left to do at its end."""

    def groups(self, student: Student, rate: float) -> list[dict[str, Any]]:
        """Return the optimiser's groups of parameters, each with its learning rate."""
        return [{"params": list(student.parameters()), "lr": rate}]

    def begin_epoch(self, number: int) -> None:
        """Prepare the student for epoch `number`, from 0."""

    def end_epoch(self, number: int) -> None:
        """Look at what epoch `number` made of it."""

    def penalty(self) -> Tensor | float:
        """Return what is added to the loss of every batch."""
        return 0.0

    def finish(self) -> None:
        """Leave every layer with numbers and formats of its own."""


class Learnt(nn.Module):
    """Gives a layer's weights and biases as they would be built, from those in floating point."""

    def forward(self, weight_OI: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights [O, I] and biases [O]: fixed-point numbers, with gradients."""
        raise NotImplementedError


class LearntCompressor(Compressor):
    """A compressor of a `Learnt` for each dense layer; activations are rounded as always."""

    def __init__(self, student: Student, x_BI: Tensor, settings: Settings) -> None:
        self._student, self._x_BI, self.settings = student, x_BI, settings
        #: Every layer with what gives its numbers.
        self.pairs: list[tuple[Dense, Any]] = [(layer, self.learnt(layer)) for layer in student.dense.values()]
        for layer, learnt in self.pairs:
            layer.compressor = learnt

    def learnt(self, layer: Dense) -> Learnt:
        """Return what gives the numbers of one layer."""
        raise NotImplementedError

    def begin_epoch(self, number: int) -> None:
        """Fit the formats of the activations anew."""
        self._student.quantize(self._x_BI, self.settings)

    def finish(self) -> None:
        """Make the numbers that were given last the layers' own, in the narrowest formats that hold them."""
        self._student.quantize(self._x_BI, self.settings)  # a last look at the final weights
        for layer, _ in self.pairs:
            layer.settle()


def build(compression: Mapping[str, Any], student: Student, x_BI: Tensor, settings: Settings) -> Compressor:
    """Return the compressor of a kind, e.g. `{"kind": "straight_through"}`.

    Parameters
    ----------
    compression : mapping
        Kind and options.
    student : Student
        Trained in floating point; it is changed.
    x_BI : Tensor [B, I]
        Inputs to fit formats to.
    settings : config
        Section `synthesize.student`.

    Raises
    ------
    CampaignError
        If the kind is unknown or an option does not fit.
    MissingDependency
        If a package that the kind needs is not installed.
    """
    options = dict(compression)
    kind = str(options.pop("kind", ""))
    require(kind)
    if _packages(kind):  # Keras, on which they build, must know before its first import that its tensors are torch's
        os.environ["KERAS_BACKEND"] = "torch"
    module: Any = registry.load(FAMILY, kind, f"{KEY}.kind")
    found: Compressor = module.Compressor(parse_section(module.Config, options, KEY), student, x_BI, settings)
    return found


def require(kind: str) -> None:
    """Refuse a kind whose packages are not installed, before any work.

    Raises
    ------
    MissingDependency
        Naming the first of them.
    """
    for package in _packages(kind):
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(
                package, needed_by=f"the compression {kind}", mend="pip install 'bunchtrain[compress]'"
            )


def _packages(kind: str) -> tuple[str, ...]:
    return registry.constant(FAMILY, kind, "PACKAGES", f"{KEY}.kind") or ()
