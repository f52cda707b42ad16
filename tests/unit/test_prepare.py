"""Splits that do not leak, the scaler of the training split alone, the index over the shards."""

import shutil
import time

import h5py
import numpy as np
import pytest

from bunchtrain.errors import ContractError, InputError
from bunchtrain.events.layout import CONSTITUENTS, JETS
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.events.shard import Shard
from bunchtrain.events.splits import SPLITS
from bunchtrain.events.writer import write_events
from bunchtrain.prepare.audit import audit, content
from bunchtrain.prepare.run import prepare
from toys import CLASSES, as_events, prepare_spec, toy_dataset, toy_shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    toy_dataset(folder)
    return folder


def test_the_index_is_the_shards_joined(folder):
    data = Dataset(folder / "prepare/dataset.h5")
    assert len(data) == 1600 == sum(len(data.indices(split)) for split in SPLITS)
    shards = [Shard(path) for path in data.shard_paths]
    p4, mask = data.four_momenta(np.arange(len(data)), 50)
    start = 0
    for shard in shards:
        count = len(shard.offsets) - 1
        p4_here, mask_here = shard.gather(np.arange(count), 50)
        np.testing.assert_array_equal(p4[start : start + count], np.moveaxis(p4_here, 0, -1))
        np.testing.assert_array_equal(mask[start : start + count], mask_here)
        start += count


def test_the_same_shards_give_the_same_bytes(folder, tmp_path):
    time.sleep(1.1)  # HDF5 counts in seconds
    shutil.copytree(folder / "shards", tmp_path / "shards", dirs_exist_ok=True)
    prepare(prepare_spec(), sorted((tmp_path / "shards").glob("*.h5")), tmp_path / "prepare")
    assert (tmp_path / "prepare/dataset.h5").read_bytes() == (folder / "prepare/dataset.h5").read_bytes()


def test_the_index_is_readable_by_h5py_alone(folder):
    with h5py.File(folder / "prepare/dataset.h5") as file:
        offsets = file["constituents/offsets"][:]
        px, py = file["constituents/px"][:], file["constituents/py"][:]
        assert len(px) == offsets[-1] and len(file["jets/pt"]) == len(offsets) - 1
        sums = np.add.reduceat(px, offsets[:-1]), np.add.reduceat(py, offsets[:-1])
        np.testing.assert_allclose(np.hypot(*sums), file["jets/pt"][:], rtol=1e-3)


def test_no_event_is_in_two_splits_and_shares_are_kept(folder):
    data = Dataset(folder / "prepare/dataset.h5")
    events = np.stack([data.column("label"), data.column("run_number"), data.column("event_number")], -1)
    sides = [{tuple(row) for row in events[data.indices(split)]} for split in SPLITS]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert len(data.indices("train")) / len(data) == pytest.approx(0.7, abs=0.06)


def test_the_split_does_not_depend_on_order_or_number_of_files(folder, tmp_path):
    paths = Dataset(folder / "prepare/dataset.h5").shard_paths
    prepare(prepare_spec(), [paths[3], paths[0]], tmp_path)
    whole, part = Dataset(folder / "prepare/dataset.h5"), Dataset(tmp_path / "dataset.h5")

    def sides(data):
        keys = zip(data.column("label"), data.column("run_number"), data.column("event_number"), strict=True)
        return dict(zip(map(tuple, keys), data._split, strict=True))

    assert sides(part).items() <= sides(whole).items()


def test_the_scaler_sees_the_training_split_alone(folder):
    data, scaler = Dataset(folder / "prepare/dataset.h5"), Scaler.load(folder / "prepare/scaler.json")
    features = data.features(data.indices("train"))
    nodes = features.nodes_BPF[features.mask_BP].astype("f8")
    np.testing.assert_allclose(scaler.nodes_mean, nodes.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaler.nodes_std, nodes.std(0), rtol=1e-5)
    scaled = scaler(features)
    np.testing.assert_allclose(scaled.nodes_BPF[features.mask_BP].mean(0), 0, atol=1e-3)
    assert (scaled.nodes_BPF[~features.mask_BP] == 0).all()
    everything = data.features(np.arange(len(data)))
    assert not np.allclose(scaler.globals_mean, everything.globals_BG.astype("f8").mean(0), rtol=1e-6)


def test_the_multiplicity_is_that_of_the_whole_jet(folder):
    data = Dataset(folder / "prepare/dataset.h5")
    rows = data.indices("test")
    few, many = data.features(rows, 4), data.features(rows, 50)
    np.testing.assert_array_equal(few.globals_BG, many.globals_BG)
    np.testing.assert_allclose(np.exp(few.globals_BG[:, 2]), many.mask_BP.sum(1), rtol=1e-5)


def test_class_weights_balance_the_training_split(tmp_path):
    shards = [toy_shard(tmp_path / "a.h5", 0, 600, 0), toy_shard(tmp_path / "b.h5", 1, 200, 1)]
    prepare(prepare_spec(), shards, tmp_path / "out")
    data = Dataset(tmp_path / "out/dataset.h5")
    labels = data.column("label", data.indices("train"))
    sums = [data.class_weights[k] * np.sum(labels == k) for k in (0, 1)]
    assert sums[0] == pytest.approx(sums[1]) and sum(sums) == pytest.approx(len(labels))


def test_results_can_be_moved_as_a_whole(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    data = Dataset(tmp_path / "moved/prepare/dataset.h5")
    assert all(str(path.resolve()).startswith(str(tmp_path)) for path in data.shard_paths)
    assert np.isfinite(data.features(data.indices("test")).nodes_BPF).all()
    assert data.column("pt").min() > 0


def test_the_same_content_twice_is_refused(tmp_path):
    shards = [toy_shard(tmp_path / "a.h5", 0, 300, 0), toy_shard(tmp_path / "b.h5", 1, 300, 1)]
    shutil.copy(shards[0], tmp_path / "copy.h5")
    with pytest.raises(InputError, match="same content") as caught:
        prepare(prepare_spec(), [*shards, tmp_path / "copy.h5"], tmp_path / "out")
    details = caught.value.details
    assert details["file"] == f"a.root of sample qcd in {tmp_path / 'copy.h5'}"
    assert details["found"] == f"the content of a.root of sample qcd in {tmp_path / 'a.h5'}"
    assert "quarantine" in details["mend"]
    assert not (tmp_path / "out" / "dataset.h5").exists()


def test_the_audit_finds_a_leaked_event_and_a_leaked_jet():
    jets = np.arange(12, dtype="u8").reshape(6, 2)
    events, split = np.array([1, 1, 2, 3, 4, 5], "u8"), np.array([0, 0, 1, 2, 0, 0], "u1")
    assert audit(events, jets, split) == {"jets": 6, "events": 5, "repeated_jets": 0}
    with pytest.raises(InputError, match="same event"):
        audit(events, jets, np.array([0, 1, 1, 2, 0, 0], "u1"))
    jets[3] = jets[0]
    with pytest.raises(InputError, match="same jet") as caught:
        audit(events, jets, split)
    assert "jet 0 in train" in caught.value.details["found"] and "jet 3 in test" in caught.value.details["found"]


def quantised_shard(path, constituents, jets=200):
    """Jets that all have the same pt, eta, phi and mass; their constituents are given, shape [jets, 2, 4]."""
    values = {"pt": 500, "eta": 0.5, "phi": 1, "mass": 0, "label": 0, "weight": 1, "run_number": 1, "file_id": 0}
    columns = {c.name: np.full(jets, values.get(c.name, 0), c.dtype) for c in JETS}
    columns["event_number"] = np.arange(jets, dtype="u8")
    p4 = {c.name: constituents.reshape(-1, 4)[:, place].astype("f4") for place, c in enumerate(CONSTITUENTS)}
    write_events(path, as_events(columns, p4, np.full(jets, 2)), attributes={})
    return path


def test_jets_with_equal_numbers_are_the_same_only_with_equal_constituents(tmp_path, monkeypatch):
    random = np.random.default_rng(1)
    parts = random.normal(0, 10, (200, 2, 4)).astype("f4")
    events, split = np.arange(200, dtype="u8"), (np.arange(200) % 3).astype("u1")
    found = content(quantised_shard(tmp_path / "a.h5", parts))
    assert audit(events, found, split) == {"jets": 200, "events": 200, "repeated_jets": 0}
    monkeypatch.setattr("bunchtrain.prepare.audit._STEP", 7)
    np.testing.assert_array_equal(content(tmp_path / "a.h5"), found)  # whatever the step
    parts[103] = parts[5]
    with pytest.raises(InputError, match="same jet") as caught:
        audit(events, content(quantised_shard(tmp_path / "b.h5", parts)), split)
    assert caught.value.details["found"] == "jet 5 in test, jet 103 in validation"


def test_one_number_of_a_jet_makes_another_jet(folder):
    shard = Dataset(folder / "prepare/dataset.h5").shard_paths[0]
    before = content(shard)
    changed = shard.with_name("changed.h5")
    shutil.copy(shard, changed)
    with h5py.File(changed, "r+") as file:
        file["jets/mass"][7] += 1
    assert (np.flatnonzero((content(changed) != before).any(1)) == [7]).all()
    changed.unlink()


def test_a_class_missing_from_a_split_is_refused(tmp_path):
    shards = [toy_shard(tmp_path / "a.h5", 0, 300, 0), toy_shard(tmp_path / "b.h5", 1, 2, 1)]
    with pytest.raises(InputError, match="no jet in a split"):
        prepare(prepare_spec(), shards, tmp_path / "out")


def test_shards_of_other_classes_or_no_shards_at_all_are_refused(tmp_path):
    shard = toy_shard(tmp_path / "a.h5", 0, 30, 0, classes=["qcd", "w"])
    with pytest.raises(ContractError, match="other classes"):
        prepare(prepare_spec(), [shard], tmp_path / "out")
    (tmp_path / "x.h5").write_text("not HDF5")
    with pytest.raises(ContractError, match="not readable HDF5"):
        prepare(prepare_spec(), [tmp_path / "x.h5"], tmp_path / "out")
    assert CLASSES == ["qcd", "top"]
