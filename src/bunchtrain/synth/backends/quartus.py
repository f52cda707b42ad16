"""Intel (Altera) Quartus Prime, where it is installed: the RTL compiled; counts and clock are those after routing.

What is compiled is the core between registers (`harness.registered`), whose number is known and taken off the count.
An ALM is no look-up table: where the fitter's report counts ALUTs, these are given, else ALMs.
"""

import re
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import harness, tools
from bunchtrain.synth.backends.base import Design, Resources
from bunchtrain.synth.tcl import braced, create_clock

VENDOR = True

MAKER = "Intel"

MEND = "install Quartus Prime and put its bin folder on PATH, or use `synthesize.backend: {kind: open_xilinx}`"

_SCRIPT, _PROJECT, _OUT = "run.tcl", "core", "out"

#: Block RAMs are reported in units of 36 kbit.
_UNIT_BITS = 36 * 1024


class Config(BaseModel):
    """Options of Quartus Prime."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str = Field("Arria 10", description="family of the part, as Quartus names it")
    part: str = Field("10AX115N2F45E1SG", description="part to compile for")
    timeout: int = Field(14400, gt=0, description="seconds")


def check(config: Config) -> None:
    """Refuse names that would be code."""
    braced(config.family)
    braced(config.part)


def locate() -> Path | None:
    """Return where the program is, or None."""
    found = shutil.which("quartus_sh")
    return Path(found) if found else None


def synthesize(config: Config, design: Design, scratch: Path, stop: threading.Event | None = None) -> Resources:
    """Compile the core and read the reports of fitter and timing analysis.

    Raises
    ------
    MissingDependency
        If Quartus is not on PATH.
    SynthesisError
        If it fails, or a report is missing or cannot be read. A clock that is missed is no error: it is reported.
    """
    program = tools.find("quartus_sh", needed_by="the backend quartus", mend=MEND)
    scratch.mkdir(parents=True, exist_ok=True)
    reports = scratch / _OUT
    shutil.rmtree(reports, ignore_errors=True)  # an earlier run's would be taken for this one's
    (scratch / "harness.v").write_text(harness.registered(design, "preserve"), encoding="utf-8")
    (scratch / "clock.sdc").write_text(constraints(design), encoding="utf-8")
    (scratch / _SCRIPT).write_text(script(config, design), encoding="utf-8")
    start, log = time.monotonic(), scratch / "quartus.log"
    tools.run([program, "-t", _SCRIPT], name="Quartus", cwd=scratch, log=log, timeout=config.timeout, stop=stop)
    fitted = fit(reports / f"{_PROJECT}.fit.summary", reports / f"{_PROJECT}.fit.rpt")
    fastest, asked = clock(reports / f"{_PROJECT}.sta.rpt"), 1000 / design.clock_ns
    around = harness.registers(design)
    counted = fitted.pop("counted")
    return Resources(
        backend="quartus",
        tool="quartus_sh",
        source="rtl",
        **{**fitted, "ff": fitted["ff"] - around},
        estimates={
            "clock_asked_mhz": asked,
            "timing_met": fastest >= asked,
            "lut_counts": counted,
            "harness": {"ff": around},
        },
        seconds=time.monotonic() - start,
        clock_mhz_routed=fastest,
    )


def constraints(design: Design) -> str:
    """Return the clock's constraints."""
    return f"{create_clock(harness.CLOCK, design.clock_ns)}derive_clock_uncertainty\n"


def script(config: Config, design: Design) -> str:
    """Return the Tcl script; every port but the clock is a virtual pin, for the package has too few."""
    assigned = {
        "FAMILY": braced(config.family),
        "DEVICE": braced(config.part),
        "TOP_LEVEL_ENTITY": braced(harness.name(design)),
        "PROJECT_OUTPUT_DIRECTORY": _OUT,
        "SDC_FILE": "clock.sdc",
    }
    rows = [f"set_global_assignment -name {name} {value}" for name, value in assigned.items()]
    sources = [*(braced(path.resolve()) for path in design.rtl), "harness.v"]
    rows += [f"set_global_assignment -name VERILOG_FILE {path}" for path in sources]
    pins = [harness.RESET, "vector", "vector[*]", "answer", "answer[*]"]
    rows += [f"set_instance_assignment -name VIRTUAL_PIN ON -to {{{pin}}}" for pin in pins]
    before = ["load_package flow", f"project_new {_PROJECT} -overwrite"]
    return "\n".join([*before, *rows, "execute_flow -compile", "project_close"]) + "\n"


def fit(summary: Path, report: Path) -> dict[str, Any]:
    """Read the fitter's summary, and from its long report the number of ALUTs if that is there.

    Returns
    -------
    dict
        The fields of `Resources` that they give; `counted` says what `lut` is a count of.

    Raises
    ------
    SynthesisError
        If the summary is missing, not such a file, tells of a failure, or counts no ALMs.
    """
    rows = {name.strip(): value.strip() for name, _, value in (line.partition(" : ") for line in _lines(summary))}
    status = rows.get("Fitter Status", "")
    if not status.startswith("Successful"):
        raise SynthesisError("Quartus did not fit the core", file=summary, found=status, mend="see quartus.log")
    alms, alms_there = _pair(rows, "Logic utilization (in ALMs)", summary)
    dsp, dsp_there = _pair(rows, "Total DSP Blocks", summary)
    blocks, blocks_there = _pair(rows, "Total RAM Blocks", summary)
    _, bits_there = _pair(rows, "Total block memory bits", summary)
    registers = next((name for name in _REGISTERS if name in rows), _REGISTERS[0])
    size = bits_there / blocks_there / _UNIT_BITS if blocks_there else 0.0
    aluts = _aluts(report)
    return {
        "version": rows.get("Quartus Prime Version", "unknown"),
        "part": rows.get("Device", "unknown"),
        "lut": int(alms) if aluts is None else aluts,
        "ff": int(_pair(rows, registers, summary)[0]),
        "dsp": int(dsp),
        "bram": blocks * size,
        "cells": {"ALM": int(alms), "RAM block": int(blocks), **({} if aluts is None else {"ALUT": aluts})},
        # an ALM holds two ALUTs
        "available": {
            "lut": alms_there * (1 if aluts is None else 2),
            "dsp": dsp_there,
            "bram": blocks_there * size,
        },
        "counted": "ALM" if aluts is None else "ALUT",
    }


#: What the summary calls its registers: Standard and Pro edition.
_REGISTERS = ("Total registers", "Total dedicated logic registers")


def _lines(path: Path) -> list[str]:
    return tools.report(path, "Quartus").splitlines()


def _pair(rows: dict[str, str], name: str, path: Path) -> tuple[float, float]:
    """Return how many are used and how many there are (0 where that is not told) from a row `12 / 3,456 ( < 1 % )`."""
    match = re.match(r"([\d,]+)(?:\s*/\s*([\d,]+))?", rows.get(name, ""))
    if match is None:
        raise SynthesisError("a summary of Quartus lacks a count", file=path, key=name, found=rows.get(name))
    used, there = match.groups(default="0")
    return float(used.replace(",", "")), float(there.replace(",", ""))


def _aluts(path: Path) -> int | None:
    """Return the ALUTs used for logic, or None where the long report does not count them."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    match = re.search(r"^;\s*Combinational ALUT usage for logic\s*;\s*([\d,]+)\s*;", text, re.MULTILINE)
    return int(match.group(1).replace(",", "")) if match else None


def clock(path: Path) -> float:
    """Return the fastest clock in MHz that every corner of the timing analysis allows.

    The restricted figure counts: pulse widths and hold times may forbid what setup times allow.

    Raises
    ------
    SynthesisError
        If the report is missing or gives no such clock.
    """
    found, inside, column = [], False, -1
    for line in _lines(path):
        cells = [cell.strip() for cell in line.strip().strip(";").split(";")]
        if re.match(r";.*Fmax Summary\s*;$", line.strip()):
            inside, column = True, -1
        elif inside and "Restricted Fmax" in cells:
            column = cells.index("Restricted Fmax")
        elif inside and column >= 0 and line.startswith(";"):
            match = re.fullmatch(r"([\d.]+) MHz", cells[column] if column < len(cells) else "")
            if match and harness.CLOCK in cells:
                found.append(float(match.group(1)))
        elif not line.startswith("+"):
            inside = False
    if not found:
        raise SynthesisError(
            "a report of Quartus has no fastest clock",
            file=path,
            expected="a table Fmax Summary with a Restricted Fmax",
        )
    return min(found)
