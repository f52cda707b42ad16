"""How good a search is at equal evaluations: ours beside Optuna's TPE, quasi-random and random points, ten seeds.

function: a mixed space of ten dimensions, 200 evaluations.  tagger: short trainings of the jet network on generated
jets, 40 evaluations; larger is better in both. All start from the same point and look around for as many evaluations
before they learn. Optuna is installed into an environment of its own, under the cache folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from bench_models import CACHE, sample
from bench_scan import MIXED, OWN, worth
from bunchtrain.config.scan import Trials
from bunchtrain.errors import NonFiniteLoss
from bunchtrain.files import read_json
from bunchtrain.scan.space import Space
from bunchtrain.scan.suggest import suggest
from bunchtrain.train import run
from marks import Mark, conclude, table
from toys import train_spec

Worth = Callable[[Mapping[str, Any]], float]

OURS, TPE, EVEN, RANDOM = "bunchtrain", "Optuna TPE", "quasi-random", "random"
METHODS = {OURS: "bayesian", EVEN: "quasi_random", RANDOM: "random"}

#: What is varied of the tagger, and the point where all start.
TAGGER = {
    "model.hidden": {"low": 4, "high": 64, "log": True},
    "model.layers": {"low": 1, "high": 3},
    "model.neighbours": {"low": 2, "high": 12},
    "model.dropout": {"low": 0.0, "high": 0.5},
    "train.learning_rate": {"low": 1e-4, "high": 3e-2, "log": True},
    "train.batch_size": {"low": 32, "high": 512, "log": True},
    "train.weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
    "train.schedule": {"choices": ["cosine", "one_cycle", "constant"]},
}
START = {"model.hidden": 16, "model.layers": 1, "model.neighbours": 4, "model.dropout": 0.1}
START |= {"train.learning_rate": 1e-3, "train.batch_size": 256, "train.weight_decay": 1e-4, "train.schedule": "cosine"}


def peer_python() -> Path:
    """Return the interpreter of the peer's environment, made if need be."""
    place = CACHE / "peers" / "optuna"
    if not (place / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", "optuna==4.6.0"], check=True)
        (place / "ready").touch()
    return place / "bin/python"


def ours(name: str, seed: int, settings: Trials, own: dict[str, Any], value: Worth) -> list[float]:
    """Return the results of a search by one of our methods."""
    space, found = Space(settings.model_copy(update={"method": METHODS[name]}), own), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(settings.trials):
            values = suggest(space, number, found, 1000 * seed, folder)
            found.append((values, value(values)))
    return [result for _, result in found]


def tpe(seed: int, settings: Trials, own: dict[str, Any], value: Worth) -> list[float]:
    """Return the results of a search by Optuna."""
    space = settings.model_dump(mode="json")["space"]
    asked = {"seed": seed, "trials": settings.trials, "initial": settings.initial, "own": own, "space": space}
    command = [peer_python(), Path(__file__).with_name("scan_peer.py"), json.dumps(asked)]
    found: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as peer:
        assert peer.stdin and peer.stdout
        while len(found) < settings.trials:
            found.append(value(json.loads(peer.stdout.readline())))
            peer.stdin.write(f"{found[-1]!r}\n")
        peer.stdin.close()
    return found


def trained(dataset: Path, scaler: Path, jets: int, values: Mapping[str, Any]) -> float:
    """Return the AUC of a short training on validation jets; a loss that is not finite is worth nothing."""
    model = {"kind": "gnn", "head": 16, **{key[6:]: one for key, one in values.items() if key.startswith("model.")}}
    train = {key[6:]: one for key, one in values.items() if key.startswith("train.")}
    spec = train_spec(model, **{**train, "epochs": 1, "warmup_epochs": 0.2, "max_jets": jets})
    with tempfile.TemporaryDirectory() as name:
        try:
            with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
                run.train(spec, dataset, scaler, Path(name))
        except NonFiniteLoss:  # no better than chance
            return 0.5
        return float(read_json(Path(name) / "history.json")["rows"][-1]["validation_auc"])


def one(job: tuple[str, int], settings: Trials, own: dict[str, Any], value: Worth) -> list[float]:
    """Return the best result after every evaluation of a search."""
    torch.set_num_threads(1)
    name, seed = job
    found = tpe(seed, settings, own, value) if name == TPE else ours(name, seed, settings, own, value)
    return list(np.maximum.accumulate(found))


def compare(title: str, settings: Trials, own: dict[str, Any], value: Worth, seeds: int) -> list[Mark]:
    """Run all searches; print their best results and return the marks."""
    peer_python()
    names = [OURS, TPE, EVEN, RANDOM]
    jobs = [(name, seed) for seed in range(seeds) for name in names]
    with ProcessPoolExecutor(2) as pool:
        curves = dict(zip(jobs, pool.map(partial(one, settings=settings, own=own, value=value), jobs), strict=True))
    best = {name: np.array([curves[name, seed][-1] for seed in range(seeds)]) for name in names}
    half = {name: np.array([curves[name, seed][settings.trials // 2 - 1] for seed in range(seeds)]) for name in names}
    rows = []
    for name in names:
        error = best[name].std(ddof=1) / seeds**0.5
        p = "" if name == OURS else f"{stats.mannwhitneyu(best[OURS], best[name], alternative='greater').pvalue:.4f}"
        spread = f"{best[name].mean():.5f} ± {error:.5f}"
        rows.append([name, spread, f"{np.median(best[name]):.5f}", f"{half[name].mean():.5f}", p])
    header = [f"{title}: best of {settings.trials}, {seeds} seeds", "mean", "median", "mean at half", "p (ours better)"]
    table(header, rows)
    worse = stats.mannwhitneyu(best[OURS], best[TPE], alternative="less").pvalue
    better = stats.mannwhitneyu(best[OURS], best[RANDOM], alternative="greater").pvalue
    errors = np.hypot(*(best[name].std(ddof=1) / seeds**0.5 for name in (OURS, TPE)))
    ahead = float((best[OURS].mean() - best[TPE].mean()) / max(errors, 1e-12))
    return [
        Mark(f"{title}_mean_over_tpe_in_errors", ahead, -1.0),
        Mark(f"{title}_p_worse_than_tpe", float(worse), 0.05),
        Mark(f"{title}_p_better_than_random", float(better), 0.05, at_least=False),
    ]


def main() -> None:
    """Compare on the function, on the tagger, or on both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", default="all", choices=["all", "function", "tagger"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--jets", type=int, default=1500)
    given = parser.parse_args()
    marks: list[Mark] = []
    if given.part in ("all", "function"):
        trials = given.trials or 200
        settings = Trials.model_validate({"trials": trials, "initial": 10, "space": MIXED})
        marks += compare("function", settings, OWN, worth, given.seeds)
    if given.part in ("all", "tagger"):
        settings = Trials.model_validate({"trials": given.trials or 40, "initial": 8, "space": TAGGER})
        with tempfile.TemporaryDirectory() as name:
            dataset, scaler = sample(Path(name))
            value = partial(trained, dataset, scaler, given.jets)
            marks += compare("tagger", settings, START, value, given.seeds)
    conclude(marks)


if __name__ == "__main__":
    main()
