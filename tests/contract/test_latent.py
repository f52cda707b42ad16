"""What every autoencoder, and every task that learns what is usual, must do."""

import math

import pytest
import torch
from test_models import jets

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.levels import Latent, Targets
from bunchtrain.models.base import Shape, build, load_model, save_model
from bunchtrain.tasks import base as tasks

MODELS = [kind for kind in registry.kinds("models") if literals.answers("models", kind) == "latent"]
TASKS = [kind for kind in registry.kinds("tasks") if literals.answers("tasks", kind) == "latent"]
SHAPE = Shape(nodes=7, globals=3, outputs=0)
#: What can be encoded, with chance and without.
WAYS = [{"of": of, "variational": chance} for of in ("set", "list", "jet") for chance in (True, False)]


def network(kind, **options):
    torch.manual_seed(0)
    return build({"kind": kind, "hidden": 16, "latent": 3, "constituents": 5, **options}, SHAPE).double()


def targets(mask, mass=None):
    count = len(mask)
    columns = torch.zeros(count, 0) if mass is None else mass[:, None]
    weights = torch.linspace(0.5, 1.5, count, dtype=torch.float64)
    return Targets(torch.zeros(count, dtype=torch.long), weights, torch.zeros(*mask.shape, 0), mask, columns)


def task_of(kind, **options):
    return tasks.build({"kind": kind, **options}, ["qcd"])


@pytest.fixture(params=[(kind, way) for kind in MODELS for way in WAYS], ids=str)
def model(request):
    kind, way = request.param
    return network(kind, **way).eval()


def test_a_task_takes_autoencoders_alone():
    assert MODELS and TASKS
    assert all(literals.taking(task) == MODELS for task in TASKS)
    assert not set(MODELS) & set(literals.taking("jet_tagging"))


def test_codes_and_errors_have_their_shapes_and_no_chance_when_judged(model):
    mean, log_variance, error = model(*jets())
    assert mean.shape == log_variance.shape == (6, 3) and error.shape == (6,)
    torch.testing.assert_close(model(*jets()).error_B, error, rtol=0, atol=0)
    assert (log_variance == 0).all() == (model.log_variance is None)


def test_a_set_has_no_order(model):
    nodes, momenta, jet, mask = jets()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    one = model(nodes, momenta, jet, mask)
    other = model(nodes[:, order], momenta[:, order], jet, mask[:, order])
    if model.config.of != "list":  # which is ordered by pt
        torch.testing.assert_close(other.mean_BL, one.mean_BL, rtol=1e-10, atol=1e-10)


def test_more_padding_changes_nothing(model):
    nodes, momenta, jet, mask = jets()

    def padded(x):
        return torch.cat([x, torch.zeros(6, 9, *x.shape[2:], dtype=x.dtype)], 1)

    found = model(padded(nodes), padded(momenta), jet, padded(mask))
    for one, other in zip(found, model(nodes, momenta, jet, mask), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_fewer_constituents_than_are_reconstructed_and_none_are_finite(model):
    nodes, momenta, jet, mask = jets()
    mask[0], mask[1] = False, torch.arange(12) < 1
    found = model(nodes * mask[..., None], momenta * mask[..., None], jet, mask)
    assert all(torch.isfinite(one).all() for one in found)
    few = model(*(x[:, :2] if x.ndim > 1 and x.shape[1] == 12 else x for x in (nodes, momenta, jet, mask)))
    assert torch.isfinite(few.error_B).all()


def test_it_comes_back_from_disk(model, tmp_path):
    card = {"model": {"kind": "vae", **model.config.model_dump()}, "shape": SHAPE._asdict(), "classes": ["qcd"]}
    save_model(tmp_path, model.float(), card)
    loaded, _ = load_model(tmp_path)
    inputs = [x.float() if x.is_floating_point() else x for x in jets()]
    torch.testing.assert_close(loaded(*inputs).error_B, model(*inputs).error_B)


@pytest.mark.parametrize("kind", MODELS)
def test_chance_stirs_the_code_in_training_alone(kind):
    model, inputs = network(kind).train(), jets()
    errors = [model(*inputs).error_B for _ in range(2)]
    assert not torch.equal(*errors)
    plain = network(kind, variational=False).train()
    torch.testing.assert_close(plain(*inputs).error_B, plain(*inputs).error_B, rtol=0, atol=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_it_learns(kind, task, way):
    model, inputs = network(kind, **way), jets(batch=32)
    aim, known = task_of(task), targets(inputs[3])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def judged():
        with torch.no_grad():
            return aim.loss(model.eval()(*inputs), known)

    before = judged()
    for _ in range(60):
        optimizer.zero_grad()
        aim.loss(model.train()(*inputs), known).backward()
        optimizer.step()
    assert judged() < before
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", TASKS)
def test_the_loss_is_a_sum_over_jets_by_their_weights(kind):
    task, known = task_of(kind), targets(jets(batch=20)[3])
    latent = answers(20)

    def part(rows):
        return task.loss(Latent(*(one[rows] for one in latent)), Targets(*(one[rows] for one in known)))

    torch.testing.assert_close(part(slice(0, 7)) + part(slice(7, 20)), task.loss(latent, known))
    sums = task.sums(latent, known)
    halves = [
        task.sums(Latent(*(one[rows] for one in latent)), Targets(*(one[rows] for one in known)))
        for rows in (slice(0, 7), slice(7, 20))
    ]
    torch.testing.assert_close(halves[0] + halves[1], sums)


def answers(count, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return Latent(draw(count, 3), draw(count, 3), draw(count))


@pytest.mark.parametrize("kind", TASKS)
def test_scores_are_finite_numbers_by_name(kind):
    task = task_of(kind)
    found = task.scores(answers(9))
    assert list(found) == list(registry.constant("tasks", kind, "SCORES"))
    assert all(one.shape == (9,) and torch.isfinite(one).all() for one in found.values())
    figures = task.figures(task.sums(answers(9), targets(torch.ones(9, 4, dtype=torch.bool))))
    assert all(math.isfinite(value) for value in figures.values()) and task.told(figures)
