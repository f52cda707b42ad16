"""Seeded trainings of every model: a change of these numbers is a change of results, and raises the stage's VERSION.

`python tests/golden/test_losses.py` writes them anew.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest

from bunchtrain import registry

RECORD = Path(__file__).parent / "losses.json"


def losses(kind: str, toy, folder: Path) -> list[float]:
    from bunchtrain.train.run import train
    from toys import train_spec

    train(train_spec({"kind": kind}, epochs=3, batch_size=64), *toy, folder)
    rows = json.loads((folder / "history.json").read_text())["rows"]
    return [row[name] for row in rows for name in ("train_loss", "validation_loss")]


@pytest.mark.parametrize("kind", registry.kinds("models"))
def test_a_seeded_training_has_the_losses_on_record(kind, toy, tmp_path):
    recorded = json.loads(RECORD.read_text())
    assert kind in recorded, f"run {__file__} to record the losses of {kind}"
    # Other processors round otherwise: three digits hold on all of them, a change of the method does not.
    assert losses(kind, toy, tmp_path) == pytest.approx(recorded[kind], rel=2e-3)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from toys import toy_dataset

    with tempfile.TemporaryDirectory() as name:
        data = toy_dataset(Path(name))
        found = {kind: losses(kind, data, Path(name) / kind) for kind in registry.kinds("models")}
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
