"""Further columns of constituents that the network sees: `prepare.inputs`."""

import json

import numpy as np
import pytest

from bunchtrain.config.prepare import Prepare
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import InputError
from bunchtrain.evaluate.run import evaluate
from bunchtrain.events.features import NODES
from bunchtrain.events.layout import Column
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.events.writer import write_events
from bunchtrain.prepare.run import prepare
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.run import train
from toys import CLASSES, as_events, prepare_spec, toy_jets, toy_shard, train_spec

TELLING = {"charge": Column("charge", "i4", "1", "electric charge", "q"), "d0": Column("d0", "f4", "mm", "", "d0")}


def shard(path, label, telling=True, jets=200, **dtypes):
    """Jets whose momenta say nothing of their class: it is in the sign of d0 alone."""
    columns, constituents, counts = toy_jets(0, jets, 10 + label)
    columns["label"][:] = label
    random = np.random.default_rng(label)
    total = int(counts.sum())
    if telling:
        constituents["charge"] = random.integers(-1, 2, total).astype(dtypes.get("charge", "i4"))
        constituents["d0"] = random.normal(3 if label else -3, 1, total).astype("f4")
    source = {"path": f"{label}.root", "sha256": f"{label}"}
    attributes = {"sample": CLASSES[label], "classes": json.dumps(CLASSES), "source_files": json.dumps([source])}
    layout = {f"constituents/{name}": column for name, column in TELLING.items()} if telling else {}
    write_events(path, as_events(columns, constituents, counts), attributes=attributes, layout=layout)
    return path


@pytest.fixture
def shards(tmp_path):
    return [shard(tmp_path / f"{label}.h5", label) for label in (0, 1)]


def test_networks_see_the_columns_that_a_campaign_names(shards, tmp_path):
    aucs = {}
    for inputs in ([], ["charge", "d0"]):
        out = tmp_path / ("with" if inputs else "without")
        prepare(prepare_spec(inputs=inputs), shards, out)
        data, scaler = Dataset(out / "dataset.h5"), Scaler.load(out / "scaler.json")
        assert data.nodes == [*NODES, *inputs] and scaler.inputs == inputs
        train(train_spec(epochs=12, learning_rate=1e-2), out / "dataset.h5", out / "scaler.json", out / "seed0")
        spec = EvaluateSpec(version=1, seed=1, task=train_spec().task, settings={"passes": 4})
        evaluate(spec, out / "dataset.h5", [out / "seed0"], out / "evaluate")
        aucs[bool(inputs)] = json.loads((out / "evaluate/metrics.json").read_text())["auc"]["value"]
    assert aucs[True] > 0.99 and aucs[False] < 0.75
    features = scaler(data.features(data.indices("train")))
    rows = features.nodes_BPF[features.mask_BP][:, -2:]
    np.testing.assert_allclose([rows.mean(0), rows.std(0)], [[0, 0], [1, 1]], atol=1e-3)
    assert (features.nodes_BPF[~features.mask_BP] == 0).all()
    first = data.features(np.arange(1)).nodes_BPF[0]
    charge, d0 = (data.padded([f"constituents/{name}"], np.arange(1), 16)[0][0, :, 0] for name in ("charge", "d0"))
    np.testing.assert_array_equal(first[:, -2:], np.stack([charge, d0], -1))


def test_a_network_of_other_inputs_is_refused(shards, tmp_path):
    for name, inputs in (("plain", []), ("more", ["d0"])):
        prepare(prepare_spec(inputs=inputs), shards, tmp_path / name)
    plain, more = (Dataset(tmp_path / name / "dataset.h5") for name in ("plain", "more"))
    with pytest.raises(InputError, match="other inputs"):
        BatchSource(more, Scaler.load(tmp_path / "plain/scaler.json"), np.arange(4))
    train(train_spec(epochs=1), plain.path, tmp_path / "plain/scaler.json", tmp_path / "seed0")
    spec = EvaluateSpec(version=1, seed=1, task=train_spec().task, settings={"passes": 2})
    with pytest.raises(InputError, match="other inputs") as error:
        evaluate(spec, more.path, [tmp_path / "seed0"], tmp_path / "evaluate")
    assert "d0" in str(error.value) and not (tmp_path / "evaluate/metrics.json").exists()


def test_a_column_that_a_shard_lacks_is_an_error_with_the_nearest(shards, tmp_path):
    with pytest.raises(InputError, match="d0") as error:
        prepare(prepare_spec(inputs=["d00"]), shards, tmp_path / "out")
    assert "prepare.inputs" in str(error.value) and not (tmp_path / "out/dataset.h5").exists()
    mixed = [shards[0], toy_shard(tmp_path / "bare.h5", 1, 200, 1)]
    with pytest.raises(InputError, match=r"bare\.h5"):
        prepare(prepare_spec(inputs=["d0"]), mixed, tmp_path / "out")


def test_a_column_of_two_precisions_is_an_error(shards, tmp_path, monkeypatch):
    monkeypatch.setitem(TELLING, "charge", Column("charge", "f4", "1", "", "q"))
    other = shard(tmp_path / "other.h5", 1, charge="f4")
    with pytest.raises(InputError, match="precision"):
        prepare(prepare_spec(inputs=["charge"]), [shards[0], other], tmp_path / "out")


@pytest.mark.parametrize("inputs", [["d0", "d0"], ["a b"], ["offsets"], [""], "d0", ["x" * 65]])
def test_what_is_no_list_of_columns_is_refused(inputs):
    with pytest.raises(ValueError, match="inputs"):
        Prepare(inputs=inputs)


@pytest.mark.parametrize("inputs", [3, [3], ["d0"], None])
def test_a_scaler_whose_inputs_are_damaged_is_refused(shards, tmp_path, inputs):
    prepare(prepare_spec(), shards, tmp_path / "out")
    path = tmp_path / "out/scaler.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "inputs": inputs}))
    with pytest.raises(InputError, match="scaler"):
        Scaler.load(path)
