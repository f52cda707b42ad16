"""Prove a core again from the files inside it: digests, network, C++ and RTL, on every vector that it brings.

V: vector, C: answer.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import BunchtrainError, SynthesisError
from bunchtrain.files import sha256
from bunchtrain.synth import agreement, independent, limits, routes, rtlsim, vectors, verify
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.inputs import OF_CONSTITUENT, OF_JET, Encoding
from bunchtrain.synth.ports import Port
from bunchtrain.synth.quantize import Dense, Rounded
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout, Student
from bunchtrain.synth.unpacked import CERTIFICATE, Unpacked, check_digests, check_sources, unpack
from bunchtrain.synth.vectors import read_words, to_codes

CARD, WEIGHTS = "reports/student.json", "model/student.safetensors"
INPUTS, EXPECTED = "sim/inputs.hex", "sim/expected.hex"

#: Files that are used to prove the core again begin so; of the others the certificate has the digests, no more.
_PROVEN = ("rtl/", "vhdl/", "hls/")

#: Vectors of its own at least, new ones at every time.
OWN = 4096

#: Edges that the deepest core may take.
_DEEPEST = 10_000

Codes = NDArray[np.int64]

_MALFORMED = (
    *(KeyError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError),
    *(SafetensorError, BunchtrainError),
)


def network(core: Unpacked) -> Student:
    """Return the quantised network that the core was made from.

    Raises
    ------
    SynthesisError
        If card and weights do not make one.
    """
    card = core.json(CARD)
    try:
        constituents = Settings(constituents=card["constituents"]).constituents
        layout = Layout(constituents, OF_CONSTITUENT, OF_JET)
        student = students.build(card["network"], layout, len(card["classes"]) + ("spread" in card))
        student.input_format = Fixed.named(card["input_format"])
        weights, layers = load(core.files[WEIGHTS]), dict(student.named_modules())
        for row in card["layers"]:
            _restore(layers[row["name"]], row, weights)
    except _MALFORMED as error:
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
    check_sources(core)
    print(f"[verify] {path}: sha256 {sha256(path)}, to be compared with report.json of the campaign", flush=True)
    print(f"[verify] {number} files, all but the certificate itself, are the certified ones", flush=True)
    student = network(core)
    with tempfile.TemporaryDirectory(prefix="bunchtrain-verify-") as temporary:
        folder = Path(temporary).resolve()
        for name, content in core.files.items():
            if name.startswith(_PROVEN):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return _proven(core, student, folder)


def _proven(core: Unpacked, student: Student, folder: Path) -> list[dict[str, Any]]:
    """Compute the answers anew and demand them of what the core brings, as `synthesize` did."""
    certificate = core.json(CERTIFICATE)
    design, encoding = _design(core, folder, certificate, core.json(CARD))
    brought_VI, expected_VC = _vectors(core, INPUTS, design.source), _vectors(core, EXPECTED, design.result)
    inputs_VI = np.concatenate([brought_VI, _own(student, design.source.form)])
    cases = verify.answered(student, encoding, inputs_VI, len(brought_VI), design.result.form)
    answers_VC = cases.answers_VC[: len(brought_VI)]
    expected = agreement.compare(("torch", EXPECTED), answers_VC, expected_VC)
    agreement.demand(expected, brought_VI, (answers_VC, expected_VC))
    _check_claims(core, certificate, brought_VI, expected_VC)
    simulation = routes.simulation(str(certificate["core"].get("route")))
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


def _own(student: Student, form: Fixed) -> Codes:
    """Return vectors that whoever made the core could not know, and print what they follow from."""
    seed = secrets.randbits(32)
    found = [limits.search(student, form, seed).codes_VI, vectors.extremes(student.inputs, form, seed, OWN)]
    own_VI = np.concatenate(found)
    print(f"[verify] {len(own_VI)} vectors of its own beside those of the core (seed {seed})", flush=True)
    return own_VI


def _check_claims(core: Unpacked, certificate: Mapping[str, Any], inputs_VI: Codes, expected_VC: Codes) -> None:
    """Demand that the certificate speaks of these vectors, and of every comparison on them.

    Raises
    ------
    SynthesisError
        If it does not.
    """
    try:
        stated = certificate["vectors"]
        number = sum(int(stated.get(kind, 0)) for kind in ("jets", "unfamiliar", "extreme"))
        between = {tuple(row["between"]): (row["vectors"], row["mismatches"]) for row in certificate["comparisons"]}
        digests = stated["inputs_sha256"], stated["answers_sha256"]
    except _MALFORMED as error:
        raise SynthesisError("a certificate does not say what was compared", file=core.path, found=error) from None
    claimed = {other: between.get(("torch", other)) for other in ("c_simulation", "rtl")}
    if number != len(inputs_VI) or any(found != (number, 0) for found in claimed.values()):
        problem = "a certificate speaks of other vectors than the core brings"
        raise SynthesisError(problem, file=core.path, found={"vectors": number, **claimed}, expected=len(inputs_VI))
    if digests != (agreement.digest(inputs_VI), agreement.digest(expected_VC)):
        raise SynthesisError("the vectors of a core are not the certified ones", file=core.path)


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
        if not 0 < stages <= _DEEPEST or stages != certificate["timing"]["latency_cycles"] or top != core.top:
            raise ValueError(f"{top}, {stages} stages, timing {certificate['timing']}")
    except _MALFORMED as error:
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
