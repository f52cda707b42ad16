"""From a trained tagger to an IP core: distil, quantise, write C++ and RTL, prove that they agree, synthesise, pack."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bunchtrain import provenance, registry
from bunchtrain.config.specs import SynthesizeSpec, best_values, with_values
from bunchtrain.errors import SynthesisError
from bunchtrain.events.reader import Dataset
from bunchtrain.files import exclusive, sha256, write_json
from bunchtrain.models.base import CARD, WEIGHTS, save_weights
from bunchtrain.synth import (
    agreement,
    certainty,
    distilled,
    independent,
    inputs,
    ipcore,
    material,
    netlist,
    preflight,
    reporting,
    rtl,
    rtlsim,
    steps,
    teaching,
    verify,
)
from bunchtrain.synth.backends.base import Design, Resources, part_for
from bunchtrain.synth.material import Material
from bunchtrain.synth.reporting import Facts
from bunchtrain.synth.routes import Converted
from bunchtrain.synth.steps import Chosen, Stopwatch
from bunchtrain.synth.students.base import Student
from bunchtrain.synth.verify import Proof

CORE = "core.zip"
REPORT = "report.json"
STUDENT = "student.safetensors"
STUDENT_CARD = "student.json"

#: Whose spreads are compared with the tagger's: C simulation and RTL answer as the second does.
_STUDENTS = ("float_student", "quantised_student")

Found = TypeVar("Found")


def synthesize(
    spec: SynthesizeSpec,
    dataset: Path,
    model: Path,
    out: Path,
    unfamiliar: Mapping[str, Path] | None = None,
    *,
    best: Path | None = None,
) -> None:
    """Write the IP core, the report and the student into `out`, with a provenance record beside each.

    Parameters
    ----------
    spec : SynthesizeSpec
    dataset : Path
        The index that `prepare` wrote.
    model : Path
        Folder of the trained tagger.
    out : Path
        Folder of this stage; `out/build` is scratch, kept for inspection and emptied by the next run. A second process
        in the same folder waits for the first.
    unfamiliar : mapping, optional
        Indices of samples that no network has learnt from, by name; their jets go through C++ and RTL too.
    best : Path, optional
        The scan's best configuration, which replaces keys of the student.

    Raises
    ------
    SynthesisError
        If the network cannot become a core, a tool fails, or two implementations disagree.
    MissingDependency
        If a tool is not installed; known before any work starts.
    """
    clock = Stopwatch()
    spec = spec if best is None else with_values(spec, best_values(best), best)
    chosen = steps.backend_of(spec)
    steps.require(spec, chosen)
    independent.require()
    preflight.check_layers(teaching.untrained(spec, len(Dataset(dataset).classes)))
    others = dict(unfamiliar or {})
    with clock("tagger's answers"):
        stuff = material.with_more(material.gather(spec, dataset, model), spec, dataset, model, others)
    sources = [dataset, model / WEIGHTS, model / CARD, *others.values(), *([best] if best else [])]
    with exclusive(out / ".lock"):
        _make(spec, stuff, chosen, out, clock, sources)


def _make(
    spec: SynthesizeSpec,
    stuff: Material,
    chosen: Chosen,
    out: Path,
    clock: Stopwatch,
    sources: list[Path],
) -> None:
    """Train the student, build and prove the core, write the outputs; `sources` are the files of provenance."""
    build = steps.emptied(out / "build")
    with clock("training of the student"):
        student, twin = teaching.taught(spec, stuff)
        areas = _judge(stuff, student, twin, spec.settings.auc_loss)
    with clock("C++ and RTL"):
        converted, core, design = steps.write(spec, student, chosen.hls_part, build, vhdl=True)
    result, at_least = converted.circuit.result, spec.settings.vectors
    cases = verify.make_vectors(
        student, stuff.encoding, stuff.test, result, spec.seed, at_least, unfamiliar=stuff.unfamiliar
    )

    def synthesized(stop: threading.Event) -> tuple[Resources, netlist.Outcome]:
        found = chosen.module.synthesize(chosen.config, design, build / chosen.kind, stop)
        return found, netlist.prove(core, found, (cases.inputs_VI, cases.answers_VC), build / "netlist", stop)

    with _beside(synthesized) as synthesis:
        proof = _prove(clock, build, stuff.encoding, cases, core, converted)
        with clock("rest of the synthesis"):
            resources, mapped = synthesis()
    print(f"[synthesize] netlist: {mapped.remark}", flush=True)
    proof.rows.extend(mapped.rows)
    with clock("certainty"):
        said = certainty.implementations(stuff, twin, student, cases, proof)
        certain = certainty.judged(stuff, student, said, spec.seed)
        posterior = distilled.judged(stuff, spec.settings.student.passes, {name: said[name] for name in _STUDENTS})
    areas |= {row["name"]: row["auc"] for row in certain["rows"]}
    vendor = _vendor_runs(chosen, design, build, clock)
    made = spec, stuff, student, converted, core, cases, proof
    facts = Facts(*made, areas, certain, posterior, resources, vendor, mapped.remark)
    _write(out, build, facts, clock, sources)
    print(f"[synthesize] {reporting.summary(facts)} ({clock.total():.0f} s)", flush=True)


@contextlib.contextmanager
def _beside(work: Callable[[threading.Event], Found]) -> Iterator[Callable[[], Found]]:
    """Run `work` in the background, which gets an event that is set to end it; what is yielded waits for its result."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, stop)
        try:
            yield future.result
        except BaseException:
            stop.set()
            raise


def _prove(
    clock: Stopwatch,
    build: Path,
    encoding: inputs.Encoding,
    cases: verify.Vectors,
    core: rtl.Core,
    converted: Converted,
) -> Proof:
    """Compare C simulation and RTL with the network on all vectors, RTL in other simulators and VHDL on a part."""
    with clock("C simulation"):
        simulation = converted.simulation(build / "hls", build / "csim", cases.answers_VC.shape[1])
        c_row, c_codes = verify.prove_c(simulation, encoding, cases)
    with clock("Verilator"):
        simulator = rtlsim.Simulator(core, build / "sim", len(cases.inputs_VI))
        simulator.build()
    with clock("RTL simulation"):
        rtl_row, measured = verify.prove_rtl(simulator, cases)
    third = agreement.compare(("c_simulation", "rtl"), c_codes, measured.codes_VC)
    with clock("Icarus and GHDL"):
        others = independent.prove(core, cases.inputs_VI, cases.answers_VC, measured.latency, build / "independent")
    return Proof([c_row, rtl_row, third, *others], c_codes, measured)


def _judge(stuff: Material, student: Student, twin: Student, limit: float) -> dict[str, float]:
    """Return the AUC of tagger, floating-point twin and quantised student; see `teaching.judged`.

    Raises
    ------
    SynthesisError
        If quantisation and pruning cost more than the campaign allows.
    """
    areas = teaching.judged(stuff, student, twin)
    before, after = areas["float_student"], areas["quantised_student"]
    if before - after > limit:
        raise SynthesisError(
            "quantisation and pruning cost too much AUC",
            key="synthesize.auc_loss",
            found=f"{before - after:.4f} ({before:.4f} in floating point, {after:.4f} quantised)",
            expected=f"at most {limit:g}",
            mend="raise synthesize.student.weight_bits, activation_bits or epochs, or lower sparsity",
        )
    return areas


def _vendor_runs(chosen: Chosen, design: Design, build: Path, clock: Stopwatch) -> list[dict[str, Any]]:
    """Synthesise with every vendor tool that is installed; a failure is reported and does not stop the campaign."""
    rows: list[dict[str, Any]] = []
    for kind in registry.kinds("synth.backends"):
        module: Any = registry.load("synth.backends", kind)
        if kind == chosen.kind or not module.VENDOR or module.locate() is None:
            continue
        with clock(f"synthesis by {kind}"):
            try:
                part = part_for(module, chosen.module, chosen.config.part)
                found = module.synthesize(module.Config(part=part), design, build / kind)
                rows.append({"backend": kind, "status": "done", "resources": found.as_dict()})
            except SynthesisError as error:
                print(f"[synthesize] {kind} failed: {error.problem}", flush=True)
                rows.append({"backend": kind, "status": "failed", "error": str(error)})
    return rows


def _write(out: Path, build: Path, facts: Facts, clock: Stopwatch, sources: list[Path]) -> None:
    """Write the stage's outputs and their provenance records."""
    spec = facts.spec.model_dump(mode="json")
    with clock("packing"):
        ipcore.pack(out / CORE, reporting.contents(facts, build, spec, sources), facts.core.top)
        save_weights(reporting.weights(facts.student), out / STUDENT)
        write_json(out / STUDENT_CARD, {**reporting.student_card(facts), "weights_sha256": sha256(out / STUDENT)})
    seconds = {**clock.seconds, "total": clock.total()}
    report = reporting.report(facts, seconds, zip_sha256=sha256(out / CORE))
    write_json(out / REPORT, report)
    written = [out / name for name in (CORE, REPORT, STUDENT, STUDENT_CARD)]
    told = {
        "mismatches": report["agreement"]["mismatches"],
        "vectors": report["agreement"]["vectors"],
        "seed": facts.spec.seed,
    }
    provenance.record(written, stage="synthesize", spec=spec, inputs=sources, facts=told)
