"""Folds, even and odd, spectra made equal, robust scaling: what a campaign may ask of `prepare`."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain.config.prepare import Reweight
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.layout import Column
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Moments, Quantiles, Scaler
from bunchtrain.events.splits import assign_folds, assign_parity, event_hash
from bunchtrain.events.writer import write_events
from bunchtrain.prepare.run import fit_scaler, prepare
from bunchtrain.prepare.weights import kinematic
from toys import CLASSES, as_events, prepare_spec, toy_jets, toy_shard

TRAIN, VALIDATION, TEST = range(3)


def hashes(count):
    return event_hash("a", np.ones(count, "u8"), np.arange(count, dtype="u8"))


@given(folds=st.integers(3, 12), count=st.integers(0, 300))
def test_over_all_folds_every_event_is_tested_and_validated_once(folds, count):
    splits = np.array([assign_folds(hashes(count), folds, fold) for fold in range(folds)])
    assert (np.sum(splits == TEST, axis=0) == 1).all() and (np.sum(splits == VALIDATION, axis=0) == 1).all()


def test_folds_are_of_about_the_same_size():
    split = assign_folds(hashes(50_000), 5, 2)
    assert np.abs(np.bincount(split) / 50_000 - [0.6, 0.2, 0.2]).max() < 0.01


def test_even_events_train_and_odd_ones_test():
    events = np.arange(20_000, dtype="u8")
    split = assign_parity(hashes(20_000), events, 0.1)
    assert (split[1::2] == TEST).all() and (split[::2] != TEST).all()
    assert abs(np.mean(split[::2] == VALIDATION) - 0.1) < 0.01


@pytest.mark.parametrize("split", [{"scheme": "folds", "folds": 4, "fold": 3}, {"scheme": "even_odd"}])
def test_prepare_splits_as_the_campaign_says(tmp_path, split):
    shards = [toy_shard(tmp_path / f"{label}.h5", label, 400, 1) for label in (0, 1)]
    for shard in shards:
        with h5py.File(shard, "r+") as file:
            file["jets/event_number"].attrs["source_branch"] = "event"
    prepare(prepare_spec(split=split), shards, tmp_path / "out")
    data = Dataset(tmp_path / "out/dataset.h5")
    found, events = data.column("split"), data.column("event_number")
    assert set(found) == {TRAIN, VALIDATION, TEST}
    if split["scheme"] == "even_odd":
        np.testing.assert_array_equal(found == TEST, events % 2 == 1)
    assert json.loads((tmp_path / "out/summary.json").read_text())["scheme"] == split["scheme"]


def spectrum(pt, eta, weights):
    return np.histogram2d(pt, np.abs(eta), bins=([0, 50, 100, 400], [0, 0.5, 2]), weights=weights)[0]


def sample(seed=0, jets=6000):
    random = np.random.default_rng(seed)
    label = np.repeat([0, 1], jets // 2).astype("i4")
    pt = np.where(label == 0, random.exponential(60, jets), random.normal(120, 60, jets)) % 400
    columns = {"pt": pt, "eta": random.normal(0, 0.8, jets), "label": label, "weight": random.random(jets) + 0.5}
    return columns, random.random(jets) < 0.7


@pytest.mark.parametrize("target", ["top", None])
def test_reweighted_classes_have_the_same_spectrum(target):
    columns, training = sample()
    asked = Reweight(pt=[0, 50, 100, 400], abs_eta=[0, 0.5, 2], target=target, most=100)
    factors = kinematic(asked, CLASSES, columns, training)
    shapes = []
    for label in (0, 1):
        own = training & (columns["label"] == label)
        assert np.average(factors[own], weights=columns["weight"][own]) == pytest.approx(1, rel=1e-4)
        one = spectrum(columns["pt"][own], columns["eta"][own], (columns["weight"] * factors)[own])
        shapes.append(one / one.sum())
    np.testing.assert_allclose(*shapes, rtol=1e-4)
    if target is None:
        np.testing.assert_allclose(shapes[0], 1 / 6, rtol=1e-4)
    outside = np.abs(columns["eta"]) >= 2
    assert (factors[outside] == 0).all() and (factors[~outside] > 0).all()


def test_no_weight_is_larger_than_asked_for():
    columns, training = sample()
    columns["pt"][:3] = 390
    columns["label"][:3000], columns["pt"][3:3000] = 0, 20
    asked = Reweight(pt=[0, 50, 100, 380, 400], target="top", most=5)
    assert kinematic(asked, CLASSES, columns, training).max() <= 5


@pytest.mark.parametrize(
    ("asked", "key"),
    [({"pt": [0, 400], "target": "tpo"}, "prepare.reweight.target"), ({"pt": [900, 950]}, "prepare.reweight")],
)
def test_what_cannot_be_reweighted_is_refused(asked, key):
    with pytest.raises(CampaignError) as caught:
        kinematic(Reweight(**asked), CLASSES, *sample())
    assert caught.value.details["key"] == key


def test_training_weights_join_event_class_and_spectrum(tmp_path):
    shards = [toy_shard(tmp_path / f"{label}.h5", label, 400, 1) for label in (0, 1)]
    prepare(prepare_spec(reweight={"pt": [0, 200, 400, 4000]}), shards, tmp_path / "out")
    data = Dataset(tmp_path / "out/dataset.h5")
    weights, train = data.training_weights(), data.indices("train")
    sums = [weights[train][data.column("label", train) == label].sum() for label in (0, 1)]
    assert sums[0] == pytest.approx(sums[1]) and sums[0] + sums[1] == pytest.approx(len(train))
    assert len(np.unique(data.column("kinematic_weight"))) > 2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 400))
def test_statistics_of_parts_merge_to_those_of_the_whole(seed, cut):
    rows = np.random.default_rng(seed).normal([0, 100, -3], [1, 30, 0.01], (400, 3)).astype("f4")
    for kind, exact in ((Moments, False), (Quantiles, True)):
        whole, one, other = kind(3), kind(3), kind(3)
        whole.add(rows)
        one.add(rows[:cut])
        other.add(rows[cut:])
        one.merge(other)
        check = np.testing.assert_array_equal if exact else np.testing.assert_allclose
        check(one.centre(), whole.centre())
        check(one.spread(), whole.spread())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 1e4]), shift=st.sampled_from([0.0, 5.0, -70.0]))
def test_quantiles_are_those_of_numpy_within_a_bin(seed, scale, shift):
    rows = (np.random.default_rng(seed).normal(0, 1, (5000, 1)) * scale + shift).astype("f4")
    found = Quantiles(1)
    found.add(rows)
    for share in (0.16, 0.5, 0.84):
        expected = np.quantile(rows, share)
        assert abs(found.at(share)[0] - expected) <= abs(expected) / 64 + scale * 0.05


def test_quantiles_of_one_number_are_that_number():
    found = Quantiles(2)
    found.add(np.full((10, 2), [0.0, 2.0], "f4"))
    assert found.at(0.5)[0] == pytest.approx(0, abs=1e-30) and found.at(0.5)[1] == pytest.approx(2, rel=1 / 64)
    assert found.spread()[0] == 1


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_the_scaler_does_not_depend_on_the_threads(tmp_path, kind):
    shards = [toy_shard(tmp_path / f"{label}.h5", label, 6000, 1) for label in (0, 1)]
    prepare(prepare_spec(scaler=kind), shards, tmp_path / "out")
    data = Dataset(tmp_path / "out/dataset.h5")
    assert len(data.indices("train")) > 8192
    assert fit_scaler(data, kind, 1) == fit_scaler(data, kind, 3) == Scaler.load(tmp_path / "out/scaler.json")
    saved = json.loads((tmp_path / "out/scaler.json").read_text())
    assert saved["units"]["log_pt"] == "ln(GeV)" and saved["units"].keys() == {*saved["nodes"], *saved["globals"]}


def shard_with(path, label, seed, parts, more=()):
    """A shard of a part of a file, with more columns."""
    jets, constituents, counts = toy_jets(label, 60, seed)
    jets["tau21"] = np.linspace(0, 1, 60)
    events = as_events(jets, constituents, counts)
    tracks = np.arange(60) % 4
    events.counts["tracks"] = tracks
    events = events.joined({"tracks/d0": np.arange(tracks.sum(), dtype="f4"), "systematics/up/jets/pt": jets["pt"] * 2})
    layout = {"jets/tau21": Column("tau21", "f4", "1", "a ratio"), "tracks/d0": Column("d0", "f4", "mm", "a distance")}
    layout["systematics/up/jets/pt"] = Column("pt", "f4", "GeV", "varied")
    source = {"path": "same.root", "sha256": f"{label}", "entries": parts}
    about = {"sample": CLASSES[label], "classes": json.dumps(CLASSES), "source_files": json.dumps([source, *more])}
    write_events(path, events, attributes=about, layout=layout)
    return path


def test_the_index_joins_columns_collections_and_variations(tmp_path):
    shards = [shard_with(tmp_path / f"{n}{m}.h5", n, 2 * n + m, [60 * m, 60 * m + 60]) for n in (0, 1) for m in (0, 1)]
    prepare(prepare_spec(), shards, tmp_path / "out")
    data = Dataset(tmp_path / "out/dataset.h5")
    assert data.systematics == ["up"] and {"jets/tau21", "tracks/d0"} <= set(data.columns)
    np.testing.assert_array_equal(data.column("pt", systematic="up"), data.column("pt") * 2)
    np.testing.assert_array_equal(data.column("eta", systematic="up"), data.column("eta"))
    with pytest.raises(InputError, match="no such variation"):
        data.column("pt", systematic="down")
    values, mask = data.padded(["tracks/d0"], np.array([61, 3, 239]), 2)
    np.testing.assert_array_equal(mask.sum(1), [1, 2, 2])
    assert values[0, 0, 0] == 0 and list(values[1, :, 0]) == [3, 4]
    with h5py.File(tmp_path / "out/dataset.h5") as file:
        assert file["tracks/d0"].attrs["units"] == "mm" and len(file["tracks/d0"]) == file["tracks/offsets"][-1]


def test_ranges_of_one_file_may_not_overlap(tmp_path):
    shards = [shard_with(tmp_path / f"{m}.h5", 0, m, [50 * m, 50 * m + 60]) for m in (0, 1)]
    with pytest.raises(InputError, match="two inputs have the same content"):
        prepare(prepare_spec(), [*shards, toy_shard(tmp_path / "top.h5", 1, 50, 1)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_even_and_odd_need_event_numbers(tmp_path):
    shards = [toy_shard(tmp_path / f"{label}.h5", label, 400, 1) for label in (0, 1)]
    with pytest.raises(CampaignError, match="even and odd"):
        prepare(prepare_spec(split={"scheme": "even_odd"}), shards, tmp_path / "out")
