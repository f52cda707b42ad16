"""AMD Vivado, where it is installed: the RTL synthesised out of context, placed and routed.

What is routed is the core between registers (`harness.registered`), whose number is known and taken off the count.
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
from bunchtrain.synth.backends.base import Design, Resources, check_amd
from bunchtrain.synth.tcl import braced, create_clock

VENDOR = True

MAKER = "AMD"

MEND = "install AMD Vivado and source its settings64.sh, or use `synthesize.backend: {kind: open_xilinx}`"

_SCRIPT, _USED, _TIMING = "run.tcl", "utilization.rpt", "timing.rpt"

#: Columns of the summary of slacks.
_SLACKS = {"setup": "WNS(ns)", "hold": "WHS(ns)", "pulse": "WPWS(ns)"}

#: Rows of the utilisation report by the families' names for them: UltraScale, 7 series, Versal.
_ROWS = {
    "lut": ("CLB LUTs", "Slice LUTs"),
    "ff": ("CLB Registers", "Slice Registers", "Registers"),
    "dsp": ("DSPs", "DSP Slices"),
    "bram": ("Block RAM Tile",),
}


class Config(BaseModel):
    """Options of Vivado."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str = Field("xcvu13p-flga2577-2-e", description="part to place and route for")
    timeout: int = Field(14400, gt=0, description="seconds")


def check(config: Config) -> None:
    """Refuse names that would be code, and a part that is none of AMD's."""
    braced(config.part)
    check_amd(config.part)


def locate() -> Path | None:
    """Return where Vivado is, or None."""
    found = shutil.which("vivado")
    return Path(found) if found else None


def synthesize(config: Config, design: Design, scratch: Path, stop: threading.Event | None = None) -> Resources:
    """Synthesise, place and route the core, and read the reports.

    Raises
    ------
    MissingDependency
        If Vivado is not on PATH.
    SynthesisError
        If it fails, or a report is missing or cannot be read. A clock that is missed is no error: it is reported.
    """
    program = tools.find("vivado", needed_by="the backend vivado", mend=MEND)
    scratch.mkdir(parents=True, exist_ok=True)
    for name in (_USED, _TIMING):  # those of an earlier run would be taken for this one's
        (scratch / name).unlink(missing_ok=True)
    (scratch / "harness.v").write_text(harness.registered(design, 'dont_touch = "yes"'), encoding="utf-8")
    (scratch / "clock.xdc").write_text(constraint(design), encoding="utf-8")
    (scratch / _SCRIPT).write_text(script(config, design), encoding="utf-8")
    command: list[str | Path] = [program, "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", _SCRIPT]
    start, log = time.monotonic(), scratch / "vivado.log"
    tools.run(command, name="Vivado", cwd=scratch, log=log, timeout=config.timeout, stop=stop)
    used, timing = utilization(scratch / _USED), slack(scratch / _TIMING)
    around = harness.registers(design)
    return Resources(
        backend="vivado",
        tool="vivado",
        source="rtl",
        **{**used, "ff": used["ff"] - around},
        estimates={
            "clock_asked_mhz": 1000 / design.clock_ns,
            "timing_met": min(timing.values()) >= 0,
            "slack_ns": timing["setup"],
            "hold_slack_ns": timing["hold"],
            "pulse_width_slack_ns": timing["pulse"],
            "harness": {"ff": around},
        },
        seconds=time.monotonic() - start,
        clock_mhz_routed=clock(design.clock_ns, timing["setup"]),
    )


def clock(period: float, worst: float) -> float:
    """Return the fastest clock in MHz, of a period asked for and the worst setup slack, both in ns."""
    if worst >= period:
        raise SynthesisError("a worst slack is longer than the clock period", found=worst, expected=f"below {period:g}")
    return 1000 / (period - worst)


def constraint(design: Design) -> str:
    """Return the clock's constraint."""
    return create_clock(harness.CLOCK, design.clock_ns)


def script(config: Config, design: Design) -> str:
    """Return the Tcl script."""
    sources = [f"read_verilog {braced(path.resolve())}" for path in design.rtl]
    top = harness.name(design)
    flow = [
        "read_verilog harness.v",
        "read_xdc -mode out_of_context clock.xdc",
        f"synth_design -mode out_of_context -top {braced(top)} -part {braced(config.part)}",
        *("opt_design", "place_design", "phys_opt_design", "route_design"),
        f"report_utilization -file {_USED}",
        f"report_timing_summary -file {_TIMING}",
    ]
    return "\n".join([*sources, *flow]) + "\n"


def utilization(path: Path) -> dict[str, Any]:
    """Read what `report_utilization` wrote.

    Returns
    -------
    dict
        The fields of `Resources` that it gives.

    Raises
    ------
    SynthesisError
        If the file is missing or not such a report.
    """
    text = tools.report(path, "Vivado")
    table = _table(text)
    found: dict[str, dict[str, float]] = {}
    for name, titles in _ROWS.items():
        row = next((table[title] for title in titles if title in table), {})
        try:
            found[name] = {column: float(row[column]) for column in ("Used", "Available")}
        except (KeyError, ValueError):
            expected = f"a row {' or '.join(titles)} with Used and Available"
            raise SynthesisError("a report of Vivado lacks a count", file=path, found=row, expected=expected) from None
    counts: dict[str, Any] = {name: int(found[name]["Used"]) for name in ("lut", "ff", "dsp")}
    return {
        **counts,
        "version": _stated(text, "Tool Version"),
        "part": _stated(text, "Device"),
        "bram": found["bram"]["Used"],
        "available": {name: row["Available"] for name, row in found.items()},
    }


def _stated(text: str, title: str) -> str:
    """Return a line of a report's head."""
    match = re.search(rf"^\|\s*{title}\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return match.group(1).partition(" (")[0] if match else "unknown"


def _table(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of all tables of a report, by their first cell: the column's name and the cell."""
    rows: dict[str, dict[str, str]] = {}
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|") or not line.rstrip().endswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Used" in cells:
            header = cells
        elif len(cells) == len(header):
            # a star behind a name stands for a footnote
            rows.setdefault(cells[0].rstrip("*"), dict(zip(header, cells, strict=True)))
    return rows


def slack(path: Path) -> dict[str, float]:
    """Read the worst slacks, in ns, from what `report_timing_summary` wrote: setup, hold and pulse width.

    Raises
    ------
    SynthesisError
        If the file is missing, not such a report, or has no path with a constraint.
    """
    lines = tools.report(path, "Vivado").splitlines()
    titles = next((place for place, line in enumerate(lines) if re.match(r"\s*WNS\(ns\)\s", line)), None)
    if titles is None:
        raise SynthesisError("a report of Vivado lacks the summary of slacks", file=path, expected="a row WNS(ns)")
    names = re.findall(r"\S+(?: \S+)*", lines[titles])
    values = next((line.split() for line in lines[titles + 1 :] if line.strip(" -")), [])
    row = dict(zip(names, values, strict=False))
    try:
        return {name: float(row[title]) for name, title in _SLACKS.items()}
    except (KeyError, ValueError):
        problem = "a report of Vivado has no worst slack"
        raise SynthesisError(problem, file=path, found=values, expected="numbers, of a clock with paths") from None
