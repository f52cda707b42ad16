"""How well `bunchtrain scaling` predicts trainings that its model has not seen, on this machine's cores.

The model is fitted to probes of small steps; two probes of larger ones are held out and predicted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bunchtrain.events.reader import Dataset
from bunchtrain.files import sha256
from bunchtrain.parallel import LAUNCHER
from bunchtrain.scaling.probe import Runner, Setting
from bunchtrain.scaling.request import Request, available_cores
from bunchtrain.scaling.run import model_of, point_of, run_probes
from marks import Mark, conclude, table
from toys import toy_dataset, train_spec

MODEL = {"kind": "gnn", "hidden": 32, "layers": 2, "neighbours": 8, "head": 64, "dropout": 0.1}
FITTED = [Setting(ranks, batch) for ranks in (1, 2) for batch in (64, 128, 256)]
HELD_OUT = [Setting(1, 512), Setting(2, 512)]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset, scaler = toy_dataset(folder, jets=4000)
        data = Dataset(dataset)
        jets, validation = (len(data.indices(split)) for split in ("train", "validation"))
        digest = sha256(dataset)
        runner = Runner(train_spec(MODEL), dataset, scaler, jets, validation, LAUNCHER, 1, 40, digest)
        asked = Request(ranks=[1, 2], batches=[], launcher=LAUNCHER, repeats=5, cores=available_cores(), per_node=2)
        found = run_probes(runner, [*FITTED, *HELD_OUT], folder / "probes", asked)
    model = model_of(found[: len(FITTED)], asked.per_node)
    rows, misses = [], []
    for one in found:
        predicted = model(point_of(one.setting, asked.per_node))
        miss = predicted.value / one.step - 1
        held_out = one.setting in HELD_OUT
        misses += [abs(miss)] if held_out else []
        band = f"{1e3 * predicted.low:.2f} to {1e3 * predicted.high:.2f}"
        rows.append(
            (
                one.setting.ranks,
                one.setting.batch,
                f"{1e3 * one.step:.2f}",
                f"{1e3 * predicted.value:.2f}",
                band,
                f"{miss:+.1%}",
                "held out" if held_out else "fitted",
            )
        )
    table(("ranks", "jets a step", "measured ms", "model ms", "68 % band", "off by", ""), rows)
    conclude([Mark("worst_held_out_miss", max(misses), 0.1, at_least=False)])


if __name__ == "__main__":
    main()
