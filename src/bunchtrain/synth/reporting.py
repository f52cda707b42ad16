"""What the stage tells: report, card of the student, and the files of the IP core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bunchtrain import provenance
from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.files import sha256
from bunchtrain.synth import agreement, hls, ipcore, readme, rtlsim, tools
from bunchtrain.synth.backends.base import Resources
from bunchtrain.synth.material import Material
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.vectors import to_words
from bunchtrain.synth.verify import Proof, Vectors

#: Version of the core in its IP-XACT identity; raise it when ports or meaning change.
CORE_VERSION = "1.0"

TIMING_NOTE = (
    "Cycles are measured in the RTL simulation, from the clock edge that takes a vector to the edge at which its "
    "answer can be taken. Nanoseconds are these cycles times the clock period asked for: the open flow knows no routed "
    "timing."
)


@dataclass(frozen=True)
class Facts:
    """Everything that was made and found."""

    spec: SynthesizeSpec
    stuff: Material
    plan: hls.Plan
    core: Core
    cases: Vectors
    proof: Proof
    areas: dict[str, float]
    resources: Resources
    vendor: list[dict[str, Any]]


def report(facts: Facts, seconds: Mapping[str, float], zip_sha256: str) -> dict[str, Any]:
    """Return the stage's report."""
    areas = {**facts.areas, "loss_by_quantisation": facts.areas["float_student"] - facts.areas["quantised_student"]}
    return {
        "report": 1,
        "name": facts.spec.name,
        "core": {
            "file": "core.zip",
            "sha256": zip_sha256,
            "top": facts.core.top,
            "vlnv": f"{ipcore.VENDOR}:{ipcore.LIBRARY}:{facts.core.top}:{CORE_VERSION}",
        },
        "task": facts.spec.task,
        "classes": facts.stuff.classes,
        "student": student_card(facts),
        "auc": {**areas, "jets": _jets(facts)},
        "agreement": _agreement(facts),
        "timing": _timing(facts),
        "resources": facts.resources.as_dict(),
        "utilisation": _utilisation(facts.resources),
        "tools": made_by(facts),
        "vendor_tools": tools.vendor_tools(),
        "vendor_runs": facts.vendor,
        "seconds": dict(seconds),
    }


def student_card(facts: Facts) -> dict[str, Any]:
    """Return what the student is: widths, formats, sparsity, and the meaning of its inputs."""
    settings = facts.spec.settings.student
    layers = [_layer(name, layer, facts.plan) for name, layer in facts.plan.layers.items()]
    dense = [row for row in layers if row["kind"] == "dense"]
    weights = sum(row["inputs"] * row["outputs"] for row in dense)
    nonzero = sum(row["nonzero_weights"] for row in dense)
    return {
        "widths": [dense[0]["inputs"], *(row["outputs"] for row in dense)],
        "constituents": settings.constituents,
        "weight_bits": settings.weight_bits,
        "activation_bits": settings.activation_bits,
        "weights": weights,
        "nonzero_weights": nonzero,
        "sparsity": 1 - nonzero / weights,
        "layers": layers,
        "classes": facts.stuff.classes,
        "input_format": facts.plan.source.hls,
        "output_format": facts.plan.result.hls,
        "inputs": facts.stuff.encoding.rows(),
        "encoding": facts.stuff.encoding.as_dict(),
    }


def _layer(name: str, layer: nn.Module, plan: hls.Plan) -> dict[str, Any]:
    formats = {what: form.hls for what, form in plan.precisions[name].items()}
    if isinstance(layer, nn.Linear):
        nonzero = int((layer.weight != 0).sum())
        size = {"inputs": layer.in_features, "outputs": layer.out_features, "nonzero_weights": nonzero}
        return {"name": name, "kind": "dense", **size, "formats": formats}
    return {"name": name, "kind": "relu", "formats": formats}


def _jets(facts: Facts) -> dict[str, int]:
    counts = np.bincount(facts.stuff.test.labels_B, minlength=len(facts.stuff.classes))
    return {name: int(count) for name, count in zip(facts.stuff.classes, counts, strict=True)}


def _agreement(facts: Facts) -> dict[str, Any]:
    return {
        "vectors": len(facts.cases.inputs_VI),
        **facts.cases.kinds,
        "mismatches": sum(row["mismatches"] for row in facts.proof.rows),
        "spaced_mismatches": facts.proof.measured.spaced_mismatches,
        "comparisons": facts.proof.rows,
    }


def _cycles(facts: Facts) -> dict[str, int]:
    return {
        "latency_cycles": facts.proof.measured.latency,
        "initiation_interval": facts.proof.measured.interval,
    }


def _timing(facts: Facts) -> dict[str, Any]:
    clock = facts.spec.settings.clock_ns
    nanoseconds = facts.proof.measured.latency * clock
    return {**_cycles(facts), "clock_ns_asked": clock, "latency_ns_at_clock_asked": nanoseconds, "note": TIMING_NOTE}


def _utilisation(resources: Resources) -> dict[str, float]:
    """Return the share of the part that the core takes, by resource."""
    used = {"lut": resources.lut, "ff": resources.ff, "dsp": resources.dsp, "bram": resources.bram}
    return {name: used[name] / there for name, there in resources.available.items() if there}


def made_by(facts: Facts) -> dict[str, dict[str, str]]:
    """Return which tool made what, with its version."""
    compiler = tools.first_line(["g++", "--version"])
    return {
        "torch": {"version": tools.package_version("torch"), "made": "the student, and its exact answers"},
        "hls4ml": {
            "version": tools.package_version("hls4ml"),
            "made": "the C++ HLS project from the quantised student",
        },
        "g++": {"version": compiler, "made": "the C simulation of the HLS project"},
        "alkaid": {"version": tools.package_version("alkaid"), "made": "the RTL, by replaying hls4ml's ModelGraph"},
        "verilator": {"version": tools.package_version("verilator"), "made": "the RTL simulation"},
        facts.resources.tool: {"version": facts.resources.version, "made": "the resource counts"},
    }


def contents(facts: Facts, build: Path, spec: Mapping[str, Any], sources: list[Path]) -> dict[str, bytes]:
    """Return the files of the IP core by name; equal inputs give equal bytes."""
    core, cases = facts.core, facts.cases
    files = {f"rtl/{path.name}": path.read_bytes() for path in core.files}
    files.update(ipcore.collect(build / "hls", "hls"))
    files["sim/testbench.v"] = rtlsim.testbench(core, len(cases.inputs_VI)).encode()
    files["sim/inputs.hex"] = _hex(to_words(cases.inputs_VI, core.source))
    files["sim/expected.hex"] = _hex(to_words(cases.answers_VC, core.result))
    made = made_by(facts)
    proof = agreement.certificate(
        comparisons=facts.proof.rows,
        inputs_VI=cases.inputs_VI,
        answers_VC=cases.answers_VC,
        kinds=cases.kinds,
        timing=_cycles(facts),
        files=files,
        tools={name: row["version"] for name, row in made.items()},
    )
    counted = facts.resources.as_dict()
    counted.pop("seconds")
    figures = {"auc": {**facts.areas, "jets": _jets(facts)}, "timing": _timing(facts), "resources": counted}
    origin = {
        "stage": "synthesize",
        "spec": dict(spec),
        "inputs": [{"name": path.name, "sha256": sha256(path)} for path in sources],
        "tools": provenance.tool_versions(),
        "commit": provenance.commit(),
    }
    files["certificate.json"] = ipcore.as_text(proof)
    files["reports/figures.json"] = ipcore.as_text(figures)
    files["reports/student.json"] = ipcore.as_text(student_card(facts))
    files["provenance.json"] = ipcore.as_text(origin)
    files["README.md"] = readme.text(core, student_card(facts), figures, proof["vectors"]).encode()
    facts_of_core = {**_cycles(facts), "clock_period_ns": facts.spec.settings.clock_ns}
    parameters = {name: str(value) for name, value in facts_of_core.items()}
    files["component.xml"] = ipcore.describe(core, files, CORE_VERSION, parameters)
    return files


def _hex(words: list[str]) -> bytes:
    return ("\n".join(words) + "\n").encode()


def summary(facts: Facts) -> str:
    """Return the result in one line."""
    found, timing = facts.resources, facts.proof.measured
    return (
        f"{facts.core.top}: AUC {facts.areas['rtl']:.4f} (tagger {facts.areas['teacher']:.4f}), "
        f"{len(facts.cases.inputs_VI)} vectors bit for bit, {found.lut} LUT, {found.ff} FF, {found.dsp} DSP, "
        f"{timing.latency} cycles, interval {timing.interval}"
    )
