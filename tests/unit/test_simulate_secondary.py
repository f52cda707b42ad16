"""Secondary vertices and impact parameters: fits of known vertices, and what they tell of simulated jets."""

import math

import awkward as ak
import numpy as np
import pytest
from test_simulate_tracks import charges, made, particles, spec  # noqa: F401 - `made` is a fixture

from bunchtrain.simulate import secondary
from bunchtrain.simulate.tracker import Tracker
from bunchtrain.simulate.tracks import described
from bunchtrain.simulate.vertexfit import fit, lines

PLACE = np.array([2.0, 1.0, 3.0])


def jets_with_vertex(count, per_jet=4, place=PLACE, seed=1):
    """Jets along the way to `place`, with so many tracks from there and as many from the primary vertex."""
    rng = np.random.default_rng(seed)
    phi, eta = np.arctan2(place[1], place[0]), np.arcsinh(place[2] / np.hypot(place[0], place[1]))
    total = count * per_jet * 2
    angle, slope = rng.normal(phi, 0.15, total), rng.normal(eta, 0.15, total)
    pt = rng.uniform(2, 10, total)
    displaced = np.tile(np.repeat([1.0, 0.0], per_jet), count)
    columns = {name: displaced * value for name, value in zip("xyz", place, strict=True)}
    columns |= {"px": pt * np.cos(angle), "py": pt * np.sin(angle), "pz": pt * np.sinh(slope)}
    tracker = Tracker(spec(tracks={"efficiency": 1.0, "fakes": 0.0, "hit_efficiency": 1.0}), charges)
    ids = rng.choice([-211, 211], total)
    jet = np.repeat(np.arange(count), per_jet * 2)
    found = tracker.reconstruct(particles(total, **columns, id=ids, event=jet, origin=2 + displaced.astype(int)))
    found["jet"] = found["event"]
    axes = np.full(count, eta), np.full(count, phi)
    return *axes, described(found, *axes, tracker), tracker.settings


def test_tracks_of_one_point_are_fitted_there():
    eta, _, tracks, settings = jets_with_vertex(300)
    chosen = tracks[tracks.vertex == 1]
    whole = chosen[ak.num(chosen) == 4]
    assert len(whole) > 250
    columns = {name: ak.to_numpy(whole[name]).astype(float) for name in secondary._READ}
    points, chi2 = fit(lines(columns, settings.field))
    assert np.all(np.abs(np.median(points, axis=0) - PLACE) < 0.05)
    # Eight residuals, three numbers fitted: five degrees of freedom.
    assert np.mean(chi2) == pytest.approx(5.0, rel=0.15)
    assert len(eta) == 300


def test_the_secondary_vertex_is_found_beside_the_primary_one():
    eta, phi, tracks, settings = jets_with_vertex(300)
    told = secondary.summary(eta, phi, tracks, settings)
    assert np.mean(told["sv_tracks"] >= 3) > 0.9 and np.mean(told["sv_tracks"] > 4) < 0.2
    some = told["sv_tracks"] > 0
    assert np.median(told["sv_delta_r"][some]) < 0.05
    assert np.median(told["sv_distance_significance"][some]) > 10
    assert np.all(told["sv_energy_fraction"][some] <= 1) and np.all(told["sv_mass"][some] > 2 * 0.139)
    assert {name: values.dtype.name for name, values in told.items()} == secondary.FIELDS


def test_tracks_of_the_primary_vertex_make_no_other():
    eta, phi, tracks, settings = jets_with_vertex(300, place=1e-9 * PLACE)
    told = secondary.summary(eta, phi, tracks, settings)
    assert np.mean(told["sv_tracks"] > 0) < 0.1
    assert np.all(told["sv_mass"][told["sv_tracks"] == 0] == 0)


def test_a_kaon_is_no_heavy_hadron():
    """K_S at 8 mm, decaying across their flight and boosted: two pions of mass 0.4976."""
    momentum, mass, pion = 6.0, 0.49761, 0.13957
    star = math.sqrt(mass**2 / 4 - pion**2)
    gamma, boost = math.hypot(momentum, mass) / mass, momentum / mass
    angle = np.tile([1.0, -1.0], 200)
    along = boost * np.hypot(star, pion) + gamma * star * np.cos(1.2) * angle
    across = star * np.sin(1.2) * angle
    tracker = Tracker(spec(tracks={"efficiency": 1.0, "fakes": 0.0}), charges)
    event = np.repeat(np.arange(200), 2)
    pions = {"px": along, "py": across, "pz": 0.0, "x": 8.0, "id": np.tile([211, -211], 200), "event": event}
    found = tracker.reconstruct(particles(400, **pions))
    axes = np.zeros(200), np.zeros(200)
    tracks = described({**found, "jet": found["event"]}, *axes, tracker)
    two = (ak.num(tracks) == 2) & ak.all(tracks.d0_significance > 2, axis=1)
    told = secondary.summary(*axes, tracks, tracker.settings)
    assert ak.sum(two) > 50
    assert np.mean(told["sv_tracks"][ak.to_numpy(two)] > 0) < 0.3


def test_the_surprise_is_that_of_a_gaussian():
    values = np.array([-3.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 50.0])
    expected = [-math.log(math.erfc(min(max(value, 0.0), 10.0) / math.sqrt(2))) for value in values]
    np.testing.assert_allclose(secondary._surprise(values), expected, rtol=0.01, atol=1e-6)


def auc(signal, background):
    """Return the chance that a signal jet has more than one of background."""
    signal, background = (np.asarray(one, float)[:, None] for one in (signal, background))
    return np.mean((signal > background.T) + 0.5 * (signal == background.T))


@pytest.mark.parametrize(
    ("name", "against_light", "against_charm"),
    [
        ("first_significance", 0.75, 0.6),
        ("second_significance", 0.75, 0.6),
        ("displaced_tracks", 0.75, 0.6),
        ("impact_sum", 0.75, 0.6),
        ("sv_mass", 0.75, 0.6),
        ("sv_distance_significance", 0.75, 0.6),
    ],
)
def test_jets_of_b_stand_out(made, name, against_light, against_charm):  # noqa: F811
    b, c, light = (made[process][f"jet_{name}"] for process in ("beauty", "charm", "light"))
    assert auc(b, light) > against_light
    assert auc(b, c) > against_charm


def test_the_order_of_significances(made):  # noqa: F811
    jets = made["beauty"]
    jets = jets[jets.ntrack > 2]
    assert ak.all(jets.jet_first_significance >= jets.jet_second_significance)
    expected = ak.fill_none(ak.max(jets.track_d0_significance, axis=1), 0.0)
    np.testing.assert_allclose(jets.jet_first_significance, expected, rtol=1e-6)
    np.testing.assert_array_equal(jets.jet_tracks, jets.ntrack)
    np.testing.assert_array_equal(jets.jet_displaced_tracks, ak.sum(jets.track_d0_significance > 2, axis=1))
