"""Learning regions of a column: what is in them, that no label reaches the training, and what is refused."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import h5py
import jinja2
import numpy as np
import pytest
import torch
from test_config import changed

from bunchtrain import report
from bunchtrain.config.specs import EvaluateSpec, IndexSpec
from bunchtrain.dag import Plan
from bunchtrain.errors import BunchtrainError, CampaignError, InputError
from bunchtrain.evaluate.run import evaluate
from bunchtrain.events import chance, reader
from bunchtrain.events.reader import Dataset
from bunchtrain.events.splits import event_hash
from bunchtrain.levels import DRAW, Logits, Targets
from bunchtrain.panels import Panel, warned
from bunchtrain.prepare.beside import index
from bunchtrain.synth.run import synthesize
from bunchtrain.tasks.base import build
from bunchtrain.train.run import train
from cores import spec as core
from toys import CLASSES, toy_dataset, toy_shard, train_spec

REGIONS = {"column": "mass", "window": [20.0, 60.0], "range": [5.0, 300.0], "signal": "top", "background": "qcd"}
WEAK, SEMI = {"kind": "weak", **REGIONS}, {"kind": "semi", **REGIONS, "labelled": 0.5}


def targets(labels, *columns):
    count = len(labels)
    mask, weights = torch.ones(count, 3, dtype=torch.bool), torch.ones(count, dtype=torch.float64)
    seen = torch.tensor(np.stack(columns, -1), dtype=torch.float64)
    return Targets(torch.tensor(labels), weights, torch.zeros(count, 3, 0), mask, seen)


def logits(values):
    none = torch.zeros(len(values), 3, 0, dtype=torch.float64)
    return Logits(torch.tensor(values, dtype=torch.float64), none, none[:, None])


def test_the_window_is_learned_against_what_is_beside_it_whatever_the_label():
    task = build(WEAK, CLASSES)
    mass = [19.9, 20.0, 59.9, 60.0, 4.9, 300.0]
    said = logits([[0.0, 1.0]] * 6)
    found = task.losses(said, targets([0, 1, 0, 1, 0, 1], mass))
    right, wrong = np.log1p(np.exp(-1.0)), np.log1p(np.exp(1.0))
    assert found.tolist() == pytest.approx([wrong, right, right, wrong, 0, 0])
    torch.testing.assert_close(task.losses(said, targets([1, 0, 1, 0, 1, 0], mass)), found)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An index of events with the numbers that experiments have: beyond what single and double precision tell apart."""
    folder = tmp_path_factory.mktemp("large")
    shard = toy_shard(folder / "shards" / "a.h5", 0, 4000, 7)
    with h5py.File(shard, "r+") as file:
        for name, first in (("run_number", 0), ("event_number", 2**62)):
            del file[f"jets/{name}"]
            file[f"jets/{name}"] = np.arange(4000, dtype=np.uint64) * np.uint64(first > 0) + np.uint64(first)
    index(IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16}), [shard], folder)
    return Dataset(folder / "dataset.h5")


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 1.0])
def test_the_share_of_labelled_events_is_the_one_asked_for(share, large):
    task = build({**SEMI, "labelled": share}, CLASSES)
    rows = np.arange(4000)
    draws = large.numbers([DRAW], rows)[:, 0]
    chosen = task.labelled(torch.tensor(draws))
    assert chosen.double().mean().item() == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)
    assert torch.equal(task.labelled(torch.tensor(draws).float()), chosen)  # in any precision
    again = large.numbers([DRAW], rows[::-1].copy())[:, 0]
    assert np.array_equal(again[::-1], draws)  # of the event alone, not of its place


def test_event_0_has_its_label_no_more_often_than_others():
    runs = np.arange(2000, dtype=np.uint64)
    keys = chance.keys(reader._DRAWN, runs, np.zeros(2000, np.uint64))
    assert (chance.uniform(keys) < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_labelled_events_are_of_all_splits(large):
    """What has its label does not go with what is trained on."""
    rows = np.arange(4000)
    hashes = event_hash("a", large.column("run_number"), large.column("event_number"), 1)
    assert abs(np.corrcoef(large.numbers([DRAW], rows)[:, 0], hashes.astype(float))[0, 1]) < 0.07


def test_a_training_without_any_label_is_refused_and_others_say_how_many(toy_index, tmp_path, capsys):
    dataset, scaler = toy_index
    with pytest.raises(InputError, match="no row has its label") as caught:
        train(spec_of({**SEMI, "labelled": 1e-9}), dataset, scaler, tmp_path / "none")
    assert caught.value.details["key"] == "task.labelled"
    train(spec_of(SEMI, epochs=1), dataset, scaler, tmp_path / "net")
    count = len(Dataset(dataset).indices("train"))
    assert re.search(rf"\d+ of {count} rows have their label", capsys.readouterr().out)


def test_labels_of_few_rows_count_as_much_as_is_said():
    draws = np.random.default_rng(1).random(200)
    task, heavy = build(SEMI, CLASSES), build({**SEMI, "weight": 3.0}, CLASSES)
    weak, said = build(WEAK, CLASSES), logits(np.random.default_rng(0).normal(size=(200, 2)))
    known = targets(np.arange(200) % 2, np.full(200, 30.0), draws)
    of_labels = task.losses(said, known) - weak.losses(said, known)
    assert torch.equal(of_labels > 0, task.labelled(known.columns_BV[:, 1]))
    torch.testing.assert_close(heavy.losses(said, known) - weak.losses(said, known), 3 * of_labels)


@pytest.fixture(scope="module")
def toy_index(tmp_path_factory):
    return toy_dataset(tmp_path_factory.mktemp("weak"))


def spec_of(task, seed=1, **settings):
    return train_spec({"kind": "deepsets", "hidden": 8, "head": 8}, seed=seed, **settings).model_copy(
        update={"task": task}
    )


def test_no_label_reaches_a_weak_training(toy_index, tmp_path):
    """Other labels of the same rows, other class weights with them: the same weights of the network."""
    import h5py
    import safetensors.torch

    from bunchtrain.prepare.run import prepare
    from toys import prepare_spec

    dataset, _ = toy_index
    shards = sorted((dataset.parents[1] / "shards").glob("*.h5"))
    found = []
    for place in ("as it is", "otherwise"):
        folder = tmp_path / place.replace(" ", "-")
        folder.mkdir()
        copies = []
        for shard in shards:
            copy = folder / shard.name
            copy.write_bytes(shard.read_bytes())
            if place == "otherwise":
                with h5py.File(copy, "r+") as file:
                    label = file["jets/label"][:]
                    label[: len(label) // 3] = 1 - label[: len(label) // 3]
                    file["jets/label"][:] = label
            copies.append(copy)
        prepare(prepare_spec(), copies, folder / "prepare")
        index = folder / "prepare" / "dataset.h5"
        train(spec_of(WEAK), index, folder / "prepare" / "scaler.json", folder / "net")
        found.append(safetensors.torch.load_file(folder / "net" / "model.safetensors"))
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=0, atol=0, msg=name)


def test_the_evaluation_says_whether_regions_of_background_are_told_apart(toy_index, tmp_path):
    dataset, scaler = toy_index
    train(spec_of(WEAK), dataset, scaler, tmp_path / "net")
    spec = EvaluateSpec(version=1, seed=1, task={**WEAK, "variables": []}, settings={"passes": 4, "bootstrap": 10})
    evaluate(spec, dataset, [tmp_path / "net"], tmp_path / "out")
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    panel = next(one for one in metrics["panels"] if one["title"] == "Learned without labels")
    assert [row[0] for row in panel["rows"]] == ["all rows", "background alone"]
    assert set(panel["figures"]) == {"window against range, all rows", "window against range, background alone"}
    assert metrics["told"]["score"] == "p(window)"


def test_no_student_is_made_by_hand(toy_index, tmp_path):
    dataset, scaler = toy_index
    train(spec_of(WEAK, epochs=1), dataset, scaler, tmp_path / "net")
    with pytest.raises(InputError, match="learns with labels"):
        synthesize(core(task={**WEAK, "variables": []}), dataset, tmp_path / "net", tmp_path / "core")


@pytest.mark.parametrize("follows", [True, False])
def test_regions_of_background_that_are_told_apart_are_warned_of(follows):
    random, task = np.random.default_rng(3), build(WEAK, CLASSES)
    mass, merit = random.uniform(5, 300, 4000), task.merit()
    seen = mass if follows else random.uniform(5, 300, 4000)
    said = logits(np.stack([np.zeros(4000), (seen < 60) + random.normal(0, 2, 4000)], 1))
    merit.add(None, said, targets([task.background] * 4000, mass))
    (panel,) = merit.panels()
    assert bool(panel.warning) == follows and ("follows mass" in panel.warning) == follows


def test_a_warning_of_any_network_stands_in_the_log_and_on_the_page(capsys):
    good, bad = asdict(Panel("a", "b")), asdict(Panel("a", "b", warning="the regions & more"))
    shown = warned(["seed0", "seed1"], [[good], [bad]])
    assert shown[0]["warning"] == "seed1: the regions & more"
    assert capsys.readouterr().out == "[evaluate] warning: seed1: the regions & more\n"
    template = jinja2.Environment(autoescape=True).from_string(
        (Path(report.__file__).parent / "page.html.j2").read_text().split("{% endmacro %}")[0]
        + "{% endmacro %}{{ shown(panel) }}"
    )
    assert '<div class="warn">seed1: the regions &amp; more</div>' in template.render(panel=shown[0])
    assert "warn" not in template.render(panel=asdict(Panel("a", "b")))


@pytest.mark.parametrize("kind", ["weak", "semi"])
def test_an_empty_region_is_told_with_where_the_column_lies(kind, toy_index, tmp_path):
    dataset, scaler = toy_index
    task = {**(WEAK if kind == "weak" else SEMI), "window": [9000.0, 9100.0], "range": [5.0, 9200.0]}
    with pytest.raises(InputError, match="hardly any rows") as caught:
        train(spec_of(task), dataset, scaler, tmp_path)
    assert caught.value.details["key"] == "task.window" and "mass lies between" in str(caught.value)


def test_a_column_that_is_not_there_is_named(toy_index, tmp_path):
    dataset, scaler = toy_index
    with pytest.raises(BunchtrainError) as caught:
        train(spec_of({**WEAK, "column": "masss"}), dataset, scaler, tmp_path)
    assert "masss" in str(caught.value) and "mass" in str(caught.value)


PAIRS = {"column": "dijet_mass", "window": [1850, 2150], "range": [1600, 2600]}
SEMI_PAIRS = {"kind": "semi", **PAIRS}
MASS = {"task__column": "mass", "task__window": [60, 100], "task__range": [30, 150]}
GLOBALS = {"trials": 2, "space": {"model.globals": {"choices": [True, False]}}}


def scan_of(objective):
    return {"trials": 2, "objective": objective, "space": {"model.hidden": {"choices": [16, 32]}}}


ODD = {
    "a window outside": ({"task__window": [100, 200]}, "task", "leaves the range"),
    "ends the wrong way": ({"task__window": [2150, 1850]}, "task", "lower end"),
    "the whole range": ({"task__window": [1600, 2600]}, "task", "nothing is beside it"),
    "one end": ({"task__window": [1850]}, "task.window", "2"),
    "a class that there is not": ({"task__signal": "sginal"}, "task.signal", "signal"),
    "the column itself": ({"prepare__variables": ["dijet_mass"]}, "prepare.variables", "task.column"),
    "weights by class": ({"prepare__reweight": {"pt": [500, 1000]}}, "prepare.reweight", "labels"),
    "labels that steer the scan": ({"scan": scan_of("validation_auc")}, "scan.objective", "validation_loss"),
    "one of two objectives": ({"scan": scan_of(["validation_loss", "rejection"])}, "scan.objective", "rejection"),
    "calibration": ({"task": SEMI_PAIRS, "scan": scan_of("calibration_error")}, "scan.objective", "rank_seconds"),
    "what every network sees": ({**MASS, "model__globals": True}, "task.column", "globals: false"),
    "what constituents tell": ({**MASS, "model": {"kind": "deepsets"}}, "task.column", "sees of every jet"),
    "seen by some of the scan": ({**MASS, "scan": GLOBALS}, "task.column", "sees of every jet"),
    "a student that learns with labels": ({"scan": scan_of("lut"), "core": True}, "scan.objective", "rank_seconds"),
    "a core": ({"core": True, "synthesize": {"vectors": 100}}, "synthesize", "learns with labels"),
    "what a baseline sees": ({**MASS, "baseline": {"kind": "dense"}}, "task.column", "sees of every jet"),
    "a label beside the network": ({"task__variables": ["label"]}, "task.variables", "label"),
    "a label as the column": ({"task__column": "label"}, "task.column", "label"),
    "a column that is not made": ({"task__column": "dijet_mas"}, "task.column", "dijet_mass"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_campaign_that_cannot_be_is_refused_with_its_key(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    changes, key, told = ODD[name]
    with pytest.raises(CampaignError) as caught:
        Plan(changed("anomaly-weak", **changes), "my.yaml")
    assert caught.value.details["key"] == key and told in str(caught.value)


def test_scans_of_what_no_label_tells_stand(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for objective in ("validation_loss", ["validation_loss", "rank_seconds"]):
        Plan(changed("anomaly-weak", scan=scan_of(objective)), "my.yaml")
    Plan(changed("anomaly-weak", **MASS), "my.yaml")  # which the network does not see


def test_no_core_is_taught_with_labels_where_it_is_not_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plan = Plan(changed("anomaly-weak", core=True), "my.yaml")
    assert not plan.core and plan.ends() == ["results/anomaly-weak/report.html"]


def test_a_network_that_sees_columns_alone_is_given_some():
    from bunchtrain.models.base import Shape
    from bunchtrain.models.base import build as network

    with pytest.raises(CampaignError, match=r"given none"):
        network({"kind": "dense", "globals": False}, Shape(nodes=7, globals=3, outputs=2))
    seen = network({"kind": "dense", "globals": False, "dropout": 0.0}, Shape(nodes=7, globals=5, outputs=2)).eval()
    nodes, jets = torch.zeros(2, 1, 7), torch.ones(2, 5)
    jets[1, :3] = 9.0
    said = seen(nodes, torch.zeros(2, 1, 4), jets, torch.ones(2, 1, dtype=torch.bool)).graph_BC
    torch.testing.assert_close(said[0], said[1])
