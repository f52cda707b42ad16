"""The trigger score of an autoencoder as a circuit: the same graph, the same answers, and what rounding costs."""

import json

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bunchtrain.cli import app
from bunchtrain.config.specs import IndexSpec
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import CampaignError, InputError, SynthesisError
from bunchtrain.events.reader import Dataset
from bunchtrain.levels import Latent
from bunchtrain.models.base import load_model
from bunchtrain.prepare.beside import index
from bunchtrain.synth import circuit, encoder, trigger
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.tasks.unsupervised import Config, Task
from bunchtrain.train.run import train
from toys import CLASSES, toy_dataset, toy_shard, train_spec

MODEL = {"kind": "vae", "of": "list", "hidden": 4, "latent": 2, "constituents": 2}

pytestmark = pytest.mark.fpga


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Index, folder of a network that was trained for a moment, and a hidden sample."""
    folder = tmp_path_factory.mktemp("trigger")
    dataset, scaler = toy_dataset(folder, jets=150)
    spec = train_spec(MODEL, epochs=2).model_copy(update={"task": {"kind": "unsupervised", "beta": 0.01}})
    train(spec, dataset, scaler, folder / "seed0")
    seen = IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16})
    index(seen, [toy_shard(folder / "hidden" / "odd.h5", 1, 80, 7)], folder / "hidden")
    return dataset, folder / "seed0", folder / "hidden" / "dataset.h5"


@pytest.fixture
def loaded(made):
    """The network, what it sees of the test jets, its encoder, and the encoder's inputs."""
    dataset, folder, _ = made
    network, card = load_model(folder)
    seen = trigger._listed(Dataset(dataset), network, card, "test")
    units = encoder.units(seen)
    inputs = torch.from_numpy(seen / 2.0 ** np.array(units)).float()
    return network, seen, encoder.of_network(network, card, 4.0, units, folder), inputs


def test_before_rounding_the_circuit_scores_as_the_task_does(loaded):
    network, seen, student, inputs = loaded
    found = student(inputs)[:, 0]
    with torch.no_grad():
        mean = network.mean(network.encoder(torch.from_numpy(seen).float()))
    zero = torch.zeros_like(mean)
    expected = Task(Config(), ["qcd"]).scores(Latent(mean, zero, zero[:, 0]))["clipped mean"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_codes_hold_what_is_usual_and_saturate_beyond():
    random = np.random.default_rng(0)
    seen = random.normal(0, [0.01, 1.0, 100.0], (1000, 3))
    form, units = Fixed(8, 3, True, "RND", "SAT"), encoder.units(seen)
    codes = encoder.encoded(seen, units, form)
    low, high = form.code_range
    assert codes.min() >= low and codes.max() <= high and (np.abs(codes) < high).mean() > 0.99
    back = codes * form.step * 2.0 ** np.array(units)
    inside = (codes > low) & (codes < high)
    assert (np.abs(back - seen) <= 0.51 * form.step * 2.0 ** np.array(units))[inside].all()


def test_it_is_a_student_of_the_synthesis(loaded):
    *_, student, inputs = loaded
    student.input_format = Fixed(8, 3, True, "RND", "SAT")
    student.quantize(inputs, Settings())
    logic = circuit.traced(student)
    assert len(logic.inputs) == 6 and len(logic.outputs) == 1 and len(encoder.input_names(2)) == 6


def test_the_command_makes_rtl_that_agrees(made, tmp_path):
    dataset, folder, hidden = made
    words = ["--model", folder, "--dataset", dataset, "--out", tmp_path, "--unfamiliar", f"odd={hidden}", "--bits", 6]
    done = CliRunner().invoke(app, ["trigger", *map(str, words)])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "trigger.json").read_text())
    assert report["mismatches"] == 0 and report["vectors"] > 100 and report["interval"] == 1
    assert report["resources"]["lut"] > 0 and set(report["areas"]["odd"]) == {"float", "fixed"}
    assert abs(report["areas"]["odd"]["float"] - report["areas"]["odd"]["fixed"]) < 0.2
    assert all((tmp_path / "build" / name).exists() for name in report["files"])
    card = json.loads((tmp_path / "encoder.json").read_text())
    assert len(card["inputs"]) == len(card["units_log2"]) == 6 and card["formats"]
    assert (tmp_path / "encoder.safetensors.prov.json").exists()


@pytest.mark.parametrize(
    ("column", "value", "key"),
    [("jets/weight", np.nan, "jets/weight"), ("jets/weight", 0, "jets/weight"), ("constituents/px", np.nan, "const")],
)
def test_a_sample_with_values_that_are_none_is_named_and_nothing_is_written(made, tmp_path, column, value, key):
    dataset, folder, _ = made
    shard = toy_shard(tmp_path / "hidden" / "odd.h5", 1, 80, 7)
    with h5py.File(shard, "r+") as file:
        file[column][slice(3, 4) if np.isnan(value) else slice(None)] = value
    index(IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16}), [shard], tmp_path / "hidden")
    hidden = tmp_path / "hidden" / "dataset.h5"
    with pytest.raises(InputError) as caught:
        trigger.trigger(dataset, folder, tmp_path / "out", {"odd": hidden})
    assert caught.value.details["file"] == str(hidden) and caught.value.details["key"].startswith(key)
    assert not (tmp_path / "out").exists()


def test_a_signal_is_not_called_background(made, tmp_path):
    dataset, folder, hidden = made
    with pytest.raises(CampaignError, match="name of what it is judged beside"):
        trigger.trigger(dataset, folder, tmp_path / "out", {"background": hidden})


def test_a_set_becomes_no_circuit_and_a_clip_is_a_power_of_two(made):
    _, folder, _ = made
    network, card = load_model(folder)
    with pytest.raises(SynthesisError, match="list") as caught:
        encoder.of_network(network, {**card, "model": {**card["model"], "of": "set"}}, 4.0, [0] * 6, folder)
    assert "model.of" in caught.value.details["mend"]
    with pytest.raises(SynthesisError, match="list"):
        encoder.require({"model": {"kind": "gnn"}}, folder)
    with pytest.raises(SynthesisError, match="powers of two") as caught:
        encoder.of_network(network, card, 3.0, [0] * 6, folder)
    assert "4" in caught.value.details["mend"]
