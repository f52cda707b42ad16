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
from bunchtrain.synth import ipcore, material, pipeline, preflight, rtl, teaching
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.reporting import described
from bunchtrain.synth.routes import convert
from bunchtrain.synth.run import Stopwatch, backend_of, emptied, hls_part, require

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
    backend, _ = backend_of(spec)
    require(backend, spec.backend["kind"])
    with exclusive(out / ".lock"):
        try:
            found = {"status": "done", **_figures(spec, dataset, model, emptied(out / "build"))}
        except SynthesisError as error:
            print(f"[candidate] {error.problem}", flush=True)
            found = {"status": "failed", "error": error.problem, "found": str(error.details.get("found", ""))}
        student = spec.settings.student.model_dump(mode="json")
        write_json(out / FIGURES, {"candidate": out.name, "student": {**student, "network": spec.network}, **found})
        provenance.record([out / FIGURES], stage="candidate", spec=spec.model_dump(mode="json"), inputs=sources)


def _figures(spec: SynthesizeSpec, dataset: Path, model: Path, build: Path) -> dict[str, Any]:
    clock, (backend, config) = Stopwatch(), backend_of(spec)
    preflight.check_layers(teaching.untrained(spec, len(Dataset(dataset).classes)))
    with clock("training of the student"):
        stuff = material.gather(spec, dataset, model)
        student, twin = teaching.taught(spec, stuff)
        areas = teaching.judged(stuff, student, twin)
    preflight.check_precision(student)
    clock_ns, top = spec.settings.clock_ns, ipcore.module_name(spec.name)
    with clock("C++ and RTL"):
        part = hls_part(backend, config.part)
        converted = convert(student, spec.network, build / "hls", part=part, clock_ns=clock_ns)
        core = rtl.write(converted.circuit, build / "rtl", top=top, clock_ns=clock_ns, part=part)
        expected = pipeline.estimate(converted.circuit, clock_ns=clock_ns)
    with clock("synthesis"):
        design = Design(core.top, core.files, build / "hls", converted.top, clock_ns)
        resources = backend.synthesize(config, design, build / spec.backend["kind"])
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
