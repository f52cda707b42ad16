"""Probe a training on a few ranks, fit the model of its steps, predict and recommend."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunchtrain import provenance
from bunchtrain.config.specs import TrainSpec
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.reader import Dataset
from bunchtrain.files import exclusive, sha256, write_json
from bunchtrain.scaling.advice import Training, predict, recommend
from bunchtrain.scaling.fit import Point, StepModel
from bunchtrain.scaling.probe import PARTS, Runner, Setting, settings_of
from bunchtrain.scaling.request import Request

RESULT = "scaling.json"


@dataclass(frozen=True)
class Probed:
    """The repeats of one probe together: medians and errors of the parts of a step, in seconds."""

    setting: Setting
    seconds: dict[str, float]
    errors: dict[str, float]
    validation: float
    start: float
    alone: bool  # each thread had a core

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return sum(self.seconds.values())


def scaling(spec: TrainSpec, dataset: Path, scaler: Path, out: Path, request: Request) -> dict[str, Any]:
    """Probe, fit and predict; write `scaling.json` into `out` and return what it holds.

    Parameters
    ----------
    spec : TrainSpec
        The training, with the scan's values where there was a scan.
    dataset, scaler : path
        What `prepare` wrote.
    out : path
        Folder; probes in it are not run twice.
    request : Request
        What is asked for.

    Raises
    ------
    CampaignError
        If nothing can be probed with what is asked for.
    TrainingError
        If a probe fails.
    """
    data = Dataset(dataset)
    jets, validation = (len(data.indices(name)) for name in ("train", "validation"))
    if validation == 0:
        raise InputError("a split has no jets", file=dataset, key="validation", mend="change prepare.split")
    settings = _checked(request, jets)
    runner = Runner(
        spec, dataset, scaler, jets, validation, request.launcher, request.threads, request.steps, sha256(dataset)
    )
    with exclusive(out / ".lock"):
        probes = run_probes(runner, settings, out / "probes", request)
        training = _training(spec, request, jets, validation, probes)
        result = _result(probes, training, request)
        write_json(out / RESULT, result)
        spec_values = {"training": spec.model_dump(mode="json"), "launcher": request.launcher}
        provenance.record([out / RESULT], stage="scaling", spec=spec_values, inputs=[dataset, scaler])
    return result


def _checked(request: Request, jets: int) -> list[Setting]:
    if too_large := [batch for batch in request.batches if batch > jets]:
        raise CampaignError(
            "a step has more jets than the training split",
            key="--batch-sizes",
            found=too_large[0],
            expected=f"at most {jets}",
        )
    settings = settings_of(request.ranks, request.batches)
    used = [setting for setting in settings if setting.ranks * request.threads <= request.cores]
    if not used:
        raise CampaignError(
            "no probe has a core for each of its threads: their times would say nothing",
            key="--ranks",
            found=f"{', '.join(map(str, request.ranks))}, with {request.threads} thread(s) and {request.cores} core(s)",
            expected="ranks x threads of at most the cores, batch sizes of at least the ranks",
        )
    return settings


def run_probes(runner: Runner, settings: Sequence[Setting], folder: Path, request: Request) -> list[Probed]:
    """Run all probes in `folder`, one repeat of all after the other: the machine's drift then hits all alike.

    Raises
    ------
    TrainingError
        If one fails.
    """
    found: dict[Setting, list[dict[str, Any]]] = {setting: [] for setting in settings}
    total = len(settings) * request.repeats
    for repeat in range(request.repeats):
        for setting in settings:
            row = runner.run(setting, folder / f"{setting}-{repeat}")
            found[setting].append(row)
            number = sum(map(len, found.values()))
            step = sum(statistics.median(row[part]) for part in PARTS)
            print(
                f"[scaling] probe {number}/{total}: {setting.ranks} rank(s), {setting.batch} jets a step, "
                f"{setting.batch / step:.0f} jets/s",
                flush=True,
            )
    return [_together(s, rows, s.ranks * runner.threads <= request.cores) for s, rows in found.items()]


def _together(setting: Setting, rows: Sequence[dict[str, Any]], alone: bool) -> Probed:
    medians = {part: [statistics.median(row[part]) for row in rows] for part in PARTS}
    errors = {}
    for part in PARTS:
        values = np.concatenate([row[part] for row in rows])
        scatter = 1.4826 * float(np.median(np.abs(values - np.median(values)))) / np.sqrt(len(values))
        drift = float(np.std(medians[part], ddof=1)) / np.sqrt(len(rows)) if len(rows) > 1 else 0.0
        errors[part] = float(np.hypot(scatter, drift))
    seconds = {part: statistics.median(values) for part, values in medians.items()}
    start, validation = (statistics.median(row[name] for row in rows) for name in ("start", "validation"))
    return Probed(setting, seconds, errors, validation, start, alone)


def _training(spec: TrainSpec, request: Request, jets: int, validation: int, probes: Sequence[Probed]) -> Training:
    settings = spec.settings
    trained = min(jets, settings.max_jets or jets)
    steps = -(-trained // settings.batch_size)
    share = [min(1.0, 1024 * probe.setting.ranks / validation) * validation / probe.setting.ranks for probe in probes]
    return Training(
        batch=settings.batch_size,
        jets=trained,
        validation=round(validation * settings.validate_fraction),
        epochs=settings.epochs,
        steps=min(steps, settings.steps_per_epoch or steps),
        threads=request.threads,
        per_node=request.per_node,
        start=max(probe.start for probe in probes if probe.alone),
        validating=statistics.median(p.validation / n for p, n in zip(probes, share, strict=True) if p.alone),
    )


def model_of(probes: Sequence[Probed], per_node: int) -> StepModel:
    """Return the model of a step that fits these probes."""
    points = [point_of(probe.setting, per_node) for probe in probes]
    parts = {part: ([p.seconds[part] for p in probes], [p.errors[part] for p in probes]) for part in PARTS}
    return StepModel(points, parts)


def point_of(setting: Setting, per_node: int) -> Point:
    """Return where the model sees a probe; `per_node` ranks fill a node."""
    return Point(setting.ranks, min(setting.ranks, per_node), setting.jets)


def _result(probes: Sequence[Probed], training: Training, request: Request) -> dict[str, Any]:
    used = [probe for probe in probes if probe.alone]
    model = model_of(used, request.per_node)
    most = min(request.most if "communication" in model.parts else 1, training.batch)
    predictions = [predict(model, training, ranks) for ranks in range(1, most + 1)]
    advice = recommend(predictions, request.deadline, request.budget)
    largest = max(probe.setting.ranks for probe in used)
    shown = {2**k for k in range(most.bit_length())} | {most} | {advice.ranks or 1}
    return {
        "launcher": request.launcher,
        "threads": request.threads,
        "ranks_per_node": request.per_node,
        "batch": training.batch,
        "epochs": training.epochs,
        "largest_measured": largest,
        "probes": [_probe_row(probe, model, request.per_node) for probe in probes],
        "left_out_in_turn": _left_out(used, request.per_node),
        "terms": {part: fitted.coefficients() for part, fitted in model.parts.items()},
        "undetermined": {part: fitted.undetermined() for part, fitted in model.parts.items()},
        "start_seconds": training.start,
        "predictions": [
            {
                **one.as_dict(),
                "parts": {part: at.value for part, at in model.breakdown(training.point(one.ranks)).items()},
                "beyond_probes": one.ranks / largest,
            }
            for one in predictions
            if one.ranks in shown
        ],
        "advice": advice._asdict(),
        "asked": {"deadline_hours": request.deadline, "budget_core_hours": request.budget, "most_ranks": most},
    }


def _probe_row(probe: Probed, model: StepModel, per_node: int) -> dict[str, Any]:
    predicted = None
    if probe.setting.ranks == 1 or "communication" in model.parts:
        predicted = model(point_of(probe.setting, per_node))._asdict()
    return {
        **probe.setting._asdict(),
        "seconds": probe.seconds,
        "errors": probe.errors,
        "step": probe.step,
        "jets_per_second": probe.setting.batch / probe.step,
        "predicted_step": predicted,
        "used": probe.alone,
    }


def _left_out(probes: Sequence[Probed], per_node: int) -> dict[str, float] | None:
    """Return how well each probe is predicted from the others: relative errors, or None where others say too little."""
    misses = []
    for left in probes:
        rest = [probe for probe in probes if probe is not left]
        if not rest or (left.setting.ranks > 1 and all(probe.setting.ranks == 1 for probe in rest)):
            continue
        predicted = model_of(rest, per_node)(point_of(left.setting, per_node)).value
        misses.append(abs(predicted / left.step - 1))
    return {"median": statistics.median(misses), "worst": max(misses)} if misses else None
