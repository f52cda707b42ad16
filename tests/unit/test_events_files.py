"""What is written under the event contract is what is read back."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain.errors import BunchtrainError, ContractError, InputError
from bunchtrain.events import writer as writer_module
from bunchtrain.events.layout import CONSTITUENTS, CONTRACT, JETS, KINEMATICS, check
from bunchtrain.events.reader import Dataset
from bunchtrain.events.shard import Shard, map_column
from bunchtrain.events.spool import Spool
from bunchtrain.events.writer import EventWriter, write_events
from bunchtrain.files import disk_errors
from toys import as_events

JAGGED = st.lists(st.integers(0, 7), max_size=30)


def events(counts, seed=0):
    """Random columns for jets with the given numbers of constituents."""
    random = np.random.default_rng(seed)
    total = sum(counts)
    jets = {c.name: _column(random, c.dtype, len(counts)) for c in JETS}
    constituents = {c.name: _column(random, c.dtype, total) for c in CONSTITUENTS}
    return jets, constituents, np.array(counts, np.int64)


def _column(random, dtype, length):
    if dtype[0] == "f":
        return random.normal(0, 100, length).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, length, dtype=dtype, endpoint=True)


def assert_same(path, jets, constituents, counts):
    with h5py.File(path) as file:
        for name, values in jets.items():
            np.testing.assert_array_equal(file[f"jets/{name}"][:], values)
        for name, values in constituents.items():
            np.testing.assert_array_equal(file[f"constituents/{name}"][:], values)
        np.testing.assert_array_equal(np.diff(file["constituents/offsets"][:]), counts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("events")


@settings(max_examples=25, deadline=None)
@given(counts=JAGGED, seed=st.integers(0, 2**32))
def test_what_is_written_is_read_back(folder, counts, seed):
    path = folder / "any.h5"
    columns = events(counts, seed)
    write_events(path, as_events(*columns), attributes={"sample": "a"})
    assert check(path) == len(counts)
    assert_same(path, *columns)


@settings(max_examples=25, deadline=None)
@given(parts=st.lists(JAGGED, min_size=1, max_size=4), bad=JAGGED)
def test_steps_join_and_a_rollback_leaves_no_trace(folder, parts, bad):
    path = folder / "steps.h5"
    steps = [events(counts, seed) for seed, counts in enumerate(parts)]
    with EventWriter(folder) as writer:
        writer.append(as_events(*steps[0]))
        before = writer.mark()
        writer.append(as_events(*events(bad, 99)))
        writer.append(as_events(*events(bad, 98)))
        writer.rollback(before)
        for step in steps[1:]:
            writer.append(as_events(*step))
        writer.finish(path, {})
        assert len(writer) == sum(map(len, parts))
    joined = [{name: np.concatenate([step[k][name] for step in steps]) for name in steps[0][k]} for k in (0, 1)]
    assert_same(path, *joined, np.concatenate([step[2] for step in steps]))


@pytest.mark.parametrize("kept", [0, 100, 1 << 28])
def test_what_was_spilled_and_what_was_kept_come_back_in_order(folder, monkeypatch, kept):
    monkeypatch.setattr(writer_module, "KEPT", kept)
    test_steps_join_and_a_rollback_leaves_no_trace.hypothesis.inner_test(folder, [[3], [], [1, 4], [0, 2]], [5, 1])


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=8), share=st.floats(0, 1))
def test_a_spool_is_cut_wherever_its_values_are(folder, sizes, share):
    whole = np.zeros(0, "i8")
    with contextlib.closing(Spool(folder, "i8")) as spool:
        for size, spilled in sizes:
            values = np.arange(len(whole), len(whole) + size)
            spool.append(values)
            whole = np.concatenate([whole, values])
            if spilled:
                spool.spill()
        length = round(share * len(whole))
        spool.cut(length)
        spool.append(np.array([77], "i8"))
        np.testing.assert_array_equal(np.concatenate([*spool.pieces()]), [*whole[:length], 77])
        assert len(spool) == length + 1


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 7), min_size=1, max_size=20), width=st.integers(1, 8), data=st.data())
def test_a_shard_gives_the_first_constituents_of_any_jets(folder, counts, width, data):
    path = folder / "shard.h5"
    jets, constituents, lengths = events(counts, 3)
    write_events(path, as_events(jets, constituents, lengths), attributes={})
    rows = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=10)))
    p4, mask = Shard(path).gather(rows, width)
    p4 = np.moveaxis(p4, 0, -1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for place, row in enumerate(rows):
        kept = min(lengths[row], width)
        assert mask[place].sum() == kept and mask[place, :kept].all()
        for axis, column in enumerate(CONSTITUENTS):
            expected = constituents[column.name][offsets[row] : offsets[row] + kept]
            np.testing.assert_array_equal(p4[place, :kept, axis], expected)
        assert not p4[place, kept:].any()


def test_columns_describe_themselves_and_can_be_mapped(tmp_path):
    path = tmp_path / "a.h5"
    jets, constituents, counts = events([3, 0, 5])
    layout = {"jets/pt": replace(KINEMATICS[0], source="my_pt")}
    write_events(path, as_events(jets, constituents, counts), attributes={"sample": "a"}, layout=layout)
    with h5py.File(path) as file:
        assert file.attrs["contract"] == CONTRACT and file.attrs["sample"] == "a"
        assert file["jets/pt"].attrs["source_branch"] == "my_pt"
        for group in ("jets", "constituents"):
            for name, dataset in file[group].items():
                assert dataset.attrs["units"] and dataset.attrs["description"], name
                assert dataset.id.get_offset() is not None, name
                np.testing.assert_array_equal(map_column(dataset, path), dataset[:])


def test_a_chunked_column_is_read_where_it_cannot_be_mapped(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", data=np.arange(9), chunks=(4,))
        np.testing.assert_array_equal(map_column(dataset, tmp_path / "a.h5"), np.arange(9))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [("jets/pt", np.nan, "finite"), ("constituents/px", np.inf, "finite"), ("constituents/px", 1e39, "finite")],
)
def test_values_that_single_precision_cannot_hold_are_refused(tmp_path, name, value, problem):
    jets, constituents, counts = events([2, 3])
    group, column = name.split("/")
    columns = {"jets": jets, "constituents": constituents}[group]
    columns[column] = columns[column].astype("f8")
    columns[column][1] = value
    with pytest.raises(ContractError, match=problem) as caught:
        write_events(tmp_path / "a.h5", as_events(jets, constituents, counts), attributes={})
    assert caught.value.details["key"] == name
    assert not list(tmp_path.iterdir())


def test_columns_of_other_lengths_are_refused_before_any_is_written(tmp_path):
    jets, constituents, counts = events([2, 3])
    with EventWriter(tmp_path) as writer:
        writer.append(as_events(jets, constituents, counts))
        with pytest.raises(ContractError, match="length") as caught:
            short = {**constituents, "energy": constituents["energy"][1:]}
            writer.append(as_events(jets, short, counts), source="some.root")
        assert caught.value.details["file"] == "some.root" and caught.value.details["expected"] == "5"
        writer.finish(tmp_path / "a.h5", {})
    assert_same(tmp_path / "a.h5", jets, constituents, counts)


def _without(file, name):
    del file[name]


def _replaced(file, name, values):
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("damage", "key"),
    [
        (lambda file: file.attrs.__setitem__("contract", 99), None),
        (lambda file: _without(file, "jets/mass"), "jets/mass"),
        (lambda file: _replaced(file, "jets/eta", np.zeros(7)), "jets/eta"),
        (lambda file: _replaced(file, "constituents/pz", np.zeros(7)), "constituents/pz"),
        (lambda file: _replaced(file, "constituents/offsets", [0, 5, 2]), "constituents/offsets"),
        (lambda file: _replaced(file, "constituents/offsets", [1, 2, 5]), "constituents/offsets"),
    ],
)
def test_check_says_what_is_wrong(tmp_path, damage, key):
    path = tmp_path / "a.h5"
    write_events(path, as_events(*events([2, 3])), attributes={})
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(ContractError) as caught:
        check(path)
    assert caught.value.details["file"] == str(path)
    assert caught.value.details.get("key") == key


def test_what_is_no_hdf5_file_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(ContractError, match="HDF5"):
        check(tmp_path / "a.h5")
    with pytest.raises(ContractError, match="shard"):
        Shard(tmp_path / "a.h5")
    with pytest.raises(InputError, match="index"):
        Dataset(tmp_path / "a.h5")


@pytest.mark.parametrize("limit", [100_000, 1_000_000])  # met while gathering; met while the file is finished
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, limit):
    columns = events([50] * 4000)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        with pytest.raises(BunchtrainError, match="full") as caught, disk_errors(tmp_path / "a.h5"):
            write_events(tmp_path / "a.h5", as_events(*columns), attributes={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.details["file"] == str(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_other_errors_of_the_disk_name_the_file(tmp_path):
    with pytest.raises(BunchtrainError, match="cannot be read or written") as caught, disk_errors(tmp_path / "a.h5"):
        raise PermissionError(13, "Permission denied")
    assert "Permission denied" in caught.value.details["found"]


def test_errors_that_are_not_the_disks_pass_through(tmp_path):
    with pytest.raises(RuntimeError, match="something else"), disk_errors(tmp_path / "a.h5"):
        raise RuntimeError("something else")


def test_a_killed_writer_leaves_nothing(tmp_path):
    code = (
        "import os, signal, sys; import numpy as np; from bunchtrain.events.writer import EventWriter\n"
        "spool = EventWriter(sys.argv[1])._spools['jets/pt']; spool.append(np.zeros(9999, 'f4')); spool.spill()\n"
        "spool._stream.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def test_the_joined_samples_know_their_splits_and_columns(toy):
    dataset = Dataset(toy[0])
    splits = [dataset.indices(split) for split in ("train", "validation", "test")]
    np.testing.assert_array_equal(np.sort(np.concatenate(splits)), np.arange(len(dataset)))
    with pytest.raises(InputError, match="split") as caught:
        dataset.indices("trian")
    assert caught.value.details["nearest"] == "train"
    with pytest.raises(InputError, match="column") as caught:
        dataset.column("masss")
    assert caught.value.details["nearest"] == "mass"


def test_another_file_in_place_of_the_index_is_refused(toy, tmp_path):
    with pytest.raises(ContractError, match="not the index") as caught:
        Dataset(Dataset(toy[0]).shard_paths[0])
    assert caught.value.details["found"] == "a shard"
    damaged = tmp_path / "dataset.h5"
    damaged.write_bytes(toy[0].read_bytes())
    with h5py.File(damaged, "r+") as file:
        file.attrs["class_weights"] = "[1,"
    with pytest.raises(ContractError, match="not the index") as caught:
        Dataset(damaged)
    assert caught.value.details["file"] == str(damaged)


def test_the_joined_samples_give_each_jet_its_own_constituents(toy):
    dataset = Dataset(toy[0])
    indices = np.random.default_rng(1).permutation(len(dataset))[:200]
    p4_BP4, mask_BP = dataset.four_momenta(indices, 64)
    total = p4_BP4.sum(1, dtype=np.float64)
    np.testing.assert_allclose(np.hypot(total[:, 0], total[:, 1]), dataset.column("pt", indices), rtol=1e-4)
    pt = np.hypot(p4_BP4[..., 0], p4_BP4[..., 1])
    assert (np.diff(pt, axis=1) <= 0).all() and mask_BP.any(1).all()
    narrow, _ = dataset.four_momenta(indices, 4)
    np.testing.assert_array_equal(narrow, p4_BP4[:, :4])
