"""Further proof, by tools that share nothing with Verilator: Icarus with cocotb, and GHDL on the VHDL.

They are slower: each gets a part of the vectors, chosen by `streams.chosen`, the same at every time.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import agreement, cosim, ghdl, streams, tools
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
    row = demanded("icarus", inputs_VI, expected_VC, found_VC)
    if failed:
        raise _fails(scratch, failed)
    return row


def _fails(scratch: Path, failed: str) -> SynthesisError:
    log = scratch / "icarus" / "cocotb.log"
    return SynthesisError("the core fails its tests with cocotb", file=log, found=failed, expected="3 tests passed")


def _vhdl(core: Core, inputs_VI: Codes, expected_VC: Codes, latency: int, scratch: Path, stop: threading.Event) -> Row:
    found_VC = ghdl.simulate(core, inputs_VI, expected_VC, latency, scratch / "vhdl", stop)
    return demanded("vhdl", inputs_VI, expected_VC, found_VC)


def demanded(name: str, inputs_VI: Codes, expected_VC: Codes, found_VC: Codes) -> Row:
    """Return how answers compare with the network's; a difference is an error."""
    row = agreement.compare(("torch", name), expected_VC, found_VC)
    agreement.demand(row, inputs_VI, (expected_VC, found_VC))
    return row
