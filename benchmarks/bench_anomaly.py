"""Anomaly detection without labels: how far hidden signals stand out, beside the jet mass and an isolation forest.

The campaign config/campaigns/anomaly-vae.yaml, as it is, and once more with its score decorrelated from the mass.
A lead is a difference of two areas under the ROC curve on the same jets; its error joins the spread between the five
seeds with that of resampling the jets.
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

from bunchtrain.config.yamlfile import read_yaml
from bunchtrain.discrimination import Scores, half_width
from bunchtrain.files import read_json, write_text
from marks import Mark, conclude, table

ROOT = Path(__file__).parents[1]
CAMPAIGN = ROOT / "config/campaigns/anomaly-vae.yaml"
RIVALS = ("mass", "isolation forest")
DECORRELATE = 30.0
DRAWS = 100


def run(folder: Path, changes: dict[str, Any]) -> Path:
    """Run the campaign, but for some changes, and return the folder of its evaluation; files are shared by a store."""
    values = read_yaml(CAMPAIGN)
    values["train"] |= changes.pop("train", {})
    values["task"] |= changes
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "campaign.yaml", yaml.safe_dump(values))
    store = folder.parent / "store"
    store.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--cores", str(os.cpu_count())]
    subprocess.run(command, cwd=folder, env={**os.environ, "BUNCHTRAIN_STORE": str(store)}, check=True)
    return folder / values["output"] / "evaluate"


def chance(evaluate: Path, signal: str, rival: str) -> float:
    """Return the error of the first network's lead, by resampling the jets."""
    with h5py.File(evaluate / "predictions.h5") as file:
        samples, score = list(file.attrs["samples"]), file.attrs["score"]
        places = [file["sample"][:] == samples.index(name) for name in (signal, "background")]
        values = [file[f"scores/{score}"][:], file[f"rivals/{rival}"][:]]
        weights = file["weight"][:]
    random = np.random.default_rng(1)
    leads = []
    for _ in range(DRAWS):
        drawn = weights * random.poisson(1, len(weights))
        areas = [Scores(*(one[place] for place in places), *(drawn[place] for place in places)).auc() for one in values]
        leads.append(areas[0] - areas[1])
    return half_width(np.array(leads))


def leads(evaluate: Path) -> tuple[list[list[str]], list[Mark]]:
    """Return the table of areas and leads, and the marks: each lead, in units of its error."""
    metrics, rows, marks = read_json(evaluate / "metrics.json"), [], []
    for signal in metrics["hidden"]:
        found = [seed["areas"][signal] for seed in metrics["seeds"]]
        own = np.array([seed["auc"][signal] for seed in metrics["seeds"]])
        row = [signal, f"{own.mean():.4f} ± {own.std(ddof=1):.4f}"]
        for rival in RIVALS:
            lead = own - np.array([one[rival] for one in found])
            error = np.hypot(lead.std(ddof=1) / len(lead) ** 0.5, chance(evaluate, signal, rival))
            row += [f"{np.mean([one[rival] for one in found]):.4f}", f"{lead.mean():+.4f} ± {error:.4f}"]
            marks.append(Mark(f"{signal}_lead_over_{rival.replace(' ', '_')}_in_errors", lead.mean() / error, 2.0))
        rows.append(row)
    return rows, marks


def sculpting(evaluate: Path) -> float:
    """Return how far a cut that keeps 10 % of the background changes its mass, bits."""
    panels = read_json(evaluate / "metrics.json")["panels"]
    return next(panel["figures"]["mass sculpting at 0.1"] for panel in panels if "mass" in panel["title"])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-anomaly-") as name:
        plain = run(Path(name) / "plain", {})
        apart = run(Path(name) / "apart", {"decorrelate": DECORRELATE, "train": {"seeds": 1}})
        rows, marks = leads(plain)
        print()
        table(["hidden signal", "network (5 seeds)", *(one for rival in RIVALS for one in (rival, "lead"))], rows)
        found = [sculpting(one) for one in (plain, apart)]
        table(["decorrelate", "mass sculpting, bits"], [["0", f"{found[0]:.3f}"], [DECORRELATE, f"{found[1]:.3f}"]])
        marks.append(Mark("sculpting_left_by_decorrelation", found[1] / found[0], 1 / 3, at_least=False))
        conclude(marks)


if __name__ == "__main__":
    main()
