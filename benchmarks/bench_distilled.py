"""A tagger's posterior in one pass: what a distilled student keeps of it, and what its pass costs.

Jets are the embedded generator's, the tagger is a graph network with dropout. The student is the quantised one that
becomes a core, but no core is made. The folder of a campaign's results as an argument stands for jets and tagger.

Both marks on the area are on the gain that ordering jets by their spread brings: a retention curve's whole area is
always near 1. The first compares the gains over keeping all of one's own answers; the second counts the student's curve
above the accuracy of all the tagger's answers, so that the student pays for what it gets wrong.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from bunchtrain import dropout
from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.config.yamlfile import read_yaml
from bunchtrain.dag import Plan
from bunchtrain.events.reader import Dataset
from bunchtrain.synth import certainty, distilled, inputs, material, teaching, verify
from bunchtrain.synth.certainty import Said
from bunchtrain.synth.material import Material, Taught
from bunchtrain.synth.tagger import Tagger
from marks import Mark, conclude, table

PASSES, REPEATS, RESAMPLINGS, SEED, BATCH = 100, 5, 200, 1, 1024
#: The demo's classes and jets, more of them for the test.
SPLIT = {"train": 0.6, "validation": 0.1, "test": 0.3}
STUDENT = {"network": {"kind": "dense", "hidden": [32, 32]}, "sparsity": 0.5, "weight_bits": 6}
SHARE, SPEED_UP = 0.9, 50
#: The student that becomes a core.
BUILT = "quantised_student"


def campaign() -> dict[str, Any]:
    """Return the demo's campaign with a student that has a spread, and no scan."""
    found = read_yaml(Path(__file__).parents[1] / "config/config.yaml")
    found["prepare"]["split"] = SPLIT
    found["train"] |= {"ranks": 1}
    found["scan"] = {"trials": 0}
    found["synthesize"]["student"] |= {**STUDENT, "spread": True, "passes": PASSES}
    return dict(found)


def trained(folder: Path) -> Path:
    """Make jets and train the tagger; return the folder of the results."""
    values = campaign()
    (folder / "distilled.yaml").write_text(yaml.safe_dump(values))
    command = ["bunchtrain", "campaign", "run", "distilled.yaml", "--until", "train", "--cores", "2"]
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
    return folder / str(values["output"])


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def speeds(
    stuff: Material, student: torch.nn.Module, tagger: Tagger, data: Dataset, constituents: int
) -> dict[str, list[float]]:
    """Return CPU seconds of either on the test jets, in turn, from unscaled features to the spread."""
    features = data.features(data.indices("test"))
    starts = range(0, len(features.mask_BP), BATCH)

    def many() -> None:
        dropout.switch_on(tagger.network)
        scaled = tagger.scaler(features).of_width(tagger.card["shape"]["globals"])
        for start in starts:
            batch = [torch.from_numpy(values[start : start + BATCH]) for values in scaled]
            score = tagger.task.discriminant
            dropout.predict(tagger.network, tuple(batch), softmax, score, levels=("graph",), passes=PASSES, seed=SEED)

    def one() -> None:
        codes_BI = stuff.encoding.codes(inputs.quantities(features, constituents))
        x_BI = torch.from_numpy(stuff.encoding.values(codes_BI)).float()
        with torch.inference_mode():
            for start in starts:
                student(x_BI[start : start + BATCH])

    rows: dict[str, list[float]] = {"many": [], "one": []}
    for _ in range(REPEATS):
        rows["many"].append(seconds(many))
        rows["one"].append(seconds(one))
    return rows


def softmax(logits: Any) -> torch.Tensor:
    """Return the probabilities of whole jets."""
    return torch.softmax(logits.graph_BC, -1)


def resampled(stuff: Material, said: dict[str, Said]) -> dict[str, float]:
    """Return the errors of the ratios, by drawing the test jets anew."""
    random, found = np.random.default_rng(SEED), []
    for _ in range(RESAMPLINGS):
        rows = random.integers(0, len(stuff.test.labels_B), len(stuff.test.labels_B))
        jets = Taught(*(values[rows] for values in vars(stuff.test).values()))
        one = {BUILT: Said(said[BUILT].test_BA[rows], {})}
        judged = distilled.judged(replace(stuff, test=jets), PASSES, one)
        found.append(judged["rows"][1] if judged else {})
    return {key: float(np.std([row[key] for row in found], ddof=1)) for key in ("of_gain", "of_area")}


def told(value: float | None) -> str:
    """Return a number of the table."""
    return "-" if value is None else f"{value:.4f}"


def speak(stuff: Material, said: dict[str, Said], rows: list[dict[str, Any]]) -> None:
    """Print what tagger and students are worth."""
    names = ["accuracy", "area", "gain", "of_best", "error_detection", "correlation", "deviation", "of_gain", "of_area"]
    table(["", *names], [[row["name"], *(told(row.get(name)) for name in names)] for row in rows])
    answers = {"tagger": stuff.test.teacher_BC, "student": said[BUILT].test_BA}
    areas, errors = verify.areas(stuff.task, stuff.test, answers), resampled(stuff, said)
    print(f"{len(stuff.lesson.labels_B)} training jets, {len(stuff.test.labels_B)} test jets, {PASSES} passes")
    print(f"AUC: tagger {areas['tagger']:.4f}, student {areas['student']:.4f}")
    print(f"errors by resampling: of_gain {errors['of_gain']:.3f}, of_area {errors['of_area']:.3f}")


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-distilled-") as temporary:
        results = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else trained(Path(temporary))
        os.chdir(temporary)
        spec = SynthesizeSpec.model_validate_json(Plan(campaign(), "the demo").spec("synthesize"))
        spec = spec.model_copy(update={"settings": spec.settings.model_copy(update={"vectors": 10**6})})
        dataset, model = results / "prepare/dataset.h5", results / "train/seed0"
        stuff, data = material.gather(spec, dataset, model), Dataset(dataset)
        student, twin = teaching.taught(spec, stuff)
        taken = speeds(stuff, student, Tagger.load(spec, data, model), data, spec.settings.student.constituents)
    said = {"float_student": certainty.of_network(twin, stuff), BUILT: certainty.of_network(student, stuff)}
    judged = distilled.judged(stuff, PASSES, said) or {"rows": []}
    speak(stuff, said, judged["rows"])
    many, one = (statistics.median(taken[name]) for name in ("many", "one"))
    print(f"CPU seconds, medians of {REPEATS} in turn: {many:.3f} of {PASSES} passes, {one:.5f} of the student\n")
    row = judged["rows"][2]
    conclude(
        [
            Mark("retention_gain_ratio", row["of_gain"], SHARE),
            Mark("retention_area_above_all_of_the_tagger_ratio", row["of_area"], SHARE),
            Mark("times_less_cost", many / one, SPEED_UP),
        ]
    )


if __name__ == "__main__":
    main()
