"""What every network must do, whatever its kind."""

import math

import pytest
import torch

from bunchtrain import registry
from bunchtrain.models.base import Shape, build, load_model, save_model
from bunchtrain.tasks import base as tasks

SHAPE = Shape(nodes=7, globals=3, outputs=3)
KINDS = registry.kinds("models")


def jets(batch=6, particles=12, seed=0):
    """Scaled features of random jets with 1 to `particles` constituents."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(particles) < torch.randint(1, particles + 1, (batch, 1), generator=generator)
    nodes = torch.randn(batch, particles, 7, generator=generator, dtype=torch.float64) * mask[..., None]
    p3 = 10 * torch.randn(batch, particles, 3, generator=generator, dtype=torch.float64)
    momenta = torch.cat([p3, p3.norm(dim=-1, keepdim=True)], -1) * mask[..., None]
    return nodes, momenta, torch.randn(batch, 3, generator=generator, dtype=torch.float64), mask


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    return build({"kind": request.param}, SHAPE).double().eval()


def test_logits_have_a_column_per_class(model):
    assert model(*jets()).shape == (6, 3)


def test_permuting_constituents_changes_nothing(model):
    nodes, momenta, globals_, mask = jets()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    permuted = model(nodes[:, order], momenta[:, order], globals_, mask[:, order])
    torch.testing.assert_close(permuted, model(nodes, momenta, globals_, mask), rtol=1e-10, atol=1e-10)


def test_more_padding_changes_nothing(model):
    nodes, momenta, globals_, mask = jets()

    def pad(x):
        return torch.cat([x, torch.zeros(6, 9, *x.shape[2:], dtype=x.dtype)], 1)

    padded = model(pad(nodes), pad(momenta), globals_, pad(mask))
    torch.testing.assert_close(padded, model(nodes, momenta, globals_, mask), rtol=1e-10, atol=1e-10)


def test_one_constituent_and_none_are_finite(model):
    nodes, momenta, globals_, mask = jets()
    mask[0], mask[1] = False, torch.arange(12) < 1
    nodes, momenta = nodes * mask[..., None], momenta * mask[..., None]
    assert torch.isfinite(model(nodes, momenta, globals_, mask)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_further_node_features_are_seen(kind):
    torch.manual_seed(0)
    model = build({"kind": kind}, Shape(nodes=9, globals=3, outputs=3, inputs=2)).double().eval()
    nodes, momenta, globals_, mask = jets()
    further = torch.randn(6, 12, 2, dtype=torch.float64) * mask[..., None]
    answers = [model(torch.cat([nodes, values], -1), momenta, globals_, mask) for values in (further, 2 * further)]
    assert (answers[0] - answers[1]).abs().amax(1).min() > 1e-6


def test_every_weight_learns(model):
    model(*jets()).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_encode_and_decide_are_the_whole(model):
    inputs = jets()
    torch.testing.assert_close(model.decide(model.encode(*inputs)), model(*inputs), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    torch.manual_seed(3)
    model = build({"kind": kind}, SHAPE).eval()
    save_model(tmp_path, model, {"model": {"kind": kind}, "shape": SHAPE._asdict(), "classes": ["a", "b", "c"]})
    loaded, card = load_model(tmp_path)
    inputs = tuple(x.float() if x.is_floating_point() else x for x in jets())
    assert torch.equal(loaded(*inputs), model(*inputs)) and card["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", registry.kinds("tasks"))
def test_every_task_has_loss_and_discriminant(kind):
    task = tasks.build({"kind": kind, "signal": "top", "background": "qcd"}, ["qcd", "top", "wz"])
    logits = torch.randn(20, task.outputs, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(20) % 3
    loss = task.loss(logits, labels, torch.ones(20))
    loss.backward()
    assert loss.ndim == 0 and loss > 0 and logits.grad.abs().sum() > 0
    probabilities = task.probabilities(logits.detach())
    torch.testing.assert_close(probabilities.sum(1), torch.ones(20))
    score = task.discriminant(probabilities)
    assert score.shape == (20,) and (score >= 0).all() and (score <= 1).all()


def test_weights_scale_the_loss():
    task = tasks.build({"kind": "jet_tagging", "signal": "b", "background": "a"}, ["a", "b"])
    logits, labels = torch.randn(8, 2), torch.arange(8) % 2
    assert task.loss(logits, labels, torch.full((8,), 2.0)) == pytest.approx(
        2 * task.loss(logits, labels, torch.ones(8)).item(), rel=1e-6
    )


def boost(velocity, axis):
    """The matrix of a boost along an axis, on (px, py, pz, energy)."""
    gamma = (1 - velocity**2) ** -0.5
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[axis, axis] = matrix[3, 3] = gamma
    matrix[axis, 3] = matrix[3, axis] = -gamma * velocity
    return matrix


def turn(angle, one, other):
    """The matrix of a rotation in the plane of two axes."""
    matrix = torch.eye(4, dtype=torch.float64)
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix[one, one] = matrix[other, other] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine
    return matrix


@pytest.mark.parametrize(
    "frame",
    [boost(0.9, 2), boost(-0.5, 0), turn(1.0, 0, 1), turn(2.0, 1, 2), boost(0.7, 1) @ turn(0.4, 0, 2)],
    ids=["along the beam", "across it", "about the beam", "about another axis", "both"],
)
def test_the_equivariant_network_answers_the_same_in_every_frame(frame):
    torch.manual_seed(0)
    model = build({"kind": "lorentz", "layers": 3}, SHAPE._replace(inputs=2)).double().eval()
    nodes, momenta, globals_, mask = jets()
    torch.testing.assert_close(
        model(nodes, momenta @ frame.T, globals_, mask), model(nodes, momenta, globals_, mask), rtol=1e-6, atol=1e-8
    )
    assert (momenta @ frame.T - momenta).abs().max() > 1


def test_single_precision_keeps_the_equivariant_network_through_a_moderate_boost():
    torch.manual_seed(0)
    model = build({"kind": "lorentz"}, SHAPE).eval()
    nodes, momenta, globals_, mask = jets()
    boosted = momenta @ boost(math.tanh(1.0), 2).T
    before, after = (model(nodes.float(), p4.float(), globals_.float(), mask) for p4 in (momenta, boosted))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["gnn", "edgeconv", "transformer", "interaction"])
def test_rotating_about_the_beam_and_boosting_along_it_changes_no_network_of_angles(kind):
    torch.manual_seed(0)
    model = build({"kind": kind}, SHAPE).double().eval()
    nodes, momenta, globals_, mask = jets()
    frame = boost(0.6, 2) @ turn(2.5, 0, 1)
    torch.testing.assert_close(
        model(nodes, momenta @ frame.T, globals_, mask), model(nodes, momenta, globals_, mask), rtol=1e-6, atol=1e-8
    )
