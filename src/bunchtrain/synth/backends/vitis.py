"""AMD Vitis HLS, where it is installed: synthesises the C++ project; counts and latency are the tool's estimates."""

import shutil
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.errors import MissingDependency, SynthesisError
from bunchtrain.synth import tools
from bunchtrain.synth.backends.base import Design, Resources, check_amd

VENDOR = True

MAKER = "AMD"

MEND = "install AMD Vitis and source its settings64.sh, or use `synthesize.backend: {kind: open_xilinx}`"

#: The program of each generation, newest first, with the arguments that run a script.
_PROGRAMS = {
    "vitis-run": ("--mode", "hls", "--tcl", "build_prj.tcl"),
    "vitis_hls": ("-f", "build_prj.tcl"),
}

_STEPS = {"reset": 1, "csim": 0, "synth": 1, "cosim": 0, "validation": 0, "export": 0, "vsynth": 0, "fifo_opt": 0}


class Config(BaseModel):
    """Options of Vitis HLS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str = Field("xcvu13p-flga2577-2-e", description="part to synthesise for")
    timeout: int = Field(7200, gt=0, description="seconds")


def check(config: Config) -> None:
    """Refuse a part that is none of AMD's."""
    check_amd(config.part)


def locate() -> Path | None:
    """Return where the newest program is, or None."""
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    return None


def synthesize(config: Config, design: Design, scratch: Path, stop: threading.Event | None = None) -> Resources:
    """Run C synthesis on a copy of the HLS project and read its report.

    Raises
    ------
    MissingDependency
        If no Vitis is on PATH.
    SynthesisError
        If it fails or writes no report.
    """
    program = locate()
    if program is None:
        raise MissingDependency(" or ".join(_PROGRAMS), needed_by="the backend vitis", mend=MEND)
    folder = scratch / "project"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(design.hls, folder)
    rows = "".join(f"    {name} {value}\n" for name, value in _STEPS.items())
    (folder / "build_opt.tcl").write_text(f"array set opt {{\n{rows}}}\n", encoding="utf-8")
    start = time.monotonic()
    command: list[str | Path] = [program, *_PROGRAMS[program.name]]
    log = scratch / "vitis.log"
    tools.run(command, name="Vitis HLS", cwd=folder, log=log, timeout=config.timeout, stop=stop)
    values = parse(_report(folder, design.hls_top))
    return Resources(backend="vitis", tool=program.name, source="hls", seconds=time.monotonic() - start, **values)


def _report(folder: Path, top: str) -> Path:
    path = folder / f"{top}_prj" / "solution1" / "syn" / "report" / f"{top}_csynth.xml"
    if not path.exists():
        raise SynthesisError("Vitis HLS wrote no report", file=path, mend="see vitis.log")
    return path


def parse(path: Path) -> dict[str, Any]:
    """Read the XML report of C synthesis.

    Returns
    -------
    dict
        The fields of `Resources` that the report gives; latency and interval in cycles, clock periods in ns.

    Raises
    ------
    SynthesisError
        If the file is not such a report.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise SynthesisError("a report of Vitis HLS cannot be read", file=path, found=error) from None
    used = {name: _number(root, f"AreaEstimates/Resources/{name}", path) for name in ("LUT", "FF", "DSP", "BRAM_18K")}
    there = {name: _number(root, f"AreaEstimates/AvailableResources/{name}", path) for name in used}
    timing, latency = "PerformanceEstimates/SummaryOfTimingAnalysis", "PerformanceEstimates/SummaryOfOverallLatency"
    return {
        "version": root.findtext("ReportVersion/Version", "unknown"),
        "part": root.findtext("UserAssignments/Part", "unknown"),
        "lut": int(used["LUT"]),
        "ff": int(used["FF"]),
        "dsp": int(used["DSP"]),
        "bram": used["BRAM_18K"] / 2,
        "available": {"lut": there["LUT"], "ff": there["FF"], "dsp": there["DSP"], "bram": there["BRAM_18K"] / 2},
        "estimates": {
            "clock_asked_ns": _number(root, "UserAssignments/TargetClockPeriod", path),
            "clock_ns": _number(root, f"{timing}/EstimatedClockPeriod", path),
            "latency_cycles": int(_number(root, f"{latency}/Worst-caseLatency", path)),
            "interval_cycles": int(_number(root, f"{latency}/Interval-max", path)),
        },
    }


def _number(root: ElementTree.Element, place: str, path: Path) -> float:
    text = root.findtext(place)
    try:
        return float(text or "")
    except ValueError:
        raise SynthesisError(
            "a report of Vitis HLS lacks a number", file=path, key=place, found=text, expected="a number"
        ) from None
