"""Fixtures shared by all tests."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# Ranks on a small machine, started by root in a container.
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Index and scaler of a small random sample of two classes."""
    from toys import toy_dataset

    return toy_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """Index and tagger of a small random sample; the tagger is trained for a moment."""
    import torch

    from bunchtrain.events.reader import Dataset
    from bunchtrain.events.scaling import Scaler
    from bunchtrain.models.base import Shape, build, save_model
    from cores import MODEL
    from toys import CLASSES, toy_dataset

    folder = tmp_path_factory.mktemp("synth")
    dataset, scaler_file = toy_dataset(folder)
    data, scaler = Dataset(dataset), Scaler.load(scaler_file)
    rows = data.indices("train")
    inputs = [torch.from_numpy(values) for values in scaler(data.features(rows))]
    labels = torch.from_numpy(data.column("label", rows).astype("i8"))
    torch.manual_seed(0)
    shape = Shape(inputs[0].shape[-1], inputs[2].shape[-1], len(CLASSES))
    model = build(MODEL, shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(*inputs).graph_BC, labels).backward()
        optimiser.step()
    card = {"model": MODEL, "shape": shape._asdict(), "classes": CLASSES, "particles": data.particles}
    save_model(folder / "tagger", model, {**card, "scaler": asdict(scaler)})
    return dataset, folder / "tagger"


@pytest.fixture(scope="session")
def finished(sample, tmp_path_factory):
    """Folder and report of the stage's outputs for that tagger; tests leave them as they are."""
    from bunchtrain.synth.run import synthesize
    from cores import spec

    out = tmp_path_factory.mktemp("results") / "synthesize"
    synthesize(spec(), *sample, out)
    return out, json.loads((out / "report.json").read_text())
