"""What the stage tells: report, card of the student, and the files of the IP core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from bunchtrain import provenance
from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.files import sha256
from bunchtrain.synth import (
    agreement,
    cosim,
    distilled,
    fusesoc,
    ghdl,
    ipcore,
    readme,
    routed,
    rtlsim,
    steps,
    streams,
    thresholds,
    tools,
)
from bunchtrain.synth.backends.base import Resources
from bunchtrain.synth.fixedpoint import Fixed, bits_needed
from bunchtrain.synth.material import Material
from bunchtrain.synth.quantize import Dense, Rounded, declared
from bunchtrain.synth.routes import Converted
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.students.base import Student
from bunchtrain.synth.thresholds import Cuts
from bunchtrain.synth.vectors import to_words
from bunchtrain.synth.verify import Proof, Vectors

#: Version of the core in its IP-XACT identity; raise it when ports or meaning change.
CORE_VERSION = "1.0"

TIMING_NOTE = (
    "Cycles are measured in the RTL simulation, from the clock edge that takes a vector to the edge at which its "
    "answer can be taken. Nanoseconds at the clock asked for are these cycles times its period, whether a device "
    "reaches it or not. Routed figures take the fastest clock that a place-and-route tool found; without such a tool "
    "there are none."
)


@dataclass(frozen=True)
class Facts:
    """Everything that was made and found."""

    spec: SynthesizeSpec
    stuff: Material
    student: Student
    converted: Converted
    core: Core
    cases: Vectors
    proof: Proof
    areas: dict[str, float]
    certainty: dict[str, Any]
    posterior: dict[str, Any] | None
    resources: Resources
    vendor: list[dict[str, Any]]
    netlist: str = ""


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
            "vlnv": _vlnv(facts.core),
        },
        "task": facts.spec.task,
        "classes": facts.stuff.classes,
        "student": student_card(facts),
        "route": facts.converted.route,
        "auc": {**areas, "jets": _jets(facts)},
        "certainty": facts.certainty,
        **({"posterior": facts.posterior} if facts.posterior else {}),
        "agreement": _agreement(facts),
        "timing": _timing(facts),
        "working_points": cuts(facts).rows(facts.spec.settings.working_points),
        "resources": facts.resources.as_dict(),
        "utilisation": _utilisation(facts.resources),
        "tools": made_by(facts),
        "vendor_tools": tools.vendor_tools(),
        "vendor_runs": facts.vendor,
        "seconds": dict(seconds),
    }


def student_card(facts: Facts) -> dict[str, Any]:
    """Return what the student is: kind, formats, sparsity, and the meaning of its inputs."""
    settings, student, circuit = facts.spec.settings.student, facts.student, facts.converted.circuit
    layers = layer_rows(student)
    dense = [row for row in layers if row["kind"] == "dense"]
    weights, nonzero = (sum(row[name] for row in dense) for name in ("weights", "nonzero_weights"))
    return {
        "network": facts.spec.network,
        "described": described(facts.spec.network),
        "constituents": settings.constituents,
        "weight_bits": settings.weight_bits,
        "weights_described": weights_described(student),
        "activation_bits": settings.activation_bits,
        "weights": weights,
        "nonzero_weights": nonzero,
        "multiplications": sum(row["multiplications"] for row in dense),
        "sparsity": 1 - nonzero / weights,
        "layers": layers,
        "classes": facts.stuff.classes,
        **_spread(facts),
        "input_format": circuit.source.hls,
        "output_format": circuit.result.hls,
        "inputs": facts.stuff.encoding.rows(),
        "encoding": facts.stuff.encoding.as_dict(),
    }


def _spread(facts: Facts) -> dict[str, Any]:
    """Return how the answer behind those of the classes is read; nothing where there is none."""
    scale, classes = facts.stuff.spread, facts.stuff.classes
    if scale is None:
        return {}
    return {"spread": distilled.card(scale, facts.spec.settings.student.passes, len(classes))}


def described(network: Mapping[str, Any]) -> str:
    """Return a kind of network and its sizes in words, e.g. `dense (hidden 24-16)`."""
    sizes = {name: "-".join(map(str, value)) if isinstance(value, list) else value for name, value in network.items()}
    kind = sizes.pop("kind")
    return f"{kind} ({', '.join(f'{name} {size}' for name, size in sizes.items())})" if sizes else str(kind)


def weights_described(student: Student) -> str:
    """Return the widths of a student's weights in words, e.g. `weights of at most 4 bits (2.9 on average)`.

    The average is that of the bits which the weights other than zero need each.
    """
    formats = [declared(layer.weight_format) for layer in student.dense.values()]
    weights = np.concatenate([layer.constants()[0].ravel() for layer in student.dense.values()])
    needed = [bits_needed(one) for one in weights if one]
    average = f" ({np.mean(needed):.1f} on average)" if needed else ""
    return f"weights of at most {max(form.width for form in formats)} bits{average}"


def layer_rows(student: Student) -> list[dict[str, Any]]:
    """Return a row for every layer that multiplies or rounds: its name, kind, sizes and formats."""
    products, rows = student.products(), []
    for name, layer in student.named_modules():
        if isinstance(layer, Dense):
            weight_OI, _ = layer.constants()
            outputs, inputs = weight_OI.shape
            sizes = {"inputs": inputs, "outputs": outputs, "weights": weight_OI.size}
            counts = {"nonzero_weights": int(np.count_nonzero(weight_OI)), "multiplications": products[name]}
            formats = {"weight": layer.weight_format, "bias": layer.bias_format}
            rows.append({"name": name, "kind": "dense", **sizes, **counts, "formats": _named(formats)})
        elif isinstance(layer, Rounded):
            kind = type(layer).__name__.lower()
            rows.append({"name": name, "kind": kind, "formats": _named({"result": layer.format})})
    return rows


def _named(formats: Mapping[str, Fixed | None]) -> dict[str, str]:
    return {name: declared(form).hls for name, form in formats.items()}


def weights(student: Student) -> dict[str, Tensor]:
    """Return weights and biases of all dense layers as they are built, by name."""
    found: dict[str, Tensor] = {}
    for name, layer in student.dense.items():
        weight_OI, bias_O = layer.parameters_used()
        found |= {f"{name}.weight": weight_OI.detach(), f"{name}.bias": bias_O.detach()}
    return found


def _jets(facts: Facts) -> dict[str, int]:
    counts = np.bincount(facts.stuff.test.labels_B, minlength=len(facts.stuff.classes))
    return {name: int(count) for name, count in zip(facts.stuff.classes, counts, strict=True)}


def _agreement(facts: Facts) -> dict[str, Any]:
    return {
        "vectors": len(facts.cases.inputs_VI),
        **facts.cases.kinds,
        "limits": dict(zip(("reached", "looked_for"), facts.cases.limits, strict=True)),
        "mismatches": sum(row["mismatches"] for row in facts.proof.rows),
        "spaced_mismatches": facts.proof.measured.spaced_mismatches,
        "comparisons": facts.proof.rows,
        "netlist": facts.netlist,
    }


def _cycles(facts: Facts) -> dict[str, int]:
    return {
        "latency_cycles": facts.proof.measured.latency,
        "initiation_interval": facts.proof.measured.interval,
    }


def _timing(facts: Facts) -> dict[str, Any]:
    clock = facts.spec.settings.clock_ns
    nanoseconds = facts.proof.measured.latency * clock
    asked = {"clock_ns_asked": clock, "latency_ns_at_clock_asked": nanoseconds}
    measured = facts.proof.measured
    reached = routed.timing(facts.resources.as_dict(), measured.latency, measured.interval)
    return {**_cycles(facts), **asked, **reached, "note": TIMING_NOTE}


def cuts(facts: Facts) -> Cuts:
    """Return the thresholds of the RTL's answers to the test jets."""
    codes_BC = facts.proof.measured.codes_VC[: facts.cases.jets]
    return Cuts(facts.stuff.task, facts.stuff.test, codes_BC)


def _utilisation(resources: Resources) -> dict[str, float]:
    """Return the share of the part that the core takes, by resource."""
    used = {"lut": resources.lut, "ff": resources.ff, "dsp": resources.dsp, "bram": resources.bram}
    return {name: used[name] / there for name, there in resources.available.items() if there}


#: What alkaid makes on either route.
_BY_ALKAID = {
    "hls4ml": "the RTL, by replaying hls4ml's ModelGraph",
    "alkaid": "the C++ HLS project and the RTL, from the network's own operations: hls4ml cannot parse them",
}


#: What the synthesis gives, by whether it places and routes.
_SYNTHESISED = {False: "the resource counts", True: "the resource counts, and the clock after place and route"}


def made_by(facts: Facts) -> dict[str, dict[str, str]]:
    """Return which tool made what, with its version."""
    route = facts.converted.route
    compiler = tools.first_line(["g++", "--version"])
    torch = {"torch": {"version": tools.package_version("torch"), "made": "the student, and its exact answers"}}
    made = {"version": tools.package_version("hls4ml"), "made": "the C++ HLS project from the quantised student"}
    return {
        **torch,
        **({"hls4ml": made} if route == "hls4ml" else {}),
        "g++": {"version": compiler, "made": "the C simulation of the HLS project"},
        "alkaid": {"version": tools.package_version("alkaid"), "made": _BY_ALKAID[route]},
        "verilator": {"version": tools.package_version("verilator"), "made": "the RTL simulation"},
        "iverilog": {"version": tools.first_line(["iverilog", "-V"]), "made": "a second RTL simulation"},
        "cocotb": {"version": tools.package_version("cocotb"), "made": "the tests of the second RTL simulation"},
        "ghdl": {"version": tools.first_line(["ghdl", "--version"]), "made": "the VHDL simulation"},
        facts.resources.tool: {
            "version": facts.resources.version,
            "made": _SYNTHESISED[facts.resources.clock_mhz_routed is not None],
        },
    }


def contents(facts: Facts, build: Path, spec: Mapping[str, Any], sources: list[Path]) -> dict[str, bytes]:
    """Return the files of the IP core by name; equal inputs give equal bytes."""
    core, cases = facts.core, facts.cases
    files = {f"rtl/{path.name}": path.read_bytes() for path in core.files}
    files.update({f"vhdl/{path.name}": path.read_bytes() for path in core.vhdl})
    files.update(ipcore.collect(build / "hls", "hls"))
    files["model/student.safetensors"] = save(weights(facts.student))
    files.update(fusesoc.constraints(core.top, facts.spec.settings.clock_ns))
    files["sim/testbench.v"] = rtlsim.testbench(core, len(cases.inputs_VI)).encode()
    files["sim/testbench.vhd"] = ghdl.testbench(core).encode()
    files["sim/test_core.py"] = cosim.SOURCE.read_bytes()
    files["sim/core.json"] = cosim.about(core, facts.proof.measured.latency)
    files["sim/inputs.hex"] = _hex(to_words(cases.inputs_VI, core.source))
    files["sim/expected.hex"] = _hex(to_words(cases.answers_VC, core.result))
    files.update({f"syn/{facts.resources.backend}/{name}": path.read_bytes() for name, path in _made(facts)})
    if facts.converted.route == "hls4ml":
        part = streams.chosen(len(cases.inputs_VI))
        inputs_VI, answers_VC = cases.inputs_VI[part], cases.answers_VC[part]
        files["hls/tb_data/tb_input_features.dat"] = _decimals(facts.stuff.encoding.values(inputs_VI))
        files["hls/tb_data/tb_output_predictions.dat"] = _decimals(answers_VC * cases.result.step)
    found, card = cuts(facts), student_card(facts)
    figures = _figures(facts, found)
    origin = {
        "stage": "synthesize",
        "spec": dict(spec),
        "inputs": [{"name": path.name, "sha256": sha256(path)} for path in sources],
        "made_from": provenance.ancestry(sources),
        "tools": provenance.tool_versions(),
        "commit": provenance.commit(),
    }
    files[f"{core.top}.core"] = fusesoc.core_file(_vlnv(core), core.top, files, steps.backend_of(facts.spec).hls_part)
    files["reports/figures.json"] = ipcore.as_text(figures)
    files["reports/student.json"] = ipcore.as_text(card)
    files["reports/thresholds.csv"] = found.table()
    files["provenance.json"] = ipcore.as_text(origin)
    cutting = thresholds.markdown(figures["working_points"], facts.stuff.task)
    about = readme.text(core, card, figures, cases.kinds, facts.converted.route, cutting)
    files["README.md"] = about.encode()
    facts_of_core = {**_cycles(facts), "clock_period_ns": facts.spec.settings.clock_ns}
    parameters = {name: str(value) for name, value in facts_of_core.items()}
    files["component.xml"] = ipcore.describe(core, files, CORE_VERSION, parameters)
    return {**files, "certificate.json": ipcore.as_text(_certificate(facts, files))}


def _figures(facts: Facts, found: Cuts) -> dict[str, Any]:
    """Return the figures that the core brings; seconds stay out, they differ from run to run."""
    counted = facts.resources.as_dict()
    counted.pop("seconds")
    return {
        "auc": {**facts.areas, "jets": _jets(facts)},
        "certainty": facts.certainty,
        "timing": _timing(facts),
        "resources": counted,
        "working_points": found.rows(facts.spec.settings.working_points),
    }


def _certificate(facts: Facts, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the certificate, which is about all other files of the core."""
    core, cases = facts.core, facts.cases
    return agreement.certificate(
        comparisons=facts.proof.rows,
        inputs_VI=cases.inputs_VI,
        answers_VC=cases.answers_VC,
        kinds=cases.kinds,
        timing=_cycles(facts),
        files=files,
        core={
            "top": core.top,
            "inputs": core.source.size,
            "outputs": core.result.size,
            "stages": core.stages,
            "route": facts.converted.route,
        },
        tools={name: row["version"] for name, row in made_by(facts).items()},
    )


def _decimals(values_VN: NDArray[Any]) -> bytes:
    """Return rows of numbers as the test bench of an hls4ml project reads them; every one is exact."""
    return "".join(" ".join(map(repr, row)) + "\n" for row in values_VN.tolist()).encode()


def _made(facts: Facts) -> list[tuple[str, Path]]:
    """Return the files of the synthesis by name; those of tools that ran beside it stay out of the core.

    A core would otherwise depend on what else is installed where it was made.
    """
    return sorted(facts.resources.files.items())


def _vlnv(core: Core) -> str:
    return f"{ipcore.VENDOR}:{ipcore.LIBRARY}:{core.top}:{CORE_VERSION}"


def _hex(words: list[str]) -> bytes:
    return ("\n".join(words) + "\n").encode()


def summary(facts: Facts) -> str:
    """Return the result in one line."""
    found, timing = facts.resources, facts.proof.measured
    return (
        f"{facts.core.top}: AUC {facts.areas['rtl']:.4f} (tagger {facts.areas['teacher']:.4f}), "
        f"{len(facts.cases.inputs_VI)} vectors bit for bit, {found.lut} LUT, {found.ff} FF, {found.dsp} DSP, "
        f"{timing.latency} cycles, interval {timing.interval}"
        + (f", {clock:.0f} MHz routed" if (clock := found.clock_mhz_routed) else "")
    )
