"""The padded layout, read back with the tool that it is made for."""

import h5py
import numpy as np
import pytest
from ftag.hdf5 import H5Reader
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain.errors import BunchtrainError, ContractError, InputError
from bunchtrain.events.export import export
from bunchtrain.events.reader import Dataset
from toys import toy_dataset, toy_jets, toy_shard


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("export"), jets=200)[0]


@pytest.mark.parametrize("split", [None, "test"])
def test_the_reader_of_flavour_tagging_reads_what_is_exported(dataset, tmp_path, split):
    count = export(dataset, tmp_path / "a.h5", width=12, split=split)
    data = Dataset(dataset)
    chosen = np.arange(len(data)) if split is None else data.indices(split)
    assert count == len(chosen)
    wanted = {"jets": ["pt", "mass", "flavour_label"], "tracks": ["px", "energy", "valid"]}
    reader = H5Reader(tmp_path / "a.h5", batch_size=64, shuffle=False)
    batches = [{name: values.copy() for name, values in batch.items()} for batch in reader.stream(wanted)]
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in wanted}
    np.testing.assert_array_equal(whole["jets"]["pt"], data.column("pt", chosen))
    np.testing.assert_array_equal(whole["jets"]["flavour_label"], data.column("label", chosen))
    p4, mask = data.four_momenta(chosen, 12)
    np.testing.assert_array_equal(whole["tracks"]["valid"], mask)
    np.testing.assert_array_equal(whole["tracks"]["px"], p4[..., 0])
    np.testing.assert_array_equal(whole["tracks"]["energy"], p4[..., 3])


@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 40), jets=st.integers(1, 30))
def test_a_shard_is_exported_whatever_its_size(tmp_path_factory, width, jets):
    folder = tmp_path_factory.mktemp("shard")
    shard = toy_shard(folder / "in.h5", 0, jets, 5)
    assert export(shard, folder / "out.h5", width=width) == jets
    _, _, counts = toy_jets(0, jets, 5)
    with h5py.File(folder / "out.h5") as file:
        assert file["tracks"].shape == (jets, width)
        np.testing.assert_array_equal(file["tracks"]["valid"].sum(1), np.minimum(counts, width))


@pytest.mark.parametrize(
    ("options", "found"), [({"collection": "track"}, "track"), ({"split": "tests"}, "tests"), ({"width": 0}, "0")]
)
def test_what_is_not_there_is_refused_and_nothing_is_written(dataset, tmp_path, options, found):
    with pytest.raises(InputError) as caught:
        export(dataset, tmp_path / "a.h5", **options)
    assert caught.value.details["found"] == found and not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = [1]
    (tmp_path / "b.h5").write_bytes(b"hello")
    for name in ("a.h5", "b.h5"):
        with pytest.raises(ContractError):
            export(tmp_path / name, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_chosen_columns_are_written_in_their_order(dataset, tmp_path):
    export(dataset, tmp_path / "a.h5", columns=["energy", "px"], name="flow")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["flow"].dtype.names == ("energy", "px", "valid")
    with pytest.raises(InputError):
        export(dataset, tmp_path / "b.h5", columns=["pz", "enrgy"])


def test_no_file_of_a_campaign_is_overwritten(dataset, tmp_path):
    shard = toy_shard(tmp_path / "a.h5", 0, 20, 5)
    before = shard.read_bytes()
    for out in (shard, toy_shard(tmp_path / "b.h5", 0, 20, 6)):
        with pytest.raises(InputError):
            export(shard, out)
    assert shard.read_bytes() == before
    for name in ("jets", "", "a/b"):
        with pytest.raises(InputError):
            export(shard, tmp_path / "c.h5", name=name)


def test_no_jets_and_no_room(tmp_path, monkeypatch):
    empty = toy_shard(tmp_path / "empty.h5", 0, 1, 5)
    with h5py.File(empty, "r+") as file:
        for name in [*file["jets"]]:
            kind = file[f"jets/{name}"].dtype
            del file[f"jets/{name}"]
            file[f"jets/{name}"] = np.zeros(0, kind)
        del file["constituents/offsets"]
        file["constituents/offsets"] = np.zeros(1, "i8")
    assert export(empty, tmp_path / "out.h5") == 0
    shard = toy_shard(tmp_path / "a.h5", 0, 20, 5)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(BunchtrainError, match="too full"):
        export(shard, tmp_path / "none.h5")
    assert not (tmp_path / "none.h5").exists()
