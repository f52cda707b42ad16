"""Judge the trained networks on the test split: accuracy, rejection, MC dropout, calibration, figures of merit.

M: item, that is what the task tells apart: a jet, a constituent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.calibration import balanced, calibration, usefulness
from bunchtrain.config import literals
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.discrimination import likelihood_ratio
from bunchtrain.errors import InputError
from bunchtrain.evaluate import anomalies, closure, references, responses, trust
from bunchtrain.evaluate.answers import Answers, answer
from bunchtrain.evaluate.byclass import by_class
from bunchtrain.evaluate.clustered import Resampled, errors
from bunchtrain.events.hitdata import HitDataset
from bunchtrain.events.reader import Dataset, Index
from bunchtrain.events.writer import in_memory
from bunchtrain.files import atomic, write_json
from bunchtrain.models import base as models
from bunchtrain.panels import warned
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import TaskProtocol

Floats = NDArray[np.float64]


def evaluate(
    spec: EvaluateSpec,
    dataset: Path,
    trainings: list[Path],
    out: Path,
    *,
    baseline: Path | None = None,
    unfamiliar: Mapping[str, Path] | None = None,
    threads: int = 1,
) -> None:
    """Write `metrics.json` and `predictions.h5` into `out`.

    Parameters
    ----------
    spec : EvaluateSpec
    dataset : path
        The index that `prepare` wrote.
    trainings : list of path
        Folders of trained networks, one per seed; figures are the first one's, `seeds` holds all.
    out : path
        Folder of this stage.
    baseline : path, optional
        Folder of another network, which is judged beside them.
    unfamiliar : mapping, optional
        Indices of samples that no class of the training holds, by name: whether the networks notice.
    threads : int
        CPU threads.
    """
    torch.set_num_threads(threads)
    if literals.answers("tasks", spec.task["kind"]) == "latent":
        anomalies.assess(spec, dataset, trainings, out, unfamiliar or {})
        return
    if literals.answers("tasks", spec.task["kind"]) == "response":
        responses.assess(spec, dataset, trainings, out, baseline=baseline)
        return
    data = _opened(spec, dataset)
    task = tasks.build(spec.task, data.classes)
    indices = data.indices("test")
    _require_positive(data, indices)
    spec = references.settled(spec, data, task, trainings[0])
    jury = references.Jury.of(spec, data, task, trainings)
    found = jury.answers(data, "test", judged=True)
    judged = [_judge(spec, task, answers, dataset) for answers in found]
    panels = [[asdict(panel) for panel in answers.merit.panels()] for answers in found]
    seeds = [_row(*one) for one in zip(judged, panels, strict=True)]
    for folder, one in zip(trainings, judged, strict=True):
        figures = f"AUC {one['auc']['value']:.4f}, ECE {one['calibration']['ece']:.4f}"
        print(f"[evaluate] {folder.name}: {figures}", flush=True)
    of_tasks = warned([folder.name for folder in trainings], panels)
    first = references.together(found)
    rivals = ({} if baseline is None else _rival(spec, data, baseline, first)) | _rivals(data, task, first)
    classes = [asdict(panel) for panel in by_class(task, first, rivals, spec.settings.working_points)]
    shown = {"panels": classes + of_tasks, "trust": _trust(jury, data, first, judged[0], unfamiliar or {})}
    metrics = {**_about(spec, data, task, indices), **judged[0], **shown}
    # The large one first: where the disk is full, the figures of before stand beside their predictions.
    events = closure.events_of(data, first.jets) if _whole_jets(task, data) else None
    _write_predictions(out / "predictions.h5", first, task.classes, events)
    baselines = _baselines(spec, task, first, rivals)
    write_json(out / "metrics.json", {**metrics, "baselines": baselines, "seeds": seeds})
    networks = [*trainings, *([baseline] if baseline else [])]
    inputs = [dataset, *(unfamiliar or {}).values()]
    inputs += [folder / name for folder in networks for name in (models.WEIGHTS, models.CARD)]
    written, facts = [out / "metrics.json", out / "predictions.h5"], {"auc": seeds[0]["auc"]}
    provenance.record(written, stage="evaluate", spec=spec.model_dump(mode="json"), inputs=inputs, facts=facts)


def _row(judged: Mapping[str, Any], panels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one seed."""
    row = {"auc": judged["auc"]["value"], "accuracy": judged["calibration"]["accuracy"]}
    return row | {name: value for panel in panels for name, value in panel["figures"].items()}


def _trust(
    jury: references.Jury, data: Index, first: Answers, judged: Mapping[str, Any], unfamiliar: Mapping[str, Path]
) -> list[dict[str, Any]]:
    """Return the panels on how far answers for whole jets can be trusted."""
    if not _whole_jets(jury.task, data):
        return []
    validation = references.together(jury.answers(data, "validation"))
    strange = {name: _strange(jury, path) for name, path in unfamiliar.items()}
    ways = references.ways(jury.task, validation, int(jury.spec.settings.passes), len(jury.trainings))
    found = trust.panels(jury.spec, data, jury.task, ways, validation, first, strange)
    pairs = closure.close(jury, data, first, judged["working_points"])
    return [asdict(panel) for panel in (*found, pairs) if panel is not None]


def _strange(jury: references.Jury, path: Path) -> Answers:
    """Return the answers for a sample of no class."""
    found = references.together(jury.answers(Dataset(path), "test"))
    total = float(found.weights.sum())
    if total <= 0:
        problem = "the event weights of an unfamiliar sample do not add up to a positive number"
        raise InputError(problem, file=path, found=total, mend="convert more of it")
    return found


def _whole_jets(task: TaskProtocol, data: Index) -> bool:
    return task.level == "graph" and isinstance(data, Dataset)


def _opened(spec: EvaluateSpec, dataset: Path) -> Index:
    return (HitDataset if literals.rows("tasks", spec.task["kind"]) == "events" else Dataset)(dataset)


def _about(spec: EvaluateSpec, data: Index, task: TaskProtocol, indices: NDArray[np.int64]) -> dict[str, Any]:
    """Return what is judged: classes, those quoted, and how many rows of each class of rows."""
    labels = data.column("label", indices)
    return {
        "rows": data.ROWS,
        "items": literals.items(spec.task["kind"]),
        "classes": task.classes,
        "signal": task.classes[task.signal],
        "background": task.classes[task.background],
        "told": tasks.told(task),
        "jets": {name: int(np.sum(labels == label)) for label, name in enumerate(data.classes)},
    }


def _require_positive(data: Index, indices: NDArray[np.int64]) -> None:
    """Refuse a test split in which the event weights of a class do not add up to a positive number."""
    sums = np.bincount(data.column("label", indices), data.column("weight", indices), len(data.classes))
    for name, total in zip(data.classes, sums, strict=True):
        if total <= 0:
            problem = "the event weights of a class in the test split do not add up to a positive number"
            raise InputError(
                problem, file=data.path, key=name, found=float(total), mend=f"convert more {data.ROWS} of it"
            )


def _judge(spec: EvaluateSpec, task: TaskProtocol, answers: Answers, dataset: Path) -> dict[str, Any]:
    settings, columns, labels = spec.settings, answers.columns, answers.labels
    for number in (task.signal, task.background):
        if not (labels == number).any():
            problem, name = "the test split holds none of a class that the task tells apart", task.classes[number]
            raise InputError(problem, file=dataset, key=name, found=0, mend="convert more, or look at the truth")
    answer_M = columns["mean"].argmax(1)
    right = answer_M == labels
    # A network trained with equal classes states probabilities for such; each item's weight is then divided by that of
    # its class.
    weights = balanced(answers.weights, labels, len(task.classes)) if task.balanced else answers.weights
    options: dict[str, Any] = {"bins": settings.bins, "bootstrap": settings.bootstrap, "seed": spec.seed}
    if task.level != "graph":
        options["often"] = Resampled(answers.jets, settings.bootstrap, spec.seed)
    single = calibration(columns["single"], labels, weights, **options)
    alone = answers.scores(columns["single_score"], task.signal, task.background)
    uncertainties = ("spread", "entropy", "mutual_information")
    return {
        **_discrimination(spec, task, columns["score"], answers),
        "single_pass": {"auc": alone.auc(), "calibration": single},
        "calibration": calibration(columns["mean"], labels, weights, **options),
        "passes": settings.passes,
        "confusion": _confusion(answer_M, labels, answers.weights, len(task.classes)),
        "uncertainty": {name: usefulness(columns[name], right, weights) for name in uncertainties},
        "spread": {"right": _quantiles(columns["spread"][right]), "wrong": _quantiles(columns["spread"][~right])},
    }


def _discrimination(spec: EvaluateSpec, task: TaskProtocol, score_M: NDArray[Any], answers: Answers) -> dict[str, Any]:
    """Return area, curve and rejections of a score; where a jet has several items, with the errors of whole jets."""
    scores, points = answers.scores(score_M, task.signal, task.background), spec.settings.working_points
    efficiencies, passing = scores.roc()
    area: dict[str, float | None] = {"value": scores.auc(), "error": scores.auc_error()}
    rows = [scores.rejection(point) for point in points]
    if task.level != "graph":
        area["error"], found = errors(answers, score_M, task.signal, task.background, points, spec.seed)
        for row, error in zip(rows, found, strict=True):
            row["error"] = error if row["error"] is not None else None
    return {
        "auc": area,
        "roc": {
            "signal_efficiency": efficiencies.tolist(),
            "background_efficiency": passing.tolist(),
            "fewest": scores.fewest,
        },
        "working_points": rows,
    }


def _rival(spec: EvaluateSpec, data: Index, folder: Path, answers: Answers) -> dict[str, NDArray[Any]]:
    """Return what another network, with a task of its own, says of the same jets, by its name.

    Raises
    ------
    InputError
        If it tells something else apart.
    """
    card = models.load_card(folder)
    section = card["task"]
    same = section["kind"] == spec.task["kind"]
    asked = {key: spec.task[key] for key in literals.judged(section["kind"]) if same and key in spec.task}
    its = tasks.build({**section, **asked}, data.classes)
    said = answer(spec, data, its, folder, data.indices("test"), passes=int(spec.settings.passes))
    if not np.array_equal(said.jets, answers.jets):
        kind = "a network for the same jets, and no more than these"
        raise InputError("a baseline tells something else apart", file=folder, found=section["kind"], expected=kind)
    return {f"{card['model']['kind']} network": said.columns["score"]}


def _rivals(data: Index, task: TaskProtocol, answers: Answers) -> dict[str, NDArray[Any]]:
    """Return what simpler methods say of the same items, by name: those of the task, and each of its variables."""
    found: dict[str, NDArray[Any]] = {name: score_M.numpy() for name, score_M in answers.merit.rivals().items()}
    for name in task.variables:
        window, cut = _variable(data, task, name, answers.jets)
        found |= {f"best {name} window": window, f"cut on {name}": cut}
    return found


def _baselines(
    spec: EvaluateSpec, task: TaskProtocol, answers: Answers, rivals: dict[str, NDArray[Any]]
) -> list[dict[str, Any]]:
    return [{"name": name, **_discrimination(spec, task, x, answers)} for name, x in rivals.items()]


def _variable(data: Index, task: TaskProtocol, name: str, jets: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the scores [M] of one column of jets: in the best window (likelihood ratio of the training split), cut."""
    train = data.indices("train")
    labels = data.column("label", train)
    pair = train[(labels == task.signal) | (labels == task.background)]
    seen = (data.column(name, pair), data.column("label", pair) == task.signal, data.column("weight", pair))
    values = data.column(name, jets)
    return likelihood_ratio(*seen, values), values


def _confusion(
    answers: NDArray[np.int64], labels: NDArray[np.int64], weights: Floats, classes: int
) -> list[list[float]]:
    table = np.bincount(labels * classes + answers, weights, minlength=classes**2)
    return [[float(cell) for cell in row] for row in table.reshape(classes, classes)]


def _quantiles(values: NDArray[Any]) -> list[float]:
    """Return the 5, 25, 50, 75 and 95 % quantiles; empty without values."""
    return np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist() if len(values) else []


def _write_predictions(path: Path, answers: Answers, classes: list[str], events: NDArray[np.uint64] | None) -> None:
    """Write what was predicted for each item, so that figures can be made again without the network."""
    with atomic(path) as temporary, in_memory(temporary) as file:
        file["index"], file["label"], file["weight"] = answers.jets, answers.labels, answers.weights
        if events is not None:
            file["event"] = events
        for name, values in answers.columns.items():
            file[name] = values.astype(np.float32)
        file.attrs["classes"] = classes
