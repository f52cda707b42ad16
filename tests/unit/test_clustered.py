"""Errors where jets have several items, rejections of odd weights, and the best window of discrete variables."""

import numpy as np
import pytest

from bunchtrain import discrimination as d
from bunchtrain.calibration import calibration
from bunchtrain.evaluate.answers import Answers
from bunchtrain.evaluate.clustered import Resampled, errors
from bunchtrain.report.run import _confusion
from bunchtrain.tasks.base import Merit


def toy(random, jets=150, items=20):
    """Items whose scores have a part that all of a jet share, as they share their chance to be of a class."""
    owner = np.repeat(np.arange(jets), items)
    labels = (random.uniform(size=len(owner)) < random.beta(1, 2, jets)[owner]).astype(np.int64)
    scores = labels * 1.0 + random.normal(0, 0.7, jets)[owner] + random.normal(0, 0.7, len(owner))
    return scores, Answers({}, labels, np.full(len(owner), 1 / items), owner, Merit())


def test_errors_of_items_are_those_of_whole_jets():
    random = np.random.default_rng(7)
    found = []
    for number in range(60):
        scores, answers = toy(random)
        signal, background = scores[answers.labels == 1], scores[answers.labels == 0]
        exact = d.Scores(signal, background)
        found.append((exact.rejection(0.5)["rejection"], *errors(answers, scores, 1, 0, [0.5], number)[1]))
    rejections, stated = np.array(found).T
    alone = exact.rejection(0.5)["error"]
    assert stated.mean() == pytest.approx(rejections.std(), rel=0.35)
    assert alone < 0.7 * rejections.std()


def test_some_background_of_no_weight_in_all_is_no_limit():
    scores = d.Scores(np.array([0.9, 0.8]), np.array([0.95, 0.94, 0.1]), None, np.array([1.0, -1.0, 1.0]))
    row = scores.rejection(0.5)
    assert row["background_passing"] == 2 and row["rejection"] is None and not row["lower_limit"]
    assert d.told(row) == "-"


def test_a_share_above_one_has_an_error_that_is_a_number():
    scores = d.Scores(np.array([0.5, 0.2]), np.array([0.9, 0.1]), None, np.array([3.0, -1.0]))
    share = float(scores.background_efficiency(0.5))
    row = scores.rejection(0.5)
    assert share > 1 and row["rejection"] == 1 / share and np.isfinite(row["error"])


@pytest.mark.parametrize("values", [(0, 1), (0, 2, 3), (0, 0, 0, 5)])
def test_the_best_window_of_a_discrete_variable_is_no_worse_than_a_cut(values):
    random = np.random.default_rng(3)
    signal, background = random.choice(values, 3000, p=None), np.minimum.reduce(random.choice(values, (2, 3000)))
    x = np.concatenate([signal, background]).astype(float)
    truth = np.arange(6000) < 3000
    window = d.likelihood_ratio(x, truth, np.ones(6000), x)
    assert d.auc(window[truth], window[~truth]) >= d.auc(x[truth], x[~truth]) - 1e-3


def test_shares_of_the_confusion_do_not_depend_on_the_scale_of_weights():
    metrics = {"classes": ["a", "b"], "confusion": [[1e-5, 3e-5], [0.0, 4e-5]]}
    assert [row["cells"] for row in _confusion(metrics)] == [["25 %", "75 %"], ["0 %", "100 %"]]
    assert _confusion({**metrics, "confusion": [[-1.0, 0.5], [1, 1]]})[0]["cells"] == ["-", "-"]


def test_draws_are_the_same_on_every_pass_and_alike_within_a_jet():
    jets = np.repeat(np.arange(30) * 7, 3)
    draws = Resampled(jets, 4, seed=1)
    first, again = [*draws], [*draws]
    assert len(first) == 4 and all(map(np.array_equal, first, again))
    assert all((draw.reshape(30, 3) == draw[::3, None]).all() for draw in first)
    assert np.mean([draw.mean() for draw in Resampled(jets, 300, seed=2)]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("jets", [1, 2, 5])
def test_few_jets_have_no_error_or_a_sensible_one(jets):
    scores, answers = toy(np.random.default_rng(1), jets=jets)
    area, others = errors(answers, scores, 1, 0, [0.5], seed=1)
    assert (area is None) == (others == [None]) or area < 0.5
    often = Resampled(answers.jets, 200, 1)
    found = calibration(
        np.stack([1 - answers.labels, answers.labels], -1) * 0.8 + 0.1,
        answers.labels,
        answers.weights,
        bins=5,
        bootstrap=200,
        seed=1,
        often=often,
    )
    assert np.isfinite([found["ece"], found["ece_error"]]).all()


def test_negative_weights_leave_errors_small_or_none():
    random = np.random.default_rng(3)
    scores, answers = toy(random, jets=40)
    sizes = []
    for seed in range(8):
        signs = np.where(random.uniform(size=40) < 0.3, -1.0, 1.0)
        odd = Answers({}, answers.labels, signs[answers.jets] / 20, answers.jets, Merit())
        if min(weights.sum() for weights in odd.scores(scores, 1, 0).weights) > 2:
            sizes.append(errors(odd, scores, 1, 0, [0.5], seed)[0])
    assert len(sizes) > 4 and min(sizes) > 0.05 and max(sizes) < 0.35
