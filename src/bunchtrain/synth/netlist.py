"""The netlist that a synthesis gave, simulated with its tool's models of the cells.

V: vector, I: input, C: answer.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import rtlsim, streams
from bunchtrain.synth.backends.base import Resources
from bunchtrain.synth.independent import Codes, Row, demanded
from bunchtrain.synth.rtl import Core


class Outcome(NamedTuple):
    """The comparison, if there was one, and a word on whether and why not."""

    rows: list[Row]
    remark: str


def prove(
    core: Core,
    resources: Resources,
    cases: tuple[Codes, Codes],
    scratch: Path,
    stop: threading.Event | None = None,
) -> Outcome:
    """Demand the expected answers of the netlist, on a part of the vectors.

    Parameters
    ----------
    core : Core
        What was synthesised.
    resources : Resources
        Names the netlist and the files with models of its cells, if there are any.
    cases : pair of int64 [V, I] and [V, C]
        Inputs and the expected answers.
    scratch : Path
    stop : Event, optional
        Setting it ends the simulator.

    Raises
    ------
    SynthesisError
        At the first answer that is wrong, or if the netlist takes another number of cycles than the RTL.
    """
    if resources.netlist is None:
        return Outcome([], "not simulated, the backend writes none")
    used, known = cells(resources.netlist), modules(resources.models)
    if missing := sorted(used - known.keys()):
        return Outcome([], f"not simulated, no model of {', '.join(missing)}")
    scratch.mkdir(parents=True, exist_ok=True)
    models = scratch / "cells.v"
    models.write_text("\n".join(known[name] for name in sorted(_with_parts(used, known))), encoding="utf-8")
    part = streams.chosen(len(cases[0]))
    inputs_VI, expected_VC = cases[0][part], cases[1][part]
    simulator = rtlsim.Simulator(
        replace(core, files=[resources.netlist, models]), scratch, len(inputs_VI), "the netlist"
    )
    simulator.build(stop)
    measured = simulator.measure(inputs_VI, expected_VC)
    row = demanded("netlist", inputs_VI, expected_VC, measured.codes_VC)
    if measured.latency != core.stages or measured.spaced_mismatches:
        found = f"{measured.latency} cycles, {measured.spaced_mismatches} wrong answers after pauses"
        raise SynthesisError("the netlist does not behave as the RTL", found=found, expected=f"{core.stages} cycles")
    return Outcome([row], "simulated")


def cells(netlist: Path) -> set[str]:
    """Return the kinds of cells that a netlist is made of."""
    text = netlist.read_text(encoding="utf-8")
    return set(re.findall(r"^  ([A-Z]\w*) (?:#\(|\\?\S+\s+\()", text, re.MULTILINE))


def modules(paths: Iterable[Path]) -> dict[str, str]:
    """Return the Verilog of modules by name; a header without a body is none."""
    pattern = re.compile(r"^\s*(module\s+(\w+)\b(?!\s*\(\.\.\.\)).*?^\s*endmodule)", re.MULTILINE | re.DOTALL)
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {match[2]: match[1] for text in texts for match in pattern.finditer(text)}


def _with_parts(used: set[str], known: dict[str, str]) -> set[str]:
    """Return the modules that are used, and those which they use in their turn: a tool's file holds hundreds."""
    found: set[str] = set()
    waiting = set(used)
    while waiting:
        found |= waiting
        named = {word for name in waiting for word in re.findall(r"^\s*([A-Za-z_]\w*)\b", known[name], re.MULTILINE)}
        waiting = {word for word in named if word in known} - found
    return found
