"""Verilog of a circuit, by distributed arithmetic (alkaid), with a streaming port around it.

Adders and shifts take the place of multiplications, and registers cut the result into stages.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunchtrain.synth import pipeline, vhdl
from bunchtrain.synth.circuit import Circuit
from bunchtrain.synth.ports import Port, taken


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
    vhdl : tuple of Path
        The same in VHDL, if it was asked for.
    """

    top: str
    files: list[Path]
    source: Port
    result: Port
    stages: int
    vhdl: tuple[Path, ...] = ()


def write(
    circuit: Circuit, folder: Path, *, top: str, clock_ns: float, part: str, vhdl_folder: Path | None = None
) -> Core:
    """Write the Verilog of a circuit into `folder`, and its VHDL, of the same stages, into `vhdl_folder` if given."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "alkaid"
    model = pipeline.pipelined(circuit, work, f"{top}_core", clock_ns=clock_ns, part_name=part)
    model.write()
    ports = Port(len(circuit.inputs), circuit.source), Port(len(circuit.outputs), circuit.result)
    stages = pipeline.stages(model)
    fields = [list(signals[0].precisions) for signals in (model.fsm.inp_signals, model.fsm.out_signals)]
    top_file = folder / f"{top}.v"
    top_file.write_text(wrapper(top, ports, fields, stages), encoding="utf-8")
    files = [top_file, *_collect(work / "src", folder, top)]
    shutil.rmtree(work)
    in_vhdl = vhdl.write(model.fsm, vhdl_folder, top, ports, fields, stages) if vhdl_folder else []
    return Core(top, files, *ports, stages, tuple(in_vhdl))


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
    places = taken(port, fields)
    lines = [
        f"assign network_in[{place.start} +: {place.width}] = s_axis_tdata[{place.low} +: {place.width}];"
        for place in places
        if place.width
    ]
    return lines, sum(place.width for place in places)


def _pack(port: Port, fields: list[Any]) -> tuple[list[str], int]:
    """Return the assignments from the pipeline's packed output to the bus, and its width."""
    lines, places = [], taken(port, fields)
    for number, place in enumerate(places):
        parts = [f"{{{place.pad}{{1'b0}}}}"] if place.pad else []
        if place.width:
            parts.insert(0, f"network_out[{place.start} +: {place.width}]")
        if missing := port.lane - place.width - place.pad:
            sign = f"network_out[{place.start + place.width - 1}]" if place.signed and place.width else "1'b0"
            parts.insert(0, f"{{{missing}{{{sign}}}}}")
        lines.append(f"assign m_axis_tdata[{number * port.lane} +: {port.lane}] = {{{', '.join(parts)}}};")
    return lines, sum(place.width for place in places)


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
