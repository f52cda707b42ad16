"""The encoder of a variational autoencoder with its clipped divergence in one graph: an anomaly score for a trigger.

What it scores with, Σ min(μ², clip), needs neither decoder nor variance. Its inputs are those of `models.vae` with
`of: list`: shares of the jet's momentum of the hardest constituents, each as a code of few bits with a unit that is a
power of two.

B: batch, I: input, L: number of the code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bunchtrain.errors import SynthesisError
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.inputs import REACH
from bunchtrain.synth.quantize import Dense, Rounded, Squared
from bunchtrain.synth.students.base import Student, rectified
from bunchtrain.synth.wires import Wires, total

#: Integer bits of an input, its sign included: a code is read as a number from -4 to 4.
_INTEGER = 3


class Encoder(Student):
    """Dense layers, means of the code, and the sum of their clipped squares.

    Parameters
    ----------
    inputs : int
    hidden : list of int
        Widths of the layers before the code.
    latent : int
        Numbers of the code.
    log2_clip : int
        Base-2 logarithm of what a square counts at most.
    """

    def __init__(self, inputs: int, hidden: list[int], latent: int, log2_clip: int = 2) -> None:
        super().__init__()
        self.inputs = inputs
        self.encode = rectified(inputs, hidden)
        self.mean, self.rounded, self.square = Dense(hidden[-1], latent), Rounded(), Squared(log2_clip)

    def forward(self, x_BI: Wires) -> Wires:
        """Return the score, shape [B, 1]."""
        return total(self.square(self.rounded(self.mean(self.encode(x_BI)))))


def units(seen_BI: NDArray[np.float64]) -> list[int]:
    """Return for each input the base-2 logarithm of a unit in which `REACH` standard deviations are below 4."""
    spread_I = np.hypot(seen_BI.std(0), seen_BI.mean(0))
    largest = 2.0 ** (_INTEGER - 1)
    return [math.ceil(math.log2(max(REACH * float(spread), 1e-6) / largest)) for spread in spread_I]


def encoded(seen_BI: NDArray[np.float64], unit_I: Sequence[int], form: Fixed) -> NDArray[np.int64]:
    """Return the codes of inputs."""
    return form.codes(seen_BI / 2.0 ** np.asarray(unit_I))


def require(card: Mapping[str, Any], folder: Path) -> None:
    """Refuse networks that have no such encoder.

    Raises
    ------
    SynthesisError
        Naming what the network is.
    """
    section = card["model"]
    if section.get("kind") != "vae" or section.get("of") != "list":
        found = ", ".join(f"{key}: {section[key]}" for key in ("kind", "of") if key in section)
        problem, mend = "only the encoder of a list of constituents becomes a circuit", "set model.of to list"
        raise SynthesisError(problem, file=folder, key="model", found=found, expected="kind: vae, of: list", mend=mend)


def of_network(model: nn.Module, card: Mapping[str, Any], clip: float, unit_I: Sequence[int], folder: Path) -> Encoder:
    """Return the encoder of a trained network in floating point, its inputs in these units.

    Raises
    ------
    SynthesisError
        If the network is no autoencoder of a list, or the clip is no power of two.
    """
    require(card, folder)
    if not math.log2(clip).is_integer():
        near = 2.0 ** round(math.log2(clip))
        raise SynthesisError(
            "a circuit clips at powers of two", key="task.clip", found=clip, mend=f"set it to {near:g}"
        )
    network = cast(Any, model)
    layers = [layer for layer in network.encoder.modules() if isinstance(layer, nn.Linear)]
    hidden = [layer.out_features for layer in layers]
    made = Encoder(len(unit_I), hidden, network.mean.out_features, int(math.log2(clip)))
    own = [layer for layer in made.modules() if isinstance(layer, Dense)]
    with torch.no_grad():
        for place, (one, trained) in enumerate(zip(own, [*layers, network.mean], strict=True)):
            scale: Tensor | float = torch.tensor(2.0 ** np.asarray(unit_I), dtype=torch.float32) if place == 0 else 1.0
            one.weight_OI.copy_(trained.weight * scale)
            one.bias_O.copy_(trained.bias)
    return made.eval()


def input_names(constituents: int) -> list[str]:
    """Return the names of the inputs: three of each constituent, hardest first."""
    return [f"{name}_{n}" for n in range(1, constituents + 1) for name in ("along", "phi_side", "eta_side")]
