"""Magnetic fields: the field of coils against formulas, the samples, the harmonic network, and what the page shows."""

import h5py
import numpy as np
import pytest
import torch
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import fieldtoys
from bunchtrain.config.magnet import Magnet
from bunchtrain.config.physics import Physics
from bunchtrain.config.samples import Generate
from bunchtrain.config.surrogates import check_field
from bunchtrain.convert.inspect import inspect
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.evaluate.run import evaluate
from bunchtrain.events.layout import check
from bunchtrain.files import read_json
from bunchtrain.maxwell import residuals
from bunchtrain.models._evidence import posterior
from bunchtrain.sampling import Surrogate
from bunchtrain.simulate import coils, field
from bunchtrain.simulate.run import simulate
from bunchtrain.train.run import train


def turn(angles):
    """A rotation by three angles."""
    (a, b, c) = ((np.cos(one), np.sin(one)) for one in angles)
    about_z = np.array([[a[0], -a[1], 0], [a[1], a[0], 0], [0, 0, 1]])
    about_y = np.array([[b[0], 0, b[1]], [0, 1, 0], [-b[1], 0, b[0]]])
    about_x = np.array([[1, 0, 0], [0, c[0], -c[1]], [0, c[1], c[0]]])
    return about_z @ about_y @ about_x


def test_the_field_on_the_axis_of_a_loop_is_the_known_one():
    """B = μ0 I R² / 2 (R² + z²)^(3/2) on the axis of a circle: 2 π R² / (R² + z²)^(3/2) in units of μ0 I / 4 π."""
    z = np.array([-900.0, -200.0, 0.0, 50.0, 3000.0])
    wires = coils.coil(np.zeros(3), np.array([0, 0, 1.0]), 500.0, 4000)
    found = coils.field(wires, np.stack([0 * z, 0 * z, z], 1))
    np.testing.assert_allclose(found[:, 2], 2 * np.pi * 500**2 / (500**2 + z**2) ** 1.5, rtol=2e-6)
    assert np.abs(found[:, :2]).max() < 1e-12


def test_the_field_of_a_square_is_the_known_one():
    """In the middle of a square of side a: 8 √2 / a in units of μ0 I / 4 π."""
    wires = coils.coil(np.zeros(3), np.array([0, 0, 1.0]), 100.0, 4)
    side = 100 * np.sqrt(2)
    np.testing.assert_allclose(coils.field(wires, np.zeros((1, 3))), [[0, 0, 8 * np.sqrt(2) / side]], atol=1e-15)


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_magnet_that_is_turned_has_its_field_turned(angles, seed):
    wires = field.magnet(Magnet(**fieldtoys.SMALL), np.random.default_rng(seed))
    places = np.random.default_rng(seed).uniform(-200, 200, (5, 3))
    turned = turn(angles)
    moved = coils.Wires(wires.starts_S3 @ turned.T, wires.ends_S3 @ turned.T, wires.currents_S)
    np.testing.assert_allclose(coils.field(moved, places @ turned.T), coils.field(wires, places) @ turned.T, rtol=1e-9)


def test_the_field_has_neither_divergence_nor_curl_nor_symmetry():
    wires, step = field.magnet(Magnet(), np.random.default_rng(1)), 1.0
    places = field.places(Magnet(), 20, np.random.default_rng(2))
    moved = [coils.field(wires, places + sign * step * np.eye(3)[axis]) for axis in range(3) for sign in (1, -1)]
    slopes = np.stack([(moved[2 * axis] - moved[2 * axis + 1]) / (2 * step) for axis in range(3)], 2)
    scale = np.abs(slopes).max()
    assert np.abs(np.trace(slopes, axis1=1, axis2=2)).max() < 1e-4 * scale
    assert np.abs(slopes - slopes.transpose(0, 2, 1)).max() < 1e-4 * scale
    mirrored = coils.field(wires, places * [1, 1, -1]) * [-1, -1, 1]
    assert np.linalg.norm(coils.field(wires, places) - mirrored, axis=1).max() > 0.01 * Magnet().central_field
    assert np.linalg.norm(coils.field(wires, np.zeros((1, 3)))) == pytest.approx(2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"probe_radius": 800}, "the volume of the probes contains a coil"),
        ({"probe_radius": 700, "shift": 20}, "the volume of the probes contains a coil"),
        ({"segments": 4}, "the volume of the probes contains a coil"),
        ({"probe_length": 6000}, "probe_length is more than twice the length"),
        ({"noise": -1}, "greater than or equal to 0"),
    ],
)
def test_a_magnet_that_makes_no_sense_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        Magnet(**changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of probes."""
    path = tmp_path_factory.mktemp("probes") / "0000.root"
    simulate(fieldtoys.simulate_spec(), path)
    return path


def arrays(path):
    with uproot.open(path) as file:
        return file["responses"].arrays(library="np")


def test_the_file_holds_probes_with_their_noise(made):
    found = arrays(made)
    assert found["par"].shape == found["quantities"].shape == found["true"].shape == (200, 3)
    off = (found["quantities"].astype("f8") - found["true"]) / 2e-4
    assert abs(off.mean()) < 0.2 and 0.9 < off.std() < 1.1
    assert np.hypot(*found["par"][:, :2].T).max() <= 300 and np.abs(found["par"][:, 2]).max() <= 600
    assert found["event"].tolist() == list(range(200))


def test_the_same_spec_gives_the_same_bytes_and_another_shard_other_probes_of_the_same_magnet(made, tmp_path):
    simulate(fieldtoys.simulate_spec(), tmp_path / "again.root")
    assert (tmp_path / "again.root").read_bytes() == made.read_bytes()
    simulate(fieldtoys.simulate_spec(shard=1), tmp_path / "other.root")
    assert not np.isin(arrays(tmp_path / "other.root")["par"], arrays(made)["par"]).any()
    one, other = (
        read_json(path.with_name(path.name + ".prov.json"))["facts"] for path in (made, tmp_path / "other.root")
    )
    assert one["settings"] == other["settings"] and one["run_number"] + 1 == other["run_number"]


def test_the_format_reads_it_with_its_defaults(made, tmp_path, capsys):
    assert inspect(str(made), tmp_path / "m.yaml") == 0
    assert "Format: response" in capsys.readouterr().out
    out = fieldtoys.converted(made, tmp_path)
    assert check(out) == 200
    with h5py.File(out) as file:
        assert file.attrs["rows"] == "responses"
        np.testing.assert_array_equal(file["quantities/value"][:].reshape(-1, 3), arrays(made)["quantities"])
        np.testing.assert_array_equal(file["quantities/index"][:3], [0, 1, 2])
        np.testing.assert_array_equal(file["responses/z"][:], arrays(made)["par"][:, 2])
        np.testing.assert_array_equal(file["responses/true_y"][:], arrays(made)["true"][:, 1])


def written(path, **branches):
    with uproot.recreate(path) as file:
        file.mktree("t", {name: np.dtype((one.dtype, one.shape[1:])) for name, one in branches.items()}).extend(
            branches
        )
    return path


def test_other_trees_are_mapped(tmp_path):
    random = np.random.default_rng(0)
    branches = {"a": random.random(9), "targets": random.random((9, 2, 2)), "evt": np.arange(9)}
    path = written(tmp_path / "a.root", **branches)
    options = {"tree": "t", "quantities": "targets", "event": None, "columns": {"responses": {"a": "2 * a"}}}
    with h5py.File(fieldtoys.converted(path, tmp_path, **options)) as file:
        np.testing.assert_allclose(file["quantities/value"][:].reshape(9, 4), branches["targets"].reshape(9, 4))
        np.testing.assert_allclose(file["responses/a"][:], 2 * branches["a"])
    options |= {"quantities": ["evt", "a"]}
    with h5py.File(fieldtoys.converted(path, tmp_path, **options)) as file:
        np.testing.assert_allclose(file["quantities/value"][1::2], branches["a"])


def test_quantities_that_are_no_numbers_are_refused(tmp_path):
    bad = np.ones((4, 3))
    bad[2, 1] = np.nan
    path = written(tmp_path / "a.root", quantities=bad, a=np.ones(4))
    with pytest.raises(InputError) as caught:
        fieldtoys.converted(path, tmp_path, tree="t", event=None, columns={})
    assert "entry 2" in str(caught.value) and caught.value.details["key"] == "quantities"


def test_rows_that_differ_in_their_quantities_are_refused(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("t", {"quantities": "var * float64"}).extend({"quantities": [[1.0, 2.0], [1.0]]})
    with pytest.raises(InputError, match="a row has another number of quantities"):
        fieldtoys.converted(path, tmp_path, tree="t", event=None, columns={})


def test_a_field_that_has_a_curl_is_seen_to():
    features = torch.randn(5, 3, dtype=torch.float64)
    divergence, curl = residuals(lambda x: torch.stack([-x[:, 1], x[:, 0], 3 * x[:, 2]], 1), features, (2, 2, 2))
    torch.testing.assert_close(divergence, torch.full((5,), 1.5, dtype=torch.float64))
    torch.testing.assert_close(curl, torch.tensor([[0, 0, 1.0]], dtype=torch.float64).expand(5, 3))


def test_the_evidence_finds_the_noise_and_the_posterior_is_the_exact_one():
    random = torch.Generator().manual_seed(0)
    design = torch.randn(400, 5, generator=random, dtype=torch.float64)
    data = design @ torch.tensor([1.0, -2, 0.5, 0, 1], dtype=torch.float64)
    data = data + 0.1 * torch.randn(400, generator=random, dtype=torch.float64)
    found = posterior(design.T @ design, design.T @ data, float(data @ data), 400, (0.1, 1.0, 10.0), (0.01, 0.1, 1.0))
    assert (found.prior, found.noise) == (1.0, 0.1)
    covariance = torch.linalg.inv(design.T @ design / 0.01 + torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(found.root_PP @ found.root_PP.T, covariance)
    torch.testing.assert_close(found.mean_P, covariance @ design.T @ data / 0.01)


@pytest.mark.parametrize(
    ("model", "how", "parameters", "quantities", "key", "told"),
    [
        ("regression", "construction", {}, 3, "physics.maxwell", "harmonic"),
        ("flow", "penalty", {}, 3, "physics.maxwell", "regression"),
        ("harmonic", "none", {}, 3, "physics.maxwell", "construction"),
        ("harmonic", "construction", {"t": "linear"}, 3, "prepare.parameters", "three columns"),
        ("harmonic", "construction", {"x": "log"}, 3, "prepare.parameters", "three columns"),
        ("harmonic", "construction", {}, 4, "quantities", "three components"),
    ],
)
def test_what_cannot_be_a_field_is_told(model, how, parameters, quantities, key, told):
    with pytest.raises(CampaignError) as caught:
        check_field(Physics(maxwell=how), model, fieldtoys.PARAMETERS | parameters, quantities, "campaign.yaml")
    assert caught.value.details["key"] == key and told in str(caught.value)


def test_a_field_has_no_total():
    with pytest.raises(ValidationError, match="a field has no `total`"):
        Physics(maxwell="penalty", total="x")
    assert Physics(maxwell="construction").loose.maxwell == "none"


def test_a_shard_takes_the_number_of_its_probes():
    assert Generate(process="field", probes_per_shard=7).rows_per_shard == 7
    with pytest.raises(ValidationError, match="takes `probes_per_shard`, not `jets_per_shard`"):
        Generate(process="field", jets_per_shard=7)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Index and scaler of probes."""
    return fieldtoys.toy_dataset(tmp_path_factory.mktemp("field"), 400)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A harmonic network, a free one and one with a penalty."""
    folder, free = tmp_path_factory.mktemp("trained"), {"kind": "regression", "hidden": 16, "dropout": 0.01}
    asked = {"harmonic": ({"kind": "harmonic", "waves": 128}, "construction"), "free": (free, "none")}
    asked |= {"penalty": (free, "penalty")}
    for name, (model, how) in asked.items():
        train(fieldtoys.train_spec(model, {"maxwell": how}, epochs=20, learning_rate=3e-3), *data, folder / name)
    return folder


def judged(data, out, folders, baseline=None, **task):
    evaluate(fieldtoys.evaluate_spec(**task), data[0], folders, out, baseline=baseline)
    metrics = read_json(out / "metrics.json")
    return metrics["seeds"], {panel["title"]: panel for panel in metrics["panels"]}


def test_the_evaluation_says_how_near_the_field_is_and_whether_it_is_one(data, trained, tmp_path):
    seeds, panels = judged(data, tmp_path, [trained / "harmonic", trained / "harmonic"], trained / "free")
    assert seeds[0]["field error, ppm"] < 300 and seeds[0]["times below the other network"] > 5
    assert seeds[0]["residual"] < 1e-12
    sources = {row[0]: float(row[1]) for row in panels["Is it a magnetic field?"]["rows"]}
    assert sources["harmonic"] < 1e-12 and sources["free"] > 1e-3
    near = {row[0] for row in panels["How near is the field?"]["rows"]}
    assert near == {"harmonic, harmonic", "free, regression", "thin-plate spline", "quintic spline"}
    known = panels["Does it know how far it knows?"]
    assert [row[0] for row in known["rows"]][-1] == "mean of 2 seeds" and 0.3 < known["figures"]["width of pulls"] < 4
    assert "Is the declared physics kept?" not in panels


def test_without_the_true_field_probes_judge(data, trained, tmp_path):
    seeds, panels = judged(data, tmp_path, [trained / "harmonic"], true_x=None)
    assert "what probes found" in panels["How near is the field?"]["text"] and seeds[0]["field error, ppm"] > 50


def test_a_penalty_makes_less_of_what_must_not_be(data, trained, tmp_path):
    free, penalty = (judged(data, tmp_path / name, [trained / name])[0][0]["residual"] for name in ("free", "penalty"))
    assert penalty < 0.7 * free


def test_a_trained_field_is_the_same_from_disk_and_far_places_are_outside(trained):
    surrogate = Surrogate(trained / "harmonic")
    assert surrogate.parameters == ["x", "y", "z"]
    assert surrogate.outside(np.array([[0.0, 0, 0], [0, 0, 900]])).tolist() == [[False] * 3, [False, False, True]]
    places = np.random.default_rng(0).uniform(-100, 100, (5, 3))
    np.testing.assert_array_equal(surrogate.draw(places), Surrogate(trained / "harmonic").draw(places))
    with pytest.raises(InputError, match="a parameter has a value that means nothing"):
        surrogate.draw(np.full((1, 3), np.nan))
