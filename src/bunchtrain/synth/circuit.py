"""A network as a circuit of symbols, and its C++ project by alkaid: the way into hardware that every student can go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import csim
from bunchtrain.synth.fixedpoint import EXACT_BITS, Fixed
from bunchtrain.synth.quantize import declared
from bunchtrain.synth.students.base import Student
from bunchtrain.synth.wires import Wires, symbols

#: Name of a project, and of its C++ function with ports of its own.
FUNCTION = "tagger"
TOP = f"{FUNCTION}_fn"


@dataclass(frozen=True)
class Circuit:
    """Symbols of the inputs and of the answers that follow from them, and the formats of both."""

    inputs: Wires
    outputs: Wires
    source: Fixed
    result: Fixed

    @cached_property
    def logic(self) -> Any:
        """The operations between them, alkaid's `CombLogic`.

        Raises
        ------
        SynthesisError
            If a number on the way needs more bits than a double can hold exactly.
        """
        from alkaid.trace import trace

        logic = trace(self.inputs, self.outputs, keep_dead_inputs=True)
        if (widest := max(sum(map(int, op.qint.kif)) for op in logic.ops)) > EXACT_BITS:
            raise too_wide("the circuit", widest)
        return logic


def too_wide(name: str, bits: int) -> SynthesisError:
    """Return what to say of a number that cannot be checked exactly."""
    return SynthesisError(
        "a sum needs more bits than can be checked exactly",
        key=name,
        found=f"{bits} bits",
        expected=f"at most {EXACT_BITS}",
        mend="lower synthesize.student.weight_bits or activation_bits",
    )


def traced(student: Student) -> Circuit:
    """Return the circuit that a student's own `forward` describes."""
    source = declared(student.input_format)
    inputs = symbols(student.inputs, source)
    outputs = student(inputs)
    return Circuit(inputs, outputs, source, _holding(outputs))


def _holding(outputs: Wires) -> Fixed:
    """Return the signed format that holds all answers without loss."""
    signs, integers, fractions = (np.asarray(part, np.int64).ravel() for part in outputs.kif)
    used = signs + integers + fractions > 0  # an answer that is always zero has no bits
    integer, fraction = int(integers[used].max(initial=0)) + 1, int(fractions[used].max(initial=1))
    return Fixed(max(integer + fraction, 2), integer)


def project(circuit: Circuit, folder: Path, *, part: str, clock_ns: float) -> None:
    """Write the circuit as a C++ project for Vitis HLS; equal circuits give equal files."""
    from alkaid.codegen.hls import HLSModel

    options = {"print_latency": False, "part_name": part, "clock_period": clock_ns, "namespace": ""}
    HLSModel(circuit.logic, folder, FUNCTION, **options).write()
    shutil.rmtree(folder / "model")  # a zip with a time stamp, and nothing that the C++ does not say
    for name in ("metadata.json", "build_vivado_hls_prj.tcl", "build_vitis_prj.tcl", "sim/build_binder.mk"):
        (folder / name).unlink()
    (folder / "build_prj.tcl").write_text(_script(part, clock_ns), encoding="utf-8")


def _script(part: str, clock_ns: float) -> str:
    """Return what makes Vitis HLS synthesise the project."""
    return f"""open_project -reset {TOP}_prj
set_top {TOP}
add_files utils/{FUNCTION}_ooc.cc -cflags "-std=c++17 -Isrc"
open_solution -reset solution1
set_part {{{part}}}
create_clock -period {clock_ns:g} -name default
csynth_design
exit
"""


class CSimulation:
    """The project's C++ code, compiled and loaded; see `csim`."""

    def __init__(self, folder: Path, scratch: Path, outputs: int) -> None:
        self.outputs = outputs
        includes = [folder / name for name in ("src/static/ap_types", "src", "sim")]
        self._library = csim.library(folder, [Path(f"sim/{FUNCTION}_bridge.cc")], includes, {}, scratch)

    def __call__(self, x_BI: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the answers of the C++ code, shape [B, C]."""
        return csim.answers(self._library, csim.BATCHED, x_BI, self.outputs)
