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
from bunchtrain.synth import material, pipeline, preflight, steps, teaching
from bunchtrain.synth.reporting import described
from bunchtrain.synth.steps import Chosen, Stopwatch

FIGURES = "figures.json"


def measure(spec: SynthesizeSpec, dataset: Path, model: Path, out: Path) -> None:
    """Train and synthesise one student, and write `figures.json` into `out`, with a provenance record beside it.

    A student that cannot become a circuit is a result too: its figures say why.

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
            found = {"status": "done", **_figures(spec, chosen, dataset, model, steps.emptied(out / "build"))}
        except SynthesisError as error:
            print(f"[candidate] {error.problem}", flush=True)
            found = {"status": "failed", "error": error.problem, "found": str(error.details.get("found", ""))}
        student = spec.settings.student.model_dump(mode="json")
        write_json(out / FIGURES, {"candidate": out.name, "student": {**student, "network": spec.network}, **found})
        provenance.record([out / FIGURES], stage="candidate", spec=spec.model_dump(mode="json"), inputs=sources)


def _figures(spec: SynthesizeSpec, chosen: Chosen, dataset: Path, model: Path, build: Path) -> dict[str, Any]:
    clock = Stopwatch()
    preflight.check_layers(teaching.untrained(spec, len(Dataset(dataset).classes)))
    with clock("training of the student"):
        stuff = material.gather(spec, dataset, model)
        student, twin = teaching.taught(spec, stuff)
        areas = teaching.judged(stuff, student, twin)
    with clock("C++ and RTL"):
        converted, core, design = steps.write(spec, student, chosen.hls_part, build, vhdl=False)
        expected = pipeline.estimate(converted.circuit, clock_ns=spec.settings.clock_ns)
    with clock("synthesis"):
        resources = chosen.module.synthesize(chosen.config, design, build / chosen.kind)
    print(
        f"[candidate] AUC {areas['quantised_student']:.4f}, {resources.lut} LUT ({expected.lut} estimated)", flush=True
    )
    return {
        "described": described(spec.network),
        "auc": areas,
        "sparsity": student.sparsity,
        "stages": core.stages,
        "resources": resources.as_dict(),
        "estimate": asdict(expected),
        "seconds": clock.seconds,
    }
