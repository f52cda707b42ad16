"""Electromagnetic showers: the parametrisation against its own formulas, geometry, conservation, and the readout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bunchtrain.calorimeter import Geometry, readout
from bunchtrain.config.calorimeter import Calorimeter
from bunchtrain.simulate import electromagnetic as em
from bunchtrain.simulate.showers import geometry, medium, particles, showers
from bunchtrain.simulate.showers import where_spots_lie as where

ZERO = [0.0, 0.0]

#: Electrons along the axis, without what stands in their way.
PLAIN = {"photons": 0, "x": ZERO, "y": ZERO, "theta": ZERO, "phi": ZERO, "vertex": ZERO, "dead_material": ZERO}

#: Layers of a quarter of a radiation length, one cell each, that hold everything.
SLICES = {"layers": 160, "rows": 1, "columns": 1, "cell_size": 1e6, "layer_depth": 0.25}


def made(number=300, seed=0, energy=10.0, **changes):
    """Return particles of one energy and their showers, with the settings."""
    chosen = Calorimeter(**{**PLAIN, "energy": [energy, energy], **changes})
    entering = particles(chosen, number, np.random.default_rng(seed))
    return entering, showers(entering, chosen, np.random.default_rng(seed + 1)), chosen


def mean_depth(grown, chosen):
    """Return the mean depth of the energy of each shower, in radiation lengths behind the front face."""
    layers = grown.deposits.sum(axis=(2, 3))
    return layers @ (geometry(chosen).depths[:-1] + chosen.layer_depth / 2) / layers.sum(axis=1)


@pytest.mark.parametrize(("energy", "tolerance"), [(1.0, 0.08), (10.0, 0.04), (100.0, 0.025)])
def test_the_mean_profile_is_that_of_the_papers_formula_for_means(energy, tolerance):
    """Its constants are others than those that fluctuate: appendix A.1.1."""
    entering, grown, chosen = made(number=150 if energy == 100 else 500, energy=energy, **SLICES)
    ln_y = np.log(energy / 9.64e-3)
    maximum, alpha = ln_y - 0.858, 0.21 + (0.492 + 2.38 / 68.4) * ln_y
    expected = np.diff(stats.gamma.cdf(geometry(chosen).depths, alpha, scale=maximum / (alpha - 1)))
    found = grown.deposits[:, :, 0, 0].mean(axis=0) / entering.energy[0]
    assert np.abs(found - expected).max() < tolerance * expected.max()
    assert found @ geometry(chosen).depths[:-1] == pytest.approx(expected @ geometry(chosen).depths[:-1], rel=0.03)


def test_maximum_and_alpha_fluctuate_together_as_the_paper_says():
    energy = np.full(100_000, 20.0)
    found = em.longitudinal(energy, medium(Calorimeter()), np.random.default_rng(0))
    ln_y = np.log(20 / 9.64e-3)
    ln_t, ln_a = np.log(found.maximum), np.log(found.alpha)
    assert ln_t.mean() == pytest.approx(np.log(ln_y - 0.812), abs=2e-3)
    assert ln_a.mean() == pytest.approx(np.log(0.81 + (0.458 + 2.26 / 68.4) * ln_y), abs=2e-3)
    assert ln_t.std() == pytest.approx(1 / (-1.4 + 1.26 * ln_y), rel=0.01)
    assert ln_a.std() == pytest.approx(1 / (-0.58 + 0.86 * ln_y), rel=0.01)
    assert np.corrcoef(ln_t, ln_a)[0, 1] == pytest.approx(0.705 - 0.023 * ln_y, abs=0.01)


def test_shares_are_those_of_the_gamma_distribution():
    edges = np.arange(0, 120.25, 0.25)
    maximum, alpha = np.array([4.0, 8.0, 6.0]), np.array([2.2, 5.0, 3.1])
    found = em.shares(maximum, alpha, edges[:-1] + 0.125)
    for one, t, a in zip(found, maximum, alpha, strict=True):
        expected = np.diff(stats.gamma.cdf(edges, a, scale=t / (a - 1)))
        np.testing.assert_allclose(one, expected, atol=4e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(("energy", "number"), [(1.0, 393), (10.0, 2953), (100.0, 22200)])
def test_showers_have_as_many_spots_as_the_paper_says(energy, number):
    """93 ln 68.4 E^0.876; a step has one at least."""
    depths = np.arange(0.125, 120, 0.25)
    profile = em.longitudinal(np.full(20, energy), medium(Calorimeter()), np.random.default_rng(0))
    found = em.spots(profile, np.full(20, energy), 68.4, depths)
    assert em.number_of_spots(np.array([energy]), 68.4)[0] == pytest.approx(number, abs=1)
    total = found.sum(axis=1)
    assert found.min() == 1 and np.all(total >= number - 1) and np.all(total < number + len(depths))


def test_spots_lie_over_depth_as_the_paper_says():
    """Earlier than the energy of the shower: their own T and α, with the mean depth T α / (α - 1)."""
    depths = np.arange(0.125, 120, 0.25)
    profile = em.Profile(np.array([7.0, 9.0]), np.array([4.0, 5.5]), np.ones(2))
    found = em.spots(profile, np.array([900.0, 900.0]), 40.0, depths)
    maximum, alpha = profile.maximum * (0.698 + 0.00212 * 40), profile.alpha * (0.639 + 0.00334 * 40)
    expected = np.array(
        [stats.gamma.cdf(depths + 0.125, a, scale=t / (a - 1)) for t, a in zip(maximum, alpha, strict=True)]
    )
    np.testing.assert_allclose(np.cumsum(found, axis=1) / em.number_of_spots(900.0, 40.0), expected, atol=4e-3)


def test_fluctuations_of_a_layers_shape_fall_with_the_number_of_spots():
    """Of one longitudinal step the core's share of energy scatters as 1 / √spots."""
    random = np.random.default_rng(0)
    core, tail, share = (np.full(2000 * 100, one) for one in (0.1, 0.8, 0.7))
    inside = em.radii(core, tail, share, random).reshape(2000, 100) < 0.3
    chance = 0.7 * 0.09 / (0.09 + 0.01) + 0.3 * 0.09 / (0.09 + 0.64)
    assert inside.mean() == pytest.approx(chance, abs=4e-3)
    assert inside.mean(axis=1).std() == pytest.approx(np.sqrt(chance * (1 - chance) / 100), rel=0.06)


@pytest.mark.parametrize("energy", [2.0, 30.0])
def test_nine_tenths_lie_within_a_moliere_radius(energy):
    """The rule of thumb, of square rings: two Molière radii hold 95 %."""
    wide = {"layers": 1, "layer_depth": 100, "rows": 101, "columns": 101, "cell_size": 19.6 / 5}
    entering, grown, _ = made(number=60, energy=energy, **wide)
    centres = geometry(Calorimeter(**wide)).centres()[0, ..., :2]
    distance = np.hypot(centres[..., 0], centres[..., 1]) / 19.6
    mean = grown.deposits[:, 0].mean(axis=0) / entering.energy[0]
    assert mean[distance < 1].sum() == pytest.approx(0.9, abs=0.035)
    assert mean[distance < 2].sum() == pytest.approx(0.95, abs=0.02)
    assert mean[:50].sum() == pytest.approx(mean[51:].sum(), rel=0.1)  # even in azimuth
    assert mean[:, :50].sum() == pytest.approx(mean[:, 51:].sum(), rel=0.1)


def test_showers_widen_with_depth_and_narrow_with_energy():
    tau = np.array([[0.2, 1.0, 2.5]] * 2)
    core, tail, share = em.radial(tau, np.array([1.0, 100.0]), 68.4)
    assert np.all(np.diff(core, axis=1) > 0) and np.all(tail > core)
    assert np.all((share >= 0) & (share <= 1)) and np.all(np.diff(share[:, 1:], axis=1) < 0)
    # By hand at τ = 1, E = 1 GeV: ln E is 0 there.
    assert core[0, 1] == pytest.approx(0.0251 + 0.1162 - 0.000381 * 68.4)
    assert tail[0, 1] == pytest.approx((0.659 - 0.00309 * 68.4) * (np.exp(-2.59 * 0.355) + np.exp(0.3585 * 0.355)))
    argument = (0.401 + 0.00187 * 68.4 - 1) / 1.313
    assert share[0, 1] == pytest.approx((2.632 - 0.00094 * 68.4) * np.exp(argument - np.exp(argument)))
    assert tail[1, 2] == pytest.approx(
        (0.659 - 0.00309 * 68.4) * (np.exp(-2.59 * 1.855) + np.exp((0.3585 + 0.0421 * np.log(100)) * 1.855))
    )


def test_a_photon_starts_deeper_by_nine_sevenths_of_a_radiation_length():
    _, electrons, chosen = made(number=2500, energy=3.0, **SLICES)
    _, photons, _ = made(number=2500, energy=3.0, **{**SLICES, "photons": 1})
    deeper = mean_depth(photons, chosen).mean() - mean_depth(electrons, chosen).mean()
    assert deeper == pytest.approx(9 / 7, abs=4 * np.hypot(1.3, 2 * 1.5) / np.sqrt(2500))


def test_dead_material_moves_the_shower_forwards_and_takes_energy():
    _, free, _ = made(number=800, energy=5.0, **SLICES)
    entering, behind, _ = made(number=800, energy=5.0, **{**SLICES, "dead_material": [3.0, 3.0]})
    assert np.all(free.lost[:, 0] == 0)
    # What the same showers have in their first 12 slices is lost before the front face.
    expected = free.deposits[:, :12].sum(axis=(1, 2, 3)).mean()
    assert behind.lost[:, 0].mean() == pytest.approx(expected, rel=0.05)
    assert 0.05 < behind.lost[:, 0].mean() / entering.energy[0] < 0.15
    np.testing.assert_allclose(behind.deposits[:, :-12].mean(axis=0), free.deposits[:, 12:].mean(axis=0), atol=5e-3)


def test_a_slanting_particle_shifts_the_shower_with_depth():
    """What lies around the axis evenly does not move the centre, wherever the layers cut it."""
    wide = {"layers": 50, "layer_depth": 0.8, "rows": 101, "columns": 101, "cell_size": 10.0}
    _, grown, chosen = made(number=20, energy=20.0, **{**wide, "theta": [0.6, 0.6], "phi": [0.7, 0.7]})
    mean = grown.deposits.sum(axis=0) / grown.deposits.sum()
    x, y, z = np.tensordot(mean, geometry(chosen).centres(), axes=3)
    assert x / z == pytest.approx(np.tan(0.6) * np.cos(0.7), abs=0.02)
    assert y / z == pytest.approx(np.tan(0.6) * np.sin(0.7), abs=0.02)


def test_dead_material_is_crossed_aslant():
    wide = {**SLICES, "cell_size": 1e7}
    _, straight, _ = made(number=500, **{**wide, "dead_material": [4.0, 4.0]})
    _, slant, _ = made(number=500, **{**wide, "theta": [1.0, 1.0], "dead_material": [4 * np.cos(1.0)] * 2})
    assert slant.lost[:, 0].mean() == pytest.approx(straight.lost[:, 0].mean(), rel=0.15)


def test_spots_lie_as_far_from_the_axis_as_they_are_drawn_and_evenly_around_it():
    chosen = {"theta": [0.1, 1.1], "phi": [-3, 3], "vertex": [-20, 20], "x": [-9, 9], "y": [-9, 9]}
    entering, _, _ = made(number=200, **chosen)
    random = np.random.default_rng(0)
    owner, depth, radius = (
        np.repeat(np.arange(200), 50),
        random.uniform(-20, 200, 10_000),
        random.uniform(0, 60, 10_000),
    )
    place = np.stack(where(entering, owner, depth, radius, random), axis=1)
    impact = np.stack([*entering.impact, np.zeros(200)], axis=1)
    sine = np.sin(entering.theta)
    axis = np.stack([sine * np.cos(entering.phi), sine * np.sin(entering.phi), np.cos(entering.theta)], axis=1)[owner]
    away = place - impact[owner]
    along = (away * axis).sum(axis=1)
    np.testing.assert_allclose(along, depth, atol=1e-9)
    across = away - along[:, None] * axis
    np.testing.assert_allclose(np.linalg.norm(across, axis=1), radius, atol=1e-9)
    turned = (np.arctan2(across[:, 1], across[:, 0]) + np.pi) / (2 * np.pi)
    up = across[:, 2] > 0
    assert abs(up.mean() - 0.5) < 0.025 and abs(turned.mean() - 0.5) < 0.015


def test_a_displaced_vertex_shifts_where_the_particle_enters():
    changes = {"theta": [0.2, 0.2], "phi": [2.0, 2.0], "vertex": [25.0, 25.0], "x": [3.0, 3.0], "y": [-4.0, -4.0]}
    entering, _, _ = made(number=3, **changes)
    x, y = entering.impact
    np.testing.assert_allclose(x, 3 + 25 * np.tan(0.2) * np.cos(2.0), rtol=1e-5)
    np.testing.assert_allclose(y, -4 + 25 * np.tan(0.2) * np.sin(2.0), rtol=1e-5)
    changes |= {"vertex": ZERO, "rows": 61, "columns": 61, "cell_size": 4.0, "layers": 30, "layer_depth": 1.0}
    _, near, chosen = made(number=100, **changes)
    _, far, _ = made(number=100, **{**changes, "vertex": [25.0, 25.0]})
    across = geometry(chosen).centres()[..., 0]
    shift = [(one.deposits * across).sum() / one.deposits.sum() for one in (near, far)]
    assert shift[1] - shift[0] == pytest.approx(25 * np.tan(0.2) * np.cos(2.0), abs=0.8)


@given(
    seed=st.integers(0, 2**32 - 1),
    energy=st.floats(0.1, 60),
    theta=st.floats(0, 1.2),
    dead=st.floats(0, 20),
    photons=st.sampled_from([0.0, 0.5, 1.0]),
    shape=st.tuples(st.integers(1, 15), st.integers(1, 5), st.integers(1, 5)),
    cell=st.floats(1, 60),
)
@settings(max_examples=40, deadline=None)
def test_energy_is_conserved_and_never_negative(seed, energy, theta, dead, photons, shape, cell):
    layers, rows, columns = shape
    block = {"layers": layers, "rows": rows, "columns": columns, "cell_size": cell}
    chosen = {"theta": [0, theta], "phi": [-3, 3], "vertex": [-50, 50], "dead_material": [0, dead], "photons": photons}
    entering, grown, _ = made(number=8, seed=seed, energy=energy, **{**block, **chosen})
    assert grown.deposits.shape == (8, layers, rows, columns) and grown.lost.shape == (8, 2)
    assert grown.deposits.min() >= 0 and grown.lost.min() >= 0
    total = np.float32(grown.deposits).sum(axis=(1, 2, 3), dtype="f8") + np.float32(grown.lost).sum(axis=1, dtype="f8")
    np.testing.assert_allclose(total, entering.energy, rtol=1e-6)


def test_the_cells_lie_where_the_geometry_says():
    cells = Geometry(3, 2, 4, 10.0, 2.0, 5.0)
    assert cells.shape == (3, 2, 4) and cells.cells == 24
    np.testing.assert_array_equal(cells.depths, [0, 2, 4, 6])
    centres = cells.centres()
    np.testing.assert_array_equal(centres[0, 0, 0], [-15, -5, 5])
    np.testing.assert_array_equal(centres[2, 1, 3], [15, 5, 25])
    x, y, z = np.moveaxis(centres, -1, 0).reshape(3, -1)
    np.testing.assert_array_equal(cells.places(x, y, z), np.arange(24))
    outside = np.array(
        [[0, 0, -0.1], [0, 0, 30.1], [20.1, 0, 1], [-20.1, 0, 1], [0, 10.1, 1], [0, -10.1, 1], [99, 0, -1]]
    )
    np.testing.assert_array_equal(cells.places(*outside.T), [24, 25, 25, 25, 25, 25, 24])


@pytest.mark.parametrize("energy", [1.0, 16.0])
def test_the_readout_has_the_resolution_that_is_asked_for(energy):
    random = np.random.default_rng(0)
    deposits = np.full((20_000, 2, 5), energy / 10)
    found = readout(deposits, 0.1, 0.0, random).sum(axis=(1, 2))
    assert found.mean() == pytest.approx(energy, rel=3e-3)
    assert found.std() / energy == pytest.approx(0.1 / np.sqrt(energy), rel=0.03)


def test_the_readout_takes_numbers_of_each_shower_and_keeps_empty_cells_empty():
    random = np.random.default_rng(0)
    deposits = np.zeros((2, 30, 40))
    noise = readout(deposits, [0.1, 0.2], [0.01, 0.0], random)
    assert noise[0].std() == pytest.approx(0.01, rel=0.1) and abs(noise[0].mean()) < 1e-3
    assert np.all(noise[1] == 0)
    full = np.full((2, 3), 4.0)
    exact = readout(full, [0.0, 0.3], 0.0, random)
    np.testing.assert_array_equal(exact[0], full[0])
    assert np.all(exact[1] != full[1]) and np.all(readout(full, 1.0, 0.0, random) >= 0)
