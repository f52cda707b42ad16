"""Events of hits from shards to graphs: index, splits, reader, scaler, joining, and what is refused."""

import dataclasses
import json
import shlex
import subprocess
import sys

import h5py
import numpy as np
import pytest

from bunchtrain.config.specs import as_text
from bunchtrain.errors import CampaignError, ContractError, InputError
from bunchtrain.events.export import export
from bunchtrain.events.hitdata import TRUTH, HitDataset, joined, packed
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.prepare.run import prepare
from graphtoys import prepare_spec, toy_dataset, toy_event, toy_graph, toy_shard
from toys import toy_shard as shard_of_jets


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("events"))


def changed(event, **columns):
    return {**event, **{name.replace("_", "/", 1): values for name, values in columns.items()}}


def empty(event):
    return {name: values[:0] if name.startswith("hits/") else values for name, values in event.items()}


def test_the_index_joins_the_events_of_all_shards(toy):
    data = HitDataset(toy[0])
    expected = [toy_event(1000 * run + i) for run in (1, 2) for i in range(20)]
    sizes = [len(data.indices(split)) for split in ("train", "validation", "test")]
    assert sum(sizes) == len(data) == 40 and min(sizes) > 0
    np.testing.assert_array_equal(data.counts(np.arange(40)), [len(one["hits/x"]) for one in expected])
    for index, graph in enumerate(data.graphs(np.array([0, 19, 20, 39]))):
        event = expected[(0, 19, 20, 39)[index]]
        np.testing.assert_array_equal(graph.particle, event["hits/particle"])
        np.testing.assert_allclose(graph.pt, np.hypot(event["particles/px"], event["particles/py"]), rtol=1e-6)
        np.testing.assert_allclose(graph.nodes[:, 0], np.hypot(event["hits/x"], event["hits/y"]), rtol=1e-6)
    assert data.about["pt_min"] == 0.5 and data.ROWS == "events"


def test_the_same_events_give_the_same_bytes_whatever_the_threads(toy, tmp_path):
    shards = HitDataset(toy[0]).shard_paths
    for name, threads in (("one", 1), ("four", 4)):
        prepare(prepare_spec(), shards, tmp_path / name, threads=threads)
    for name in ("dataset.h5", "scaler.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "four" / name).read_bytes()


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_the_scaler_is_that_of_the_training_split(toy, tmp_path, kind):
    prepare(prepare_spec(scaler=kind), HitDataset(toy[0]).shard_paths, tmp_path)
    data, scaler = HitDataset(tmp_path / "dataset.h5"), GraphScaler.load(tmp_path / "scaler.json")
    whole = joined([*data.graphs(data.indices("train"))])
    nodes, features, edges = scaler(whole)
    centre = np.mean if kind == "standard" else np.median
    np.testing.assert_allclose(centre(nodes, axis=0), 0, atol=0.02)
    np.testing.assert_allclose(centre(features, axis=0), 0, atol=0.02)
    assert edges is whole.edges and scaler.graph == data.about
    other = {**scaler.graph, "pt_min": 0.4}
    with pytest.raises(InputError, match="otherwise"):
        scaler.require(other, toy[0])


def test_joined_graphs_are_the_graphs_one_after_the_other():
    parts = [toy_graph(1), toy_graph(2, particles=0, noise=0), toy_graph(3)]
    whole = joined(parts)
    begin = 0
    for number, one in enumerate(parts):
        own = whole.event == number
        np.testing.assert_array_equal(whole.edges[:, own] - begin, one.edges)
        np.testing.assert_array_equal(whole.true[own], one.true)
        begin += len(one.nodes)
    assert whole.counts.tolist() == [len(one.features) for one in parts] and whole.nbytes > parts[0].nbytes
    assert int(whole.true.sum()) > 60  # of 16 particles with five edges each


def test_graphs_are_packed_by_their_edges():
    sizes = [30, 80, 10, 200, 5]
    parts = [dataclasses.replace(toy_graph(1), features=np.zeros((size, 7), np.float32)) for size in sizes]
    assert packed(parts, 100) == [[0], [1, 2], [3], [4]]
    assert packed([], 100) == []


def test_a_graph_whose_edges_point_outside_is_refused():
    good = toy_graph(1)
    for edges in (good.edges + 1000, good.edges - 1):
        with pytest.raises(ContractError, match="edge names a hit"):
            dataclasses.replace(good, edges=edges)
    with pytest.raises(ContractError, match="hit names a particle"):
        dataclasses.replace(good, particle=good.particle + 1000)


def written(tmp_path, events, drop=(), **settings):
    """Prepare events of one shard and return their data."""
    shard = toy_shard(tmp_path / "a.h5", events, drop=drop)
    prepare(prepare_spec(**settings), [shard], tmp_path / "out")
    return HitDataset(tmp_path / "out/dataset.h5")


def test_events_without_hits_are_events_like_others(tmp_path):
    events = [empty(toy_event(i)) if i % 3 == 0 else toy_event(i) for i in range(60)]
    data = written(tmp_path, events)
    graphs = [*data.graphs(np.arange(60))]
    assert len(graphs[0].nodes) == 0 and graphs[0].edges.shape == (2, 0)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["rows"] == "events" and summary["audit"]["repeated_jets"] == 0


def test_events_without_any_edge_are_refused(tmp_path):
    with pytest.raises(InputError, match="no edges"):
        written(tmp_path, [empty(toy_event(i)) for i in range(60)])


def test_the_same_event_under_two_names_is_a_leak(tmp_path):
    with pytest.raises(InputError, match="same event stands in two splits"):
        written(tmp_path, [toy_event(i % 20) for i in range(60)])


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"hits_x": 0.0, "hits_y": 0.0}, "no detector"),
        ({"hits_particle": 99}, "particle that is not there"),
        ({"hits_particle": -2}, "particle that is not there"),
    ],
)
def test_a_hit_that_cannot_be_is_named(tmp_path, columns, problem):
    good = toy_event(5)
    wrong = {name: np.full_like(good[name.replace("_", "/", 1)], value) for name, value in columns.items()}
    events = [toy_event(i) if i != 5 else changed(good, **wrong) for i in range(60)]
    with pytest.raises(ContractError, match=problem) as caught:
        data = written(tmp_path, events)
        [*data.graphs(np.arange(60))]
    assert caught.value.details["file"].endswith("a.h5, event 5")


def test_a_place_that_is_no_number_is_named(tmp_path):
    shard = toy_shard(tmp_path / "a.h5", [toy_event(i) for i in range(60)])
    with h5py.File(shard, "r+") as file:
        file["hits/x"][3] = np.nan
    with pytest.raises(ContractError, match="no detector") as caught:
        prepare(prepare_spec(), [shard], tmp_path / "out")
        [*HitDataset(tmp_path / "out/dataset.h5").graphs(np.arange(1))]
    assert "nan" in caught.value.details["found"]


def test_hits_without_layers_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such column of hits") as caught:
        written(tmp_path, [toy_event(i) for i in range(60)], drop=("hits/layer",))
    assert caught.value.details["found"] == "layer" and "convert.format.columns" in caught.value.details["mend"]


def test_events_without_particles_have_graphs_and_no_truth(tmp_path):
    momenta = ("particles/px", "particles/py", "particles/pz")
    data = written(tmp_path, [toy_event(i) for i in range(60)], drop=momenta)
    graph = next(data.graphs(np.arange(1)))
    assert len(graph.features) and not graph.true.any() and (graph.particle == -1).all()
    with pytest.raises(InputError, match="no such column of events") as caught:
        data.require(TRUTH)
    assert caught.value.details["found"] == "particles/px"


@pytest.mark.parametrize("setting", [{"inputs": ["charge"]}, {"reweight": {"pt": [0, 1]}}])
def test_settings_of_jets_are_refused(tmp_path, setting):
    shard = toy_shard(tmp_path / "a.h5", [toy_event(i) for i in range(60)])
    with pytest.raises(CampaignError, match="for jets"):
        prepare(prepare_spec(**setting), [shard], tmp_path / "out")


def test_jets_and_events_are_not_mixed(toy, tmp_path):
    jets = shard_of_jets(tmp_path / "jets.h5", 0, 40, 0, ["collision"])
    with pytest.raises(ContractError, match="two kinds"):
        prepare(prepare_spec(), [HitDataset(toy[0]).shard_paths[0], jets], tmp_path / "out")


def test_what_is_for_jets_says_so(toy, tmp_path):
    with pytest.raises(ContractError, match="holds no jets") as caught:
        Dataset(toy[0])
    assert caught.value.details["found"] == "events"
    with pytest.raises(InputError):
        Scaler.load(toy[1])
    with pytest.raises(ContractError, match="no jets"):
        export(toy[0], tmp_path / "out.h5")


def test_an_index_of_jets_has_no_hits(tmp_path):
    from toys import toy_dataset as dataset_of_jets

    dataset, scaler = dataset_of_jets(tmp_path, 100)
    with pytest.raises(ContractError, match="holds no events"):
        HitDataset(dataset)
    with pytest.raises(InputError, match="no scaler of graphs"):
        GraphScaler.load(scaler)


@pytest.mark.parametrize(("column", "value"), [("hits/layer", 0.5), ("hits/particle", -0.7)])
def test_numbers_that_are_not_whole_are_refused(tmp_path, column, value):
    events = [toy_event(i) for i in range(60)]
    for event in events:
        event[column] = event[column].astype("f4")
    events[5][column][2] = value
    shard = toy_shard(tmp_path / "a.h5", events)
    with pytest.raises(ContractError, match="whole numbers") as caught:
        prepare(prepare_spec(), [shard], tmp_path / "out")
        [*HitDataset(tmp_path / "out/dataset.h5").graphs(np.arange(60))]
    assert column in str(caught.value)


@pytest.mark.parametrize("column", ["hits/layer", "hits/particle"])
def test_a_column_of_two_precisions_is_named_as_such(tmp_path, column):
    shards = []
    for run, dtype in ((1, "i4"), (2, "i8")):
        events = [toy_event(100 * run + i) for i in range(30)]
        for event in events:
            event[column] = event[column].astype(dtype)
        shards.append(toy_shard(tmp_path / f"{run}.h5", events, run))
    with pytest.raises(InputError, match="differs in precision") as caught:
        prepare(prepare_spec(), shards, tmp_path / "out")
    assert caught.value.details["key"].endswith(column.partition("/")[2]) and "i8" in caught.value.details["found"]


@pytest.mark.parametrize("name", ["50%%x", "sh%b", "100%", "%"])
def test_percent_signs_in_paths_are_signs(tmp_path, name):
    shards = [
        toy_shard(tmp_path / folder / f"{run}.h5", [toy_event(100 * run + i) for i in range(30)], run)
        for run, folder in ((1, "plain"), (2, name))
    ]
    prepare(prepare_spec(), shards, tmp_path / "out")
    data = HitDataset(tmp_path / "out/dataset.h5")
    assert (data.column("weight") == 1).all() and set(data.column("run_number")) == {1, 2}


def test_a_shard_that_is_gone_is_named(tmp_path):
    shard = toy_shard(tmp_path / "a.h5", [toy_event(i) for i in range(60)])
    prepare(prepare_spec(), [shard], tmp_path / "out")
    shard.rename(tmp_path / "b.h5")
    with pytest.raises(InputError, match="shard of the index is not there") as caught:
        HitDataset(tmp_path / "out/dataset.h5")
    assert caught.value.details["found"].endswith("a.h5")


@pytest.mark.parametrize("kilobytes", [2, 6, 10, 14])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path, kilobytes):
    shard = toy_shard(tmp_path / "a.h5", [toy_event(i) for i in range(60)])
    command = [sys.executable, "-m", "bunchtrain", "prepare", "--spec", as_text(prepare_spec()), str(shard)]
    text = shlex.join([*command, "--out", str(tmp_path / "out")])
    done = subprocess.run(["bash", "-c", f"ulimit -f {kilobytes}; exec {text}"], capture_output=True, text=True)
    assert done.returncode == 2 and "error:" in done.stderr
    assert not (tmp_path / "out/dataset.h5").exists()
