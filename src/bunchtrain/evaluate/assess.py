"""What a finished training is worth on the validation split: by this a scan chooses, so that no test jet is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bunchtrain import provenance
from bunchtrain.calibration import balanced, calibration
from bunchtrain.config import literals
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError
from bunchtrain.evaluate.answers import answer
from bunchtrain.events.hitdata import HitDataset
from bunchtrain.events.reader import Dataset
from bunchtrain.files import write_json
from bunchtrain.models import base as models
from bunchtrain.tasks import base as tasks

FIGURES = "figures.json"


def assess(spec: EvaluateSpec, dataset: Path, model: Path, out: Path, *, threads: int = 1) -> None:
    """Write `figures.json` into `out`: AUC, rejections and calibration errors of a single pass, without dropout.

    Parameters
    ----------
    spec : EvaluateSpec
        Of its settings the working points and the bins count.
    dataset : path
        The index that `prepare` wrote.
    model : path
        Folder of the trained network.
    out : path
        Folder of the figures.
    threads : int
        CPU threads.

    Raises
    ------
    InputError
        If the validation split has none of a class that the task tells apart, or the network does not fit.
    """
    torch.set_num_threads(threads)
    data = (HitDataset if literals.rows("tasks", spec.task["kind"]) == "events" else Dataset)(dataset)
    task = tasks.build(spec.task, data.classes)
    found = answer(spec, data, task, model, data.indices("validation"), passes=0, judged=False)
    labels, stated = found.labels, found.columns["single"]
    for number in (task.signal, task.background):
        if float(found.weights[labels == number].sum()) <= 0:
            problem = "the validation split holds none of a class that the task tells apart"
            mend = "convert more, or enlarge prepare.split.validation"
            raise InputError(problem, file=dataset, key=task.classes[number], found=0, mend=mend)
    weights = balanced(found.weights, labels, len(task.classes)) if task.balanced else found.weights
    scores = found.scores(found.columns["single_score"], task.signal, task.background)
    figures: dict[str, Any] = {
        "auc": scores.auc(),
        "working_points": [scores.rejection(point) for point in spec.settings.working_points],
        "calibration": calibration(stated, labels, weights, bins=spec.settings.bins, bootstrap=0, seed=spec.seed),
        "items": len(labels),
    }
    write_json(out / FIGURES, figures)
    inputs = [dataset, model / models.WEIGHTS, model / models.CARD]
    provenance.record([out / FIGURES], stage="assess", spec=spec.model_dump(mode="json"), inputs=inputs)
    print(f"[assess] AUC {figures['auc']:.4f}, ECE {figures['calibration']['ece']:.4f}", flush=True)
