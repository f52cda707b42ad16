"""A tiny design, and programs that stand in for vendors' tools."""

from pathlib import Path

from bunchtrain.synth.backends.base import Design

COUNTER = """
module counter (input wire aclk, input wire [7:0] s, output reg [7:0] m);
    always @(posedge aclk) m <= (s ^ 8'd3) + m;
endmodule
"""


def design_in(folder: Path) -> Design:
    hls = folder / "hls"
    hls.mkdir(parents=True)
    (hls / "build_prj.tcl").write_text("# nothing\n")
    (folder / "counter.v").write_text(COUNTER)
    return Design("counter", [folder / "counter.v"], hls, "tagger", 5.0)


def stand_in(folder: Path, name: str, body: str) -> None:
    """Put a program of this name on PATH that writes what the real one would."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
