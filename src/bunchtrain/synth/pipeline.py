"""A circuit cut into stages by registers, and what a synthesis of it will find: known in about a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunchtrain.synth.circuit import Circuit

#: Share of the clock period that the logic between two registers may take by alkaid's estimate.
_STAGE_SHARE = 1.0

#: Operations of alkaid: sums and differences, rectifiers and roundings, products of numbers that are no constants.
_SUMS, _ROUNDINGS, _PRODUCT = (0, 1), (2, -2, 3, -3), 7

#: Look-up tables for each that alkaid counts for a sum, and for each bit of a rectified or rounded number: least
#: squares on the cores of `make bench-cores`.
_LUT_OF_SUM, _LUT_OF_BIT = 1.04, 0.92


@dataclass(frozen=True)
class Estimate:
    """What is expected of a synthesis.

    Parameters
    ----------
    lut : int
        Look-up tables: those of sums and products as alkaid counts them, and of the bits that are rectified or rounded.
    ff : int
        Flip-flops: the bits of the registers between the stages, and the chain of valid bits.
    dsp : int
        Products of two numbers that are no constants; a narrow one may become look-up tables.
    cycles : int
        Clock edges from input to output.
    seconds : float
        What the estimate took.
    """

    lut: int
    ff: int
    dsp: int
    cycles: int
    seconds: float


def pipelined(circuit: Circuit, folder: Path, name: str, *, clock_ns: float, **options: Any) -> Any:
    """Return the circuit cut into stages, alkaid's `RTLModel`; nothing is written yet."""
    from alkaid.codegen.rtl.rtl_model import RTLModel

    return RTLModel(
        circuit.logic,
        folder,
        name,
        latency_cutoff=clock_ns * _STAGE_SHARE,
        print_latency=False,
        clock_period=clock_ns,
        ternary_fuse=False,
        **options,
    )


def stages(model: Any) -> int:
    """Return the clock edges from the input of a pipeline to its output."""
    return int(max(signal.schedule.bias for signal in model.fsm.out_signals))


def estimate(circuit: Circuit, *, clock_ns: float) -> Estimate:
    """Return what a synthesis of the circuit will find: for scans, which cannot wait for one.

    Raises
    ------
    SynthesisError
        If a number on the way needs more bits than can be checked.
    """
    start = time.monotonic()
    model = pipelined(circuit, Path("unwritten"), "estimated", clock_ns=clock_ns)
    cycles, operations = stages(model), circuit.logic.ops
    sums = sum(one.cost for one in operations if one.opcode in (*_SUMS, _PRODUCT))
    bits = sum(int(sum(one.qint.kif)) for one in operations if one.opcode in _ROUNDINGS)
    lut, products = _LUT_OF_SUM * sums + _LUT_OF_BIT * bits, sum(one.opcode == _PRODUCT for one in operations)
    return Estimate(round(lut), model.reg_bits + cycles, products, cycles, time.monotonic() - start)
