"""Surrogates of showers from preparation to samples, on toys; and what they refuse."""

import json

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import showertoys
from bunchtrain.cli import app
from bunchtrain.config.specs import EvaluateSpec, PrepareSpec
from bunchtrain.errors import CampaignError, ContractError, InputError
from bunchtrain.evaluate import twosample
from bunchtrain.evaluate.run import evaluate
from bunchtrain.evaluate.showershapes import Cells, layer_energies, observables
from bunchtrain.events.reader import Dataset
from bunchtrain.events.responses import ParameterScaler, opened
from bunchtrain.prepare.run import prepare
from bunchtrain.sample import Outside
from bunchtrain.sample.run import sample
from bunchtrain.sampling import Surrogate
from bunchtrain.train.run import train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return showertoys.toy_dataset(tmp_path_factory.mktemp("showers"), 1500)


@pytest.fixture(scope="module")
def flow(data, tmp_path_factory):
    """A trained flow."""
    out = tmp_path_factory.mktemp("flow")
    train(
        showertoys.train_spec({"kind": "flow", "hidden": 64, "transforms": 2}, epochs=20, learning_rate=5e-3),
        *data,
        out,
    )
    return out


@pytest.fixture(scope="module")
def regression(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("regression")
    loose = {"total": "energy"}
    train(showertoys.train_spec({"kind": "regression", "hidden": 32}, loose, epochs=6), *data, out)
    return out


def judged(data, trainings, out, baseline=None, **task):
    settings = {"passes": 5, "bootstrap": 10}
    spec = EvaluateSpec(
        version=1,
        seed=1,
        task={"kind": "calorimeter", "threshold": 0.01, "energy": "energy", **task},
        settings=settings,
    )
    evaluate(spec, data[0], trainings, out, baseline=baseline)
    return json.loads((out / "metrics.json").read_text())


def test_the_index_says_what_follows_from_what(data):
    rows = opened("showers", data[0])
    assert rows.parameters == {"energy": "log", "phi": "angle", "x": "linear"} and rows.beside == ["lost"]
    chosen = rows.indices("train")[[5, 0, 300]]
    known, energy = rows.known(chosen), rows.column("energy", chosen)
    assert known.shape == (3, 49) and known.sum(1) == pytest.approx(energy, rel=1e-6)
    assert rows.groups("layer") == [0] * 16 + [1] * 16 + [2] * 16 + [3]
    assert rows.quantities[0] == "cells[0]" and rows.quantities[-1] == "lost"


def test_an_index_of_showers_is_none_of_jets(data):
    with pytest.raises(ContractError, match="holds no jets"):
        Dataset(data[0])


def test_features_are_scaled_and_angles_turn(data):
    rows, scaler = opened("showers", data[0]), ParameterScaler.load(data[1])
    features = scaler(rows.given(rows.indices("train")))
    assert (
        features.shape[1] == 4
        and np.abs(features.mean(0)).max() < 1e-4
        and features.std(0) == pytest.approx(1, abs=1e-3)
    )
    one = np.array([[5.0, 3.0, 0.2]])
    assert scaler(one) == pytest.approx(scaler(one + np.array([0, 2 * np.pi, 0])), abs=1e-5)
    assert not scaler.outside(one).any()
    assert scaler.outside(np.array([[50.0, 100.0, 0.2]])).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({}, CampaignError, "no parameter of the showers"),
        ({"parameters": {"enrgy": "log"}}, InputError, "no such column of showers"),
        ({"parameters": {"x": "log"}}, InputError, "means nothing"),
        ({"parameters": {"x": "linear"}, "quantities": ["gone"]}, InputError, "no such column of showers"),
        ({"parameters": {"x": "linear"}, "variables": ["x"]}, CampaignError, "the rows are showers"),
    ],
)
def test_a_preparation_that_makes_no_sense_is_refused(settings, error, told, tmp_path):
    shard = showertoys.toy_shard(tmp_path / "a.h5", 40, 0)
    with pytest.raises(error, match=told):
        prepare(PrepareSpec(version=1, classes=["shower"], seed=1, settings=settings), [shard], tmp_path / "out")
    assert not (tmp_path / "out/scaler.json").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_cells_that_are_no_numbers_are_refused(bad, tmp_path):
    shard = showertoys.toy_shard(tmp_path / "a.h5", 60, 0)
    with h5py.File(shard, "r+") as file:
        file["cells/energy"][7::48] = bad
    settings = {"parameters": showertoys.PARAMETERS}
    with pytest.raises(InputError, match="a quantity is no number"):
        prepare(PrepareSpec(version=1, classes=["shower"], seed=1, settings=settings), [shard], tmp_path / "out")


def test_a_total_that_is_not_above_zero_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="total is not above zero"):
        train(showertoys.train_spec({"kind": "cvae"}, {"total": "x"}), *data, tmp_path)


def test_a_flow_draws_showers_like_the_true_ones(data, flow, tmp_path):
    metrics = judged(data, [flow], tmp_path, noise="energy")
    apart, figures = metrics["panels"][0], metrics["seeds"][0]
    assert [row[0].split(", ")[1] for row in apart["rows"]] == ["deposits", "read out"]
    assert apart["figures"]["two-sample AUC, deposits"] < 0.7 and figures["worst layer energy, %"] < 5
    assert figures["two-sample AUC"] < 0.58  # such noise hides what differences there are
    physics = next(panel for panel in metrics["panels"] if "physics" in panel["title"])
    assert physics["figures"][f"missed total, {flow.name}"] < 1e-6
    spread = next(panel for panel in metrics["panels"] if "spread" in panel["title"])
    assert spread["figures"]["coverage of 68 %"] == pytest.approx(0.68, abs=0.06)


def test_what_is_not_like_the_truth_is_noticed(data, flow, regression, tmp_path):
    metrics = judged(data, [regression], tmp_path, baseline=flow)
    assert metrics["seeds"][0]["two-sample AUC"] > 0.9
    parts = next(panel for panel in metrics["panels"] if "made of" in panel["title"])
    assert 0 < parts["figures"]["unknown"] < parts["figures"]["noise"]
    assert len(metrics["panels"][0]["rows"]) == 2


def test_a_network_for_other_rows_is_refused(data, flow, tmp_path):
    other = showertoys.toy_shard(tmp_path / "a.h5", 60, 5)
    settings = {"parameters": {"x": "linear"}, "quantities": ["lost"]}
    prepare(PrepareSpec(version=1, classes=["shower"], seed=1, settings=settings), [other], tmp_path / "other")
    with pytest.raises(InputError, match="other parameters"):
        judged((tmp_path / "other/dataset.h5", None), [flow], tmp_path)


@pytest.mark.parametrize("kind", ["network", "trees"])
def test_classifiers_find_a_difference_and_none_where_there_is_none(kind):
    random = np.random.default_rng(1)
    true, same, other = (random.normal(0, 1, (800, 5)) for _ in range(3))
    other[:, 2] *= 2
    parameters, weights = random.normal(0, 1, (800, 2)), np.ones(800)
    found = {
        name: twosample.apart({kind: (true, one)}, parameters, weights, 1)[kind]
        for name, one in (("same", same), ("other", other))
    }
    assert abs(found["same"].auc - 0.5) < 4 * found["same"].error
    assert found["other"].auc > 0.6 and 0.005 < found["other"].error < 0.03


def test_observables_of_a_shower_by_hand():
    cells = Cells(*(one.ravel() for one in np.indices((2, 2, 2))))
    energies = np.array([[1.0, 0, 0, 0, 0, 0, 0, 3.0], [0.5, 0.5, 0, 0, 0, 0, 0, -0.25]])
    found = observables(energies, cells, 0.4)
    assert found["energy"].tolist() == [4.0, 0.75] and found["cells hit"].tolist() == [2.0, 2.0]
    assert found["depth"].tolist() == [0.75, 0.0] and found["column"].tolist() == [0.75, 0.5]
    assert found["width in depth"][0] == pytest.approx(np.sqrt(0.75 - 0.75**2)) and found["largest share"][0] == 0.75
    assert layer_energies(energies, cells).tolist() == [[1.0, 3.0], [1.0, -0.25]]


def asked(path, rows=20, **changes):
    random = np.random.default_rng(3)
    values = {
        "energy": random.uniform(2, 18, rows),
        "x": random.uniform(-0.9, 0.9, rows),
        "phi": random.uniform(-3, 3, rows),
    }
    with h5py.File(path, "w") as file:
        for name, one in {**values, **changes}.items():
            if one is not None:
                file[name] = one
    return path


def test_a_file_of_parameters_becomes_a_file_of_quantities(flow, tmp_path):
    path = asked(tmp_path / "p.h5", noise=np.full(20, 0.01), stochastic_term=np.full(20, 0.1))
    command = ["sample", str(flow), "--parameters", str(path), "--out", str(tmp_path / "o.h5"), "--seed", "4"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "20 rows" in done.output
    with h5py.File(tmp_path / "o.h5") as file, h5py.File(path) as given:
        drawn, energy = file["quantities"][:], given["energy"][:]
        assert list(file.attrs["quantities"])[-1] == "lost" and not file["outside"][:].any()
        assert drawn.sum(1) == pytest.approx(energy, rel=1e-6) and (drawn >= 0).all()
        assert file["cells"].shape == (20, 48) and (file["cells"][:] < 0).any()
        assert file["parameters/energy"][:] == pytest.approx(energy)
    surrogate = Surrogate(flow)
    given = np.stack([h5py.File(path)[name][:] for name in surrogate.parameters], -1)
    assert surrogate.draw(given, seed=4) == pytest.approx(drawn, rel=1e-6)
    assert surrogate.draw(given, seed=5) != pytest.approx(drawn, rel=1e-3)
    assert json.loads((tmp_path / "o.h5.prov.json").read_text())["stage"] == "sample"


def test_an_extrapolation_is_refused_or_flagged(flow, tmp_path):
    energy = np.full(20, 5.0)
    energy[3] = 500.0
    path = asked(tmp_path / "p.h5", energy=energy)
    with pytest.raises(InputError, match="outside of what the surrogate has learned") as caught:
        sample(flow, path, tmp_path / "o.h5", seed=1)
    assert caught.value.details["key"] == "energy" and "500 in row 3; 1 such" in caught.value.details["found"]
    assert not (tmp_path / "o.h5").exists()
    assert sample(flow, path, tmp_path / "o.h5", seed=1, outside=Outside.FLAG) == 20
    with h5py.File(tmp_path / "o.h5") as file:
        assert np.flatnonzero(file["outside"][:]).tolist() == [3]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"energy": None}, "a parameter is missing"),
        ({"energy": np.full(20, -1.0)}, "means nothing"),
        ({"energy": np.full(20, np.nan)}, "means nothing"),
        ({"energy": np.zeros(20)}, "means nothing"),
        ({"x": np.full(19, 0.1)}, "differ in length"),
        ({"x": np.zeros((20, 2))}, "no list of numbers"),
        ({"x": np.array([b"a"] * 20)}, "no list of numbers"),
        ({"noise": np.full(20, -1.0), "stochastic_term": np.full(20, 0.1)}, "readout means nothing"),
    ],
)
def test_bad_parameters_are_told_and_leave_no_file(changes, told, flow, tmp_path):
    with pytest.raises(InputError, match=told):
        sample(flow, asked(tmp_path / "p.h5", **changes), tmp_path / "o.h5", seed=1)
    assert not (tmp_path / "o.h5").exists()


def test_what_is_no_surrogate_or_no_file_is_told(flow, toy, tmp_path):
    import toys

    train(toys.train_spec(epochs=1), *toy, tmp_path / "tagger")
    with pytest.raises(InputError, match="no surrogate"):
        Surrogate(tmp_path / "tagger")
    (tmp_path / "p.h5").write_text("no HDF5")
    with pytest.raises(InputError, match="cannot be read"):
        sample(flow, tmp_path / "p.h5", tmp_path / "o.h5", seed=1)


@pytest.mark.parametrize("kind", [pytest.param("flow", marks=pytest.mark.slow), "regression"])
def test_a_graph_computes_what_the_network_computes(kind, request, tmp_path):
    import onnxruntime

    folder = request.getfixturevalue(kind)
    done = CliRunner().invoke(app, ["onnx", str(folder), "--out", str(tmp_path / "a.onnx")])
    assert done.exit_code == 0, done.output
    session = onnxruntime.InferenceSession((tmp_path / "a.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    surrogate = Surrogate(folder)
    given = np.array([[5.0, 0.3, 0.2], [12.0, -3.0, -0.9]])
    normal = np.random.default_rng(1).normal(size=(2, surrogate.model.chances)).astype("f4")
    found = session.run(None, {"parameters": given.astype("f4"), "normal": normal})
    features, totals = surrogate.inputs(given)
    with torch.no_grad():
        answer = surrogate.model.drawn if kind == "flow" else surrogate.model.answer
        expected = answer(features, totals, torch.from_numpy(normal)).numpy()
    assert found[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    if kind == "flow":
        sums, shares, spots = found
        assert sums.sum(1) == pytest.approx(given[:, 0], rel=1e-5) and (spots >= 1).all()
        assert shares[:, :16].sum(1) == pytest.approx(1, rel=1e-4)
    about = {one.key: one.value for one in onnx_properties(tmp_path / "a.onnx")}
    assert json.loads(about["parameters"]) == surrogate.parameters


def onnx_properties(path):
    import onnx

    return onnx.load(path).metadata_props


def test_parameters_of_another_shape_are_refused(flow):
    surrogate = Surrogate(flow)
    with pytest.raises(InputError, match="another shape"):
        surrogate.draw(np.ones((4, 2)))
    assert surrogate.draw(np.ones((0, 3))).shape == (0, 49)


def test_a_finished_training_is_left_and_another_physics_is_another_training(data, tmp_path, capsys):
    spec = showertoys.train_spec({"kind": "cvae", "hidden": 8}, epochs=1)
    train(spec, *data, tmp_path)
    train(spec, *data, tmp_path)
    assert "this training is finished" in capsys.readouterr().out
    train(spec.model_copy(update={"physics": spec.physics.loose}), *data, tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["physics"]["conserved"] == "none"
    assert torch.isfinite(torch.tensor(Surrogate(tmp_path).draw(np.array([[5.0, 0.1, 0.2]])))).all()
