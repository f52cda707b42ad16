"""Judge surrogates on the test split: draws against the truth, the declared physics, the spread.

M: row, A: parameter, Q: quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config import literals
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.evaluate import fieldpanels, responsepanels, showerpanels
from bunchtrain.events.responses import ResponseDataset, opened
from bunchtrain.events.writer import in_memory
from bunchtrain.files import atomic, write_json
from bunchtrain.models import base as models
from bunchtrain.sampling import Surrogate
from bunchtrain.tasks import base as tasks

Floats = NDArray[np.float64]

#: What some tasks show beside what all do: panels, and figures of each network.
_OWN = {"calorimeter": showerpanels.panels, "field": fieldpanels.panels}


@dataclass(frozen=True)
class Drawn:
    """What one network says of the rows of the test split.

    Attributes
    ----------
    name : str
        Of the training.
    surrogate : Surrogate
    quantities_MQ : float64 [M, Q]
        One draw.
    """

    name: str
    surrogate: Surrogate
    quantities_MQ: Floats


@dataclass(frozen=True)
class Truth:
    """The rows of the test split.

    Attributes
    ----------
    index : int64 [M]
    weights_M, totals_M : float64 [M]
        Event weights; what quantities are shares of, 1 where there is no such column.
    parameters_MA, features_MU : float64 [M, A], [M, U]
        As they are, and of order 1.
    quantities_MQ : float64 [M, Q]
    """

    index: NDArray[np.int64]
    weights_M: Floats
    totals_M: Floats
    parameters_MA: Floats
    features_MU: Floats
    quantities_MQ: Floats


def assess(
    spec: EvaluateSpec, dataset: Path, trainings: Sequence[Path], out: Path, *, baseline: Path | None = None
) -> None:
    """Write `metrics.json` and `predictions.h5` into `out`; see `run.evaluate`.

    Raises
    ------
    InputError
        If there are no rows, or a network was trained for others.
    TrainingError
        If an answer is not finite.
    """
    data = opened(literals.rows("tasks", spec.task["kind"]), dataset)
    task: Any = tasks.build(spec.task, data.classes)
    surrogates = [_checked(folder, spec, data) for folder in trainings]
    truth = _truth(surrogates[0], data)
    drawn = [_drawn(one, truth, spec.seed + number) for number, one in enumerate(surrogates)]
    loose = [] if baseline is None else [_drawn(_checked(baseline, spec, data), truth, spec.seed)]
    panels = responsepanels.panels(spec, truth, drawn, loose)
    seeds: list[dict[str, float]] = [{} for _ in drawn]
    if spec.task["kind"] in _OWN:
        more, seeds = _OWN[spec.task["kind"]](spec, task, data, truth, drawn, loose)
        panels = [*more, *panels]
    for one, figures in zip(drawn, seeds, strict=True):
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"[evaluate] {one.name}: {told}", flush=True)
    metrics = {**_about(task, data, truth), "seeds": seeds, "panels": [asdict(one) for one in panels], "trust": []}
    _write_predictions(out / "predictions.h5", truth, drawn[0], data)
    write_json(out / "metrics.json", metrics)
    networks = [*trainings, *([baseline] if baseline else [])]
    inputs = [dataset, *(folder / name for folder in networks for name in (models.WEIGHTS, models.CARD))]
    written, facts = [out / "metrics.json", out / "predictions.h5"], seeds[0]
    provenance.record(written, stage="evaluate", spec=spec.model_dump(mode="json"), inputs=inputs, facts=facts)


def _checked(folder: Path, spec: EvaluateSpec, data: ResponseDataset) -> Surrogate:
    """Return a surrogate of the rows at hand."""
    found = Surrogate(folder)
    found.scaler.require(data.parameters, data.path)
    for key, has, expected in (
        ("task", found.card["task"]["kind"], spec.task["kind"]),
        ("quantities", found.quantities, data.quantities),
    ):
        if has != expected:
            problem, mend = f"a network was trained for another {key}", "train again with what prepare wrote last"
            raise InputError(problem, file=folder, key=key, found=has, expected=expected, mend=mend)
    return found


def _truth(surrogate: Surrogate, data: ResponseDataset) -> Truth:
    chosen = data.indices("test")
    weights = data.column("weight", chosen).astype(np.float64)
    if not len(chosen) or weights.sum() <= 0:
        problem, mend = f"there are no {data.ROWS} to judge by", "convert more, or change prepare.split"
        raise InputError(problem, file=data.path, key="test", found=float(weights.sum()), mend=mend)
    given = data.given(chosen)
    total = surrogate.total
    totals = np.ones(len(chosen)) if total is None else data.column(total, chosen).astype(np.float64)
    features = surrogate.scaler(given).astype(np.float64)
    return Truth(chosen, weights, totals, given, features, data.known(chosen))


def _drawn(surrogate: Surrogate, truth: Truth, seed: int) -> Drawn:
    found = surrogate.draw(truth.parameters_MA, truth.totals_M, seed=seed)
    if not np.isfinite(found).all():
        problem, mend = "a network answers with NaN or infinity", "lower train.learning_rate and train again"
        raise TrainingError(problem, file=surrogate.folder, mend=mend)
    return Drawn(surrogate.folder.name, surrogate, found)


def _about(task: Any, data: ResponseDataset, truth: Truth) -> dict[str, Any]:
    """Return what is judged."""
    return {
        "answers": "response",
        "rows": data.ROWS,
        "items": data.ROWS,
        "classes": data.classes,
        "hidden": [],
        "told": {"loss": str(task.loss_told)},
        "jets": {name: int((data.column("label", truth.index) == k).sum()) for k, name in enumerate(data.classes)},
    }


def _write_predictions(path: Path, truth: Truth, drawn: Drawn, data: ResponseDataset) -> None:
    """Write true and drawn quantities, to make figures again without the network."""
    with atomic(path) as temporary, in_memory(temporary) as file:
        file["index"], file["weight"], file["total"] = truth.index, truth.weights_M, truth.totals_M
        file["true"], file["drawn"] = (one.astype(np.float32) for one in (truth.quantities_MQ, drawn.quantities_MQ))
        file.attrs["quantities"] = data.quantities
