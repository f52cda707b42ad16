"""The README inside the IP core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bunchtrain.synth import routed
from bunchtrain.synth.ports import Port
from bunchtrain.synth.rtl import Core

#: What of the C++ project comes from elsewhere, by who wrote it.
_HEADERS = {
    "hls4ml": "The HLS headers come from hls4ml (Apache-2.0).",
    "alkaid": "The arbitrary-precision headers in `hls/` are Xilinx's (Apache-2.0), the file that binds them alkaid's.",
}

#: What an HLS project brings for its simulation.
_BENCH = {"hls4ml": "; `tb_data/` holds inputs and the expected answers for its test bench", "alkaid": ""}

_SYNTHESIS = """- `syn/`: the core placed and routed in a harness: harness, scripts, report and bit stream;
  `sh repeat.sh` in that folder makes them again
"""


def text(
    core: Core,
    card: Mapping[str, Any],
    figures: Mapping[str, Any],
    vectors: Mapping[str, Any],
    route: str,
    cutting: str,
) -> str:
    """Return the README: what the core is, its ports, the meaning of every number, how to repeat the proof."""
    resources, timing = figures["resources"], figures["timing"]
    rows = "\n".join(
        f"| {row['input']} | {row['name']} | {row['definition']} | 2^{row['log2_unit']} | {row['offset']} "
        f"| {row['physical_unit']} |"
        for row in card["inputs"]
    )
    outputs = "\n".join(f"| {place} | {meaning} |" for place, meaning in enumerate(_meanings(core, card)))
    others = f"{count} jets of unfamiliar samples, " if (count := vectors.get("unfamiliar")) else ""
    return f"""# {core.top}

A jet tagger: a network of the kind {card["described"]}, {card["weights_described"]},
{card["activation_bits"]}-bit activations, {card["sparsity"]:.0%} of the weights zero. It takes a jet at every
{_ordinal(timing["initiation_interval"])}clock edge.

- latency {timing["latency_cycles"]} clock cycles, initiation interval {timing["initiation_interval"]},
  measured in simulation
{_clock(timing)}- {resources["lut"]} LUT, {resources["ff"]} flip-flops, {resources["dsp"]} DSP,
  {resources["bram"]:g} block RAM ({resources["tool"]}, {resources["part"]})
- AUC {figures["auc"]["rtl"]:.4f}; the tagger that it was distilled from has {figures["auc"]["teacher"]:.4f}

## Ports
`aclk`, `aresetn` (synchronous, active low; it clears the valid bits alone), `s_axis` and `m_axis` (AXI4-Stream without
TREADY: there is no back-pressure).

`s_axis_tdata`: {_lanes(core.source)}
`m_axis_tdata`: {_lanes(core.result)}

## Inputs
code = clip(floor(quantity / unit + 1/2) - offset), a two's complement number of {core.source.form.width} bits.

| input | quantity | definition | unit | offset | physical unit |
| --- | --- | --- | --- | --- | --- |
{rows}

Constituents are numbered from 1 by falling pt. For one that is not there, log_pt_fraction is ln(1/256) and the angles
are 0. The constituents of a jet are all its particles with pt above 0, without any limit to their number; pt, eta, phi
and mass of the jet are those of the whole jet, not of the constituents that the core sees.

## Outputs
logit = code * 2^-{core.result.form.fractional}; a score of class a against class b is the difference of their logits.

| output | meaning |
| --- | --- |
{outputs}

## Thresholds
{cutting}

## Repeat the proof
    bunchtrain verify core.zip
computes the network again from `model/`, compiles and runs `hls/` and `rtl/`, and compares all of them on every vector.
Without bunchtrain:
    cd sim
    iverilog -o testbench testbench.v ../rtl/*.v && ./testbench
prints PASS and the number of vectors: {vectors["jets"]} test jets, {others}{vectors["extreme"]} extreme and
random inputs. Many vectors of a large core take minutes in Icarus.
Any other simulator of Verilog-2001 will do. The same for the VHDL, with GHDL:
    cd sim
    ghdl -i --std=08 testbench.vhd ../vhdl/*.vhd && ghdl -m --std=08 testbench
    ghdl -r --std=08 testbench --ieee-asserts=disable
With cocotb 2 (`pip install cocotb`): back to back, random pauses, a reset in between. `SIM` names another simulator
than Icarus:
    cd sim
    python test_core.py
`certificate.json` says what was compared and holds the digests of
the files.

## Files
- `component.xml`: IP-XACT (IEEE 1685-2014)
- `{core.top}.core`: FuseSoC; `fusesoc --cores-root . run --target=sim {core.top}` simulates, the targets `lint` and
  `synth` check (with a `verilator` on PATH) and synthesise; designs that depend on the core get no constraints from it
- `rtl/`: Verilog; `{core.top}.v` is the top module
- `vhdl/`: the same pipeline and ports in VHDL-2008; take one of the two
- `constraints/`: the clock period asked for, for this core alone as the top of a design
- `hls/`: the same network as a Vitis HLS project ({route}); what an HLS compiler makes of it has ports, a name and a
  latency of its own{_BENCH[route]}
- `model/`: weights of the quantised network; with `reports/student.json` they are the network
- `sim/`: testbenches in Verilog, VHDL and Python, inputs and expected answers, one word a line
{_SYNTHESIS if "clock_mhz_routed" in timing else ""}- `reports/`, `certificate.json`, `provenance.json`

## Licences
{_HEADERS[route]} The small arithmetic modules in `rtl/` and `vhdl/` (adders, multiplexers) come from
alkaid (LGPL-3.0-or-later); the modules that instantiate them were generated for this network.
"""


def _meanings(core: Core, card: Mapping[str, Any]) -> list[str]:
    """Return what every number of an answer is."""
    found = [f"logit of {name}" for name in card["classes"]]
    if spread := card.get("spread"):
        found.append(
            f"log2 I = code * 2^-{core.result.form.fractional} {spread['offset']:+d}, I the mutual information in nats "
            f"of {spread['passes']} passes of MC dropout: how unsure the tagger is that this network learnt from"
        )
    return found


def _clock(timing: Mapping[str, Any]) -> str:
    """Return what is known of the clock: what was reached, or that nothing was."""
    if told := routed.sentence(timing):
        return f"- {told}\n"
    return (
        f"- a clock of {timing['clock_ns_asked']:g} ns was asked for. The core was NOT placed and routed: whether a\n"
        "  device reaches that clock is not known, and so is no latency in nanoseconds\n"
    )


def _ordinal(interval: int) -> str:
    return "" if interval == 1 else f"{interval}th "


def _lanes(port: Port) -> str:
    return (
        f"{port.bits} bits, {port.size} numbers of {port.form.width} bits in {port.lane} bits each, number 0 lowest, "
        f"format {port.form.hls}"
    )
