"""Yosys, for AMD UltraScale+: open, free, no licence; counts cells, knows no timing."""

import shutil
import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.errors import SynthesisError
from bunchtrain.files import read_json
from bunchtrain.synth import tools
from bunchtrain.synth.backends.base import Design, Resources, available, check_amd, yosys_models

VENDOR = False

MAKER = "AMD"

MEND = "apt-get install yosys"

#: Look-up tables that one cell takes; an inverter stands as a look-up table of one input in the netlist.
_LUTS = {
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
    **{"INV": 1, "SRL16E": 1, "SRLC32E": 1},
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4},
}

_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")

_BLOCK_RAMS = {"RAMB18E1": 0.5, "RAMB18E2": 0.5, "RAMB36E1": 1.0, "RAMB36E2": 1.0}


#: A model of the multiplier block, of which Yosys has none.
_MULTIPLIER = Path(__file__).parent.parent / "cells" / "DSP48E2.v"


class Config(BaseModel):
    """Options of the open flow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str = Field("xcvu13p-flga2577-2-e", description="part of the HLS project, and whose size is reported")
    timeout: int = Field(1800, gt=0, description="seconds")


def check(config: Config) -> None:
    """Refuse a part that is none of AMD's."""
    check_amd(config.part)


def locate() -> Path | None:
    """Return where Yosys is, or None."""
    found = shutil.which("yosys")
    return Path(found) if found else None


def synthesize(config: Config, design: Design, scratch: Path, stop: threading.Event | None = None) -> Resources:
    """Map the RTL to UltraScale+ cells and count them.

    Raises
    ------
    MissingDependency
        If Yosys is not installed.
    SynthesisError
        If it fails, or leaves cells that the part does not have.
    """
    program = tools.find("yosys", needed_by="the backend open_xilinx", mend=MEND)
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "synth.ys").write_text(script(design), encoding="utf-8")
    start = time.monotonic()
    tools.run(
        [program, "-Q", "-s", "synth.ys"],
        name="Yosys",
        cwd=scratch,
        log=scratch / "yosys.log",
        timeout=config.timeout,
        stop=stop,
    )
    cells = parse(scratch / "stat.json", design.top)
    counts = count(cells)
    return Resources(
        backend="open_xilinx",
        tool="yosys",
        version=tools.first_line([program, "-V"]),
        source="rtl",
        part=f"UltraScale+ (synth_xilinx -family xcup), shares of an {config.part}",
        lut=int(counts["lut"]),
        ff=int(counts["ff"]),
        dsp=int(counts["dsp"]),
        bram=counts["bram"],
        cells=cells,
        available=available(config.part),
        seconds=time.monotonic() - start,
        netlist=scratch / "netlist.v",
        models=(*yosys_models(program, "xilinx/cells_sim.v"), _MULTIPLIER),
    )


def script(design: Design) -> str:
    """Return the Yosys script."""
    sources = [f"read_verilog {quoted(path.resolve())}" for path in design.rtl]
    flow = f"synth_xilinx -family xcup -top {design.top} -flatten -noiopad -noclkbuf"
    return "\n".join([*sources, flow, "tee -q -o stat.json stat -json", "write_verilog -noattr netlist.v"]) + "\n"


def quoted(path: Path) -> str:
    """Return a path as Yosys reads it in a script; one that would be read otherwise is refused."""
    text = str(path)
    if any(character in text for character in '"\\\n'):
        raise SynthesisError(
            "Yosys cannot read a path with quotes or backslashes", file=path, mend="use another folder"
        )
    return f'"{text}"'


def parse(path: Path, top: str) -> dict[str, int]:
    """Return the cells by type from the file that `stat -json` wrote.

    Raises
    ------
    SynthesisError
        If the file holds no count for `top`.
    """
    report = read_json(path)
    modules = {name.lstrip("\\"): row for name, row in report.get("modules", {}).items()}
    cells = modules.get(top, {}).get("num_cells_by_type")
    if not cells:
        raise SynthesisError("Yosys counted no cells", file=path, found=sorted(modules), expected=top)
    return {str(name): int(number) for name, number in sorted(cells.items())}


def count(cells: dict[str, int]) -> dict[str, float]:
    """Return LUT, flip-flop, DSP and block-RAM counts of a list of cells.

    Raises
    ------
    SynthesisError
        If a cell was not mapped to the family.
    """
    for name in cells:
        if name.startswith("$"):
            raise SynthesisError("a cell was not mapped", found=name, mend="see yosys.log")
    return {
        "lut": sum(_LUTS.get(name, 0) * number for name, number in cells.items()),
        "ff": sum(number for name, number in cells.items() if name in _FLIP_FLOPS),
        "dsp": sum(number for name, number in cells.items() if name.startswith("DSP48")),
        "bram": sum(_BLOCK_RAMS.get(name, 0.0) * number for name, number in cells.items()),
    }
