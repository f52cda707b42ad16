"""What making a core and measuring a candidate have in common: backend, tools, and the way from a student to RTL."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bunchtrain import registry
from bunchtrain.config.campaign import parse_section
from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.errors import MissingDependency
from bunchtrain.synth import ipcore, preflight, rtl, tools
from bunchtrain.synth.backends.base import Backend, Design, part_for
from bunchtrain.synth.compressors import base as compressors
from bunchtrain.synth.routes import Converted, convert
from bunchtrain.synth.students.base import Student


class Stopwatch:
    """Seconds of every step, and a line when it is done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the steps inside the `with` block as `step`."""
        start = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - start, 2)
        print(f"[synthesize] {step}: {self.seconds[step]:.1f} s", flush=True)

    def total(self) -> float:
        """Return the seconds since the start."""
        return round(time.monotonic() - self._start, 2)


class Chosen(NamedTuple):
    """A backend and its options.

    Parameters
    ----------
    kind : str
    module : Backend
    config : model
        The module's `Config`.
    """

    kind: str
    module: Backend
    config: Any

    @property
    def hls_part(self) -> str:
        """The part of the C++ project: it is one of Vitis HLS, whatever synthesises the RTL."""
        vitis: Any = registry.load("synth.backends", "vitis")
        return part_for(vitis, self.module, self.config.part)


def backend_of(spec: SynthesizeSpec) -> Chosen:
    """Return the campaign's backend.

    Raises
    ------
    SynthesisError
        If its options fit no part.
    """
    options = dict(spec.backend)
    kind = str(options.pop("kind", ""))
    module: Any = registry.load("synth.backends", kind, "synthesize.backend.kind")
    config = parse_section(module.Config, options, "synthesize.backend")
    module.check(config)
    return Chosen(kind, module, config)


def require(spec: SynthesizeSpec, chosen: Chosen) -> None:
    """Refuse to begin where a tool is missing that is needed in the end."""
    compressors.require(spec.settings.student.compression.kind)
    tools.find("g++", needed_by="the C simulation", mend="apt-get install g++")
    tools.find("make", needed_by="the RTL simulation", mend="apt-get install make")
    for package in ("hls4ml", "alkaid", "verilator"):
        tools.package_folder(package, needed_by="synthesize")
    if chosen.module.locate() is None:
        needed = f"the synthesis backend {chosen.kind}"
        raise MissingDependency("its tool", needed_by=needed, mend=chosen.module.MEND)


def emptied(folder: Path) -> Path:
    """Return a folder, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder.resolve()


def write(
    spec: SynthesizeSpec, student: Student, part: str, build: Path, *, vhdl: bool
) -> tuple[Converted, rtl.Core, Design]:
    """Write a quantised student's C++ and Verilog, and VHDL if asked for, into `build`.

    Raises
    ------
    SynthesisError
        If a precision is not declared, or a converter refuses the student.
    """
    preflight.check_precision(student)
    clock_ns, top = spec.settings.clock_ns, ipcore.module_name(spec.name)
    converted = convert(student, spec.network, build / "hls", part=part, clock_ns=clock_ns)
    also = build / "vhdl" if vhdl else None
    core = rtl.write(converted.circuit, build / "rtl", top=top, clock_ns=clock_ns, part=part, vhdl_folder=also)
    return converted, core, Design(core.top, core.files, build / "hls", converted.top, clock_ns)
