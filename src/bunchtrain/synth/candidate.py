"""One of several students: what it knows and what it costs, by a real synthesis, but without a core and its proof."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bunchtrain import provenance
from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.errors import SynthesisError
from bunchtrain.events.reader import Dataset
from bunchtrain.files import exclusive, write_json
from bunchtrain.models.base import CARD, WEIGHTS
from bunchtrain.synth import circuit, material, pipeline, preflight, steps, teaching, verify
from bunchtrain.synth.reporting import described
from bunchtrain.synth.steps import Chosen, Stopwatch
from bunchtrain.synth.students.base import Student

FIGURES = "figures.json"


def measure(spec: SynthesizeSpec, dataset: Path, model: Path, out: Path, *, estimate: bool = False) -> None:
    """Train and synthesise one student, and write `figures.json` into `out`, with a provenance record beside it.

    With `estimate` its cost is estimated from its circuit, and nothing is synthesised; it is judged by the validation
    split, since this is how a search chooses. A student that cannot become a circuit is a result too, with the reason.

    Parameters
    ----------
    spec : SynthesizeSpec
    dataset : Path
        The index that `prepare` wrote.
    model : Path
        Folder of the trained tagger.
    out : Path
        Folder of this candidate; `out/build` is scratch.

    Raises
    ------
    MissingDependency
        If a tool is not installed.
    """
    sources = [dataset, model / WEIGHTS, model / CARD]
    chosen = steps.backend_of(spec)
    steps.require(spec, chosen)
    with exclusive(out / ".lock"):
        try:
            build = steps.emptied(out / "build")
            found = {"status": "done", **_figures(spec, None if estimate else chosen, dataset, model, build)}
        except SynthesisError as error:
            print(f"[candidate] {error.problem}", flush=True)
            found = {"status": "failed", "error": error.problem, "found": str(error.details.get("found", ""))}
        student = spec.settings.student.model_dump(mode="json")
        write_json(out / FIGURES, {"candidate": out.name, "student": {**student, "network": spec.network}, **found})
        provenance.record([out / FIGURES], stage="candidate", spec=spec.model_dump(mode="json"), inputs=sources)


def _figures(spec: SynthesizeSpec, chosen: Chosen | None, dataset: Path, model: Path, build: Path) -> dict[str, Any]:
    clock = Stopwatch()
    preflight.check_layers(teaching.untrained(spec, len(Dataset(dataset).classes)))
    with clock("training of the student"):
        stuff = material.gather(spec, dataset, model, judged_on="test" if chosen else "validation")
        student, twin = teaching.taught(spec, stuff)
        areas = teaching.judged(stuff, student, twin)
        answers_BA = verify.exact_logits(student, stuff.encoding.values(stuff.test.codes_BI))
        verify.require_answers(answers_BA[:, : len(stuff.classes)])
    made = _synthesised(spec, chosen, student, build, clock) if chosen else _estimated(spec, student, clock)
    print(f"[candidate] AUC {areas['quantised_student']:.4f}, {made['estimate']['lut']} LUT estimated", flush=True)
    return {
        "described": described(spec.network),
        "auc": areas,
        "sparsity": student.sparsity,
        **made,
        "seconds": clock.seconds,
    }


def _estimated(spec: SynthesizeSpec, student: Student, clock: Stopwatch) -> dict[str, Any]:
    """Return what a synthesis is expected to find, from the circuit alone."""
    with clock("estimate"):
        preflight.check_precision(student)
        expected = pipeline.estimate(circuit.traced(student), clock_ns=spec.settings.clock_ns)
    return {"stages": expected.cycles, "estimate": asdict(expected)}


def _synthesised(
    spec: SynthesizeSpec, chosen: Chosen, student: Student, build: Path, clock: Stopwatch
) -> dict[str, Any]:
    """Return what a synthesis finds, and what was expected of it."""
    with clock("C++ and RTL"):
        converted, core, design = steps.write(spec, student, chosen.hls_part, build, vhdl=False)
        expected = pipeline.estimate(converted.circuit, clock_ns=spec.settings.clock_ns)
    with clock("synthesis"):
        resources = chosen.module.synthesize(chosen.config, design, build / chosen.kind)
    return {"stages": core.stages, "resources": resources.as_dict(), "estimate": asdict(expected)}
