"""The core under Icarus, driven by cocotb: a simulator and a testbench that share nothing with Verilator's."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import streams, tools
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.rtlsim import plain_folder

#: The tests' name in a core, and where they are here.
TESTS = "test_core.py"
SOURCE = Path(__file__).with_name("cocotb_tests.py")

MEND = "apt-get install iverilog"

_SECONDS = 600


def about(core: Core, latency: int) -> bytes:
    """Return `core.json`: what the tests have to know of the core."""
    return (json.dumps({"top": core.top, "latency_cycles": latency}, indent=1, sort_keys=True) + "\n").encode()


def simulate(
    core: Core,
    inputs_VI: NDArray[np.int64],
    expected_VC: NDArray[np.int64],
    latency: int,
    scratch: Path,
    stop: threading.Event | None = None,
) -> tuple[NDArray[np.int64], str | None]:
    """Run the cocotb tests; return the answers to vectors back to back, and what failed, if anything did.

    Raises
    ------
    SynthesisError
        If Icarus refuses the Verilog, the tests end without a result, or an answer has unknown bits.
    MissingDependency
        If Icarus or cocotb is not installed.
    """
    compiler = tools.find("iverilog", needed_by="the simulation with cocotb", mend=MEND)
    player = tools.find("vvp", needed_by="the simulation with cocotb", mend=MEND)
    scratch.mkdir(parents=True, exist_ok=True)
    with plain_folder() as folder:
        shutil.copy(SOURCE, folder / TESTS)
        (folder / "core.json").write_bytes(about(core, latency))
        streams.write(folder, core, inputs_VI, expected_VC)
        for path in core.files:
            (folder / path.name).symlink_to(path.resolve())
        command: list[str | Path] = [
            compiler,
            "-g2005",
            "-s",
            core.top,
            "-o",
            "core.vvp",
            *(path.name for path in core.files),
        ]
        tools.run(command, name="Icarus", cwd=folder, log=scratch / "iverilog.log", timeout=_SECONDS, stop=stop)
        libraries, environment = _cocotb(core.top, folder)
        command = [player, "-n", "-m", libraries, "core.vvp", "-none"]
        log = scratch / "cocotb.log"
        tools.run(command, name="cocotb", cwd=folder, log=log, timeout=_SECONDS, environment=environment, stop=stop)
        failed = _failed(folder / "results.xml", log)
        written = folder / "answers.hex"
        words = written.read_text(encoding="ascii").split() if written.exists() else []
    if not words:
        raise SynthesisError("the core gave no answer to cocotb", file=log, found=failed)
    return streams.codes(words, core, "icarus"), failed


def _cocotb(top: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Return the library that vvp loads, and the variables that tell it what to run."""
    tools.package_folder("cocotb", needed_by="the simulation with cocotb")
    import find_libpython
    from cocotb_tools import config

    python = find_libpython.find_libpython()
    if python is None:
        mend = "install Python's shared library, e.g. apt-get install libpython3.11"
        raise SynthesisError("cocotb needs a Python with a shared library", found=sys.executable, mend=mend)
    environment = {
        "GPI_USERS": f"{python};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)]),
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": Path(TESTS).stem,
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "COCOTB_RANDOM_SEED": "1",
        "TOPLEVEL_LANG": "verilog",
    }
    return config.lib_entry("vpi", "icarus"), environment


def _failed(results: Path, log: Path) -> str | None:
    """Return the names of tests that failed and why; None if all passed.

    Raises
    ------
    SynthesisError
        If there are no results.
    """
    try:
        cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        cases = []
    if len(cases) < 3:
        raise SynthesisError("cocotb ended without a result", file=log, found=f"{len(cases)} tests", expected="3 tests")
    wrong = []
    for case in cases:
        for fault in (*case.iter("failure"), *case.iter("error")):
            reason = fault.get("error_msg") or fault.get("message") or (fault.text or "").strip()
            wrong.append(f"{case.get('name')}: {reason.splitlines()[0] if reason else 'no reason given'}")
    return "; ".join(wrong) or None
