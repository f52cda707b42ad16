"""Each figure of the tracks is what it is called: which particles, which edges, which events, which cut."""

import dataclasses
import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest
import torch
from test_tracking import campaign, merit_of

from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.dag import Plan
from bunchtrain.evaluate.batches import _hits
from bunchtrain.evaluate.run import evaluate
from bunchtrain.events.hitdata import HitDataset, joined
from bunchtrain.files import read_json
from bunchtrain.levels import GraphTargets, Logits
from bunchtrain.report.figures import plot
from bunchtrain.tasks import _tracks, _triplets
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks._tracks import NETWORK, PERFECT, TRIPLETS
from bunchtrain.trackfinding import Sought, figures, rate
from bunchtrain.train.run import train
from graphtoys import toy_dataset, toy_graph, train_spec

EVERY = {"min_hits": 1, "pt_min": 0.0, "eta_max": 10.0}


def events(number=5, particles=8, noise=6):
    return joined([toy_graph(seed, particles, noise) for seed in range(number)])


def scores_for(graph, wanted, sure=9.0):
    """Logits that are right for the edges of some particles, and say no to all others."""
    own = np.append(wanted, False)[graph.particle[graph.edges[0]]]
    return np.where(graph.true & own, sure, -9.0)


def both(graph, wanted=None, sure=9.0, **options):
    """The panels of the tracks and of the graphs."""
    scores = scores_for(graph, np.ones(len(graph.pt), bool) if wanted is None else wanted, sure)
    merit = tasks.build({"kind": "tracking", **options}, ["collision"]).merit()
    logits = Logits(torch.zeros(0, 0), torch.zeros(0, 0), torch.from_numpy(scores)[:, None])
    known = GraphTargets(torch.zeros(1), torch.ones(1), torch.from_numpy(graph.event), torch.from_numpy(graph.true))
    merit.add(_hits(graph), logits, known)
    return merit.panels()


def test_candidates_take_no_edge_below_the_threshold():
    graph = events()
    found = [both(graph, sure=1.0, threshold=cut)[0].figures["efficiency, network"] for cut in (0.7, 0.8)]
    assert found[0] > 0.95 and found[1] == 0  # p is 0.73


def test_candidates_are_no_shorter_than_asked():
    graph = events()
    assert both(graph, shortest=6)[0].figures["efficiency, network"] > 0.9
    assert both(graph, shortest=7)[0].figures["efficiency, network"] == 0


@pytest.mark.parametrize(
    ("column", "low", "high"), [("pt", {"pt_min": 1.5}, {"pt_min": 0.0}), ("eta", {"eta_max": 0.6}, {"eta_max": 10.0})]
)
def test_the_efficiency_is_that_of_the_particles_sought(column, low, high):
    graph = events()
    wanted = graph.pt > 1.5 if column == "pt" else np.abs(graph.eta) < 0.6
    assert 0.1 < wanted.mean() < 0.9
    found = [both(graph, wanted, **options)[0].figures["efficiency, network"] for options in (low, high)]
    assert found[0] > 0.9 and found[1] == pytest.approx(wanted.mean(), abs=0.05)


def test_particles_of_fewer_hits_than_asked_do_not_count():
    graph = events()  # of six hits each
    assert "efficiency, network" in both(graph, min_hits=6)[0].figures
    panel = both(graph, min_hits=7)[0]
    assert "efficiency, network" not in panel.figures and "track efficiency" not in [
        one.name for one in panel.headlines
    ]


def test_the_graphs_efficiency_is_of_edges_of_the_particles_sought():
    graph = events()
    for options in ({**EVERY, "pt_min": 1.5}, EVERY):
        shares = both(graph, **options)[1]
        wanted = np.append(graph.pt > options["pt_min"], False)[graph.particle]
        kept = np.sum(graph.true & wanted[graph.edges[0]])
        assert shares.figures["graph efficiency"] == kept / graph.leaving[wanted].sum() <= 1
        assert shares.rows[0][2] == str(graph.leaving[wanted].sum())
        assert shares.figures["graph purity"] == graph.true.mean()


def test_a_score_by_pt_weighs_by_pt():
    graph = events()
    hard = both(graph, graph.pt > 1.5)[0].figures
    assert hard["score by pT, network"] > hard["score, network"] + 0.1
    soft = both(graph, graph.pt < 1.5)[0].figures
    assert soft["score by pT, network"] < soft["score, network"] - 0.1


def test_triplets_look_at_curvature_and_at_z0():
    edges = np.array([[0, 1], [1, 2]])
    layer, r = np.arange(3), np.array([30.0, 70.0, 120.0])
    layers = _triplets.Layers(0, 2)

    def of(z0, curvature):
        return _triplets.scores(edges, layer, r, np.array(z0), np.array(curvature), layers)

    assert of([5.0, 5.0], [1e-3, 1e-3]).tolist() == [1.0, 1.0]
    assert (of([5.0, 95.0], [1e-3, 1e-3]) < 1e-6).all() and (of([5.0, 5.0], [1e-3, -1e-3]) < 1e-6).all()


def test_the_baseline_is_the_best_at_no_more_fakes_than_the_network():
    graph, random = events(4, 30, 100), np.random.default_rng(3)
    hits = _hits(graph)
    blurred = {"z0_E": random.normal(0, 8, len(graph.true)), "curvature_E": random.normal(0, 5e-4, len(graph.true))}
    hits = hits._replace(**{name: getattr(hits, name) + torch.from_numpy(noise) for name, noise in blurred.items()})
    merit = _tracks.Tracks(0.5, 4, Sought(**EVERY))
    logits = Logits(torch.zeros(0, 0), torch.zeros(0, 0), torch.from_numpy(np.where(graph.true, 9.0, -9.0))[:, None])
    known = GraphTargets(torch.zeros(1), torch.ones(1), torch.from_numpy(graph.event), torch.from_numpy(graph.true))
    merit.add(hits, logits, known)
    most = figures(*merit._network, Sought(**EVERY))["fake"].value
    tried = [
        (float(np.nan_to_num(one["fake"].value)), one["efficiency"].value)
        for wide in _tracks._WIDE
        for one in merit._rates(TRIPLETS, wide)
    ]
    allowed = max(efficiency for fake, efficiency in tried if fake <= most)
    assert allowed < max(efficiency for _, efficiency in tried)  # else the limit would not matter
    found = merit.panels()[0].figures
    assert found[f"fake rate, {TRIPLETS}"] <= most and found[f"efficiency, {TRIPLETS}"] == allowed


def test_the_table_and_the_curves_tell_the_cuts():
    graph = events(4, 12, 60)
    scores = np.where(graph.true, 3.0, -3.0) + np.random.default_rng(1).normal(0, 4, len(graph.true))
    panel = merit_of(scores, graph, threshold=0.9)
    cuts = {row[0]: row[1] for row in panel.rows}
    assert panel.columns[1] == "cut" and cuts[NETWORK] == "0.9" and cuts[PERFECT] == "-"
    threshold, wide = cuts[TRIPLETS].split(", tolerance × ")
    assert float(threshold) in _tracks._THRESHOLDS and float(wide) in _tracks._WIDE
    curves = panel.plots[0].curves
    marks = {curve.group: curve for curve in curves if curve.mark}
    assert [marks[0].name, marks[1].name] == [f"{name}, cut {cuts[name]}" for name in (NETWORK, TRIPLETS)]
    assert marks[0].y == [panel.figures["efficiency, network"]] and marks[0].x == [panel.figures["fake rate, network"]]
    lines = {curve.group: curve for curve in curves if not curve.mark}
    assert (marks[1].x[0], marks[1].y[0]) in zip(lines[1].x, lines[1].y, strict=True)
    assert len(_tracks._THRESHOLDS) > 25 and [*_tracks._THRESHOLDS] == sorted(_tracks._THRESHOLDS)
    assert panel.plots[0].logarithmic_x and min(x for curve in curves for x in curve.x) > 0
    assert f"<!-- {marks[1].name} -->" in plot(asdict(panel.plots[0]))


def test_efficiency_and_duplicates_stand_at_the_top_with_what_they_are_beside():
    panel = both(events())[0]
    one, two = panel.headlines
    assert one.name == "track efficiency" and one.value == 100 * panel.figures["efficiency, network"] and one.error > 0
    assert "fakes" in one.note and "triplets: " in one.note
    assert two.name == "track duplicate rate" and two.value == 100 * panel.figures["duplicate rate, network"]


def test_the_last_bin_of_pt_is_open_and_bins_have_widths():
    graph = events()
    graph = dataclasses.replace(graph, pt=np.where(np.arange(len(graph.pt)) % 2, 500.0, graph.pt))
    panel = both(graph, **{**EVERY, "pt_min": 0.5})[0]
    binned = next(one for one in panel.plots if one.x == "pT (GeV)")
    curve = binned.curves[0]
    assert curve.x[-1] == pytest.approx(3.75) and curve.widths[-1] == pytest.approx(1.25)
    assert "no upper end" in binned.caption and binned.share
    beyond = int(np.sum(graph.pt > 2.5))
    assert curve.y[-1] == 1 and curve.errors[-1] == rate(beyond, beyond).error and np.sum(graph.pt > 100) > 5


def test_every_figure_of_the_table_has_an_error():
    panel = both(events())[0]
    assert all("±" in cell for row in panel.rows for cell in row[2:])
    assert "candidates, as independent" in panel.text and "of any pT" in panel.text.replace(
        "whatever their pT", "of any pT"
    )


def test_the_test_split_alone_is_judged(tmp_path):
    sample = toy_dataset(tmp_path / "events")
    train(train_spec(epochs=1), *sample, tmp_path / "seed0")
    spec = EvaluateSpec(version=1, seed=1, task={"kind": "tracking"}, settings={"passes": 2, "bootstrap": 2})
    evaluate(spec, sample[0], [tmp_path / "seed0"], tmp_path / "out")
    data, metrics = HitDataset(sample[0]), read_json(tmp_path / "out/metrics.json")
    test = data.indices("test")
    assert not set(test) & set(data.indices("train"))
    with h5py.File(tmp_path / "out/predictions.h5") as file:
        assert set(file["index"][:].tolist()) == set(test.tolist())
    assert metrics["panels"][1]["rows"][1][2] == str(len(joined([*data.graphs(test)]).true))


@pytest.mark.parametrize(
    ("key", "value"), [("threshold", 0.7), ("shortest", 5), ("min_hits", 6), ("pt_min", 0.9), ("eta_max", 1.5)]
)
def test_what_candidates_are_made_of_trains_nothing_anew(key, value):
    one, other = Plan(campaign(), "c.yaml"), Plan(campaign(**{f"task__{key}": value}), "c.yaml")
    assert one.spec("train", number="0") == other.spec("train", number="0") and one.spec("scan") == other.spec("scan")
    judged = json.loads(other.spec("evaluate"))["task"]
    assert judged[key] == value != json.loads(one.spec("evaluate"))["task"].get(key)
