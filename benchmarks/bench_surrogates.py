"""Surrogates of the calorimeter: how like true showers drawn ones are, by head; conservation; speed beside simulation.

Mean energies of layers are compared on BUNCHTRAIN_BENCH_FRESH (60 000) showers more, which no training has seen: in the
last layers there is so little that the test split says them to 2 % at best.
Sizes by BUNCHTRAIN_BENCH_SHOWERS (100 000) and BUNCHTRAIN_BENCH_EPOCHS (36); with BUNCHTRAIN_BENCH_FOLDER what has been
made there is not made again. All heads learn from the same showers, for as many epochs. Everything runs on one core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uproot
import yaml
from numpy.typing import NDArray

from bunchtrain.config.specs import SimulateSpec
from bunchtrain.dag import Plan
from bunchtrain.events.responses import opened
from bunchtrain.files import read_json
from bunchtrain.sampling import Surrogate
from bunchtrain.simulate import run as simulation
from marks import Mark, conclude, table

CAMPAIGN = Path(__file__).parents[1] / "config/campaigns/calorimeter.yaml"
SHOWERS = int(os.environ.get("BUNCHTRAIN_BENCH_SHOWERS", "100000"))
FRESH = int(os.environ.get("BUNCHTRAIN_BENCH_FRESH", "60000"))
EPOCHS = int(os.environ.get("BUNCHTRAIN_BENCH_EPOCHS", "36"))

#: The flow as the campaign has it, others with their defaults: these learn all cells at once.
HEADS = ("flow", "flow_matching", "cvae", "regression")

#: Where a file of showers has what a surrogate starts from: place in `par`, and the way to its unit.
_PAR = {"x": (1, 10), "y": (2, 10), "theta": (3, 1), "phi": (4, 1), "dead_material": (5, 1), "is_photon": (6, 1)}
_PAR |= {"vertex": (8, 1)}


def campaign(head: str) -> dict[str, Any]:
    """Return the campaign with a head."""
    values: dict[str, Any] = yaml.safe_load(CAMPAIGN.read_text())
    values["samples"]["showers"]["generate"] |= {"showers_per_shard": SHOWERS // 10}
    values["model"] = {**(values["model"] if head == "flow" else {}), "kind": head}
    values["train"] |= {"epochs": EPOCHS, "ranks": 1}
    return values


def bunchtrain(folder: Path, log: str, *words: str) -> None:
    """Run a verb."""
    with (folder / f"{log}.log").open("a") as stream:
        command = [sys.executable, "-m", "bunchtrain", *words]
        subprocess.run(command, cwd=folder, stdout=stream, stderr=stream, check=True)


def prepared(folder: Path) -> Path:
    """Simulate, convert and prepare the showers, unless that was done; return the index."""
    index = folder / "results/calorimeter/prepare/dataset.h5"
    if not index.exists():
        (folder / "campaign.yaml").write_text(yaml.safe_dump(campaign("flow")))
        bunchtrain(
            folder, "prepare", "campaign", "run", "campaign.yaml", "--cores", "2", "--", str(index.relative_to(folder))
        )
    return index


def judged(folder: Path, head: str, index: Path) -> dict[str, Any]:
    """Train a head and judge it, unless that was done; return its figures."""
    plan = Plan(campaign(head), "campaign.yaml")
    out = folder / head
    (out / "train").mkdir(parents=True, exist_ok=True)
    scaler = index.with_name("scaler.json")
    asked = ["--spec", plan.spec("train", number="0"), "--dataset", str(index), "--scaler", str(scaler)]
    bunchtrain(folder, head, "train", *asked, "--out", str(out / "train"))
    if not (out / "evaluate/metrics.json").exists():
        (out / "evaluate").mkdir(exist_ok=True)
        asked = ["--spec", plan.spec("evaluate"), "--dataset", str(index), "--out", str(out / "evaluate")]
        bunchtrain(folder, head, "evaluate", *asked, "--", str(out / "train"))
    return dict(read_json(out / "evaluate/metrics.json"))


def figure(metrics: dict[str, Any], start: str) -> float:
    """Return the first figure of any panel whose name begins so."""
    found = (value for panel in metrics["panels"] for name, value in panel["figures"].items() if name.startswith(start))
    return float(next(found))


def speeds(folder: Path, index: Path) -> dict[str, float]:
    """Return showers in a second of CPU time on one core: simulated, and drawn by each head."""
    torch.set_num_threads(1)
    spec = SimulateSpec.model_validate_json(Plan(campaign("flow"), "").spec("simulate", sample="showers", shard="0000"))
    few = spec.model_copy(update={"jets": 1000, "shard": 99})
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        simulation.simulate(few, Path(temporary) / "few.root")
    found = {"simulation": few.jets / (time.process_time() - begun)}
    data = opened("showers", index)
    rows = data.indices("test")[:2000]
    for head in HEADS:
        surrogate = Surrogate(folder / head / "train")
        begun = time.process_time()
        surrogate.draw(data.given(rows), data.column("energy", rows).astype(np.float64))
        found[head] = len(rows) / (time.process_time() - begun)
    return found


def fresh(folder: Path) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Return parameters and energies [showers, 506] of showers that no training has seen; made once."""
    spec = SimulateSpec.model_validate_json(Plan(campaign("flow"), "").spec("simulate", sample="showers", shard="0000"))
    parts = []
    for shard in range(100, 100 + -(-FRESH // 10000)):
        path = folder / f"fresh-{shard}.root"
        if not path.exists():
            simulation.simulate(spec.model_copy(update={"jets": min(FRESH, 10000), "shard": shard}), path)
        with uproot.open(path) as file:
            parts.append(file["showers"].arrays(["par", "deposits", "lost"], library="np"))
    par, deposits, lost = (np.concatenate([np.stack(one[key]) for one in parts]) for key in ("par", "deposits", "lost"))
    given = {name: par[:, place].astype(float) * unit for name, (place, unit) in _PAR.items()}
    given["energy"] = np.exp(par[:, 0].astype(float))
    return given, np.concatenate([deposits.reshape(len(par), -1), lost], 1).astype(float)


def worst(folder: Path, head: str) -> tuple[float, float]:
    """Return by how many per cent the mean energy of a layer is off, of the worst one, and its error."""
    given, true = fresh(folder)
    surrogate = Surrogate(folder / head / "train")
    drawn = surrogate.draw(np.stack([given[name] for name in surrogate.parameters], 1), seed=1)
    layers = [one[:, :504].reshape(-1, 14, 36).sum(2) for one in (drawn, true)]
    mean, apart = layers[1].mean(0), layers[0] - layers[1]
    off, error = 100 * np.abs(apart.mean(0)) / mean, 100 * apart.std(0) / np.sqrt(len(apart)) / mean
    return float(off.max()), float(error[off.argmax()])


def main() -> None:
    kept = os.environ.get("BUNCHTRAIN_BENCH_FOLDER")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(kept or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        index = prepared(folder)
        metrics = {head: judged(folder, head, index) for head in HEADS}
        fast = speeds(folder, index)
        layers = {head: worst(folder, head) for head in HEADS}
        weights = {
            head: sum(p.numel() for p in Surrogate(folder / head / "train").model.parameters()) for head in HEADS
        }
    rows = [
        [
            head,
            f"{figure(one, 'two-sample AUC, read out'):.3f}",
            f"{figure(one, 'two-sample AUC, deposits'):.3f}",
            "{:.1f} ± {:.1f}".format(*layers[head]),
            f"{figure(one, 'missed total'):.1e}",
            f"{100 * figure(one, 'coverage'):.1f}",
            f"{weights[head]:,}",
            f"{fast[head]:,.0f}",
            f"{fast[head] / fast['simulation']:.1f}",
        ]
        for head, one in metrics.items()
    ]
    print(f"{SHOWERS} showers, {EPOCHS} epochs; the simulation makes {fast['simulation']:,.0f} showers in a CPU second")
    header = ["head", "AUC, read out", "AUC, deposits", "worst layer, % off", "missed total", "in 68 %", "weights"]
    table([*header, "showers / CPU s", "over the simulation"], rows)
    print("No comparison with Geant4 was made: the truth is the embedded parametrised simulation.")
    best = min(metrics, key=lambda head: figure(metrics[head], "two-sample AUC, read out"))
    conclude(
        [
            Mark("two_sample_auc_of_the_best", figure(metrics[best], "two-sample AUC, read out"), 0.6, at_least=False),
            Mark("worst_layer_energy_of_the_best_%", layers[best][0], 2, at_least=False),
            Mark("missed_total", max(figure(one, "missed total") for one in metrics.values()), 1e-6, at_least=False),
            Mark("speed_over_the_simulation_of_the_best", fast[best] / fast["simulation"], 1),
        ]
    )


if __name__ == "__main__":
    main()
