"""Map of a magnetic field from sparse probes: a harmonic network beside an unconstrained one, and splines.

For several numbers of probes, with noise of 1e-5 and of 1e-4 of the central field, all learn from the same probes and
are judged by the true field at 2000 others. Both networks are trained by Adam and the cosine on minus the logarithm of
the likelihood, and kept where that of an eighth as many other probes is best. The unconstrained one, a regression
without dropout, has 6000 steps of 64 probes in each of several settings, and the best of these by the true field itself
counts: more than could be known in practice. BUNCHTRAIN_BENCH_STEPS makes it shorter. Everything runs on one core.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import fieldtoys
from bunchtrain.evaluate.fieldpanels import slopes
from bunchtrain.evaluate.fieldsplines import splines
from bunchtrain.events.responses import ParameterScaler, opened
from bunchtrain.levels import ResponseShape
from bunchtrain.models.base import build
from marks import Mark, conclude, table

STEPS = int(os.environ.get("BUNCHTRAIN_BENCH_STEPS", "6000"))

#: Probes that are learned from, and the noise of each component over the central field.
CASES = [(1e-5, 125), (1e-5, 250), (1e-5, 500), (1e-5, 1000), (1e-4, 250), (1e-4, 1000)]
#: The noise that the marks are for. With 1e-4 they are not met: noise limits both networks, and the ratio is near 2.
MARKED = 1e-5
JUDGED, BATCH = 2000, 64

#: The usual magnet, not the small one of the tests.
MAGNET = {"coils": 24, "segments": 64, "length": 2400.0}

#: Settings of the unconstrained network: width, layers, learning rate, decay of averaged weights.
UNCONSTRAINED = [(128, 3, 3e-3, None), (128, 3, 1e-3, 0.99), (256, 3, 1e-3, None), (64, 2, 3e-3, None)]


def dataset(folder: Path, noise: float, probes: int) -> tuple[Path, Path]:
    """Return index and scaler of so many probes to learn from, an eighth as many to validate, and those that judge."""
    held = max(probes // 8, 30)
    total = probes + held + JUDGED
    split = {"train": probes / total, "validation": held / total}
    split["test"] = 1 - sum(split.values())
    return fieldtoys.toy_dataset(folder, total, split, noise=noise, **MAGNET)


class Trained(NamedTuple):
    """A network, and what scales its parameters; see `sampling.Surrogate`."""

    model: Any
    scaler: ParameterScaler

    def inputs(self, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and totals."""
        return torch.from_numpy(self.scaler(places)), torch.ones(len(places))


def trained(
    data: tuple[Path, Path], section: dict[str, Any], how: str, steps: int, rate: float, ema: float | None = None
) -> Trained:
    """Train, and return the network at the best validation loss."""
    rows, scaler = opened("responses", data[0]), ParameterScaler.load(data[1])
    known = {}
    for split in ("train", "validation"):
        index = rows.indices(split)
        features = torch.from_numpy(scaler(rows.given(index)))
        known[split] = (features, torch.ones(len(index)), torch.from_numpy(rows.known(index).astype(np.float32)))
    torch.manual_seed(1)
    model: Any = build(section, ResponseShape(3, 3, maxwell=how, widths=scaler.std))
    features, totals, quantities = known["train"]
    model.adjust(totals.double(), quantities.double(), features)
    judged = model if ema is None else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema))
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept = np.inf, copy.deepcopy(model)
    for step in range(steps):
        chosen = torch.randint(len(features), (BATCH,))
        optimizer.zero_grad()
        model.train()(*(one[chosen] for one in known["train"])).loss_B.mean().backward()
        optimizer.step()
        schedule.step()
        if ema is not None:
            judged.update_parameters(model)
        if step % 50 == 49:
            network = judged if ema is None else judged.module
            with torch.no_grad():
                loss = float(network.eval()(*known["validation"]).loss_B.mean())
            if loss < best:
                best, kept = loss, copy.deepcopy(network)
    return Trained(kept.eval(), scaler)


def error(found: np.ndarray, true: np.ndarray) -> float:
    """Return the root mean square of the length of the difference, in millionths of the mean field."""
    return float(1e6 * np.sqrt(((found - true) ** 2).sum(1).mean()) / np.linalg.norm(true, axis=1).mean())


def answer(surrogate: Trained, places: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return surrogate.model.expect(*surrogate.inputs(places)).double().numpy()


def measured(folder: Path, noise: float, probes: int) -> dict[str, float]:
    """Return errors of all, the width of pulls and the largest residuals."""
    data = dataset(folder, noise, probes)
    rows = opened("responses", data[0])
    test, number = rows.indices("test"), len(rows.indices("train"))
    places, true = rows.given(test), np.stack([rows.column(f"true_{axis}", test) for axis in "xyz"], 1).astype("f8")
    started = time.process_time()
    harmonic = trained(data, {"kind": "harmonic"}, "construction", 500, 1e-3)
    seconds = time.process_time() - started
    found: dict[str, float] = {"probes": number, "noise": noise, "seconds": seconds}
    found["harmonic"] = error(answer(harmonic, places), true)
    tries, took = [], []
    for hidden, layers, rate, ema in UNCONSTRAINED:
        started = time.process_time()
        model = {"kind": "regression", "hidden": hidden, "layers": layers, "dropout": 0.0}
        tries.append(trained(data, model, "none", STEPS, rate, ema))
        took.append(time.process_time() - started)
    off = [error(answer(one, places), true) for one in tries]
    best = int(np.argmin(off))
    found |= {"unconstrained": off[best], "its seconds": took[best], "setting": best}
    found |= {name: error(one, true) for name, one in splines(rows, places).items()}
    central, length = np.linalg.norm(true, axis=1).mean(), (places.max(0) - places.min(0)).max()
    for name, network in (("harmonic", harmonic), ("unconstrained", tries[best])):
        divergence, curl = slopes(network, places)
        largest = max(np.abs(divergence).max(), np.linalg.norm(curl, axis=1).max())
        found[f"residual, {name}"] = float(largest * length / central)
    with torch.no_grad():
        width = harmonic.model.unknown(harmonic.inputs(places)[0]).double().numpy()
    found["pulls"] = float(np.sqrt((((answer(harmonic, places) - true) / width) ** 2).mean()))
    return found


def main() -> None:
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as name:
        for noise, probes in CASES:
            with contextlib.redirect_stdout(sys.stderr):
                found.append(measured(Path(name) / f"{noise}-{probes}", noise, probes))
            print(found[-1], file=sys.stderr, flush=True)
    header = ["noise", "probes", "harmonic, ppm", "unconstrained", "ratio", "thin-plate", "quintic", "width of pulls"]
    header += ["residual, harmonic", "unconstrained", "seconds, harmonic", "unconstrained (setting)"]
    rows = [
        [
            f"{one['noise']:g}",
            int(one["probes"]),
            *(f"{one[key]:.3g}" for key in ("harmonic", "unconstrained")),
            f"{one['unconstrained'] / one['harmonic']:.1f}",
            *(f"{one[key]:.3g}" for key in ("thin-plate spline", "quintic spline", "pulls")),
            *(f"{one[key]:.1e}" for key in ("residual, harmonic", "residual, unconstrained")),
            f"{one['seconds']:.1f}",
            f"{one['its seconds']:.0f} ({UNCONSTRAINED[int(one['setting'])]})",
        ]
        for one in found
    ]
    table(header, rows)
    marked = [one for one in found if one["noise"] == MARKED]
    marks = [Mark("largest_residual", max(one["residual, harmonic"] for one in found), 1e-12, at_least=False)]
    for one in marked:
        ratio = one["unconstrained"] / one["harmonic"]
        marks.append(Mark(f"times_below_unconstrained_{int(one['probes'])}_probes", ratio, 5))
    conclude(marks)


if __name__ == "__main__":
    main()
