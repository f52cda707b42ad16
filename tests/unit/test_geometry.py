"""Angles, pairs and neighbours as the networks compute them, against the definitions in double precision."""

import numpy as np
import pytest
import torch

from bunchtrain import geometry


def massless(jets=3, particles=5, seed=0):
    """Momenta [B, P, 4] of massless particles: pt of 1 to 100 GeV, within some units of η and all φ."""
    random = np.random.default_rng(seed)
    pt, eta = 10 ** random.uniform(0, 2, (jets, particles)), random.normal(0, 1.5, (jets, particles))
    phi = random.uniform(-np.pi, np.pi, (jets, particles))
    p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1)
    return torch.from_numpy(p4), pt, eta, phi


def test_pairs_have_the_features_of_their_definition():
    momenta, pt, eta, phi = massless()
    found = geometry.pair_features(momenta).numpy()
    for jet, one, other in np.ndindex(3, 5, 5):
        if one == other:
            continue
        softer, both = min(pt[jet, one], pt[jet, other]), pt[jet, one] + pt[jet, other]
        folded = abs((phi[jet, one] - phi[jet, other] + np.pi) % (2 * np.pi) - np.pi)
        delta_r = np.hypot(eta[jet, one] - eta[jet, other], folded)
        whole = momenta[jet, one].numpy() + momenta[jet, other].numpy()
        mass = whole[3] ** 2 - (whole[:3] ** 2).sum()
        expected = np.log([delta_r, softer * delta_r, softer / both, mass])
        np.testing.assert_allclose(found[jet, one, other], expected, rtol=1e-9, atol=1e-9)


def test_pairs_of_near_and_hard_constituents_do_not_lose_their_mass_to_rounding():
    pt, apart = 500.0, 1e-3
    momenta = torch.tensor([[[pt, 0, 0, pt], [pt * np.cos(apart), pt * np.sin(apart), 0, pt]]], dtype=torch.float32)
    mass_squared = geometry.pair_features(momenta)[0, 0, 1, 3].exp()
    assert mass_squared == pytest.approx(2 * pt**2 * (1 - np.cos(apart)), rel=1e-3)


def test_pairs_of_equal_and_of_absent_constituents_are_finite():
    momenta, *_ = massless()
    momenta[0, 1], momenta[1] = momenta[0, 0], 0
    assert torch.isfinite(geometry.pair_features(momenta.float())).all()


def test_neighbours_are_found_across_the_seam_of_phi():
    points = torch.tensor([[[0.0, 3.1], [0.0, -3.1], [0.0, 2.5]]])
    index, squared = geometry.nearest(geometry.differences(points).square().sum(-1), torch.ones(1, 3, dtype=bool), 2)
    assert index.tolist() == [[[0, 1], [1, 0], [2, 0]]]
    assert squared[0, 0, 1].sqrt() == pytest.approx(2 * np.pi - 6.2, abs=1e-5)


def test_distances_are_those_of_the_definition():
    x = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(geometry.squared_distances(x), torch.cdist(x, x).square())


def test_gathered_rows_are_those_of_the_neighbours():
    x, index = torch.arange(24.0).view(2, 4, 3), torch.tensor([[[0, 3]] * 4, [[1, 1]] * 4])
    found = geometry.gathered(x, index)
    assert found.shape == (2, 4, 2, 3)
    assert torch.equal(found[0, 2, 1], x[0, 3]) and torch.equal(found[1, 0, 0], x[1, 1])
