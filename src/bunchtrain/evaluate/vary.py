"""One variation of one source: what the trained network says of the jets as the variation has them.

It does not look at the nominal evaluation: that is compared with it afterwards, see `systematics`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.specs import VarySpec
from bunchtrain.config.systematics import paired
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.evaluate import closure, references
from bunchtrain.evaluate.answers import Answers, answer
from bunchtrain.events.reader import Dataset
from bunchtrain.events.variations.base import opened
from bunchtrain.events.writer import in_memory
from bunchtrain.files import atomic, write_json
from bunchtrain.models import base as models
from bunchtrain.posterior import PILOT
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import TaskProtocol

METRICS, PREDICTIONS = "metrics.json", "predictions.h5"

#: What is kept of each item.
_KEPT = ("score", "spread", "mean")

#: Jets whose constituents are counted at once.
_STEP = 8192


def vary(spec: VarySpec, dataset: Path, training: Path, out: Path, *, threads: int = 1) -> None:
    """Write `metrics.json` and `predictions.h5` of one variation into `out`.

    A variation that leaves nothing to judge has `problem` in its metrics, and no predictions: the other ones are worth
    looking at all the same.

    Parameters
    ----------
    spec : VarySpec
    dataset : path
        The index of the jets: the campaign's, or that of the variation's own samples.
    training : path
        Folder of the trained network.
    out : path
        Folder of the variation.
    threads : int
        CPU threads.

    Raises
    ------
    InputError
        If the network was trained for other jets, or the index lacks a column that the variation changes.
    """
    torch.set_num_threads(threads)
    data = opened(spec.kind, dataset, spec.seed)
    task = tasks.build(spec.task, data.classes)
    about: dict[str, Any] = {"source": spec.source, "variation": spec.variation, "kind": spec.kind}
    about |= {"paired": paired(spec.kind["kind"]), "problem": _nothing(data, task)}
    answers = None
    if about["problem"] is None:
        try:
            passes = _passes(spec, dataset, task, training)
            answers = answer(spec, data, task, training, data.indices("test"), passes=passes)
            about |= _judged(spec, task, answers)
        except TrainingError as error:
            about["problem"] = f"{error.problem}: {error.details.get('key')}"
    _write(out / PREDICTIONS, answers, None if answers is None else closure.events_of(data, answers.jets))
    write_json(out / METRICS, about)
    inputs = [dataset, training / models.WEIGHTS, training / models.CARD]
    written = [out / METRICS, out / PREDICTIONS]
    provenance.record(written, stage="vary", spec=spec.model_dump(mode="json"), inputs=inputs)
    told = about["problem"] or f"AUC {about['auc']['value']:.4f}"
    print(f"[vary] {spec.source} {spec.variation}: {told}", flush=True)


def _passes(spec: VarySpec, dataset: Path, task: TaskProtocol, training: Path) -> int:
    """Return how many passes it takes: as many as the nominal evaluation, so that the same jets get the same masks."""
    if spec.settings.passes != "auto":
        return spec.settings.passes
    if not paired(spec.kind["kind"]):
        return PILOT  # other jets, and no validation jets among them
    return int(references.settled(spec, Dataset(dataset), task, training).settings.passes)


def _nothing(data: Dataset, task: TaskProtocol) -> str | None:
    """Return why there is nothing to judge, if that is so."""
    rows = data.indices("test")
    labels, weights = data.column("label", rows), data.column("weight", rows).astype(np.float64)
    for number, name in enumerate(data.classes):
        if float(np.sum(weights[labels == number])) <= 0:
            return f"the weights of {name} do not add up to a positive number"
    if not any(data.counts(rows[start : start + _STEP]).any() for start in range(0, len(rows), _STEP)):
        return "no jet has a constituent left"
    return None


def _judged(spec: VarySpec, task: TaskProtocol, answers: Answers) -> dict[str, Any]:
    """Return area and rejections of the score.

    Raises
    ------
    TrainingError
        If one of the two classes is not among the items, which a variation may have taken away.
    """
    for number in (task.signal, task.background):
        if not (answers.labels == number).any():
            raise TrainingError("no item is left of a class", key=task.classes[number])
    scores = answers.scores(answers.columns["score"], task.signal, task.background)
    return {
        "auc": {"value": scores.auc(), "error": scores.auc_error()},
        "working_points": [scores.rejection(point) for point in spec.settings.working_points],
        "items": len(answers.labels),
    }


def _write(path: Path, answers: Answers | None, events: NDArray[np.uint64] | None) -> None:
    """Write what was said of each item; nothing where there is nothing to judge."""
    with atomic(path) as temporary, in_memory(temporary) as file:
        if answers is None:
            return
        file["index"], file["label"], file["weight"] = answers.jets, answers.labels, answers.weights
        file["event"] = events
        for name in _KEPT:
            file[name] = answers.columns[name].astype(np.float32)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of predictions, by name: `index`, `label`, `weight`, `score`, `spread`, and `event` if there.

    Raises
    ------
    InputError
        If they are not there.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            found = {name: file[name][:] for name in ("index", "label", "weight", "score", "spread")}
            return found | ({"event": file["event"][:]} if "event" in file else {})
    except (OSError, KeyError) as error:
        raise InputError(
            "predictions cannot be read", file=path, found=error, mend="run the evaluation again"
        ) from None
