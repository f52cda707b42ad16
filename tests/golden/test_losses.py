"""Seeded trainings of every model: a change of these numbers is a change of results, and raises the stage's VERSION.

`python tests/golden/test_losses.py` writes them anew.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest

from bunchtrain import registry
from bunchtrain.config import literals

RECORD = Path(__file__).parent / "losses.json"


def losses(kind: str, data, folder: Path) -> list[float]:
    import graphtoys
    import toys
    from bunchtrain.train.run import train

    of_events = registry.constant("models", kind, "ROWS") == "events"
    made, size = (graphtoys, 4) if of_events else (toys, 64)
    spec = made.train_spec({"kind": kind}, epochs=3, batch_size=size)
    if literals.answers("models", kind) == "latent":
        spec = spec.model_copy(update={"task": {"kind": "unsupervised"}})
    train(spec, *data[of_events], folder)
    rows = json.loads((folder / "history.json").read_text())["rows"]
    return [row[name] for row in rows for name in ("train_loss", "validation_loss")]


@pytest.fixture(scope="module")
def data(toy, tmp_path_factory):
    """Jets and events: index and scaler of each."""
    from graphtoys import toy_dataset

    return toy, toy_dataset(tmp_path_factory.mktemp("events"))


@pytest.mark.parametrize("kind", registry.kinds("models"))
def test_a_seeded_training_has_the_losses_on_record(kind, data, tmp_path):
    recorded = json.loads(RECORD.read_text())
    assert kind in recorded, f"run {__file__} to record the losses of {kind}"
    # Other processors round otherwise: three digits hold on all of them, a change of the method does not.
    assert losses(kind, data, tmp_path) == pytest.approx(recorded[kind], rel=2e-3)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import graphtoys
    import toys

    with tempfile.TemporaryDirectory() as name:
        data = toys.toy_dataset(Path(name)), graphtoys.toy_dataset(Path(name) / "events")
        found = {kind: losses(kind, data, Path(name) / kind) for kind in registry.kinds("models")}
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
