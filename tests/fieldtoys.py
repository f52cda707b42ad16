"""Small samples of probes of a magnetic field, simulated, converted and prepared, for tests of surrogates."""

from pathlib import Path

from bunchtrain.config.base import Kind
from bunchtrain.config.explain import checked_kind
from bunchtrain.config.specs import ConvertSpec, EvaluateSpec, PrepareSpec, SimulateSpec, TrainSpec
from bunchtrain.convert import VERSION as CONVERT
from bunchtrain.convert.run import convert
from bunchtrain.prepare.run import prepare
from bunchtrain.simulate import VERSION
from bunchtrain.simulate.run import simulate

#: A magnet of few wires.
SMALL = {"coils": 6, "segments": 16, "length": 1600.0, "noise": 1e-4}
PARAMETERS = {"x": "linear", "y": "linear", "z": "linear"}
TASK = {"kind": "field", "true_x": "true_x", "true_y": "true_y", "true_z": "true_z"}
PHYSICS = {"maxwell": "construction"}


def simulate_spec(probes=200, shard=0, seed=1, **magnet) -> SimulateSpec:
    values = {"sample": "probes", "process": "field", "shard": shard, "jets": probes, "seed": seed}
    return SimulateSpec(version=VERSION, **values, settings={"magnet": {**SMALL, **magnet}})


def converted(path: Path, folder: Path, **options) -> Path:
    """Convert a file of probes."""
    section = Kind.model_validate({"kind": "response", **options})
    settings = {"label": 0, "classes": ["probe"], "step_size": "200 kB", "on_bad_file": "fail"}
    kind = checked_kind(section, "convert.formats", "convert.format")
    spec = ConvertSpec(version=CONVERT, sample="probes", format=kind, **settings)
    convert(spec, [path], folder / f"{path.stem}.h5", folder / f"{path.stem}.json")
    return folder / f"{path.stem}.h5"


def toy_dataset(folder: Path, probes: int = 240, split: dict | None = None, **magnet) -> tuple[Path, Path]:
    """Probes of one magnet, and their preparation; returns index and scaler."""
    folder.mkdir(parents=True, exist_ok=True)
    simulate(simulate_spec(probes, **magnet), folder / "probes.root")
    settings = {"parameters": PARAMETERS, "split": split or {"train": 0.5, "validation": 0.2, "test": 0.3}}
    spec = PrepareSpec(version=1, classes=["probe"], seed=1, settings=settings)
    prepare(spec, [converted(folder / "probes.root", folder)], folder / "prepare")
    return folder / "prepare/dataset.h5", folder / "prepare/scaler.json"


def train_spec(model: dict, physics: dict | None = None, **settings) -> TrainSpec:
    """Return the spec of a short training."""
    few = {"ranks": 1, "epochs": 3, "batch_size": 64, "tensorboard": False, **settings}
    asked = PHYSICS if physics is None else physics
    return TrainSpec(version=1, seed=1, task=TASK, model=model, settings=few, physics=asked)


def evaluate_spec(**task) -> EvaluateSpec:
    """Return the spec of an evaluation."""
    return EvaluateSpec(version=1, seed=1, task={**TASK, **task}, settings={"passes": 4, "bootstrap": 10})
