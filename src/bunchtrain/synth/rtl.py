"""Verilog of a circuit, by distributed arithmetic (alkaid), with a streaming port around it.

Adders and shifts take the place of multiplications, and registers cut the result into stages.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunchtrain.synth.circuit import Circuit
from bunchtrain.synth.fixedpoint import Fixed

#: Operations of alkaid: sums and differences, rectifiers and roundings, products of numbers that are no constants.
_SUMS, _ROUNDINGS, _PRODUCT = (0, 1), (2, -2, 3, -3), 7

#: Look-up tables for each that alkaid counts for a sum, and for each bit of a rectified or rounded number: least
#: squares on the cores of `make bench-cores`.
_LUT_OF_SUM, _LUT_OF_BIT = 1.04, 0.92

#: Share of the clock period that the logic between two registers may take by alkaid's estimate.
_STAGE_SHARE = 1.0


@dataclass(frozen=True)
class Port:
    """One direction of the core's stream: `size` numbers of one format, each in a whole number of bytes.

    Number 0 has the lowest bits. Inputs use the low bits of their bytes; outputs are sign-extended.
    """

    size: int
    form: Fixed

    @property
    def lane(self) -> int:
        """Bits that one number takes on the bus."""
        return -(-self.form.width // 8) * 8

    @property
    def bits(self) -> int:
        """Width of the bus."""
        return self.size * self.lane


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


@dataclass(frozen=True)
class Core:
    """The written RTL.

    Parameters
    ----------
    top : str
        Name of the top module.
    files : list of Path
        Verilog sources, the top module's first.
    source, result : Port
        What goes in and out.
    stages : int
        Clock edges from input to output that the registers should take; the simulation measures it.
    """

    top: str
    files: list[Path]
    source: Port
    result: Port
    stages: int


def write(circuit: Circuit, folder: Path, *, top: str, clock_ns: float, part: str) -> Core:
    """Write the Verilog of a circuit into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "alkaid"
    model = pipeline(circuit, work, f"{top}_core", clock_ns=clock_ns, part_name=part)
    model.write()
    ports = Port(len(circuit.inputs), circuit.source), Port(len(circuit.outputs), circuit.result)
    stages = stages_of(model)
    fields = [list(signals[0].precisions) for signals in (model.fsm.inp_signals, model.fsm.out_signals)]
    top_file = folder / f"{top}.v"
    top_file.write_text(wrapper(top, ports, fields, stages), encoding="utf-8")
    files = [top_file, *_collect(work / "src", folder, top)]
    shutil.rmtree(work)
    return Core(top, files, *ports, stages)


def pipeline(circuit: Circuit, folder: Path, name: str, *, clock_ns: float, **options: Any) -> Any:
    """Return the circuit cut into stages by registers, alkaid's `RTLModel`; nothing is written yet."""
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


def estimate(circuit: Circuit, *, clock_ns: float) -> Estimate:
    """Return what a synthesis of the circuit will find, in about a second: for scans, which cannot wait for one.

    Raises
    ------
    SynthesisError
        If a number on the way needs more bits than can be checked.
    """
    start = time.monotonic()
    model = pipeline(circuit, Path("unwritten"), "estimated", clock_ns=clock_ns)
    cycles, operations = stages_of(model), circuit.logic.ops
    sums = sum(one.cost for one in operations if one.opcode in (*_SUMS, _PRODUCT))
    bits = sum(int(sum(one.qint.kif)) for one in operations if one.opcode in _ROUNDINGS)
    lut, products = _LUT_OF_SUM * sums + _LUT_OF_BIT * bits, sum(one.opcode == _PRODUCT for one in operations)
    return Estimate(round(lut), model.reg_bits + cycles, products, cycles, time.monotonic() - start)


def stages_of(model: Any) -> int:
    """Return the clock edges from the input of a pipeline to its output."""
    return int(max(signal.schedule.bias for signal in model.fsm.out_signals))


def wrapper(top: str, ports: tuple[Port, Port], fields: list[list[Any]], stages: int) -> str:
    """Return the Verilog of the top module: the stream's lanes to the bits that the pipeline uses, and a valid bit.

    Parameters
    ----------
    top : str
        Name of the module.
    ports : pair of Port
        Input and output.
    fields : pair of lists
        For each number of either port what the pipeline keeps of it: signed, integer bits, fractional bits.
    stages : int
        Clock edges from input to output.
    """
    source, result = ports
    into, used = _unpack(source, fields[0])
    out_of, made = _pack(result, fields[1])
    lines = "\n".join(f"    {line}" for line in [*into, *out_of])
    return f"""`timescale 1 ns / 1 ps

// {source.size} numbers of format {source.form.hls} in, {result.size} of format {result.form.hls} out.
// Number 0 has the lowest bits; each takes {source.lane} bits of s_axis_tdata and {result.lane} of m_axis_tdata.
// A vector is taken at every clock edge with s_axis_tvalid high; there is no back-pressure.
module {top} (
    input wire aclk,
    input wire aresetn,
    input wire s_axis_tvalid,
    // verilator lint_off UNUSEDSIGNAL
    input wire [{source.bits - 1}:0] s_axis_tdata,
    // verilator lint_on UNUSEDSIGNAL
    output wire m_axis_tvalid,
    output wire [{result.bits - 1}:0] m_axis_tdata
);

    localparam STAGES = {stages};

    wire [{used - 1}:0] network_in;
    wire [{made - 1}:0] network_out;
    reg [STAGES-1:0] valid;
    wire [STAGES:0] valid_next = {{valid, s_axis_tvalid}};

    always @(posedge aclk) valid <= aresetn ? valid_next[STAGES-1:0] : {{STAGES{{1'b0}}}};

    assign m_axis_tvalid = valid[STAGES-1];
{lines}

    {top}_core network (
        .clk(aclk),
        .model_inp(network_in),
        .model_out(network_out)
    );

endmodule
"""


def _unpack(port: Port, fields: list[Any]) -> tuple[list[str], int]:
    """Return the assignments from the bus to the pipeline's packed input, and its width."""
    lines, start = [], 0
    for number, (signed, integer, fraction) in enumerate(fields):
        width = int(signed) + integer + fraction
        if width <= 0:
            continue
        low = number * port.lane + port.form.fractional - fraction
        lines.append(f"assign network_in[{start} +: {width}] = s_axis_tdata[{low} +: {width}];")
        start += width
    return lines, start


def _pack(port: Port, fields: list[Any]) -> tuple[list[str], int]:
    """Return the assignments from the pipeline's packed output to the bus, and its width."""
    lines, start = [], 0
    for number, (signed, integer, fraction) in enumerate(fields):
        width, low = int(signed) + integer + fraction, port.form.fractional - fraction
        parts = [f"{{{low}{{1'b0}}}}"] if low else []
        if width > 0:
            parts.insert(0, f"network_out[{start} +: {width}]")
        if missing := port.lane - max(width, 0) - low:
            sign = f"network_out[{start + width - 1}]" if signed and width > 0 else "1'b0"
            parts.insert(0, f"{{{missing}{{{sign}}}}}")
        lines.append(f"assign m_axis_tdata[{number * port.lane} +: {port.lane}] = {{{', '.join(parts)}}};")
        start += max(width, 0)
    return lines, start


def _collect(source: Path, folder: Path, top: str) -> list[Path]:
    """Copy the pipeline and the primitives it uses, every module under a name that begins with `top`."""
    own = [path for path in sorted(source.glob("*.v")) if not path.stem.endswith("_wrapper")]
    shared = {path.stem: path for path in sorted((source / "static").glob("*.v"))}
    text = "\n".join(path.read_text(encoding="utf-8") for path in own)
    used = [shared[name] for name in shared if re.search(rf"\b{name}\s+#", text)]
    names = {path.stem: _renamed(path.stem, top) for path in (*own, *used)}
    pattern = re.compile(rf"\b({'|'.join(sorted(names))})\b(?=\s+(?:#|\(|_inst_))")
    files = []
    for path in (*own, *used):
        target = folder / f"{names[path.stem]}.v"
        code = pattern.sub(lambda match: names[match.group(1)], path.read_text(encoding="utf-8"))
        target.write_text(code, encoding="utf-8")
        files.append(target)
    return files


def _renamed(name: str, top: str) -> str:
    if name.startswith(top):
        return name
    return f"{top}_{re.sub('^logic', 'stage', name)}"
