"""Further proof, by tools that share nothing with Verilator: Icarus with cocotb, GHDL on the VHDL, and the netlist.

They are slower: each gets a part of the vectors, chosen by `streams.chosen`, the same at every time.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import agreement, cosim, ghdl, rtlsim, streams, tools
from bunchtrain.synth.rtl import Core

Codes = NDArray[np.int64]
Row = dict[str, Any]


def require() -> None:
    """Refuse to begin where one of the simulators is missing."""
    for program in ("iverilog", "vvp"):
        tools.find(program, needed_by="the simulation with cocotb", mend=cosim.MEND)
    tools.package_folder("cocotb", needed_by="the simulation with cocotb")
    tools.find("ghdl", needed_by="the VHDL simulation", mend=ghdl.MEND)


def prove(core: Core, inputs_VI: Codes, expected_VC: Codes, latency: int, scratch: Path) -> list[Row]:
    """Demand the expected answers of the Verilog under Icarus and of the VHDL under GHDL; return both comparisons.

    Raises
    ------
    SynthesisError
        At the first answer, valid bit or reset that is wrong.
    MissingDependency
        If a simulator is not installed.
    """
    part = streams.chosen(len(inputs_VI))
    cases = inputs_VI[part], expected_VC[part]
    stop = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run, core, *cases, latency, scratch, stop) for run in (_icarus, _vhdl)]
        try:
            return [job.result() for job in jobs]
        except BaseException:
            stop.set()
            raise


def _icarus(
    core: Core, inputs_VI: Codes, expected_VC: Codes, latency: int, scratch: Path, stop: threading.Event
) -> Row:
    found_VC, failed = cosim.simulate(core, inputs_VI, expected_VC, latency, scratch / "icarus", stop)
    if failed and found_VC.shape != expected_VC.shape:
        raise _fails(scratch, failed)
    row = _demanded("icarus", inputs_VI, expected_VC, found_VC)
    if failed:
        raise _fails(scratch, failed)
    return row


def _fails(scratch: Path, failed: str) -> SynthesisError:
    log = scratch / "icarus" / "cocotb.log"
    return SynthesisError("the core fails its tests with cocotb", file=log, found=failed, expected="3 tests passed")


def _vhdl(core: Core, inputs_VI: Codes, expected_VC: Codes, latency: int, scratch: Path, stop: threading.Event) -> Row:
    found_VC = ghdl.simulate(core, inputs_VI, expected_VC, latency, scratch / "vhdl", stop)
    return _demanded("vhdl", inputs_VI, expected_VC, found_VC)


def _demanded(name: str, inputs_VI: Codes, expected_VC: Codes, found_VC: Codes) -> Row:
    row = agreement.compare(("torch", name), expected_VC, found_VC)
    agreement.demand(row, inputs_VI, (expected_VC, found_VC))
    return row


def prove_netlist(
    core: Core,
    netlist: tuple[Path | None, tuple[Path, ...]],
    cases: tuple[Codes, Codes],
    latency: int,
    scratch: Path,
) -> tuple[list[Row], str]:
    """Demand the expected answers of the netlist that a synthesis gave, with its tool's models of the cells.

    Parameters
    ----------
    core : Core
    netlist : Path or None, and paths
        The netlist and the files of the models.
    cases : pair of int64
        Inputs and the expected answers.
    latency : int
        Cycles that the RTL takes.
    scratch : Path

    Returns
    -------
    The comparison, and `simulated`; or none, and why there is none.

    Raises
    ------
    SynthesisError
        At the first answer that is wrong, or if the netlist takes another number of cycles.
    """
    written, models = netlist
    if written is None:
        return [], "not simulated, the backend writes none"
    if missing := unmodelled(written, models):
        return [], f"not simulated, no model of {', '.join(missing)}"
    part = streams.chosen(len(cases[0]))
    inputs_VI, expected_VC = cases[0][part], cases[1][part]
    mapped = replace(core, files=[written, *models])
    simulator = rtlsim.Simulator(mapped, scratch, len(inputs_VI), "the netlist")
    simulator.build()
    measured = simulator.measure(inputs_VI, expected_VC)
    row = _demanded("netlist", inputs_VI, expected_VC, measured.codes_VC)
    if measured.latency != latency or measured.spaced_mismatches:
        found = f"{measured.latency} cycles, {measured.spaced_mismatches} wrong answers after pauses"
        raise SynthesisError("the netlist does not behave as the RTL", found=found, expected=f"{latency} cycles, none")
    return [row], "simulated"


def unmodelled(netlist: Path, models: tuple[Path, ...]) -> list[str]:
    """Return the cells of a netlist of which there is no simulation model; a header without a body is none."""
    text = netlist.read_text(encoding="utf-8")
    used = set(re.findall(r"^  ([A-Z]\w*) (?:#\(|\\?\S+ \()", text, re.MULTILINE))
    known: set[str] = set()
    for path in models:
        known |= set(
            re.findall(r"^\s*module\s+(\w+)\b(?!\s*\(\.\.\.\))", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
    return sorted(used - known)
