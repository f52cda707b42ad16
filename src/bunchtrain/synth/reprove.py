"""Prove a core again from the files inside it: digests, network, C++ and RTL, on every vector that it brings.

V: vector, C: answer.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from bunchtrain.errors import BunchtrainError, SynthesisError
from bunchtrain.files import sha256
from bunchtrain.synth import agreement, independent, routes, rtlsim, verify
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.inputs import OF_CONSTITUENT, OF_JET, Encoding
from bunchtrain.synth.ports import Port
from bunchtrain.synth.quantize import Dense, Rounded
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout, Student
from bunchtrain.synth.vectors import read_words, to_codes

#: Bytes that a core may unpack to; those of the demo's take 1.5 MB.
MOST_BYTES = 1 << 30

CERTIFICATE, CARD, WEIGHTS = "certificate.json", "reports/student.json", "model/student.safetensors"
INPUTS, EXPECTED = "sim/inputs.hex", "sim/expected.hex"

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Unpacked:
    """The files of a core by name, and what it says of itself."""

    path: Path
    files: dict[str, bytes]

    def json(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the core."""
        if name not in self.files:
            raise SynthesisError("a core lacks a file", file=self.path, key=name, mend="make it again with synthesize")
        try:
            found = json.loads(self.files[name])
        except ValueError as error:
            raise SynthesisError("a file of a core is damaged", file=self.path, key=name, found=error) from None
        if not isinstance(found, dict):
            raise SynthesisError("a file of a core is damaged", file=self.path, key=name, found=type(found).__name__)
        return found


def unpack(path: Path) -> Unpacked:
    """Read a core into memory.

    Raises
    ------
    SynthesisError
        If it is no zip, is damaged, would unpack to more than `MOST_BYTES`, or names a place outside of itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if (total := sum(entry.file_size for entry in entries)) > MOST_BYTES:
                raise SynthesisError(
                    "a core is too large", file=path, found=f"{total} bytes", expected=f"{MOST_BYTES} at most"
                )
            files = {_inside(path, entry.filename): archive.read(entry) for entry in entries if not entry.is_dir()}
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise SynthesisError("a core cannot be read", file=path, found=error, expected="core.zip") from None
    return Unpacked(path, files)


def _inside(path: Path, name: str) -> str:
    """Return the name below the core's one folder."""
    parts = PurePosixPath(name).parts
    if len(parts) < 2 or name.startswith("/") or ".." in parts or "\\" in name:
        raise SynthesisError("a core names a place outside of its folder", file=path, found=name)
    return str(PurePosixPath(*parts[1:]))


def check_digests(core: Unpacked) -> int:
    """Compare the files with the digests in the certificate; return how many there are.

    Raises
    ------
    SynthesisError
        If a file is missing, differs, or is none that the certificate knows.
    """
    stated = core.json(CERTIFICATE).get("files")
    if not isinstance(stated, dict) or not stated:
        raise SynthesisError("a certificate names no files", file=core.path, key=CERTIFICATE)
    found = agreement.digests({name: content for name, content in core.files.items() if name != CERTIFICATE})
    for name in sorted({*stated, *found}):
        if stated.get(name) != found.get(name):
            problem = "a file of a core is not the one that was certified"
            if name not in found:
                problem = "a file that was certified is not in the core"
            if name not in stated:
                problem = "a file of a core was never certified"
            raise SynthesisError(problem, file=core.path, key=name, found=found.get(name), expected=stated.get(name))
    return len(found)


#: Folders whose files are used to prove the core again.
_PROVEN = ("rtl", "vhdl", "hls", "sim", "model", "constraints", "syn")


def network(core: Unpacked) -> Student:
    """Return the quantised network that the core was made from.

    Raises
    ------
    SynthesisError
        If card and weights do not make one.
    """
    card = core.json(CARD)
    try:
        layout = Layout(int(card["constituents"]), OF_CONSTITUENT, OF_JET)
        student = students.build(card["network"], layout, len(card["classes"]))
        student.input_format = Fixed.named(card["input_format"])
        weights, layers = load(core.files[WEIGHTS]), dict(student.named_modules())
        for row in card["layers"]:
            _restore(layers[row["name"]], row, weights)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError, BunchtrainError) as error:
        raise SynthesisError("card and weights of a core make no network", file=core.path, found=error) from None
    return student.eval()


def _restore(layer: torch.nn.Module, row: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    formats = {name: Fixed.named(text) for name, text in row["formats"].items()}
    if isinstance(layer, Dense):
        layer.weight_format, layer.bias_format = formats["weight"], formats["bias"]
        with torch.no_grad():
            layer.weight_OI.copy_(weights[f"{row['name']}.weight"])
            layer.bias_O.copy_(weights[f"{row['name']}.bias"])
    elif isinstance(layer, Rounded):
        layer.format = formats["result"]


def reprove(path: Path) -> list[dict[str, Any]]:
    """Prove a core again; return the comparisons, all without a mismatch.

    The C++ and the Verilog inside are compiled and run here: take cores from those whose programs you would run.

    Raises
    ------
    SynthesisError
        At the first thing that is not as the core claims.
    MissingDependency
        If a tool is not installed.
    """
    core = unpack(path)
    number = check_digests(core)
    print(f"[verify] {path}: sha256 {sha256(path)}, to be compared with report.json of the campaign", flush=True)
    print(f"[verify] {number} files, all but the certificate itself, are the certified ones", flush=True)
    student = network(core)
    with tempfile.TemporaryDirectory(prefix="bunchtrain-verify-") as temporary:
        folder = Path(temporary).resolve()
        for name, content in core.files.items():
            if name.split("/")[0] in _PROVEN:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return _proven(core, student, folder)


def _proven(core: Unpacked, student: Student, folder: Path) -> list[dict[str, Any]]:
    """Compute the answers anew and demand them of what the core brings, as `synthesize` did."""
    certificate = core.json(CERTIFICATE)
    design, encoding = _design(core, folder, certificate, core.json(CARD))
    inputs_VI, expected_VC = _vectors(core, INPUTS, design.source), _vectors(core, EXPECTED, design.result)
    cases = verify.answered(student, encoding, inputs_VI, len(inputs_VI), design.result.form)
    expected = agreement.compare(("torch", EXPECTED), cases.answers_VC, expected_VC)
    agreement.demand(expected, inputs_VI, (cases.answers_VC, expected_VC))
    simulation = routes.simulation(str(certificate["core"]["route"]))
    in_c, _ = verify.prove_c(simulation(folder / "hls", folder / "csim", design.result.size), encoding, cases)
    simulator = rtlsim.Simulator(design, folder / "again", len(inputs_VI))
    simulator.build()
    in_rtl, measured = verify.prove_rtl(simulator, cases)
    others = independent.prove(design, inputs_VI, cases.answers_VC, measured.latency, folder / "independent")
    rows = [expected, in_c, in_rtl, *others]
    for row in rows:
        first, second = row["between"]
        print(f"[verify] {first} = {second}: {row['vectors']} vectors, {row['mismatches']} mismatches", flush=True)
    _check_timing(core, certificate, measured)
    return rows


def _check_timing(core: Unpacked, certificate: Mapping[str, Any], measured: rtlsim.Measured) -> None:
    timing = {"latency_cycles": measured.latency, "initiation_interval": measured.interval}
    if timing != certificate.get("timing"):
        problem = "the core's timing is not the certified one"
        raise SynthesisError(problem, file=core.path, found=timing, expected=certificate.get("timing"))
    print(f"[verify] {measured.latency} cycles, interval {measured.interval}, as certified", flush=True)


def _design(
    core: Unpacked, folder: Path, certificate: Mapping[str, Any], card: Mapping[str, Any]
) -> tuple[Core, Encoding]:
    """Return the RTL with its ports, and how codes are read."""
    try:
        about = certificate["core"]
        ports = (
            Port(int(about["inputs"]), Fixed.named(card["input_format"])),
            Port(int(about["outputs"]), Fixed.named(card["output_format"])),
        )
        top, stages, encoding = str(about["top"]), int(about["stages"]), Encoding.from_dict(card["encoding"])
    except (KeyError, TypeError, ValueError) as error:
        raise SynthesisError("a certificate does not say what the core is", file=core.path, found=error) from None
    files = sorted((folder / "rtl").glob("*.v"), key=lambda one: (one.stem != top, one.name))
    return Core(top, files, *ports, stages, tuple(sorted((folder / "vhdl").glob("*.vhd")))), encoding


def _vectors(core: Unpacked, name: str, port: Port) -> Codes:
    try:
        words = core.files[name].decode("ascii").split()
        if {len(word) for word in words} != {port.bits // 4}:
            raise ValueError(f"words of other than {port.bits} bits")
        return to_codes(read_words(words), port)
    except (KeyError, ValueError) as error:
        raise SynthesisError("the vectors of a core cannot be read", file=core.path, key=name, found=error) from None
