"""Learning what is usual: what the task computes, says when it learns nothing, and what the evaluation shows."""

import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_config import changed

from bunchtrain.config.specs import EvaluateSpec, IndexSpec, TrainSpec
from bunchtrain.dag import Plan
from bunchtrain.errors import BunchtrainError, CampaignError, InputError, TrainingError
from bunchtrain.evaluate.anomalypanels import divergence
from bunchtrain.evaluate.run import evaluate
from bunchtrain.levels import Latent, Targets
from bunchtrain.prepare.beside import index
from bunchtrain.tasks.base import build
from bunchtrain.tasks.unsupervised import Config, Task, distance_correlation, nats
from bunchtrain.train.run import train
from toys import CLASSES, toy_dataset, toy_shard, train_spec

TASK = {"kind": "unsupervised"}
MODEL = {"kind": "vae", "hidden": 16, "latent": 3, "constituents": 6}


def latent(mean, log_variance, error=None):
    mean, log_variance = (torch.tensor(one, dtype=torch.float64) for one in (mean, log_variance))
    error = torch.zeros(len(mean), dtype=torch.float64) if error is None else torch.tensor(error, dtype=torch.float64)
    return Latent(mean, log_variance, error)


def targets(count, mass=None):
    mask = torch.ones(count, 4, dtype=torch.bool)
    columns = torch.zeros(count, 0) if mass is None else torch.as_tensor(mass, dtype=torch.float64)[:, None]
    weights = torch.ones(count, dtype=torch.float64)
    return Targets(torch.zeros(count, dtype=torch.long), weights, torch.zeros(count, 4, 0), mask, columns)


def test_scores_are_what_they_are_called():
    found = Task(Config(clip=1.0), ["qcd"]).scores(latent([[2.0, 0.5]], [[0.0, np.log(2.0)]], [3.0]))
    full = (4 + 1 - 1 - 0) + (0.25 + 2 - 1 - np.log(2))
    expected = {
        "likelihood": 3 + full / 2,
        "reconstruction": 3,
        "divergence": full,
        "no logarithm": 4 + 1.25,
        "mean": 4.25,
        "clipped mean": 1.25,
    }
    assert {name: one.item() for name, one in found.items()} == pytest.approx(expected)


def test_the_divergence_is_that_of_two_normal_distributions():
    one = latent([[0.7, -1.0]], [[-0.5, 0.3]])
    normal = torch.distributions.Normal
    code = normal(one.mean_BL, (one.log_variance_BL / 2).exp())
    torch.testing.assert_close(nats(one), torch.distributions.kl_divergence(code, normal(0.0, 1.0)))


def test_free_bits_cost_nothing():
    task, costly = Task(Config(beta=1.0, free_bits=0.5), ["qcd"]), Task(Config(beta=1.0), ["qcd"])
    small = latent([[0.1], [0.2]], [[0.0], [0.0]])
    assert task.loss(small, targets(2)).item() == pytest.approx(1.0)  # 0.5 each, whatever the code
    assert costly.loss(small, targets(2)).item() == pytest.approx(0.025)


def naive_distance_correlation(x, y):
    """From the definition, for equal weights."""

    def centred(values):
        apart = np.abs(values[:, None] - values[None])
        return apart - apart.mean(0) - apart.mean(1)[:, None] + apart.mean()

    a, b = centred(x), centred(y)
    return (a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())


@given(st.integers(0, 2**31 - 1), st.integers(8, 40))
def test_the_distance_correlation_is_the_one_of_the_definition(seed, count):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=count), random.normal(size=count)
    y = y + x * random.integers(0, 2)
    found = distance_correlation(torch.tensor(x), torch.tensor(y), torch.ones(count, dtype=torch.float64))
    assert found.item() == pytest.approx(naive_distance_correlation(x, y), abs=1e-9)
    assert distance_correlation(torch.tensor(x), torch.tensor(3 - 2 * x), torch.ones(count)).item() == pytest.approx(1)


def test_a_score_that_follows_the_mass_costs_and_one_that_does_not_is_free():
    random = np.random.default_rng(0)
    mass = random.normal(80, 20, 400)
    task = Task(Config(beta=0.0, decorrelate=10.0, score="reconstruction"), ["qcd"])

    def cost(error):
        code = latent(np.zeros((400, 1)), np.zeros((400, 1)), error)
        return (task.loss(code, targets(400, mass)) - code.error_B.sum()).item() / 400

    assert cost(mass) == pytest.approx(10, rel=1e-6) and cost(random.normal(size=400)) < 1.0


def test_equal_spectra_do_not_diverge_and_separate_ones_do_by_a_bit():
    mass = np.repeat(np.arange(10.0), 10)
    edges, ones = np.arange(11.0) - 0.5, np.ones(100)
    assert divergence(mass, ones, np.arange(100) % 10 < 5, edges) == pytest.approx(0, abs=1e-12)
    assert divergence(mass, ones, mass > 8, edges) > 0.5


def figures(task, code):
    return task.figures(task.sums(code, targets(len(code.mean_BL))))


def test_a_collapsed_code_is_told_with_its_remedy():
    task = Task(Config(), ["qcd"])
    dead = figures(task, latent(np.zeros((9, 2)), np.zeros((9, 2)), np.arange(9.0)))
    (told,) = task.warnings(dead)
    assert "collapsed" in told and "task.beta" in told and "free_bits" in told
    alive = figures(task, latent(np.random.default_rng(0).normal(size=(9, 2)), -np.ones((9, 2)), np.arange(9.0)))
    assert task.warnings(alive) == []


def test_a_constant_score_is_told_with_its_remedy():
    task = Task(Config(score="reconstruction"), ["qcd"])
    code = np.random.default_rng(0).normal(size=(9, 2))
    (told,) = task.warnings(figures(task, latent(code, -np.ones((9, 2)), np.full(9, 2.0))))
    assert "the same for all jets" in told and "task.score" in told


def test_a_variance_that_runs_away_ends_the_training():
    task = Task(Config(), ["qcd"])
    with pytest.raises(TrainingError, match="runs away") as caught:
        figures(task, latent(np.zeros((3, 2)), np.full((3, 2), 40.0)))
    assert "train.learning_rate" in caught.value.details["mend"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Index, a hidden sample, and trainings with two seeds."""
    folder = tmp_path_factory.mktemp("anomalies")
    dataset, scaler = toy_dataset(folder)
    seen = IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16})
    index(seen, [toy_shard(folder / "hidden" / "odd.h5", 1, 150, 7)], folder / "hidden")
    hidden = folder / "hidden" / "dataset.h5"
    trainings = []
    for seed in (1, 2):
        spec = train_spec(MODEL, seed=seed, epochs=3).model_copy(update={"task": TASK})
        train(spec, dataset, scaler, folder / f"seed{seed}")
        trainings.append(folder / f"seed{seed}")
    return dataset, hidden, trainings


def judge(trained, out, **task):
    dataset, hidden, trainings = trained
    task = {**Config().model_dump(), **TASK, **task}
    spec = EvaluateSpec(version=1, seed=1, task=task, settings={"bootstrap": 5})
    evaluate(spec, dataset, trainings, out, unfamiliar={"odd": hidden})
    return json.loads((out / "metrics.json").read_text())


def test_the_evaluation_judges_every_score_on_every_hidden_signal(trained, tmp_path):
    metrics = judge(trained, tmp_path)
    assert metrics["hidden"] == ["odd"] and len(metrics["seeds"]) == 2
    areas = metrics["seeds"][0]["areas"]["odd"]
    assert set(areas) == {*Task(Config(), ["qcd"]).scores(latent([[1.0]], [[0.0]])), "mass", "isolation forest"}
    titles = [panel["title"] for panel in metrics["panels"]]
    assert any("shape the mass" in title for title in titles) and any("trigger" in title for title in titles)
    with h5py.File(tmp_path / "predictions.h5") as file:
        assert list(file.attrs["samples"]) == ["background", "odd"]
        assert np.isfinite(file["scores/likelihood"][:]).all() and len(file["mass"]) == len(file["sample"])
    again = judge(trained, tmp_path / "again")
    assert again["seeds"] == metrics["seeds"]


def test_warnings_of_a_training_stand_on_the_page(trained, tmp_path):
    metrics = judge(trained, tmp_path)
    history = json.loads((trained[2][0] / "history.json").read_text())
    shown = [panel for panel in metrics["panels"] if panel["title"] == "Something is wrong with a training"]
    assert bool(history.get("warnings")) == bool([row for panel in shown for row in panel["rows"] if row[0] == "seed1"])


def test_a_training_of_another_task_is_refused(trained, toy, tmp_path):
    dataset, _, _ = trained
    other = tmp_path / "tagger"
    train(train_spec(epochs=1), dataset, dataset.parent / "scaler.json", other)
    with pytest.raises(InputError, match="another task"):
        judge((dataset, trained[1], [other]), tmp_path / "out")


def test_an_index_without_jets_to_learn_from_is_told(trained, tmp_path):
    _, hidden, trainings = trained
    with pytest.raises(InputError, match="no jets to learn from"):
        judge((hidden, hidden, trainings), tmp_path)


@pytest.mark.parametrize(
    ("column", "place", "value"),
    [
        ("jets/weight", 3, np.nan),
        ("jets/weight", slice(None), -1.0),
        ("jets/mass", 3, np.nan),
        ("jets/pt", 3, np.inf),
        ("constituents/px", 3, np.nan),
    ],
)
def test_a_sample_with_values_that_are_none_is_named_and_nothing_is_written(trained, tmp_path, column, place, value):
    dataset, _, trainings = trained
    shard = toy_shard(tmp_path / "hidden" / "odd.h5", 1, 150, 7)
    with h5py.File(shard, "r+") as file:
        file[column][place] = value
    index(IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16}), [shard], tmp_path / "hidden")
    hidden = tmp_path / "hidden" / "dataset.h5"
    looked = {"variables": ["pt"]} if column == "jets/pt" else {}
    with pytest.raises(InputError) as caught:
        judge((dataset, hidden, trainings), tmp_path / "out", **looked)
    told = caught.value.details
    assert told["file"] == str(hidden) and (column in told["key"] or "constituents" in told["key"])
    assert not list((tmp_path / "out").glob("*"))


def test_hidden_samples_are_named_and_not_as_the_background(trained, tmp_path):
    dataset, hidden, trainings = trained
    spec = EvaluateSpec(version=1, seed=1, task={**Config().model_dump(), **TASK}, settings={"bootstrap": 5})
    with pytest.raises(InputError, match="nothing to be found"):
        evaluate(spec, dataset, trainings, tmp_path, unfamiliar={})
    with pytest.raises(CampaignError, match="name of what it is judged beside"):
        evaluate(spec, dataset, trainings, tmp_path, unfamiliar={"background": hidden})


@pytest.mark.parametrize("content", ["[]", '{"warnings": "abc"}', '{"warnings": [1]}'])
def test_what_is_no_history_is_told(trained, tmp_path, content):
    dataset, hidden, (folder, _) = trained
    shutil.copytree(folder, tmp_path / "net")
    (tmp_path / "net/history.json").write_text(content)
    with pytest.raises(InputError, match="no history"):
        judge((dataset, hidden, [tmp_path / "net"]), tmp_path / "out")


def test_what_rests_on_classes_is_refused_for_a_network_without(trained, tmp_path):
    from bunchtrain.evaluate.assess import assess
    from bunchtrain.synth.run import synthesize
    from cores import spec as core

    dataset, _, (folder, _) = trained
    task = {**Config().model_dump(), **TASK}
    with pytest.raises(InputError, match="no classes apart"):
        assess(EvaluateSpec(version=1, seed=1, task=task, settings={}), dataset, folder, tmp_path / "figures.json")
    with pytest.raises(InputError, match="bunchtrain trigger"):
        synthesize(core(task=task), dataset, folder, tmp_path / "core")


def test_a_network_that_always_says_the_same_is_refused(trained, tmp_path):
    dataset, hidden, _ = trained
    spec = train_spec({**MODEL, "variational": False}, epochs=1).model_copy(update={"task": TASK})
    train(spec, dataset, dataset.parent / "scaler.json", tmp_path / "dead")
    silence(tmp_path / "dead")
    with pytest.raises(TrainingError, match="the same for all jets") as caught:
        judge((dataset, hidden, [tmp_path / "dead"]), tmp_path / "out", score="mean")
    assert "task.score" in str(caught.value)


def silence(folder):
    """Make the code of a trained network zero."""
    from bunchtrain.models.base import load_model, save_model

    model, card = load_model(folder)
    with torch.no_grad():
        model.mean.weight.zero_(), model.mean.bias.zero_()
    save_model(folder, model, {key: value for key, value in card.items() if key != "weights_sha256"})


def test_rank_by_rank_the_sums_are_the_same(trained):
    spec = TrainSpec.model_validate({**train_spec(MODEL).model_dump(), "task": TASK})
    assert spec.task == TASK
    task, random = Task(Config(), ["qcd"]), np.random.default_rng(0)
    code = latent(random.normal(size=(10, 2)), random.normal(size=(10, 2)), random.normal(size=10))
    part = [Latent(*(one[rows] for one in code)) for rows in (slice(0, 3), slice(3, 10))]
    sums = [task.sums(one, targets(len(one.error_B))) for one in part]
    torch.testing.assert_close(sums[0] + sums[1], task.sums(code, targets(10)))


SCAN = {"trials": 2, "objective": "rejection", "space": {"model.latent": {"choices": [4, 8]}}}
ODD = {
    "a network of classes": ({"model": {"kind": "gnn"}}, "model.kind", "a code and a reconstruction"),
    "an autoencoder for classes": ({"task": {"kind": "pileup"}}, "model.kind", "answer"),
    "a baseline": ({"baseline": {"kind": "dense"}}, "baseline", "tells no classes apart"),
    "nothing to find": ({"unfamiliar": {}}, "unfamiliar", "nothing to be found"),
    "an objective of classes": ({"scan": SCAN}, "scan.objective", "objective"),
    "a core": ({"synthesize": {"vectors": 100}}, "synthesize", "tells no classes apart"),
    "a score that there is not": ({"task__score": "likelyhood"}, "task.score", "likelihood"),
    "the name of the background": (
        {"unfamiliar__background": {"generate": {"process": "top"}}},
        "unfamiliar.background",
        "another name",
    ),
    "more constituents than there are": ({"model__constituents": 64}, "model.constituents", "at most 40"),
    "a label beside the score": ({"task__variables": ["label"]}, "task.variables", "label"),
    "a label for the mass": ({"task__mass": "label"}, "task.mass", "label"),
    "a negative weight": ({"task__decorrelate": -1}, "task.decorrelate", "0"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_campaign_that_cannot_be_is_refused_with_its_key(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    changes, key, told = ODD[name]
    with pytest.raises(CampaignError) as caught:
        Plan(changed("anomaly-vae", **changes), "my.yaml")
    assert caught.value.details["key"] == key and told in str(caught.value)


def test_decorrelation_from_a_constant_is_refused():
    task = build({**TASK, "decorrelate": 1.0}, CLASSES)
    with pytest.raises(InputError, match="the same for all jets") as caught:
        task.require(np.full((5, 1), 80.0), "dataset.h5")
    assert caught.value.details["key"] == "task.mass"
    task.require(np.array([[80.0], [81.0]]), "dataset.h5")
    build(TASK, CLASSES).require(np.zeros((5, 0)), "dataset.h5")


def test_a_column_that_is_not_there_is_named(trained, tmp_path):
    with pytest.raises(BunchtrainError) as caught:
        judge(trained, tmp_path, mass="masss")
    assert "masss" in str(caught.value) and "mass" in str(caught.value)
