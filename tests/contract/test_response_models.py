"""What every surrogate must do, whatever its kind: parameters to quantities, under the physics that is declared."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.levels import ResponseShape
from bunchtrain.models.base import build, load_model, save_model

#: Networks of anything; those of one kind of quantities alone have tests of their own.
KINDS = [
    kind
    for kind in registry.kinds("models")
    if literals.answers("models", kind) == "response" and not registry.constant("models", kind, "OF")
]
GROUPS = (0, 0, 0, 0, 1, 1, 1, 2)
OBEYING = ResponseShape(3, 8, GROUPS, True, "construction", "construction")
SMALL = {"hidden": 16}


def rows(number=64, seed=0):
    """Features, totals, and quantities that add up to these: some are nothing."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(number, 3, generator=generator, dtype=torch.float64)
    totals = 1 + 9 * torch.rand(number, generator=generator, dtype=torch.float64)
    parts = torch.rand(number, 8, generator=generator, dtype=torch.float64)
    parts = torch.where(parts < 0.2, 0.0, parts) * (1.2 + features[:, :1].tanh())
    parts[:, -1] += 0.1
    return features, totals, parts / parts.sum(1, keepdim=True) * totals[:, None]


def made(kind, shape=OBEYING, seed=0):
    """A network with random weights that has seen the units."""
    torch.manual_seed(seed)
    model = build({"kind": kind, **SMALL}, shape)
    _, totals, quantities = rows()
    model.adjust(totals, quantities)
    return model.double()


@pytest.fixture(params=KINDS)
def model(request):
    return made(request.param)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [OBEYING._replace(groups=()), OBEYING], ids=["alone", "groups"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=4, deadline=None)
def test_by_construction_energy_is_conserved_and_nothing_is_negative(kind, shape, seed):
    model = made(kind, shape, seed).eval()
    features, totals, _ = rows(32, seed)
    with torch.no_grad():
        drawn = model.draw(10 * features, totals)
    assert torch.isfinite(drawn).all() and (drawn >= 0).all()
    assert ((drawn.sum(1) / totals - 1).abs() < 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_conserved_alone_adds_up_too(kind):
    shape = OBEYING._replace(groups=(), positive="none")
    model = made(kind, shape).eval()
    features, totals, _ = rows(32)
    with torch.no_grad():
        drawn = model.draw(features, totals)
    assert ((drawn.sum(1) / totals - 1).abs() < 1e-6).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flow"])  # whose axes find a sum that is constant
def test_without_physics_nothing_is_enforced_and_a_penalty_costs(kind):
    free = OBEYING._replace(groups=(), conserved="none", positive="none")
    losses = {}
    for how in ("none", "penalty"):
        model = made(kind, free._replace(conserved=how, positive=how)).train()
        torch.manual_seed(5)
        losses[how] = model(*rows(32)).loss_B
    missed = made(kind, free).eval()(*rows(32)).missed_B
    assert missed.mean() > 1e-3
    assert losses["penalty"].mean() > losses["none"].mean()


def test_a_loss_for_every_row_and_every_weight_learns(model):
    features, totals, quantities = rows()
    answer = model.train()(features, totals, quantities)
    assert answer.loss_B.shape == (64,) and torch.isfinite(answer.loss_B).all()
    answer.loss_B.sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_it_learns(model):
    features, totals, quantities = rows(256)
    model.adjust(totals, quantities)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    before = model.eval()(features, totals, quantities).loss_B.mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        model.train()(features, totals, quantities).loss_B.mean().backward()
        optimizer.step()
    assert model.eval()(features, totals, quantities).loss_B.mean().item() < before - 0.05


def test_a_network_that_is_judged_says_the_same_twice_and_leaves_chance_alone(model):
    inputs = rows()
    torch.manual_seed(1)
    first = model.eval()(*inputs).loss_B
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(first, model(*inputs).loss_B)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    model = made(kind).float().eval()
    card = {"model": {"kind": kind, **SMALL}, "shape": OBEYING._asdict(), "classes": ["shower"]}
    save_model(tmp_path, model, card)
    loaded, _ = load_model(tmp_path)
    inputs = [one.float() for one in rows()]
    assert torch.equal(loaded(*inputs).loss_B, model(*inputs).loss_B)
    torch.manual_seed(2)
    first = model.draw(*inputs[:2])
    torch.manual_seed(2)
    assert torch.equal(first, loaded.draw(*inputs[:2]))
