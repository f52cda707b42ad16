"""What flows through a network that becomes a core: torch's numbers while it learns, symbols while its RTL is written.

A network of `students` is one program with two meanings: its `forward` uses what both kinds of arrays know (indexing,
`reshape`, `sum`, `+`, broadcasting), the layers of `quantize`, and the functions here. So the circuit is the network by
construction, and the proof that follows is a proof of the tools. Symbols have no batch: only the last dimensions count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.errors import MissingDependency
from bunchtrain.synth.fixedpoint import Fixed

#: torch's numbers, or alkaid's `FVArray` of symbols.
Wires = Any


def joined(parts: Sequence[Wires]) -> Wires:
    """Return arrays one after the other along the last dimension."""
    return torch.cat(list(parts), -1) if isinstance(parts[0], Tensor) else np.concatenate(list(parts), -1)


def total(wires: Wires) -> Wires:
    """Return the sum over the last dimension, which stays, with one number."""
    return wires.sum(-1, keepdim=True) if isinstance(wires, Tensor) else np.sum(wires, -1, keepdims=True)


def product(wires: Wires, weight_IO: NDArray[np.float64]) -> Wires:
    """Return symbols times constants, over the last dimension.

    Symbols without a weight are left out: alkaid multiplies an array that is constant throughout, but not one in which
    the symbols that count are constants and the others are not.
    """
    used = np.flatnonzero(weight_IO.any(1))
    used = used if used.size else np.array([0])
    return wires[..., used] @ weight_IO[used]


def cast(wires: Wires, form: Fixed) -> Wires:
    """Return symbols rounded, and saturated or wrapped, to a format."""
    sign, integer, fraction = form.sign_integer_fraction
    return wires.quantize(sign, integer, fraction, overflow_mode=form.overflow, round_mode=form.rounding)


def symbols(size: int, form: Fixed) -> Wires:
    """Return `size` symbols of one format, e.g. a core's inputs.

    Raises
    ------
    MissingDependency
        If alkaid is not installed.
    """
    try:
        from alkaid.trace import FVArray, HWConfig
    except ImportError:
        raise MissingDependency("alkaid", needed_by="synthesize", mend="pip install 'bunchtrain[synth]'") from None

    ones = np.ones(size, np.int64)
    return FVArray.from_kif(*(ones * part for part in form.sign_integer_fraction), HWConfig(1, 1, -1))
