"""Tracking from events to figures of merit: batches, training, evaluation, what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from test_config import ROOT, changed

from bunchtrain.config.campaign import parse_campaign
from bunchtrain.config.literals import fitting
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.config.yamlfile import read_yaml
from bunchtrain.dag import Plan
from bunchtrain.discrimination import auc
from bunchtrain.errors import CampaignError, ContractError, InputError
from bunchtrain.evaluate.assess import assess
from bunchtrain.evaluate.batches import Batches, _hits
from bunchtrain.evaluate.run import evaluate
from bunchtrain.events.hitdata import HitDataset, joined
from bunchtrain.events.hitscaling import GraphScaler
from bunchtrain.files import read_json, write_json
from bunchtrain.levels import GraphTargets, Logits
from bunchtrain.models import edge_network
from bunchtrain.models.base import Shape, build, load_model
from bunchtrain.models.edge_network import consecutive
from bunchtrain.prepare.run import prepare
from bunchtrain.tasks import _triplets
from bunchtrain.tasks import base as tasks
from bunchtrain.train import graphs
from bunchtrain.train.run import train
from graphtoys import GRAPH, graph_inputs, prepare_spec, toy_dataset, toy_event, toy_graph, toy_shard, train_spec

LEARNS = {"kind": "edge_network", "hidden": 16, "layers": 1}


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def trained(events, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(train_spec(LEARNS, epochs=12), *events, folder)
    return folder


def source(events, **options):
    data, scaler = HitDataset(events[0]), GraphScaler.load(events[1])
    return graphs.GraphSource(data, scaler, data.indices("train"), **options), data.indices("train")


def test_graphs_are_kept_once_they_are_made(events):
    one, indices = source(events)
    assert not one.kept
    first = one(indices)
    assert one.kept
    for batch, again in zip(first, one(indices), strict=True):
        assert all(map(torch.equal, batch.inputs, again.inputs))
    assert len(first) == 1 and first[0].slots == first[0].constituents == len(first[0].targets.true_E)


def test_without_memory_they_are_made_anew_and_are_the_same(events):
    (kept, indices), (anew, _) = source(events), source(events, memory=20_000)
    for start in (0, 4):
        for batch, other in zip(kept(indices[start:]), anew(indices[start:]), strict=True):
            assert all(map(torch.equal, batch.inputs, other.inputs))
    assert not anew.kept


def test_batches_of_few_edges_are_the_batch_in_parts(events, monkeypatch):
    one, indices = source(events)
    whole = one(indices[:6])[0]
    monkeypatch.setattr(graphs, "packed", lambda some: [[place] for place in range(len(some))])
    parts = one(indices[:6])
    assert len(parts) == 6
    assert torch.equal(torch.cat([part.inputs[1] for part in parts]), whole.inputs[1])
    assert torch.equal(torch.cat([part.targets.true_E for part in parts]), whole.targets.true_E)


def test_a_step_that_went_wrong_names_its_events(events, tmp_path):
    one, indices = source(events)
    one.describe(tmp_path / "step.json", indices[:2], "epoch 1")
    found = json.loads((tmp_path / "step.json").read_text())
    assert found["index"] == indices[:2].tolist() and len(found["event_number"]) == 2


def test_a_training_learns_and_is_the_same_on_every_run(events, trained, tmp_path):
    rows = read_json(trained / "history.json")["rows"]
    assert rows[-1]["validation_loss"] < 0.8 * rows[0]["train_loss"] and rows[-1]["validation_auc"] > 0.8
    card = read_json(trained / "model.json")
    assert card["shape"]["edges"] == 7 and card["scaler"]["graph"] == HitDataset(events[0]).about
    train(train_spec(LEARNS, epochs=12), *events, tmp_path)
    assert read_json(tmp_path / "history.json")["best_epoch"] == read_json(trained / "history.json")["best_epoch"]
    assert (tmp_path / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_the_evaluation_judges_edges_and_tracks(events, trained, tmp_path):
    spec = EvaluateSpec(version=1, seed=1, task={"kind": "tracking"}, settings={"passes": 3, "bootstrap": 5})
    evaluate(spec, events[0], [trained], tmp_path)
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["rows"] == "events" and metrics["items"] == "edges" and metrics["classes"] == ["false", "true"]
    assert metrics["auc"]["value"] > 0.8 and [one["name"] for one in metrics["baselines"]] == ["triplets (geometry)"]
    tracks, graph = metrics["panels"]
    assert [row[0] for row in tracks["rows"]] == ["network", "triplets (geometry)", "truth"]
    assert tracks["figures"]["efficiency, truth"] > 0.95 and graph["figures"]["graph efficiency"] > 0.95
    assert [plot["x"] for plot in tracks["plots"]] == ["fake rate", "pT (GeV)", "η"]
    assert metrics["seeds"][0]["efficiency, network"] == tracks["figures"]["efficiency, network"]


def test_edges_are_assessed_for_a_scan(events, trained, tmp_path):
    spec = EvaluateSpec(version=1, seed=1, task={"kind": "tracking"}, settings={"working_points": [0.9]})
    assess(spec, events[0], trained, tmp_path)
    figures = read_json(tmp_path / "figures.json")
    assert figures["auc"] > 0.8 and figures["working_points"][0]["rejection"] > 1
    assert figures["items"] > figures["working_points"][0]["background_total"] > 0


def test_a_network_of_other_graphs_is_refused(events, trained, tmp_path):
    shards = HitDataset(events[0]).shard_paths
    prepare(prepare_spec(graph={**GRAPH, "pt_min": 0.7}), shards, tmp_path / "other")
    data, card = HitDataset(tmp_path / "other/dataset.h5"), read_json(trained / "model.json")
    with pytest.raises(InputError, match="made otherwise"):
        [*Batches(data, tasks.build({"kind": "tracking"}, ["collision"]), card, data.indices("test"))]
    with pytest.raises(InputError, match="made otherwise"):
        train(train_spec(), tmp_path / "other/dataset.h5", events[1], tmp_path / "training")


def test_events_without_truth_cannot_be_learned_from(tmp_path):
    shard = toy_shard(tmp_path / "a.h5", [toy_event(i) for i in range(60)], drop=("hits/particle",))
    prepare(prepare_spec(), [shard], tmp_path / "out")
    with pytest.raises(InputError, match="no such column of events") as caught:
        train(train_spec(), tmp_path / "out/dataset.h5", tmp_path / "out/scaler.json", tmp_path / "training")
    assert caught.value.details["found"] == "hits/particle"


def test_jets_are_no_events(toy, events, tmp_path):
    with pytest.raises(ContractError, match="holds no events"):
        train(train_spec(), *toy, tmp_path)
    with pytest.raises(ContractError, match="holds no events"):
        evaluate(EvaluateSpec(version=1, seed=1, task={"kind": "tracking"}, settings={}), toy[0], [], tmp_path)


def test_a_step_does_not_depend_on_how_events_are_dealt_out(events, tmp_path):
    for name, settings in (("whole", {}), ("parts", {"accumulation": 2})):
        train(train_spec({"kind": "edge_network", "hidden": 8, "dropout": 0.0}, **settings), *events, tmp_path / name)
    whole, parts = (load_model(tmp_path / name)[0].state_dict() for name in ("whole", "parts"))
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-4)


def merit_of(scores, graph, **options):
    task = tasks.build({"kind": "tracking", **options}, ["collision"])
    merit = task.merit()
    logits = Logits(torch.zeros(0, 0), torch.zeros(0, 0), torch.from_numpy(scores)[:, None])
    true, event = torch.from_numpy(graph.true), torch.from_numpy(graph.event)
    merit.add(_hits(graph), logits, GraphTargets(torch.zeros(1), torch.ones(1), event, true))
    return merit.panels()[0]


def test_perfect_scores_find_every_track():
    graph = joined([toy_graph(seed) for seed in range(5)])
    panel = merit_of(np.where(graph.true, 9.0, -9.0), graph)
    for name in ("efficiency", "purity", "score"):
        assert panel.figures[f"{name}, network"] == panel.figures[f"{name}, truth"] == pytest.approx(1.0, abs=0.03)
    assert panel.figures["fake rate, network"] == 0
    nothing = merit_of(np.full(len(graph.true), -9.0), graph)
    assert nothing.figures["efficiency, network"] == 0 and "fake rate, network" not in nothing.figures
    assert all(math.isfinite(value) for value in nothing.figures.values())


def test_pairs_of_edges_are_those_that_meet():
    graph = joined([toy_graph(1), toy_graph(2)])
    order = np.random.default_rng(1).permutation(len(graph.features))
    for edges in (graph.edges, graph.edges[:, order]):
        first, second = (one.tolist() for one in consecutive(torch.from_numpy(edges), len(graph.nodes)))
        met = edges[1][:, None] == edges[0][None]
        assert sorted(zip(first, second, strict=True)) == sorted(map(tuple, np.argwhere(met).tolist()))


def test_pairs_in_pieces_say_what_they_say_at_once(monkeypatch):
    torch.manual_seed(0)
    model = build({"kind": "edge_network"}, Shape(5, 0, 0, edge_outputs=1, edges=7)).double().eval()
    inputs = graph_inputs(toy_graph(1))
    whole = model(*inputs).edges_BPPC
    monkeypatch.setattr(edge_network, "_AT_ONCE", 7)
    torch.testing.assert_close(model(*inputs).edges_BPPC, whole, rtol=1e-9, atol=1e-12)


def test_triplets_of_exact_tracks_score_higher_than_chance():
    graph = joined([toy_graph(seed, 8, 40) for seed in range(4)])
    seen = _hits(graph)
    columns = (seen.edges_2E, seen.layer_N, seen.r_N, seen.z0_E, seen.curvature_E)
    layers = _triplets.Layers(0, 5)
    scores = _triplets.scores(*(one.numpy() for one in columns), layers)
    assert scores.min() >= 0 and scores.max() <= 1
    assert auc(scores[graph.true], scores[~graph.true]) > 0.95
    assert (_triplets.scores(*(one.numpy() for one in columns), layers, wide=3.0) >= scores).all()


def test_the_baseline_has_no_more_fakes_than_the_network():
    graph = joined([toy_graph(seed, 12, 60) for seed in range(6)])
    panel = merit_of(np.where(graph.true, 9.0, -9.0) + np.random.default_rng(1).normal(0, 5, len(graph.true)), graph)
    fakes = [panel.figures[f"fake rate, {name}"] for name in ("triplets (geometry)", "network")]
    assert fakes[0] <= fakes[1]


def campaign(**changes):
    return changed("tracking", **changes)


def test_the_campaign_is_checked_and_its_windows_reach_prepare(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plan = Plan(campaign(), "tracking.yaml")
    assert not plan.core and json.loads(plan.spec("prepare"))["settings"]["graph"]["pt_min"] == 0.4
    values = campaign()
    del values["prepare"]["graph"]
    assert json.loads(Plan(values, "tracking.yaml").spec("prepare"))["settings"]["graph"]["pt_min"] == 0.5


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"prepare__graph__field": 3.8}, "prepare.graph.field", "another field"),
        ({"simulate__barrel__field": 3.8}, "prepare.graph.field", "another field"),
        ({"prepare__inputs": ["charge"]}, "prepare.inputs", "for jets"),
        ({"prepare__reweight": {"pt": [0, 1]}}, "prepare.reweight", "for jets"),
        ({"model": {"kind": "gnn"}, "scan__trials": 0, "scan__space": {}}, "model.kind", "takes no events"),
        ({"synthesize": {"vectors": 100}}, "synthesize", "no such answer"),
        ({"convert__format": {"kind": "ntuple"}}, "convert.format.kind", "no events"),
        ({"prepare__graph__pt_min": 0}, "prepare.graph.pt_min", ""),
        ({"task__shortest": 1}, "task.shortest", ""),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(changes, key, words):
    with pytest.raises(CampaignError) as caught:
        parse_campaign(campaign(**changes), "tracking.yaml")
    assert caught.value.details["key"] == key and words in str(caught.value)


def test_networks_that_fit_are_named():
    values = read_yaml(ROOT / "config/config.yaml")
    values["model"] = {"kind": "edge_network"}
    values["scan"] = {"trials": 0}
    with pytest.raises(CampaignError, match="takes no jets") as caught:
        parse_campaign(values, "campaign.yaml")
    assert "gnn" in caught.value.details["expected"] and "edge_network" not in caught.value.details["expected"]
    assert fitting("tracking") == ["edge_network"]
    values |= {"model": {"kind": "gnn"}, "prepare": {"graph": {}}}
    with pytest.raises(CampaignError, match="jets have no graph"):
        parse_campaign(values, "campaign.yaml")


def test_a_damaged_scaler_is_refused(events, tmp_path):
    values = read_json(events[1])
    for change in ({"nodes_std": [1.0]}, {"edges_mean": None}, {"graph": 3}):
        write_json(tmp_path / "scaler.json", {**values, **change})
        with pytest.raises(InputError, match="damaged"):
            GraphScaler.load(tmp_path / "scaler.json")
