"""Seeded trainings of every model: a change of these numbers is a change of results, and raises the stage's VERSION.

`python tests/golden/test_losses.py` writes them anew.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path

import pytest

from bunchtrain import registry
from bunchtrain.config import literals

RECORD = Path(__file__).parent / "losses.json"

#: Toys for networks by the rows that they take, or what they answer with, and how many of them are a batch.
TOYS = {"jets": ("toys", 64), "events": ("graphtoys", 4), "responses": ("showertoys", 64), "field": ("fieldtoys", 64)}


def losses(kind: str, data, folder: Path) -> list[float]:
    from bunchtrain.train.run import train

    made, size = TOYS[registry.constant("models", kind, "OF") or literals.rows("models", kind)]
    spec = importlib.import_module(made).train_spec({"kind": kind}, epochs=3, batch_size=size)
    if literals.answers("models", kind) == "latent":
        spec = spec.model_copy(update={"task": {"kind": "unsupervised"}})
    train(spec, *data[made], folder)
    rows = json.loads((folder / "history.json").read_text())["rows"]
    return [row[name] for row in rows for name in ("train_loss", "validation_loss")]


@pytest.fixture(scope="module")
def data(toy, tmp_path_factory):
    """Index and scaler of rows of each kind."""
    return {"toys": toy, **made(tmp_path_factory.mktemp("others"), ["graphtoys", "showertoys", "fieldtoys"])}


def made(folder: Path, names) -> dict:
    """Make index and scaler of what modules of toys hold, by module."""
    return {name: importlib.import_module(name).toy_dataset(folder / name) for name in names}


@pytest.mark.parametrize("kind", registry.kinds("models"))
def test_a_seeded_training_has_the_losses_on_record(kind, data, tmp_path):
    recorded = json.loads(RECORD.read_text())
    assert kind in recorded, f"run {__file__} to record the losses of {kind}"
    # Other processors round otherwise: three digits hold on all of them, a change of the method does not.
    assert losses(kind, data, tmp_path) == pytest.approx(recorded[kind], rel=2e-3)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as name:
        data = made(Path(name), [toys for toys, _ in TOYS.values()])
        found = {kind: losses(kind, data, Path(name) / kind) for kind in registry.kinds("models")}
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
