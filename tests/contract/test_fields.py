"""What every network must do that is a magnetic field by construction: neither divergence nor curl, ever."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.events.responses import ParameterScaler
from bunchtrain.levels import ResponseShape
from bunchtrain.maxwell import residuals
from bunchtrain.models.base import build, load_model, save_model
from bunchtrain.sample.onnx import export

KINDS = [kind for kind in registry.kinds("models") if "construction" in literals.maxwell(kind)]
WIDTHS = (150.0, 150.0, 350.0)
SHAPE = ResponseShape(3, 3, maxwell="construction", widths=WIDTHS)


def probes(number=60, seed=0):
    """Features, totals and components of the gradient of (x² - y²) z / 2 + 2 z, in units of the largest width."""
    features = torch.randn(number, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x, y, z = features.T * torch.tensor(WIDTHS)[:, None] / max(WIDTHS)
    return features, torch.ones(number, dtype=torch.float64), torch.stack([x * z, -y * z, 2 + (x**2 - y**2) / 2], 1)


def made(kind, seed=0, number=60):
    """A network that has seen the probes, in double precision."""
    torch.manual_seed(seed)
    model = build({"kind": kind}, SHAPE)
    features, totals, quantities = probes(number)
    model.adjust(totals, quantities, features)
    return model.double()


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), size=st.floats(0.1, 1.5), stirred=st.floats(0, 30))
@settings(max_examples=10, deadline=None)
def test_whatever_the_weights_there_is_neither_divergence_nor_curl(kind, seed, size, stirred):
    model = made(kind, seed % 3)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += stirred * torch.randn_like(weights)
    features = size * torch.randn(20, 3, dtype=torch.float64)
    found = model.expect(features, torch.ones(20)).abs().max()
    divergence, curl = residuals(lambda one: model.expect(one, torch.ones(20)), features, WIDTHS)
    scale = found / min(WIDTHS)
    assert torch.isfinite(found) and found > 0
    assert divergence.abs().max() < 1e-12 * scale and curl.abs().max() < 1e-12 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_without_the_noise_of_probes_is_such_a_field(kind):
    """A component at a place has no slope along others: so the noise is told apart from one common field."""
    model = made(kind).eval()
    features = probes(20)[0]
    with torch.no_grad():
        model.log_noise.fill_(-40)

    def drawn(one):
        torch.manual_seed(3)
        return model.draw(one, torch.ones(20))

    divergence, curl = residuals(drawn, features, WIDTHS)
    assert divergence.abs().max() < 1e-13 and curl.abs().max() < 1e-13
    assert (drawn(features) - model.expect(features, torch.ones(20))).abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_that_is_exported_computes_the_same(kind, tmp_path):
    scaler = ParameterScaler.fitted(dict.fromkeys("xyz", "linear"), 100 * probes()[0].numpy(), "probes")
    card = {"model": {"kind": kind}, "shape": SHAPE._asdict(), "classes": ["probe"], "scaler": asdict(scaler)}
    physics = {"total": None, "maxwell": "construction"}
    save_model(tmp_path, made(kind).float(), {**card, "quantities": ["bx", "by", "bz"], "physics": physics})
    assert export(tmp_path, tmp_path / "field.onnx") < 1e-4 and (tmp_path / "field.onnx").stat().st_size


@pytest.mark.parametrize("kind", KINDS)
def test_probes_have_noise(kind):
    model, (features, totals, _) = made(kind).eval(), probes()
    with torch.no_grad():
        model.log_noise.fill_(float(np.log(0.1)))
        noisy = model.draw(features, totals) - model.expect(features, totals)
    assert 0.07 < noisy.std() / model.coordinates.unit < 0.13


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_found_between_probes_and_known_less_beyond_them(kind):
    model, (features, totals, quantities) = made(kind, number=150).eval(), probes(150)
    with torch.no_grad():
        assert (model.expect(features, totals) - quantities).abs().max() < 1e-3
        inside, beyond = (model.unknown(scale * features).mean() for scale in (0.5, 3.0))
    assert 10 * inside < beyond


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_and_steps_lead_back_to_the_start(kind):
    model, rows = made(kind), probes()
    with torch.no_grad():
        for weights in model.parameters():
            weights += 3 * torch.randn_like(weights)
    before = model.eval()(*rows).loss_B.mean().item()
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        model.train()(*rows).loss_B.mean().backward()
        assert all(weights.grad.abs().sum() > 0 for weights in model.parameters())
        optimizer.step()
    assert model.eval()(*rows).loss_B.mean().item() < before - 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    model, rows = made(kind).float().eval(), [one.float() for one in probes()]
    save_model(tmp_path, model, {"model": {"kind": kind}, "shape": SHAPE._asdict(), "classes": ["probe"]})
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded(*rows).loss_B, model(*rows).loss_B)
    answers = []
    for one in (model, loaded):
        torch.manual_seed(2)
        answers.append(one.draw(*rows[:2]))
    assert torch.equal(*answers)
