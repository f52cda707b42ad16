"""Judge networks that learned one kind of jet: how far samples that they have not seen stand out, score by score.

M: jet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.anomalies import BACKGROUND, refuse_name
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.evaluate import anomalypanels
from bunchtrain.evaluate.batches import Batches
from bunchtrain.evaluate.scored import Jets, scores_of
from bunchtrain.events import finite
from bunchtrain.events.reader import Dataset
from bunchtrain.events.writer import in_memory
from bunchtrain.files import atomic, read_json, write_json
from bunchtrain.models import base as models
from bunchtrain.progress import track
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import LatentTask

Floats = NDArray[np.float64]

#: Trees of the isolation forest.
_TREES = 200

#: Name of the rival that sees what the network sees.
FOREST = "isolation forest"


def assess(
    spec: EvaluateSpec, dataset: Path, trainings: Sequence[Path], out: Path, unfamiliar: Mapping[str, Path]
) -> None:
    """Write `metrics.json` and `predictions.h5` into `out`; see `run.evaluate`.

    Raises
    ------
    InputError
        If there are no jets, nothing to be found, or a value is no number.
    CampaignError
        If a sample has the name of the background.
    TrainingError
        If a score is not finite, or the same for all jets.
    """
    if not unfamiliar:
        problem, mend = "there is nothing to be found", "name the indices of hidden samples with --unfamiliar"
        raise InputError(problem, key="--unfamiliar", mend=mend)
    for name in unfamiliar:
        refuse_name(name, key="--unfamiliar")
    data = Dataset(dataset)
    task = cast(LatentTask, tasks.build(spec.task, data.classes))
    samples = {"": data, **{name: Dataset(path) for name, path in unfamiliar.items()}}
    seeds, warnings = [], {folder.name: _warnings(folder) for folder in trainings}
    for number, folder in enumerate(trainings):
        judge = _Judge(spec, task, folder, data, spec.seed + number)
        seeds.append({name: judge.jets(one, "test") for name, one in samples.items()})
        _tell(folder, seeds[-1], spec)
    first, score = seeds[0], spec.task["score"]
    metrics = {
        **_about(task, data, first),
        "seeds": [_row(one, score) for one in seeds],
        "panels": [asdict(panel) for panel in anomalypanels.panels(spec, seeds, warnings)],
        "trust": [],
    }
    _write_predictions(out / "predictions.h5", first, score)
    write_json(out / "metrics.json", metrics)
    inputs = [dataset, *unfamiliar.values()]
    inputs += [folder / name for folder in trainings for name in (models.WEIGHTS, models.CARD, "history.json")]
    written, facts = [out / "metrics.json", out / "predictions.h5"], {"auc": metrics["seeds"][0]["auc"]}
    provenance.record(written, stage="evaluate", spec=spec.model_dump(mode="json"), inputs=inputs, facts=facts)


def _warnings(folder: Path) -> list[str]:
    """Return what a training said was wrong with it."""
    found = read_json(folder / "history.json")
    told = found.get("warnings", []) if isinstance(found, dict) else None
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        mend = "train again, or put back what the training wrote"
        raise InputError("a file is no history of a training", file=folder / "history.json", mend=mend)
    return told


class _Judge:
    """One network, and the simpler methods that learned what it learned."""

    def __init__(self, spec: EvaluateSpec, task: LatentTask, folder: Path, data: Dataset, seed: int) -> None:
        self._model, self._card = models.load_model(folder)
        if self._card["classes"] != data.classes:
            problem = "a network was trained for other classes"
            raise InputError(problem, file=folder, found=self._card["classes"], expected=data.classes)
        if self._card["task"]["kind"] != spec.task["kind"]:
            problem, mend = "a network was trained for another task", "name a training of this task, or train again"
            found, expected = self._card["task"]["kind"], spec.task["kind"]
            raise InputError(problem, file=folder, key="task", found=found, expected=expected, mend=mend)
        self._spec, self._task, self._folder = spec, task, folder
        self._forest = self._grown(data, seed)

    def jets(self, data: Dataset, split: str) -> Jets:
        """Return what is said of a sample's jets."""
        chosen = data.indices(split)
        weights, mass = finite.weights(data, chosen), finite.column(data, self._task.mass, chosen)
        rivals = {name: finite.column(data, name, chosen) for name in self._task.variables}
        scores, seen = self._said(data, chosen)
        for name, values in scores.items():
            self._check(name, values)
        rivals[FOREST] = -self._forest.score_samples(seen)
        return Jets(chosen, weights, mass, scores, rivals)

    def _said(self, data: Dataset, chosen: NDArray[np.int64]) -> tuple[dict[str, Floats], NDArray[Any]]:
        """Return the scores of some jets, and what the network sees of them as a list of numbers."""
        if not len(chosen):
            problem, mend = "there are no jets to learn from or to judge", "name the index of a sample that has some"
            raise InputError(problem, file=data.path, found=0, mend=mend)
        scores: dict[str, list[Floats]] = {}
        seen = []
        batches = Batches(data, cast(Any, self._task), self._card, chosen)
        for step in track(batches, len(batches), f"evaluate {self._folder.name}"):
            for part in step:
                finite.inputs(data, part.rows, part.inputs)
                with torch.no_grad():
                    found = self._task.scores(self._model(*part.inputs))
                    seen.append(cast(Any, self._model).listed(*part.inputs).numpy())
                for name, score_B in found.items():
                    scores.setdefault(name, []).append(score_B.double().numpy())
        return {name: np.concatenate(parts) for name, parts in scores.items()}, np.concatenate(seen)

    def _grown(self, data: Dataset, seed: int) -> Any:
        """Return an isolation forest (Liu, Ting and Zhou, doi:10.1109/ICDM.2008.17) on what the network learned from.

        It sees the network's inputs.
        """
        from sklearn.ensemble import IsolationForest

        _, seen = self._said(data, data.indices("train"))
        return IsolationForest(n_estimators=_TREES, random_state=seed % 2**32).fit(seen)

    def _check(self, name: str, values: Floats) -> None:
        """Refuse scores that are no numbers, and a main one that says the same of all jets."""
        if not np.isfinite(values).all():
            problem = "a network scores with NaN or infinity"
            raise TrainingError(problem, file=self._folder, key=name, mend="lower train.learning_rate and train again")
        if name == self._spec.task["score"] and len(values) > 1 and np.ptp(values) <= 1e-9 * np.abs(values).max():
            raise TrainingError(
                "the score is the same for all jets",
                file=self._folder,
                key=f"task.score: {name}",
                found=float(values[0]),
                mend="take another task.score, lower task.beta or set task.free_bits, and train again",
            )


def _row(jets: Mapping[str, Jets], score: str) -> dict[str, Any]:
    """Return the figures of one seed: areas by signal, of all scores and all simpler methods."""
    background = jets[""]
    names = [*background.scores, *background.rivals]
    areas = {
        signal: {name: scores_of(one, background, name).auc() for name in names}
        for signal, one in jets.items()
        if signal
    }
    return {"auc": {signal: found[score] for signal, found in areas.items()}, "areas": areas}


def _tell(folder: Path, jets: Mapping[str, Jets], spec: EvaluateSpec) -> None:
    areas = _row(jets, spec.task["score"])["auc"]
    told = ", ".join(f"{name} {area:.4f}" for name, area in areas.items())
    print(f"[evaluate] {folder.name}: AUC {told}", flush=True)


def _about(task: LatentTask, data: Dataset, jets: Mapping[str, Jets]) -> dict[str, Any]:
    """Return what is judged."""
    return {
        "answers": "latent",
        "rows": data.ROWS,
        "items": "jets",
        "classes": data.classes,
        "hidden": [name for name in jets if name],
        "told": {"loss": str(getattr(task, "loss_told", "loss"))},
        "jets": {name or BACKGROUND: len(one.index) for name, one in jets.items()},
    }


def _write_predictions(path: Path, jets: Mapping[str, Jets], score: str) -> None:
    """Write the scores of all jets, of the first network and of simpler methods, to make figures again without it.

    `sample` is a place in the attribute `samples`; 0 is the background.
    """
    with atomic(path) as temporary, in_memory(temporary) as file:
        file["sample"] = np.concatenate([np.full(len(one.index), k) for k, one in enumerate(jets.values())])
        for name, column in (("index", "index"), ("weight", "weights"), ("mass", "mass")):
            file[name] = np.concatenate([getattr(one, column) for one in jets.values()])
        for family in ("scores", "rivals"):
            for name in getattr(jets[""], family):
                values = np.concatenate([getattr(one, family)[name] for one in jets.values()])
                file[f"{family}/{name}"] = values.astype(np.float32)
        file.attrs["samples"] = [name or BACKGROUND for name in jets]
        file.attrs["score"] = score
