"""Judge the trained networks on the test split: accuracy, rejection, MC dropout, calibration.

N: jet, C: class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.discrimination import Scores, likelihood_ratio
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.evaluate import dropout
from bunchtrain.evaluate.calibration import balanced, calibration, usefulness
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.files import atomic, write_json
from bunchtrain.models import base as models
from bunchtrain.progress import track
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import TaskProtocol

#: Jets of one batch.
BATCH = 1024

Columns = dict[str, NDArray[np.float64]]


def evaluate(spec: EvaluateSpec, dataset: Path, trainings: list[Path], out: Path, *, threads: int = 1) -> None:
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
    threads : int
        CPU threads.
    """
    torch.set_num_threads(threads)
    data = Dataset(dataset)
    task = tasks.build(spec.task, data.classes)
    indices = data.indices("test")
    _require_positive(data, indices)
    labels = data.column("label", indices).astype(np.int64)
    weights = data.column("weight", indices).astype(np.float64)
    runs = []
    for number, folder in enumerate(trainings):
        columns = _predict(spec, data, task, folder, indices)
        _write_predictions(out / "predictions.h5", columns, indices, labels, data.classes) if number == 0 else None
        runs.append(_judge(spec, task, columns, labels, weights))
        print(
            f"[evaluate] {folder.name}: AUC {runs[-1]['auc']['value']:.4f}, ECE {runs[-1]['calibration']['ece']:.4f}",
            flush=True,
        )
    seeds = [{"auc": run["auc"]["value"], "accuracy": run["calibration"]["accuracy"]} for run in runs]
    mass = _mass_baseline(spec, data, task, indices, labels, weights)
    common = {"classes": data.classes, "signal": data.classes[task.signal], "background": data.classes[task.background]}
    counts = {name: int(np.sum(labels == label)) for label, name in enumerate(data.classes)}
    write_json(out / "metrics.json", {**common, "jets": counts, **runs[0], "mass": mass, "seeds": seeds})
    inputs = [dataset, *(folder / name for folder in trainings for name in (models.WEIGHTS, models.CARD))]
    facts = {"auc": runs[0]["auc"]["value"]}
    written = [out / "metrics.json", out / "predictions.h5"]
    provenance.record(written, stage="evaluate", spec=spec.model_dump(mode="json"), inputs=inputs, facts=facts)


def _require_positive(data: Dataset, indices: NDArray[np.int64]) -> None:
    """Refuse a test split in which the event weights of a class do not add up to a positive number."""
    sums = np.bincount(data.column("label", indices), data.column("weight", indices), len(data.classes))
    for name, total in zip(data.classes, sums, strict=True):
        if total <= 0:
            problem = "the event weights of a class in the test split do not add up to a positive number"
            raise InputError(problem, file=data.path, key=name, found=float(total), mend="convert more jets of it")


def _predict(
    spec: EvaluateSpec, data: Dataset, task: TaskProtocol, folder: Path, indices: NDArray[np.int64]
) -> Columns:
    """Return the single-pass and the MC-dropout answers of one network."""
    model, card = models.load_model(folder)
    if card["classes"] != data.classes:
        raise InputError(
            "a network was trained for other classes", file=folder, found=card["classes"], expected=data.classes
        )
    scaler = Scaler(**card["scaler"])
    scaler.require(data.inputs, data.path)
    parts: list[list[NDArray[np.float64]]] = []
    starts = range(0, len(indices), BATCH)
    for start in track(starts, len(starts), f"evaluate {folder.name}"):
        features = scaler(data.features(indices[start : start + BATCH], card["particles"]))
        inputs = (features.nodes_BPF, features.momenta_BP4, features.globals_BG, features.mask_BP)
        tensors = tuple(torch.from_numpy(values) for values in inputs)
        model.eval()
        with torch.no_grad():
            single = task.probabilities(model(*tensors)).double()
        dropout.switch_on(model)
        settings = {"passes": spec.settings.passes, "seed": spec.seed + start}
        posterior = dropout.predict(model, tensors, task.probabilities, task.discriminant, **settings)
        parts.append([tensor.numpy() for tensor in (single, task.discriminant(single), *posterior)])
    names = ("single", "single_score", "mean", "score", "spread", "entropy", "mutual_information")
    columns = {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise TrainingError("a network answers with NaN or infinity", file=folder, key=name, mend="train again")
    return columns


def _judge(
    spec: EvaluateSpec, task: TaskProtocol, columns: Columns, labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, Any]:
    settings = spec.settings
    right = columns["mean"].argmax(1) == labels
    equal = balanced(weights, labels, len(task.classes))
    options = {"bins": settings.bins, "bootstrap": settings.bootstrap, "seed": spec.seed}
    single = calibration(columns["single"], labels, weights, **options)
    uncertainties = ("spread", "entropy", "mutual_information")
    return {
        **_discrimination(_scores(task, columns["score"], labels, weights), settings.working_points),
        "single_pass": {"auc": _scores(task, columns["single_score"], labels, weights).auc(), "calibration": single},
        "calibration": calibration(columns["mean"], labels, weights, **options),
        "passes": settings.passes,
        "confusion": _confusion(columns["mean"].argmax(1), labels, weights, len(task.classes)),
        "uncertainty": {name: usefulness(columns[name], right, equal) for name in uncertainties},
        "spread": {"right": _quantiles(columns["spread"][right]), "wrong": _quantiles(columns["spread"][~right])},
    }


def _scores(task: TaskProtocol, score: NDArray[Any], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> Scores:
    signal, background = labels == task.signal, labels == task.background
    return Scores(score[signal], score[background], weights[signal], weights[background])


def _discrimination(scores: Scores, working_points: list[float]) -> dict[str, Any]:
    efficiencies, passing = scores.roc()
    return {
        "auc": {"value": scores.auc(), "error": scores.auc_error()},
        "roc": {"signal_efficiency": efficiencies.tolist(), "background_efficiency": passing.tolist()},
        "working_points": [scores.rejection(point) for point in working_points],
    }


def _mass_baseline(
    spec: EvaluateSpec,
    data: Dataset,
    task: TaskProtocol,
    indices: NDArray[np.int64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> dict[str, Any]:
    """Judge the jet mass alone: a cut from below, and the best window (likelihood ratio of the training split)."""
    mass, train = data.column("mass", indices), data.indices("train")
    train_labels = data.column("label", train)
    pair = train[(train_labels == task.signal) | (train_labels == task.background)]
    seen = (data.column("mass", pair), data.column("label", pair) == task.signal, data.column("weight", pair))
    found = {"cut": mass, "window": likelihood_ratio(*seen, mass)}
    points = spec.settings.working_points
    return {name: _discrimination(_scores(task, x, labels, weights), points) for name, x in found.items()}


def _confusion(
    answers: NDArray[np.int64], labels: NDArray[np.int64], weights: NDArray[np.float64], classes: int
) -> list[list[float]]:
    table = np.bincount(labels * classes + answers, weights, minlength=classes**2)
    return [[float(cell) for cell in row] for row in table.reshape(classes, classes)]


def _quantiles(values: NDArray[Any]) -> list[float]:
    """Return the 5, 25, 50, 75 and 95 % quantiles; empty without values."""
    return np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist() if len(values) else []


def _write_predictions(
    path: Path, columns: Columns, indices: NDArray[np.int64], labels: NDArray[np.int64], classes: list[str]
) -> None:
    """Write what was predicted for each test jet, so that figures can be made again without the network."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file["index"], file["label"] = indices, labels
        for name, values in columns.items():
            file[name] = values.astype(np.float32)
        file.attrs["classes"] = classes
