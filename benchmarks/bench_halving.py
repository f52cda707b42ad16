"""Successive halving on real short trainings: epochs spent and the best loss, with and without, at the same points.

Both ways train the same random points of a space with the same seeds, one after the other, so that whatever differs is
the halving's. Jets are those of the tests: quick, and easy enough that a bad point shows early.
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from bunchtrain.config.specs import ScanSpec
from bunchtrain.errors import NonFiniteLoss
from bunchtrain.files import read_json
from bunchtrain.scan import objective
from bunchtrain.scan.evaluation import Asked
from bunchtrain.scan.journal import Trial
from bunchtrain.scan.space import Space, Values
from bunchtrain.train.run import train
from marks import Mark, conclude, table
from toys import toy_dataset, train_spec

SEEDS, POINTS, EPOCHS, ETA = 4, 16, 9, 3

SPACE = {
    "train.learning_rate": {"low": 1e-5, "high": 3e-1, "log": True},
    "train.weight_decay": {"low": 1e-6, "high": 1.0, "log": True},
    "train.batch_size": {"choices": [32, 64, 128, 256]},
    "model.hidden": {"low": 2, "high": 16, "log": True},
    "model.neighbours": {"choices": [2, 4]},
}


def spec(seed: int, halving: float | None) -> ScanSpec:
    """Return a scan of these points."""
    settings = {"trials": POINTS, "epochs": EPOCHS, "halving": halving, "space": SPACE}
    return ScanSpec.model_validate({"version": 1, "settings": settings, "training": train_spec(seed=1000 * seed)})


def evaluated(asked: ScanSpec, points: list[Values], data: tuple[Path, Path], folder: Path) -> list[Trial]:
    """Train all points, each knowing those before."""
    trials: list[Trial] = []
    for number, values in enumerate(points):
        one = Asked(number, values, folder / str(number), trials)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                train(objective.training_spec(asked, one), *data, one.folder)
        except NonFiniteLoss:
            continue
        rows = read_json(one.folder / "history.json")["rows"]
        curve = [row["validation_loss"] for row in rows]
        trials.append(Trial(number, values, result=-min(curve), facts={"curve": curve}))
    return trials


def spent(trials: list[Trial]) -> int:
    """Return the epochs of all trainings."""
    return sum(len(trial.facts["curve"]) for trial in trials)


def best(trials: list[Trial]) -> float:
    """Return the best loss of the trainings that reached their last epoch."""
    return min((min(one.facts["curve"]) for one in trials if len(one.facts["curve"]) == EPOCHS), default=math.inf)


def main() -> None:
    """Print a row for every seed, and the marks."""
    rows, shares, ratios = [], [], []
    with tempfile.TemporaryDirectory() as name:
        data = toy_dataset(Path(name))
        for seed in range(1, SEEDS + 1):
            whole_spec, halved_spec = spec(seed, None), spec(seed, ETA)
            own = objective.Trainings(whole_spec, *data).own()
            points = Space(whole_spec.settings, own).drawn(np.random.default_rng(seed), POINTS)
            whole = evaluated(whole_spec, points, data, Path(name) / f"whole{seed}")
            halved = evaluated(halved_spec, points, data, Path(name) / f"halved{seed}")
            shares.append(spent(halved) / spent(whole))
            ratios.append(best(halved) / best(whole))
            figures = [f"{best(one):.4f}" for one in (whole, halved)]
            rows.append([seed, spent(whole), spent(halved), *figures, f"{ratios[-1]:.3f}"])
    header = ["seed", "epochs", "epochs, halving", "best loss", "best loss, halving", "ratio"]
    table(header, rows)
    conclude(
        [
            Mark("share of epochs that halving spends, median", median(shares), 0.5, at_least=False),
            Mark("ratio of best losses, median", median(ratios), 1.02, at_least=False),
        ]
    )


if __name__ == "__main__":
    main()
