"""What synthesises a design: the protocol of a backend, and what it reports.

A backend module has a `Config` with at least `part`, `MAKER` (whose parts these are), `MEND` (how to install the tool),
a function `locate()` that returns the tool's path or None, and a function `synthesize(config, design, scratch, stop)`
that returns `Resources`. A function `check(config)` refuses options before any work. With
`VENDOR = True` it also runs, beside the backend that the campaign names, wherever its tool is installed.
"""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from bunchtrain.errors import SynthesisError


@dataclass(frozen=True)
class Design:
    """What a backend gets.

    Parameters
    ----------
    top : str
        Name of the top Verilog module.
    rtl : list of Path
        Verilog sources.
    hls : Path
        Folder of the HLS project.
    hls_top : str
        Name of the C++ function in it.
    clock_ns : float
        Clock period asked for.
    """

    top: str
    rtl: list[Path]
    hls: Path
    hls_top: str
    clock_ns: float


@dataclass(frozen=True)
class Resources:
    """What a synthesis gave.

    Parameters
    ----------
    backend, tool, version : str
        Kind of backend, program, and its version.
    source : str
        What was synthesised: `rtl` or `hls`.
    part : str
        FPGA part or family that it was mapped to.
    lut, ff, dsp : int
        Look-up tables (those used as shift registers and memory too), flip-flops, multiplier blocks.
    bram : float
        Block RAMs of 36 kbit; others count by their size.
    cells : dict
        Cells by type, where the tool lists them.
    available : dict
        What the part has of each, where known.
    estimates : dict
        What the tool estimates beyond counts, e.g. latency and clock of an HLS compiler.
    seconds : float
        Wall time of the synthesis.
    clock_mhz_routed : float, optional
        Fastest clock after place and route, by the timing analysis of the tool that routed; None where none did.
    files : dict
        Files that go into the core, by name; the same bytes for the same design and tools.
    netlist : Path, optional
        The mapped netlist in Verilog; it is simulated too.
    models : tuple of Path
        Verilog files with the simulation models of its cells.
    """

    backend: str
    tool: str
    version: str
    source: str
    part: str
    lut: int
    ff: int
    dsp: int
    bram: float
    cells: dict[str, int] = field(default_factory=dict)
    available: dict[str, float] = field(default_factory=dict)
    estimates: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    clock_mhz_routed: float | None = None
    files: dict[str, Path] = field(default_factory=dict)
    netlist: Path | None = None
    models: tuple[Path, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON; files by their names alone, and no paths of the build folder."""
        found = {name: value for name, value in asdict(self).items() if name not in ("netlist", "models")}
        return {**found, "files": sorted(self.files)}


def yosys_models(program: Path, *names: str) -> tuple[Path, ...]:
    """Return files of the folder that Yosys brings, e.g. `xilinx/cells_sim.v`; those that are there.

    Yosys looks for that folder beside its program, as is done here.
    """
    folder = program.resolve().parent.parent / "share" / "yosys"
    return tuple(folder / name for name in names if (folder / name).is_file())


class Backend(Protocol):
    """A backend module."""

    Config: type[BaseModel]
    VENDOR: bool
    MAKER: str
    MEND: str

    def check(self, config: Any) -> None:
        """Refuse options that fit no part."""
        ...

    def locate(self) -> Path | None:
        """Return where the tool is, or None."""
        ...

    def synthesize(self, config: Any, design: Design, scratch: Path, stop: threading.Event | None = None) -> Resources:
        """Synthesise `design` in the folder `scratch`."""
        ...


def part_for(backend: Backend, named_by: Backend, part: str) -> str:
    """Return `part`, named by one backend, for another: its own usual part if theirs are parts of different makers."""
    return part if backend.MAKER == named_by.MAKER else str(backend.Config().model_dump()["part"])


#: What the fabric of some parts holds (data sheets DS890 and DS923): LUT, flip-flops, DSP, 36-kbit block RAMs.
PARTS = {
    "xcvu13p": {"lut": 1728000, "ff": 3456000, "dsp": 12288, "bram": 2688},
    "xcvu9p": {"lut": 1182240, "ff": 2364480, "dsp": 6840, "bram": 2160},
    "xcu55c": {"lut": 1303680, "ff": 2607360, "dsp": 9024, "bram": 2016},
    "xcku15p": {"lut": 522720, "ff": 1045440, "dsp": 1968, "bram": 984},
    "xczu9eg": {"lut": 274080, "ff": 548160, "dsp": 2520, "bram": 912},
}


def check_amd(part: str) -> None:
    """Refuse what cannot be a part of AMD's.

    Raises
    ------
    SynthesisError
        If the name does not begin as their names do.
    """
    if not re.fullmatch(r"xc[a-z0-9]+-?[a-z0-9]+(-[a-zA-Z0-9]+)*", part):
        raise SynthesisError(
            "no AMD part has this name",
            key="synthesize.backend.part",
            found=part,
            expected="family, package and speed, e.g. xcvu13p-flga2577-2-e or xc7z020clg400-1",
        )


def available(part: str) -> dict[str, float]:
    """Return what a part's fabric holds; empty for a part that is not listed."""
    return {name: float(count) for name, count in PARTS.get(part.partition("-")[0], {}).items()}
