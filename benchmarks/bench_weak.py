"""Weak supervision: how it nears full supervision as the share of signal grows, and that it finds none where none is.

Pairs of jets, made and converted once as config/campaigns/anomaly-weak.yaml does. Every experiment takes rows of its
own out of them, and goes through the project's own stages prepare and train.

With no signal: each pseudo-experiment has background rows that no other has. In two halves, each judged by a network
that learned from the other, as many rows pass a cut as are `KEPT`; whether more of them lie in the window than chance
puts there is asked with Fisher's exact test, which holds whatever the score, as long as it does not follow the mass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from scipy import stats

from bunchtrain.config.specs import EvaluateSpec, PrepareSpec, TrainSpec
from bunchtrain.config.yamlfile import read_yaml
from bunchtrain.discrimination import Scores
from bunchtrain.evaluate.answers import answer
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Events
from bunchtrain.events.reader import Dataset
from bunchtrain.events.writer import write_events
from bunchtrain.files import write_text
from bunchtrain.prepare.run import prepare
from bunchtrain.tasks import base as tasks
from bunchtrain.train.run import train
from marks import Mark, conclude, table

ROOT = Path(__file__).parents[1]
CAMPAIGN = read_yaml(ROOT / "config/campaigns/anomaly-weak.yaml")
CLASSES = ["background", "signal"]
COLUMNS = CAMPAIGN["prepare"]["variables"]
KEPT_COLUMNS = ("pt", "eta", "phi", "mass", "weight", "run_number", "event_number", "dijet_mass", *COLUMNS)

#: Shares of signal among the rows in the window of a training, and seeds of each.
SHARES, SEEDS = (0.01, 0.03, 0.1, 0.3), 3
#: Background rows of a training, and rows of background and signal that judge it.
TRAINED, JUDGED, JUDGED_SIGNAL = 40_000, 12_000, 1000
PSEUDO, KEPT, LEVEL = 20, 0.1, 0.1

REGIONS = {key: CAMPAIGN["task"][key] for key in ("column", "window", "range")}
FULL = {"kind": "jet_tagging", "signal": "signal", "background": "background", "variables": []}
WAYS = {
    "weak": {"kind": "weak", **REGIONS},
    "semi, 5 % labelled": {"kind": "semi", **REGIONS, "labelled": 0.05},
    "full": FULL,
}

Rows = dict[str, np.ndarray]


def made(folder: Path) -> tuple[Rows, Rows]:
    """Simulate and convert, and return the rows of background and signal."""
    values: dict[str, Any] = {**CAMPAIGN, "name": "bench-weak", "output": "results"}
    background, signal = (dict(values["samples"][name]) for name in CLASSES)
    background["generate"] = {**background["generate"], "shards": int(os.environ.get("BUNCHTRAIN_BENCH_SHARDS", "16"))}
    signal["generate"] = {**signal["generate"], "shards": 3, "jets_per_shard": 2000}
    if ready := os.environ.get("BUNCHTRAIN_BENCH_FILES"):  # a folder of files that were simulated before
        background, signal = ({"files": [f"{ready}/{name}-*.root"]} for name in CLASSES)
    values["samples"] = {
        name: {**sample, "label": name} for name, sample in zip(CLASSES, (background, signal), strict=True)
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "campaign.yaml", yaml.safe_dump(values))
    command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--cores", str(os.cpu_count())]
    subprocess.run([*command, "--until", "convert"], cwd=folder, check=True, stdout=sys.stderr)
    background, signal = (read(folder / "results/convert" / name) for name in CLASSES)
    return background, signal


def read(folder: Path) -> Rows:
    """Return the columns of converted rows, in random order."""
    parts = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            parts.append({name: file[f"jets/{name}"][:] for name in KEPT_COLUMNS})
    found = {name: np.concatenate([part[name] for part in parts]) for name in KEPT_COLUMNS}
    order = np.random.default_rng(1).permutation(len(found["pt"]))
    return {name: values[order] for name, values in found.items()}


def some(rows: Rows, chosen: Any) -> Rows:
    return {name: values[chosen] for name, values in rows.items()}


def within(rows: Rows) -> np.ndarray:
    low, high = REGIONS["window"]
    return (rows["dijet_mass"] >= low) & (rows["dijet_mass"] < high)


def indexed(folder: Path, background: Rows, signal: Rows) -> tuple[Path, Path]:
    """Write rows as a shard, join it, and return the paths of index and scaler."""
    both = {name: np.concatenate([background[name], signal[name]]) for name in KEPT_COLUMNS}
    count = len(both["pt"])
    columns: dict[str, np.ndarray] = {f"jets/{name}": values for name, values in both.items()}
    columns["jets/label"] = np.repeat(np.array([0, 1], np.int32), [len(background["pt"]), len(signal["pt"])])
    columns["jets/file_id"] = np.zeros(count, np.int32)
    pt, eta, phi = (both[name].astype(np.float64) for name in ("pt", "eta", "phi"))
    momentum = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)
    names = ("px", "py", "pz", "energy")
    columns |= {f"constituents/{name}": x.astype(np.float32) for name, x in zip(names, momentum, strict=True)}
    source = '[{"path": "rows.root", "sha256": "0"}]'
    about = {"sample": "rows", "classes": '["background", "signal"]', "source_files": source}
    shard = folder / "rows.h5"
    more = {f"jets/{name}": Column(name, "f4", "1", "see the campaign") for name in ("dijet_mass", *COLUMNS)}
    events = Events(columns, {"constituents": np.ones(count, np.int64)})
    write_events(shard, events, attributes=about, layout=more)
    settings = {"constituents": 1, "variables": COLUMNS, "split": {"train": 0.7, "validation": 0.2, "test": 0.1}}
    prepare(PrepareSpec(version=1, classes=CLASSES, seed=1, settings=settings), [shard], folder)
    return folder / "dataset.h5", folder / "scaler.json"


def trained(folder: Path, task: dict[str, Any], background: Rows, signal: Rows, seed: int) -> Path:
    """Train on rows, and return the network's folder."""
    dataset, scaler = indexed(folder / "index", background, signal)
    settings = {**CAMPAIGN["train"], "seeds": 1, "ranks": 1, "tensorboard": False}
    model = {"kind": "dense", **{key: value for key, value in CAMPAIGN["model"].items() if key != "kind"}}
    spec = TrainSpec(version=1, seed=seed, task=task, model=model, settings=settings)
    train(spec, dataset, scaler, folder / "net")
    return folder / "net"


def scores(task: dict[str, Any], net: Path, dataset: Path) -> np.ndarray:
    """Return a network's scores of all rows of an index, in their order."""
    data = Dataset(dataset)
    spec = EvaluateSpec(version=1, seed=1, task=task, settings={})
    indices = np.arange(len(data), dtype=np.int64)
    return answer(spec, data, tasks.build(task, CLASSES), net, indices, passes=0, judged=False).columns["single_score"]


def curve(folder: Path, background: Rows, signal: Rows) -> tuple[list[list[str]], dict[tuple[str, float], np.ndarray]]:
    """Return the table of areas by share, and the areas by way and share."""
    judge_b, judge_s = some(background, slice(0, JUDGED)), some(signal, slice(0, JUDGED_SIGNAL))
    judge, _ = indexed(folder / "judge", some(judge_b, within(judge_b)), some(judge_s, within(judge_s)))
    truth = Dataset(judge).column("label") == 1
    left_b = some(background, slice(JUDGED, None))
    left_s = some(signal, slice(JUDGED_SIGNAL, None))
    rows, areas = [], {}
    for share in SHARES:
        row = [f"{100 * share:g} %"]
        for way, task in WAYS.items():
            found = []
            for seed in range(SEEDS):
                random = np.random.default_rng([seed, round(1e6 * share)])
                own_b = some(left_b, random.choice(len(left_b["pt"]), TRAINED, replace=False))
                wanted = round(share / (1 - share) * int(within(own_b).sum()) / within(left_s).mean())
                own_s = some(left_s, random.choice(len(left_s["pt"]), wanted, replace=False))
                net = trained(folder / f"{way[:4]}-{share}-{seed}", task, own_b, own_s, seed)
                said = scores(task, net, judge)
                found.append(Scores(said[truth], said[~truth]).auc())
            areas[way, share] = np.array(found)
            row.append(f"{np.mean(found):.3f} ± {np.std(found, ddof=1) / SEEDS**0.5:.3f}")
        rows.append(row)
        print(*row, flush=True)
    return rows, areas


def p_value(folder: Path, rows: Rows, seed: int) -> float:
    """Return how likely chance alone puts as many passing rows into the window, in a pseudo-experiment."""
    halves = [some(rows, slice(start, None, 2)) for start in (0, 1)]
    passing = np.zeros((2, 2), int)  # in the window or beside it, passing or not
    low, high = REGIONS["range"]
    for number, (one, other) in enumerate((halves, halves[::-1])):
        place, middle = folder / str(number), len(one["pt"]) // 2
        # prepare refuses a class without rows: half of them are called signal, which weak supervision does not read.
        net = trained(place, WAYS["weak"], some(one, slice(middle)), some(one, slice(middle, None)), seed)
        judged, _ = indexed(place / "judged", some(other, slice(middle)), some(other, slice(middle, None)))
        mass = other["dijet_mass"]
        either = (mass >= low) & (mass < high)
        said, inside = scores(WAYS["weak"], net, judged)[either], within({"dijet_mass": mass})[either]
        passes = said >= np.quantile(said, 1 - KEPT)
        for row, where in enumerate((inside, ~inside)):
            passing[row] += [(where & passes).sum(), (where & ~passes).sum()]
    return float(stats.fisher_exact(passing, alternative="greater")[1])


def gap(areas: dict[tuple[str, float], np.ndarray], share: float) -> float:
    """Return how far weak supervision is from full."""
    return float((areas["full", share] - areas["weak", share]).mean())


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-weak-") as name:
        folder = Path(name)
        background, signal = made(folder / "made")
        print(f"{len(background['pt'])} background and {len(signal['pt'])} signal rows", flush=True)
        rows, areas = curve(folder, background, signal)
        parts = np.array_split(np.arange(len(background["pt"])), PSEUDO)
        found = np.array([p_value(folder / f"null{k}", some(background, part), k) for k, part in enumerate(parts)])
    positive = int((found < LEVEL).sum())
    interval = stats.binomtest(positive, PSEUDO).proportion_ci(0.95, "exact")
    print()
    table(["signal in the window", *WAYS], rows)
    print(f"no signal: p below {LEVEL:g} in {positive} of {PSEUDO}, {interval.low:.3f} to {interval.high:.3f} (95 %)")
    print("p-values:", *(f"{one:.2f}" for one in np.sort(found)), "\n")
    most, few = SHARES[-1], SHARES[0]
    growth = areas["weak", most].mean() - areas["weak", few].mean()
    error = np.hypot(*(areas["weak", share].std(ddof=1) / SEEDS**0.5 for share in (most, few)))
    conclude(
        [
            Mark("gap_to_full_that_is_left", gap(areas, most) / gap(areas, few), 0.5, at_least=False),
            Mark("growth_with_signal_in_errors", growth / error, 3.0),
            Mark("false_positives_low_end", interval.low, LEVEL, False),
            Mark("false_positives_high_end", interval.high, LEVEL),
        ]
    )


if __name__ == "__main__":
    main()
