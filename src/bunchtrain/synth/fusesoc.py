"""The core as a FuseSoC package (CAPI 2), and the clock for the tools that place and route it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from bunchtrain.synth.tcl import create_clock

#: Data of the testbench: it looks for them in the folder that it runs in.
_VECTORS = ("inputs.hex", "expected.hex")


def constraints(top: str, clock_ns: float) -> dict[str, bytes]:
    """Return the files that say how fast the clock is, for Vivado and for tools that read Synopsys's format."""
    text = "# The clock period asked for; the ports' delays depend on what the core is connected to.\n"
    text += create_clock("aclk", clock_ns)
    return {f"constraints/{top}.{kind}": text.encode() for kind in ("xdc", "sdc")}


def core_file(vlnv: str, top: str, files: Iterable[str], part: str) -> bytes:
    """Return the core file, which stands at the core's root.

    Parameters
    ----------
    vlnv : str
        The core's identity.
    top : str
        Name of the top module.
    files : iterable of str
        Names of the core's files.
    part : str
        FPGA that Vivado synthesises for.
    """
    text = yaml.safe_dump(
        {
            "name": vlnv,
            "description": "Jet tagger with AXI4-Stream ports",
            "filesets": _file_sets(top, sorted(files)),
            "targets": _targets(top, part),
        },
        sort_keys=False,
        width=120,
    )
    return f"CAPI=2:\n{text}".encode()


def _file_sets(top: str, files: list[str]) -> dict[str, Any]:
    sim: list[Any] = [{"sim/testbench.v": {"file_type": "verilogSource"}}]
    sim += [{f"sim/{name}": {"file_type": "user", "copyto": name}} for name in _VECTORS]
    return {
        "rtl": {"files": [name for name in files if name.startswith("rtl/")], "file_type": "verilogSource"},
        "vhdl": {"files": [name for name in files if name.startswith("vhdl/")], "file_type": "vhdlSource-2008"},
        "sim": {"files": sim},
        "xdc": {"files": [f"constraints/{top}.xdc"], "file_type": "xdc"},
        "sdc": {"files": [f"constraints/{top}.sdc"], "file_type": "SDC"},
    }


def _targets(top: str, part: str) -> dict[str, Any]:
    yosys = {"arch": "xilinx", "output_format": "verilog", "yosys_synth_options": ["-noiopad", "-noclkbuf"]}
    return {
        # without constraints: a design that depends on this core takes these and has a clock of its own
        "default": {"filesets": ["rtl"], "toplevel": top},
        "vhdl": {"filesets": ["vhdl"], "toplevel": top},
        "sim": {
            "description": "The testbench with all vectors; it prints PASS or FAIL",
            "default_tool": "icarus",
            "filesets": ["rtl", "sim"],
            "toplevel": "testbench",
            "tools": {"icarus": {"iverilog_options": ["-g2005"]}},
        },
        "lint": {
            "default_tool": "verilator",
            "filesets": ["rtl"],
            "toplevel": top,
            "tools": {"verilator": {"mode": "lint-only", "verilator_options": ["-Wno-fatal"]}},
        },
        "synth": {
            "default_tool": "yosys",
            "filesets": ["rtl", "tool_vivado ? (xdc)", "tool_quartus ? (sdc)"],
            "toplevel": top,
            "tools": {
                "yosys": yosys,
                "vivado": {"part": part, "pnr": "none"},
            },
        },
    }
