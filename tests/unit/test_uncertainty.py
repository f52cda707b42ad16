"""The machinery of uncertainty against what is known: posteriors, calibration, temperatures, conformal sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from bunchtrain import conformal, dropout
from bunchtrain.calibration import (
    calibration,
    classwise_calibration_error,
    cooled,
    expected_calibration_error,
    interval_coverage,
    pit,
    reliability,
    squared_calibration_error,
    temperature,
    usefulness,
)
from bunchtrain.errors import CampaignError
from bunchtrain.evaluate.coverage import Labelled, resampled
from bunchtrain.evaluate.lastlayer import Distance, Laplace, LastLayer, LearntVariance, Seen, with_one
from bunchtrain.models import base as models
from bunchtrain.posterior import PILOT, Moments, passes_for

DRAWS = 5_000


def numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(model: nn.Module, x: torch.Tensor, draws: int = DRAWS) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of a stochastic model's answers, by the machinery of MC dropout."""
    found = dropout.predict(
        model, (x,), lambda y: torch.stack([1 - y, y], -1), lambda p: p[..., 1], passes=draws, seed=1
    )
    return found.score_mean_M, found.score_std_M.square()


def require_agreement(found: tuple, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Within five standard errors of Monte Carlo: sqrt(v / T) of a mean, v sqrt(2 / T) of a variance."""
    assert ((found[0] - mean).abs() < 5 * (variance / DRAWS).sqrt()).all()
    assert ((found[1] - variance).abs() < 5 * variance * (2 / DRAWS) ** 0.5).all()


class Drawn(nn.Module):
    """A function drawn anew in every pass: features times normal weights."""

    def __init__(self, features, mean: torch.Tensor, covariance: torch.Tensor) -> None:
        super().__init__()
        self.features, self.mean, self.factor = features, mean, torch.linalg.cholesky(covariance)

    def forward(self, x):
        return self.features(x) @ (self.mean + self.factor @ torch.randn(len(self.mean), dtype=torch.float64))


def test_passes_reproduce_bayesian_linear_regression():
    """Fixed features, a normal prior and normal noise: the posterior is known (Bishop, equations 3.53 f.)."""
    random = numbers()
    x = torch.from_numpy(random.normal(size=30))
    features = lambda x: torch.stack([torch.ones_like(x), x, x.square()], -1)  # noqa: E731
    y = features(x) @ torch.tensor([0.5, -1.0, 0.3], dtype=torch.float64) + 0.2 * torch.from_numpy(
        random.normal(size=30)
    )
    precision = torch.eye(3, dtype=torch.float64) + features(x).T @ features(x) / 0.2**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ features(x).T @ y / 0.2**2
    grid = torch.linspace(-3, 3, 7, dtype=torch.float64)
    phi = features(grid)
    require_agreement(drawn(Drawn(features, mean, covariance), grid), phi @ mean, (phi @ covariance * phi).sum(-1))


def test_passes_reproduce_a_gaussian_process():
    """Functions drawn from the posterior of a process with a squared exponential kernel, given five points."""
    kernel = lambda a, b: torch.exp(-((a[:, None] - b) ** 2) / 2)  # noqa: E731
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)
    y, grid = torch.sin(2 * x), torch.linspace(-4, 4, 9, dtype=torch.float64)
    inverse = torch.linalg.inv(kernel(x, x) + 0.01 * torch.eye(5))
    mean = kernel(grid, x) @ inverse @ y
    covariance = kernel(grid, grid) - kernel(grid, x) @ inverse @ kernel(x, grid)
    model = Drawn(lambda x: torch.eye(len(x), dtype=torch.float64), mean, covariance + 1e-9 * torch.eye(9))
    found = drawn(model, grid)
    require_agreement(found, mean, covariance.diagonal() + 1e-9)
    assert found[1][-1] > 10 * found[1][4]  # far from the points it knows less


def test_intervals_of_a_gaussian_process_hold_what_they_promise():
    """Truths drawn from the very process: uniform in its own terms; with half the errors they are not."""
    random = numbers(4)
    mean, std = random.normal(size=4000), random.uniform(0.1, 2, 4000)
    truth = random.normal(mean, std)
    for share in (0.68, 0.95):
        assert interval_coverage(pit(mean, std, truth), share) == pytest.approx(
            share, abs=4 * (share * (1 - share) / 4000) ** 0.5
        )
    counts = np.histogram(pit(mean, std, truth), 10, (0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 30  # chi2 of 9 degrees of freedom
    assert interval_coverage(pit(mean, std / 2, truth), 0.68) < 0.45


@pytest.mark.parametrize("kind", ["deepsets", "gnn"])
def test_heads_side_by_side_are_whole_passes(kind):
    """The same posterior, within Monte-Carlo error, as from passes through the whole network, one by one."""
    torch.manual_seed(3)
    model = models.build({"kind": kind, "dropout": 0.3}, models.Shape(4, 2, 2))
    dropout.switch_on(model)
    momenta = torch.randn(6, 5, 3)
    momenta = torch.cat([momenta, momenta.norm(dim=-1, keepdim=True) + 0.1], -1)
    inputs = (torch.randn(6, 5, 4), momenta, torch.randn(6, 2), torch.ones(6, 5, dtype=torch.bool))
    softmax = lambda logits: torch.softmax(logits.graph_BC, -1)  # noqa: E731
    found = dropout.predict(model, inputs, softmax, lambda p: p[..., 1], levels=("graph",), passes=2003, seed=1)
    with torch.no_grad():
        whole = torch.stack([softmax(model(*inputs))[:, 1] for _ in range(2000)]).double()
    assert ((found.score_mean_M - whole.mean(0)).abs() < 5 * whole.std(0) * (2 / 2000) ** 0.5).all()
    torch.testing.assert_close(found.score_std_M, whole.std(0), rtol=0.12, atol=1e-4)
    assert (found.score_std_M > 0).all()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_moments_do_not_depend_on_how_draws_are_cut(chunks, shift):
    values = torch.from_numpy(numbers().normal(shift, 1, (sum(chunks), 3)))
    moments = Moments()
    for part in torch.split(values, chunks):
        moments.add(part)
    torch.testing.assert_close(moments.mean, values.mean(0))
    if len(values) > 1:
        torch.testing.assert_close(moments.variance, values.var(0), rtol=1e-6, atol=1e-9)
    else:
        assert moments.variance.isnan().all()


def test_one_pass_is_refused_with_the_remedy():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    dropout.switch_on(model)
    with pytest.raises(CampaignError, match="one pass has no spread") as caught:
        dropout.predict(model, (torch.ones(3, 4),), torch.softmax, torch.sum, passes=1, seed=1)
    assert caught.value.details["key"] == "evaluate.passes"


def test_passes_follow_from_the_error_that_is_wanted():
    spread = torch.cat([torch.full((90,), 0.01), torch.full((10,), 0.125)])
    assert passes_for(spread, 0.0125, 1000) == 100  # 0.125 / sqrt(100)
    assert passes_for(spread, 0.001, 1000) == 1000 and passes_for(spread, 1.0, 1000) == PILOT
    assert passes_for(torch.zeros(0), 0.01, 1000) == PILOT


def answers(items: int = 4000, classes: int = 4, seed: int = 0, sharp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that are drawn from them and so are calibrated; then made sharper by a factor."""
    random = numbers(seed)
    p = random.dirichlet(np.full(classes, 0.5), items)
    labels = (random.uniform(size=(items, 1)) > p.cumsum(1)).sum(1).clip(max=classes - 1)
    return cooled(p, 1 / sharp), labels


@pytest.mark.parametrize("bins", [5, 15, 30])
def test_calibration_errors_agree_with_torchmetrics(bins):
    p, labels = answers(sharp=1.7)
    tensors = torch.from_numpy(p), torch.from_numpy(labels)
    expected = multiclass_calibration_error(*tensors, num_classes=4, n_bins=bins, norm="l1").item()
    assert expected_calibration_error(p.max(1), p.argmax(1) == labels, bins) == pytest.approx(expected, abs=1e-6)
    for number, found in enumerate(classwise_calibration_error(p, labels, bins)):
        one = binary_calibration_error(
            tensors[0][:, number].contiguous(), tensors[1] == number, n_bins=bins, norm="l1"
        ).item()
        assert found == pytest.approx(one, abs=1e-6)


def test_likelihood_and_brier_score_agree_with_scikit_learn():
    from sklearn.metrics import brier_score_loss, log_loss

    p, labels = answers(sharp=1.5)
    weights = numbers(1).uniform(0.5, 2, len(labels))
    found = calibration(p, labels, weights, bins=15, bootstrap=5, seed=1)
    assert found["nll"] == pytest.approx(log_loss(labels, p, sample_weight=weights), abs=1e-6)
    expected = brier_score_loss(labels, p, sample_weight=weights, labels=range(4), scale_by_half=False)
    assert found["brier"] == pytest.approx(expected, abs=1e-6)


def test_chance_is_taken_off_the_calibration_error():
    """Calibrated answers for few items: the plain error is chance alone, the debiased square is 0 on average."""
    plain, square = [], []
    for seed in range(400):
        p, labels = answers(300, seed=seed)
        pair = p.max(1), p.argmax(1) == labels
        plain.append(expected_calibration_error(*pair, 15))
        square.append(squared_calibration_error(*pair, 15))
    assert np.mean(plain) > 0.04
    assert abs(np.mean(square)) < 4 * np.std(square) / 20 and abs(np.mean(square)) < 0.02**2
    p, labels = answers(200_000, sharp=2.0)
    pair = p.max(1), p.argmax(1) == labels
    rows = [(row["weight"], row["confidence"] - row["accuracy"]) for row in reliability(*pair, 15)]
    expected = np.average([gap**2 for _, gap in rows], weights=[weight for weight, _ in rows])
    assert squared_calibration_error(*pair, 15) == pytest.approx(expected, rel=0.01) and expected > 0.03**2


@pytest.mark.parametrize("sharp", [0.4, 1.0, 2.5])
def test_the_temperature_undoes_what_made_answers_too_sure(sharp):
    p, labels = answers(50_000, sharp=sharp)
    found = temperature(p, labels, np.ones(len(labels)))
    assert found == pytest.approx(sharp, rel=0.03)
    pair = [expected_calibration_error(q.max(1), q.argmax(1) == labels, 15) for q in (cooled(p, found), p)]
    assert pair[0] < 0.01 and (sharp == 1.0 or pair[0] < pair[1] / 3)


def test_a_temperature_of_one_changes_nothing_and_certain_answers_stay_finite():
    p = np.array([[1.0, 0.0], [0.3, 0.7]])
    np.testing.assert_allclose(cooled(p, 1.0), p, atol=1e-12)
    assert np.isfinite(cooled(p, 7.0)).all() and 0.02 <= temperature(p, np.array([0, 1]), np.ones(2)) < 0.03


def test_the_area_of_a_retention_curve():
    right = np.repeat([True, False], [900, 100])
    perfect, useless = usefulness((~right).astype(float), right), usefulness(np.zeros(1000), np.tile(right[::-1], 1))
    assert perfect["gain"] == pytest.approx(perfect["area"] - 0.9) and perfect["gain"] > 0.09
    assert useless["gain"] == pytest.approx(0, abs=1e-12)  # ties are shared out


@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=60),
    st.floats(0.05, 0.99),
)
def test_with_equal_weights_the_threshold_is_an_order_statistic(true, coverage):
    found = conformal.threshold(np.array(true), np.ones(len(true)), coverage)
    place = int(np.ceil(coverage * (len(true) + 1) * (1 - 1e-12)))
    assert found == (sorted(true, reverse=True)[place - 1] if place <= len(true) else 0.0)


def test_sets_hold_the_true_class_as_often_as_promised_on_twenty_resamplings():
    """Of a network that is far too sure: the promise does not depend on the network."""
    for coverage in (0.68, 0.9, 0.95):
        p, labels = answers(6000, sharp=3.0, seed=5)
        jets = Labelled(p, labels, np.ones(len(labels)), np.ones(len(labels)))
        missed = np.array(resampled(jets, coverage, seed=1))
        # 95 % each: fewer than 16 of 20 would come once in 400 times.
        assert len(missed) == 20 and np.sum(np.abs(missed) < 1.96) >= 16
        assert abs(missed.mean()) < 1


def test_thresholds_by_group_keep_the_promise_in_every_group():
    random = numbers(2)
    p, labels = answers(20_000, sharp=2.0, seed=7)
    group = (p.max(1) > 0.8).astype(np.int64)  # the sure and the unsure differ in how often they are right
    ours = random.uniform(size=len(p)) < 0.5
    true = p[np.arange(len(p)), labels]
    ones = np.ones(len(p))
    split = conformal.sets(p[~ours], conformal.threshold(true[ours], ones[ours], 0.9))
    grouped = conformal.thresholds(true[ours], group[ours], ones[ours], 0.9)
    mondrian = conformal.sets_by_group(p[~ours], group[~ours], grouped)
    of_split, of_groups = (conformal.covered(found, labels[~ours]) for found in (split, mondrian))
    for number in (0, 1):
        here = group[~ours] == number
        assert of_groups[here].mean() == pytest.approx(0.9, abs=0.015)
        assert abs(of_split[here].mean() - 0.9) > 0.02
    assert of_split.mean() == pytest.approx(0.9, abs=0.015)


def test_a_group_that_was_never_seen_gets_every_class():
    assert conformal.sets_by_group(np.array([[0.9, 0.1]]), np.array([4]), {0: 0.5}).all()
    assert conformal.threshold(np.array([]), np.array([]), 0.9) == 0.0
    assert conformal.threshold(np.array([0.5, 0.9]), np.array([1.0, -1.0]), 0.9) == 0.0


def seen(items: int = 400, classes: int = 3, width: int = 4, seed: int = 0) -> tuple[Seen, nn.Linear]:
    """What a last layer sees of jets whose labels follow its answers."""
    torch.manual_seed(seed)
    layer = nn.Linear(width, classes).double()
    features = torch.randn(items, width, dtype=torch.float64)
    with torch.no_grad():
        logits = layer(features)
    labels = torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]
    return Seen(with_one(features), logits, labels, torch.ones(items, dtype=torch.float64)), layer


def test_the_laplace_covariance_is_the_inverse_hessian_of_the_loss():
    """For a linear layer the Gauss-Newton matrix is the Hessian, which autograd gives too."""
    told, layer = seen()
    found = Laplace(told, layer, items=400)

    def loss(flat):
        logits = told.features_MW @ flat.reshape(3, -1).T
        own = nn.functional.cross_entropy(logits, told.labels_M, reduction="sum")
        return own + found.prior / 2 * flat.square().sum()

    flat = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().flatten()
    covariance = torch.linalg.inv(torch.autograd.functional.hessian(loss, flat)).reshape(3, 5, 3, 5)
    expected = torch.einsum("mw,cwdv,mv->mcd", told.features_MW[:7], covariance, told.features_MW[:7])
    torch.testing.assert_close(found.covariance(told.features_MW[:7]), expected, rtol=1e-6, atol=1e-9)


def test_more_training_jets_make_the_last_layer_surer():
    told, layer = seen()
    apart = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)  # a shift of all logits means nothing, and is not known
    few, many = (Laplace(told, layer, items).covariance(told.features_MW).mean(0) for items in (400, 4000))
    assert apart @ many @ apart < apart @ few @ apart / 3


def test_the_learnt_variance_is_large_where_labels_are_noise():
    """Two classes that one feature tells apart; where the other feature is 1, half of the labels are wrong."""
    torch.manual_seed(0)
    side, noisy = torch.randint(0, 2, (1500,)), torch.randint(0, 2, (1500,))
    flipped = noisy * (torch.rand(1500) < 0.5)
    features = torch.stack([side * 2.0 - 1, noisy.float()], -1)
    logits = 3 * features[:, :1] * torch.tensor([[-1.0, 1.0]])
    told = Seen(with_one(features), logits, (side + flipped) % 2, torch.ones(1500))
    std = LearntVariance(told, seed=1).std(told.features_MW)
    assert std[noisy == 1].mean() > 2.5 * std[noisy == 0].mean()


def test_the_distance_is_that_of_mahalanobis():
    random = numbers()
    covariance = np.array([[2.0, 0.6], [0.6, 0.5]])
    features = np.concatenate([random.multivariate_normal(mean, covariance, 20_000) for mean in ([0, 0], [6, 0])])
    labels = torch.from_numpy(np.repeat([0, 1], 20_000))
    told = Seen(with_one(torch.from_numpy(features)), torch.zeros(40_000, 2), labels, torch.ones(40_000))
    point = np.array([-1.0, -2.0])
    found = Distance(told)(with_one(torch.from_numpy(point[None])))
    assert found.item() == pytest.approx(point @ np.linalg.inv(covariance) @ point, rel=0.05)


def test_dead_features_do_no_harm():
    told, layer = seen()
    dead = torch.zeros(400, 2, dtype=torch.float64)
    wide = nn.Linear(6, 3)
    with torch.no_grad():
        wide.weight[:, :4], wide.bias[:] = layer.weight, layer.bias
    told = told._replace(features_MW=torch.cat([dead, told.features_MW], -1)[:, [2, 3, 4, 5, 0, 1, 6]])
    columns = LastLayer(told, wide, 400, seed=1).columns(
        told.features_MW[:, :-1], told.logits_MC, lambda p: p[..., 0], seed=2
    )
    assert all(torch.isfinite(values).all() for values in columns.values())
    torch.testing.assert_close(columns["laplace"].sum(-1), torch.ones(400, dtype=torch.float64))


def test_a_temperature_ties_no_scores_together():
    """Of a network that is very sure, too: area and order stay as they were."""
    tiny = 10.0 ** -np.arange(5, 60.0)
    p = cooled(np.stack([tiny, 1 - tiny], -1), 1.3)
    assert len(np.unique(p[:, 0])) == len(tiny) and (np.diff(p[:, 0]) < 0).all()


def test_equal_probabilities_keep_the_promise_in_resamplings():
    labels = np.tile([0, 1, 1], 1000)
    jets = Labelled(np.full((3000, 2), 0.5), labels, np.ones(3000), np.ones(3000))
    assert np.sum(np.abs(resampled(jets, 0.9, seed=2)) < 1.96) >= 16
    cancelling = Labelled(np.full((4, 2), 0.5), labels[:4], np.array([1.0, -1.0, 1.0, -1.0]), np.ones(4))
    assert all(np.isfinite(resampled(cancelling, 0.9, seed=2)))


def test_a_rare_class_of_large_weight_is_covered():
    """The item to come may be of the rare class: with few of them every class is in every set."""
    weights = np.r_[np.ones(1000), np.full(5, 200.0)]
    assert conformal.threshold(np.full(1005, 0.9), weights, 0.95) == 0.0


def test_classes_without_positive_weight_have_no_mean():
    told, _ = seen()
    weights = torch.where(told.labels_M == 0, -1.0, 1.0).double()
    found = Distance(told._replace(weights_M=weights))(told.features_MW)
    assert torch.isfinite(found).all()


def test_an_error_of_zero_has_no_intervals():
    with pytest.raises(ValueError, match="above zero"):
        pit(np.zeros(2), np.array([1.0, 0.0]), np.zeros(2))
