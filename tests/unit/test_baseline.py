"""A second network to compare with, the columns of jets that it sees, and tasks about constituents and pairs."""

import copy
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from bunchtrain.config.campaign import parse_campaign
from bunchtrain.config.specs import EvaluateSpec, ReportSpec, TrainSpec
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, ContractError, InputError
from bunchtrain.evaluate.run import evaluate
from bunchtrain.events.layout import Column
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.events.writer import write_events
from bunchtrain.files import read_json
from bunchtrain.models.base import load_model
from bunchtrain.prepare.run import prepare
from bunchtrain.train.run import train
from toys import CLASSES, as_events, prepare_spec, toy_jets, train_spec

ROOT = Path(__file__).parents[2]
PILEUP = yaml.safe_load((ROOT / "config/campaigns/pileup.yaml").read_text())
FLAVOUR = yaml.safe_load((ROOT / "config/campaigns/flavour-tagging.yaml").read_text())
SMALL = {"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 16, "dropout": 0.1}
DENSE = {"kind": "dense", "hidden": 16, "head": 16, "dropout": 0.1}

LAYOUT = {
    "jets/hint": Column("hint", "f4", "1", "says the class", "hint"),
    "constituents/vertex": Column("vertex", "i4", "1", "truth", "vertex"),
    "constituents/charge": Column("charge", "i4", "1", "charge", "charge"),
    "constituents/origin": Column("origin", "i4", "1", "truth", "origin"),
}


def shard(path, label, jets=300):
    """Jets whose class is in the column `hint` alone, and whose constituents of much pt are of vertex 0."""
    columns, constituents, counts = toy_jets(0, jets, 20 + label)
    columns["label"][:] = label
    random = np.random.default_rng(label)
    columns["hint"] = random.normal(3 * label, 1, jets).astype("f4")
    soft = np.hypot(constituents["px"], constituents["py"]) < 20
    constituents["vertex"] = soft.astype("i4")
    constituents["charge"] = random.integers(0, 2, len(soft)).astype("i4")
    constituents["origin"] = np.where(soft, 3, 2).astype("i4")
    source = {"path": f"{label}.root", "sha256": f"{label}"}
    attributes = {"sample": CLASSES[label], "classes": json.dumps(CLASSES), "source_files": json.dumps([source])}
    write_events(path, as_events(columns, constituents, counts), attributes=attributes, layout=LAYOUT)
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Index and scaler of such jets, with `hint` as the variable of dense networks."""
    folder = tmp_path_factory.mktemp("baseline")
    shards = [shard(folder / f"{label}.h5", label) for label in (0, 1)]
    prepare(prepare_spec(variables=["hint"]), shards, folder / "prepare")
    return folder / "prepare/dataset.h5", folder / "prepare/scaler.json"


def spec_for(task, model=None, **settings):
    return train_spec(model or SMALL, **{"epochs": 4, **settings}).model_copy(update={"task": task})


def judged(task, sample, trainings, out, **options):
    spec = EvaluateSpec(version=1, seed=1, task=task, settings={"passes": 3, "bootstrap": 5})
    evaluate(spec, sample[0], trainings, out, **options)
    return read_json(out / "metrics.json")


TOP = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}


def test_a_dense_network_sees_the_variables_and_no_other_does(sample, tmp_path):
    data, scaler = Dataset(sample[0]), Scaler.load(sample[1])
    assert data.globals[3:] == ["hint"] == scaler.variables
    train(spec_for(TOP, DENSE, epochs=8, learning_rate=1e-2), *sample, tmp_path / "baseline")
    train(spec_for(TOP), *sample, tmp_path / "seed0")
    shapes = [load_model(tmp_path / name)[1]["shape"] for name in ("baseline", "seed0")]
    assert [shape["globals"] for shape in shapes] == [4, 3]
    metrics = judged(TOP, sample, [tmp_path / "seed0"], tmp_path / "e", baseline=tmp_path / "baseline")
    names = [row["name"] for row in metrics["baselines"]]
    assert names == ["dense network", "best mass window", "cut on mass"]
    assert metrics["baselines"][0]["auc"]["value"] > 0.95 and metrics["auc"]["value"] < 0.75
    record = read_json(tmp_path / "e/metrics.json.prov.json")
    assert any("baseline" in one["path"] for one in record["inputs"])


def test_a_column_of_jets_that_is_not_there_is_an_error_with_the_nearest(tmp_path):
    shards = [shard(tmp_path / f"{label}.h5", label, 60) for label in (0, 1)]
    with pytest.raises(InputError) as error:
        prepare(prepare_spec(variables=["hnt"]), shards, tmp_path / "prepare")
    assert "prepare.variables" in str(error.value) and "hint" in str(error.value)


def test_a_network_of_other_variables_is_refused(sample, tmp_path):
    train(spec_for(TOP, DENSE, epochs=1), *sample, tmp_path / "baseline")
    folder = sample[0].parent.parent
    prepare(prepare_spec(), [folder / "0.h5", folder / "1.h5"], tmp_path / "prepare")
    with pytest.raises(InputError, match="other variables") as error:
        judged(TOP, [tmp_path / "prepare/dataset.h5"], [tmp_path / "baseline"], tmp_path / "e")
    assert "hint" in str(error.value)


def test_constituents_are_told_apart_and_their_masses_compared(sample, tmp_path):
    task = {"kind": "pileup", "vertex": "vertex", "charge": "charge"}
    train(spec_for(task, learning_rate=1e-2), *sample, tmp_path / "seed0")
    metrics = judged(task, sample, [tmp_path / "seed0"], tmp_path / "e")
    assert metrics["auc"]["value"] > 0.95 and metrics["classes"] == ["pileup", "hard"]
    figures = metrics["panels"][0]["figures"]
    assert figures["mass resolution, network (GeV)"] < figures["mass resolution, nothing removed (GeV)"]
    assert metrics["seeds"][0]["mass resolution, network (GeV)"] == figures["mass resolution, network (GeV)"]
    data = Dataset(sample[0])
    with h5py.File(tmp_path / "e/predictions.h5") as file:
        index = file["index"][:]
        charges = data.truth(("charge",), data.indices("test"), 16)[..., 0]
        mask = data.features(data.indices("test")).mask_BP
        assert len(index) == int(((charges == 0) & mask).sum()) and set(index) <= set(data.indices("test").tolist())
    with pytest.raises(InputError, match="something else apart"):
        judged(TOP, sample, [train_to(tmp_path / "top", sample)], tmp_path / "f", baseline=tmp_path / "seed0")


def train_to(folder, sample):
    train(spec_for(TOP, epochs=1), *sample, folder)
    return folder


def test_origins_and_vertices_are_learned_beside_the_class(sample, tmp_path):
    task = {"kind": "flavour_tagging", "signal": "top", "background": "qcd"}
    train(spec_for(task, learning_rate=1e-2, epochs=6), *sample, tmp_path / "seed0")
    metrics = judged(task, sample, [tmp_path / "seed0"], tmp_path / "e")
    origins = {row[0]: row for row in metrics["panels"][1]["rows"]}
    assert float(origins["primary"][2].split()[0]) > 90 and metrics["baselines"] == []


@pytest.mark.parametrize(("task", "key"), [("pileup", "vertex"), ("flavour_tagging", "origin")])
def test_truth_that_is_not_there_is_an_error_with_the_nearest(task, key, sample, tmp_path):
    named = {"signal": "top", "background": "qcd"} if task == "flavour_tagging" else {}
    with pytest.raises(InputError, match="learns from") as error:
        train(spec_for({"kind": task, key: "orign", **named}), *sample, tmp_path / "seed0")
    assert "origin" in str(error.value) and not (tmp_path / "seed0/model.json").exists()


def broken(sample, folder, column, value):
    """The sample with one value of a column of constituents changed, in shards of its own."""
    shards = []
    for label in (0, 1):
        path = folder / f"{label}.h5"
        path.write_bytes((sample[0].parent.parent / f"{label}.h5").read_bytes())
        with h5py.File(path, "r+") as file:
            values = file[f"constituents/{column}"][:].astype("f4" if value != int(value) else "i4")
            attributes = dict(file[f"constituents/{column}"].attrs)
            values[7] = value
            del file[f"constituents/{column}"]
            file[f"constituents/{column}"] = values
            file[f"constituents/{column}"].attrs.update(attributes)
        shards.append(path)
    prepare(prepare_spec(variables=["hint"]), shards, folder / "prepare")
    return folder / "prepare/dataset.h5", folder / "prepare/scaler.json"


@pytest.mark.parametrize(
    ("task", "column", "value"),
    [
        ("flavour_tagging", "origin", 9),
        ("flavour_tagging", "origin", -1),
        ("flavour_tagging", "origin", -100),
        ("flavour_tagging", "origin", 2.7),
        ("flavour_tagging", "vertex", -2),
        ("pileup", "vertex", -5),
        ("pileup", "charge", 0.4),
    ],
)
def test_truth_that_means_nothing_is_refused_by_training_and_evaluation(task, column, value, sample, tmp_path):
    named = {"signal": "top", "background": "qcd"} if task == "flavour_tagging" else {}
    section = {"kind": task, **named}
    damaged = broken(sample, tmp_path, column, value)
    with pytest.raises(InputError, match="means nothing") as error:
        train(spec_for(section), *damaged, tmp_path / "seed0")
    assert f"constituents/{column}" in str(error.value) and "constituent 7" in str(error.value)
    train(spec_for(section, epochs=1), *sample, tmp_path / "good")
    with pytest.raises(InputError, match="means nothing"):
        judged(section, damaged, [tmp_path / "good"], tmp_path / "e")
    assert not (tmp_path / "e/metrics.json").exists()


def test_a_network_of_another_task_is_refused(sample, tmp_path):
    flavour = {"kind": "flavour_tagging", "signal": "top", "background": "qcd"}
    train(spec_for({"kind": "pileup"}, epochs=1), *sample, tmp_path / "pileup")
    train(spec_for(flavour, epochs=1), *sample, tmp_path / "flavour")
    for section, folder in ((flavour, "pileup"), ({"kind": "pileup"}, "flavour"), (TOP, "flavour")):
        with pytest.raises(InputError, match="another task"):
            judged(section, sample, [tmp_path / folder], tmp_path / "e")


def refused(values):
    with pytest.raises(CampaignError) as caught:
        Plan(values, "c.yaml")
    return caught.value


def with_values(campaign, **sections):
    return {**copy.deepcopy(campaign), **sections}


def test_a_campaign_of_constituents_has_no_core_and_one_of_flavours_a_baseline():
    pileup, flavour = Plan(PILEUP, "c.yaml"), Plan(FLAVOUR, "c.yaml")
    assert not pileup.core and pileup.ends() == ["results/pileup/report.html"] and pileup.baseline() is None
    assert flavour.core and flavour.baseline() == "results/flavour-tagging/train/baseline"
    assert ReportSpec.model_validate_json(pileup.spec("report")).core is False
    spec = TrainSpec.model_validate_json(flavour.spec("baseline"))
    assert spec.model["kind"] == "dense" and spec.task["vertex_weight"] == spec.task["origin_weight"] == 0
    assert TrainSpec.model_validate_json(flavour.spec("train", number="0")).task["vertex_weight"] == 1.5


@pytest.mark.parametrize(
    ("campaign", "sections", "words"),
    [
        (PILEUP, {"synthesize": {"clock_ns": 4.0}}, ["synthesize", "whole jets"]),
        (PILEUP, {"model": {"kind": "dense"}, "scan": {"trials": 0}}, ["model.kind", "single constituents", "gnn"]),
        (PILEUP, {"baseline": {"kind": "dense"}}, ["baseline", "of its own"]),
        (FLAVOUR, {"baseline": {"kind": "dense", "dropout": 0}}, ["baseline.dropout", "dropout"]),
        (PILEUP, {"prepare": {"inputs": ["charge", "vertex"]}}, ["prepare.inputs", "truth", "task.vertex"]),
        (FLAVOUR, {"prepare": {"inputs": ["d0", "origin"]}}, ["prepare.inputs", "truth", "task.origin"]),
        (FLAVOUR, {"task": {**FLAVOUR["task"], "mixture": {"lihgt": 1.0}}}, ["task.mixture", "light"]),
        (FLAVOUR, {"task": {**FLAVOUR["task"], "mixture": {"b": 1.0}}}, ["task.mixture", "light"]),
        (FLAVOUR, {"task": {**FLAVOUR["task"], "mixture": {"c": float("inf")}}}, ["mixture"]),
        (FLAVOUR, {"prepare": {"variables": ["sv_mass", "label"]}}, ["variables", "label", "must not see"]),
        (FLAVOUR, {"prepare": {"variables": ["file_id"]}}, ["variables", "file_id"]),
        (FLAVOUR, {"baseline": {"kind": "dens"}}, ["baseline.kind", "dense"]),
        (FLAVOUR, {"baseline": {"kind": "dense", "hiden": 3}}, ["hiden", "hidden"]),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(campaign, sections, words):
    told = str(refused(with_values(campaign, **sections)))
    assert all(word in told for word in words), told


def test_what_the_evaluation_alone_reads_trains_nothing_anew():
    other = with_values(
        FLAVOUR, task={**FLAVOUR["task"], "mixture": {"light": 0.5, "c": 0.5}, "variables": ["sv_mass"]}
    )
    one, two = Plan(FLAVOUR, "c.yaml"), Plan(other, "c.yaml")
    for stage, names in (("train", {"number": "0"}), ("baseline", {}), ("scan", {})):
        assert one.spec(stage, **names) == two.spec(stage, **names)
    assert one.spec("evaluate") != two.spec("evaluate")
    heavier = Plan(with_values(FLAVOUR, task={**FLAVOUR["task"], "vertex_weight": 3.0}), "c.yaml")
    assert heavier.spec("train", number="0") != one.spec("train", number="0")
    assert heavier.spec("baseline") == one.spec("baseline")


def test_one_sample_will_do_where_constituents_are_told_apart():
    values = with_values(PILEUP, samples={"qcd": PILEUP["samples"]["qcd"]})
    assert parse_campaign(values, "c.yaml").classes == ["qcd"]


@pytest.mark.parametrize("value", ["{", '["hint"]x', "5"])
def test_an_index_with_damaged_variables_is_no_index(value, sample, tmp_path):
    path = tmp_path / "dataset.h5"
    path.write_bytes(sample[0].read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["variables"] = value
    with pytest.raises((ContractError, InputError)):
        Dataset(path)
