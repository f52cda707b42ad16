"""Accuracy, rejection, calibration and MC dropout against what is known."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

from bunchtrain import discrimination as d
from bunchtrain import dropout
from bunchtrain.calibration import (
    calibration,
    expected_calibration_error,
    reliability,
    retention_area,
    usefulness,
)
from bunchtrain.config.specs import EvaluateSpec
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.evaluate import run
from bunchtrain.evaluate.answers import answer
from bunchtrain.events.reader import Dataset
from bunchtrain.files import read_json, write_json
from bunchtrain.posterior import PILOT, entropy
from bunchtrain.tasks import base as tasks
from bunchtrain.train.run import train
from toys import CLASSES, toy_dataset, toy_shard, train_spec

RANDOM = np.random.default_rng(0)


def test_auc_agrees_with_scikit_learn_ties_included():
    metrics = pytest.importorskip("sklearn.metrics")
    signal, background = RANDOM.normal(1, 1, 500).round(1), RANDOM.normal(0, 1, 700).round(1)
    truth = np.r_[np.ones(500), np.zeros(700)]
    assert d.auc(signal, background) == pytest.approx(
        metrics.roc_auc_score(truth, np.r_[signal, background]), abs=1e-12
    )


def test_the_error_of_an_auc_is_the_spread_of_repeated_experiments():
    areas = [d.auc(RANDOM.normal(1, 1, 300), RANDOM.normal(0, 1, 300)) for _ in range(400)]
    error = d.Scores(RANDOM.normal(1, 1, 300), RANDOM.normal(0, 1, 300)).auc_error()
    assert error == pytest.approx(np.std(areas), rel=0.15)


def test_rejection_and_its_error_on_a_known_distribution():
    def experiment():
        return d.Scores(RANDOM.uniform(0.5, 1, 5000), RANDOM.uniform(0, 1, 5000)).rejection(0.5)

    rows = [experiment() for _ in range(300)]
    values = [row["rejection"] for row in rows]
    assert np.mean(values) == pytest.approx(4, rel=0.01) and not rows[0]["lower_limit"]
    assert np.mean([row["error"] for row in rows]) == pytest.approx(np.std(values), rel=0.15)


def test_perfect_separation_gives_a_limit_not_infinity():
    row = d.Scores(np.full(100, 2.0), np.zeros(50)).rejection(0.5)
    assert row["lower_limit"] and row["error"] is None and np.isfinite(row["rejection"])


def test_ties_are_shared_at_a_working_point():
    """Of ten distinct scores none gives 50 % exactly; the finer scores behind them do."""
    signal, background = RANDOM.beta(3, 2, 40000), RANDOM.beta(2, 3, 40000)
    fine, coarse = d.Scores(signal, background), d.Scores(np.ceil(signal * 10), np.ceil(background * 10))
    assert coarse.rejection(0.5)["rejection"] == pytest.approx(fine.rejection(0.5)["rejection"], rel=0.05)
    x, y = coarse.roc(1000)
    assert np.trapezoid(x, y) == pytest.approx(coarse.auc(), abs=1e-3)


def test_weights_count():
    """A weight of three is three jets; a slice of small weight does not decide the rejection."""
    signal, background = RANDOM.normal(1, 1, 300), RANDOM.normal(0, 1, 200)
    weights = RANDOM.integers(1, 4, 200)
    weighted = d.Scores(signal, background, None, weights)
    repeated = d.Scores(signal, np.repeat(background, weights))
    assert weighted.auc() == pytest.approx(repeated.auc(), abs=1e-12)
    assert weighted.rejection(0.5)["rejection"] == pytest.approx(repeated.rejection(0.5)["rejection"])
    assert weighted.auc_error() > repeated.auc_error()
    background = np.r_[RANDOM.uniform(0, 0.5, 1000), RANDOM.uniform(0.5, 1, 1000)]
    slices = np.r_[np.ones(1000), np.full(1000, 0.01)]
    found = d.Scores(RANDOM.uniform(0.5, 1, 1000), background, None, slices).rejection(0.5)["rejection"]
    assert found == pytest.approx(202, rel=0.1)


def test_roc_starts_at_nothing_and_ends_at_all():
    efficiencies, passing = d.Scores(RANDOM.normal(2, 1, 1000), RANDOM.normal(0, 1, 1000)).roc()
    assert efficiencies[0] == passing[0] == 0 and efficiencies[-1] == passing[-1] == 1
    assert (np.diff(passing) >= 0).all()


def test_the_window_beats_the_cut_when_the_signal_is_a_peak():
    signal, background = RANDOM.normal(0, 0.3, 4000), RANDOM.uniform(-3, 3, 4000)
    values, truth = np.r_[signal, background], np.r_[np.ones(4000, bool), np.zeros(4000, bool)]
    window = d.likelihood_ratio(values, truth, np.ones(8000), values)
    assert d.auc(signal, background) < 0.55 and d.auc(window[truth], window[~truth]) > 0.85


@pytest.mark.parametrize("ratio", [1, 2, 10])
def test_a_perfect_classifier_is_calibrated_whatever_the_mixture(ratio):
    """Bayes' answer for equally frequent classes, judged on samples of unequal size."""
    counts = (40000, 40000 // ratio)
    x = np.concatenate([RANDOM.normal(shift, 1, count) for shift, count in zip((0, 1), counts, strict=True)])
    labels = np.repeat([0, 1], counts)
    p = 1 / (1 + np.exp(0.5 - x))
    found = calibration(np.stack([1 - p, p], -1), labels, np.ones(len(x)), bins=15, bootstrap=20, seed=1)
    assert found["ece"] < max(0.01, 4 * found["ece_error"])


def test_calibrated_answers_have_no_calibration_error():
    confidence = RANDOM.uniform(0.5, 1, 100_000)
    right = RANDOM.uniform(size=100_000) < confidence
    assert expected_calibration_error(confidence, right, 15) < 0.01
    assert expected_calibration_error(confidence, np.ones_like(right), 15) == pytest.approx(0.25, abs=0.01)
    for row in reliability(confidence, right, 15):
        assert abs(row["accuracy"] - row["confidence"]) < 5 * row["error"]


def test_calibration_scores_of_known_predictions():
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6]])
    found = calibration(probabilities, np.array([0, 0]), np.ones(2), bins=10, bootstrap=50, seed=1)
    assert found["nll"] == pytest.approx(-np.log([0.8, 0.4]).mean())
    assert found["brier"] == pytest.approx((2 * 0.2**2 + 2 * 0.6**2) / 2)
    assert found["accuracy"] == 0.5 and found["ece_error"] > 0


def test_usefulness_of_a_perfect_and_of_a_useless_uncertainty():
    right = RANDOM.uniform(size=2000) < 0.8
    perfect = usefulness((~right).astype(float), right)
    assert perfect["auroc"] == 1.0 and perfect["retention"][0]["accuracy"] == 1.0
    assert perfect["retention"][-1]["accuracy"] == pytest.approx(right.mean())
    assert usefulness(RANDOM.uniform(size=2000), right)["auroc"] == pytest.approx(0.5, abs=0.06)
    assert usefulness(np.ones(5), np.ones(5, bool))["auroc"] is None


def test_the_area_of_a_retention_curve_by_hand():
    right = np.array([True, True, False, True])
    found = retention_area(np.array([0.1, 0.2, 0.3, 0.4]), right)
    assert found["accuracy"] == 0.75 and found["area"] == pytest.approx((1 + 1 + 2 / 3 + 3 / 4) / 4)
    assert found["gain"] == pytest.approx(found["area"] - 0.75)
    assert found["of_best"] == pytest.approx(found["gain"] / (-0.75 * np.log(0.75)))
    weighted = retention_area(np.array([0.1, 0.2, 0.3]), np.array([True, False, True]), np.array([1.0, 3.0, 2.0]))
    assert weighted["area"] == pytest.approx((1 * 1 + 3 * 1 / 4 + 2 * 3 / 6) / 6)


@settings(deadline=None)
@given(some.integers(2, 300), some.integers(0, 2**32 - 1))
def test_what_a_retention_curve_gains_lies_between_the_worst_and_the_best_order(jets, seed):
    random = np.random.default_rng(seed)
    right, uncertainty = random.random(jets) < 0.7, random.integers(0, 5, jets).astype(float)
    found = retention_area(uncertainty, right)
    best, worst = retention_area((~right).astype(float), right), retention_area(right.astype(float), right)
    assert worst["gain"] - 1e-12 <= found["gain"] <= best["gain"] + 1e-12
    order = random.permutation(jets)
    again = retention_area(uncertainty[order], right[order])  # jets of equal uncertainty come in no order
    assert again["area"] == pytest.approx(found["area"])
    curves = [usefulness(*pair)["retention"] for pair in ((uncertainty, right), (uncertainty[order], right[order]))]
    np.testing.assert_allclose(*([row["accuracy"] for row in rows] for rows in curves))


def test_an_uncertainty_that_is_the_same_for_all_gains_nothing():
    right = np.arange(1000) < 700
    found = retention_area(np.ones(1000), right)
    assert found["gain"] == pytest.approx(0.0, abs=1e-12) and found["of_best"] == pytest.approx(0.0, abs=1e-12)
    many = np.arange(100_000) < 70_000
    assert retention_area((~many).astype(float), many)["of_best"] == pytest.approx(1.0, abs=1e-3)
    assert retention_area(np.arange(3.0), np.ones(3, bool))["of_best"] is None


def softmax(logits):
    return torch.softmax(logits, -1)


def score(probabilities):
    return probabilities[..., 1]


def test_streamed_moments_are_those_of_the_kept_passes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
    dropout.switch_on(model)
    x = torch.randn(32, 4)
    found = dropout.predict(model, (x,), softmax, score, passes=40, seed=3)
    with torch.no_grad():
        torch.manual_seed(3)
        passes = torch.stack([softmax(model(x)).double() for _ in range(40)])
    torch.testing.assert_close(found.mean_MC, passes.mean(0))
    torch.testing.assert_close(found.score_std_M, passes[..., 1].std(0))
    expected = entropy(passes.mean(0)) - entropy(passes).mean(0)
    torch.testing.assert_close(found.mutual_information_M, expected)


def test_spread_of_a_linear_network_is_the_analytic_one():
    """For y = sum of w_i z_i / (1 - p), z_i ~ Bernoulli(1 - p): variance is p / (1 - p) sum of w_i²."""
    weights, p = torch.tensor([0.3, -0.5, 0.2, 0.9]), 0.3
    model = nn.Sequential(nn.Dropout(p), nn.Linear(4, 1, bias=False))
    model[1].weight.data = weights[None]
    dropout.switch_on(model)
    ones = torch.ones(1, 4)
    found = dropout.predict(model, (ones,), lambda y: torch.cat([1 - y, y], -1), score, passes=20000, seed=0)
    assert found.score_mean_M.item() == pytest.approx(weights.sum().item(), abs=0.02)
    assert found.score_std_M.item() ** 2 == pytest.approx((p / (1 - p) * weights.square().sum()).item(), rel=0.05)


def test_seeds_are_reproducible_and_leave_the_global_stream_alone():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    dropout.switch_on(model)
    torch.manual_seed(8)
    first = dropout.predict(model, (torch.ones(3, 4),), softmax, score, passes=5, seed=1)
    here = torch.rand(1)
    second = dropout.predict(model, (torch.ones(3, 4),), softmax, score, passes=5, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(8)
    assert torch.equal(torch.rand(1), here)


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2))])
def test_a_network_without_dropout_is_told_the_remedy(model):
    with pytest.raises(CampaignError, match="dropout") as caught:
        dropout.switch_on(model)
    assert "model.dropout" in caught.value.details["mend"]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(train_spec(epochs=2), *toy, folder / "seed0")
    train(train_spec(epochs=1, seed=2), *toy, folder / "seed1")
    return folder


def evaluate_spec(**settings):
    task = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
    return EvaluateSpec(version=1, seed=1, task=task, settings={"passes": 5, "bootstrap": 20, **settings})


def test_evaluation_writes_metrics_and_predictions(toy, trained, tmp_path):
    run.evaluate(evaluate_spec(), toy[0], [trained / "seed0", trained / "seed1"], tmp_path)
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["auc"]["value"] > 0.8 and 0 < metrics["auc"]["error"] < 0.1
    assert [row["efficiency"] for row in metrics["working_points"]] == [0.3, 0.5, 0.7]
    assert len(metrics["seeds"]) == 2 and metrics["items"] == "jets" and metrics["panels"] == []
    assert [row["name"] for row in metrics["baselines"]] == ["best mass window", "cut on mass"]
    with h5py.File(tmp_path / "predictions.h5") as file:
        assert len(file["spread"]) == sum(metrics["jets"].values()) == len(file["label"])
        np.testing.assert_allclose(file["mean"][:].sum(1), 1, rtol=1e-5)
        signal, background = (file["score"][:][file["label"][:] == k] for k in (1, 0))
        assert d.auc(signal, background) == pytest.approx(metrics["auc"]["value"], abs=1e-4)


def test_evaluation_is_reproducible(toy, trained, tmp_path):
    for name in ("a", "b"):
        run.evaluate(evaluate_spec(), toy[0], [trained / "seed0"], tmp_path / name)
    assert (tmp_path / "a/metrics.json").read_bytes() == (tmp_path / "b/metrics.json").read_bytes()
    assert (tmp_path / "a/predictions.h5").read_bytes() == (tmp_path / "b/predictions.h5").read_bytes()


def test_a_network_for_other_classes_is_refused(toy, trained, tmp_path):
    card = read_json(trained / "seed0/model.json")
    write_json(tmp_path / "model.json", {**card, "classes": CLASSES[::-1]})
    (tmp_path / "model.safetensors").write_bytes((trained / "seed0/model.safetensors").read_bytes())
    with pytest.raises(InputError, match="other classes"):
        run.evaluate(evaluate_spec(), toy[0], [tmp_path], tmp_path / "out")


def test_ways_to_state_an_uncertainty_stand_side_by_side(toy, trained, tmp_path):
    folders = [trained / "seed0", trained / "seed1"]
    run.evaluate(evaluate_spec(coverage=[0.9]), toy[0], folders, tmp_path, unfamiliar={"itself": toy[0]})
    ways, worth, sets, regions, *_ = read_json(tmp_path / "metrics.json")["trust"]
    names = [row[0].partition(", temperature")[0] for row in ways["rows"]]
    plain, mc = ["single pass"] * 2, ["MC dropout"] * 2
    assert names == [*plain, *mc, "ensemble of 2", "last-layer Laplace", "learnt variance"]
    # The sample itself passed for an unfamiliar one: it is told from itself by chance alone.
    assert worth["columns"][-1] == "unfamiliar: itself" and len(worth["rows"]) == 10
    assert all(float(row[-1]) == pytest.approx(0.5, abs=0.03) for row in worth["rows"])
    assert sets["rows"][0][0] == "90 %" and 0.7 < sets["figures"]["coverage at 90 %"] <= 1
    assert [row[0] for row in regions["rows"]][-2:] == ["class qcd", "class top"]
    with h5py.File(tmp_path / "predictions.h5") as file:
        mean = (file["ensemble"][:] * 2 - file["single"][:])[:, 1]
        np.testing.assert_allclose(file["laplace"][:].sum(1), 1, rtol=1e-5)
        assert (file["distance"][:] >= 0).all() and mean.min() >= 0 and mean.max() <= 1 + 1e-6


def test_passes_may_follow_from_the_error_that_is_wanted(toy, trained, tmp_path):
    run.evaluate(evaluate_spec(passes="auto", mc_error=0.5), toy[0], [trained / "seed0"], tmp_path)
    assert read_json(tmp_path / "metrics.json")["passes"] == PILOT


@pytest.mark.parametrize("passes", [1, 0, "many", 2.5])
def test_passes_are_a_number_above_one_or_auto(passes):
    with pytest.raises(ValueError, match="passes"):
        evaluate_spec(passes=passes)


def test_jets_of_no_class_are_not_judged(toy, trained, tmp_path):
    """Rows of no class have the label -1; nothing but their uncertainty is looked at."""
    from bunchtrain.config.specs import IndexSpec
    from bunchtrain.prepare.beside import index

    shard = toy_shard(tmp_path / "shards" / "other.h5", 1, 60, 9)
    with h5py.File(shard, "r+") as file:
        file["jets/label"][:] = -1
    index(IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16}), [shard], tmp_path / "other")
    run.evaluate(
        evaluate_spec(), toy[0], [trained / "seed0"], tmp_path, unfamiliar={"other": tmp_path / "other/dataset.h5"}
    )
    worth = read_json(tmp_path / "metrics.json")["trust"][1]
    assert worth["columns"][-1] == "unfamiliar: other"
    assert all(0 <= float(row[-1]) <= 1 for row in worth["rows"])


@pytest.mark.parametrize("jets", [12, 30])
def test_few_jets_leave_dashes_not_a_crash(jets, trained, tmp_path):
    """Regions of one jet have no calibration error, pairs of jets no efficiency."""
    small = toy_dataset(tmp_path / "small", jets=jets)
    points = [0.01, 0.3, 0.5, 0.502]
    run.evaluate(evaluate_spec(working_points=points), small[0], [trained / "seed0"], tmp_path)
    told = read_json(tmp_path / "metrics.json")["trust"]
    assert [panel["title"] for panel in told][:2] == ["Ways to state an uncertainty", "What the uncertainty is worth"]


def test_event_weights_of_both_signs_are_judged(trained, tmp_path):
    small = toy_dataset(tmp_path / "signs", jets=200)
    for shard in (tmp_path / "signs/shards").glob("*.h5"):
        with h5py.File(shard, "r+") as file:
            file["jets/weight"][:] = np.where(np.arange(len(file["jets/weight"])) % 5 == 0, -1, 1)
    run.evaluate(evaluate_spec(), small[0], [trained / "seed0"], tmp_path)
    assert len(read_json(tmp_path / "metrics.json")["trust"]) >= 4


def test_an_empty_split_is_told(toy, trained):
    data = Dataset(toy[0])
    task = tasks.build(evaluate_spec().task, data.classes)
    with pytest.raises(InputError, match="no jets to answer for"):
        answer(evaluate_spec(), data, task, trained / "seed0", np.zeros(0, np.int64), passes=5)


def test_unfamiliar_weights_that_cancel_are_told(toy, trained, tmp_path):
    from bunchtrain.config.specs import IndexSpec
    from bunchtrain.prepare.beside import index

    shard = toy_shard(tmp_path / "shards" / "other.h5", 1, 60, 9)
    with h5py.File(shard, "r+") as file:
        file["jets/label"][:], file["jets/weight"][:] = -1, np.tile([1, -1], 30)
    index(IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16}), [shard], tmp_path / "other")
    unfamiliar = {"other": tmp_path / "other/dataset.h5"}
    with pytest.raises(InputError, match="do not add up"):
        run.evaluate(evaluate_spec(), toy[0], [trained / "seed0"], tmp_path, unfamiliar=unfamiliar)
