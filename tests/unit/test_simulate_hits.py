"""Simulated tracking: helices against an integrated motion, scattering, the detector, and its settings."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import solve_ivp

from bunchtrain.config.barrel import Barrel
from bunchtrain.config.samples import Generate
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import SimulateSpec, as_text
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError
from bunchtrain.simulate.barrel import crossings, hits
from bunchtrain.simulate.solenoid import Helices, advanced, highland, scattered, turn_to

PERFECT = {"efficiency": 1, "noise_hits": 0, "material": 0, "resolution_rphi": 0, "resolution_z": 0}


def particles(count, seed=0, pt=None, spread=5.0, eta=1.5):
    """Pions from near the axis."""
    random = np.random.default_rng(seed)
    pt = 0.1 + random.exponential(1, count) if pt is None else np.full(count, float(pt))
    phi, eta = random.uniform(-np.pi, np.pi, count), random.uniform(-eta, eta, count)
    place = (*random.normal(0, spread, (2, count)), random.normal(0, 50, count))
    charge = random.choice([-1.0, 1.0, 2.0], count)
    return Helices(*place, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), charge, np.full(count, 0.1396))


def one(tracks, place):
    return tracks.take(np.arange(len(tracks.x)) == place)


def integrated(track, radius, field):
    """Return place and momentum where a particle first crosses a cylinder from inside, by its equation of motion."""
    momentum = np.array([track.px[0], track.py[0], track.pz[0]])
    size = np.linalg.norm(momentum)

    def motion(_, state):
        force = 0.299792458e-3 * track.charge[0] * np.cross(state[3:], [0, 0, field]) / size
        return np.concatenate([state[3:] / size, force])

    def crossed(_, state):
        return np.hypot(state[0], state[1]) - radius

    crossed.terminal, crossed.direction = True, 1
    start = np.concatenate([[track.x[0], track.y[0], track.z[0]], momentum])
    length = 3.5 * max(radius, size * 1000 / 0.3 / field)
    found = solve_ivp(motion, (0, length), start, events=crossed, rtol=1e-10, atol=1e-10, max_step=length / 20)
    return found.y_events[0][0] if len(found.y_events[0]) else None


@pytest.mark.parametrize(("field", "radius"), [(2.0, 32.0), (2.0, 500.0), (3.8, 300.0), (0.5, 1020.0)])
def test_helices_are_those_of_the_equation_of_motion(field, radius):
    tracks, reached = particles(30, seed=int(radius)), 0
    turn = turn_to(tracks, radius, field)
    for place in range(len(turn)):
        track, expected = one(tracks, place), integrated(one(tracks, place), radius, field)
        assert (expected is None) == np.isnan(turn[place])
        if expected is not None:
            there = advanced(track, turn[[place]], field)
            found = [there.x[0], there.y[0], there.z[0], there.px[0], there.py[0], there.pz[0]]
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
            reached += 1
    assert reached > 10


def test_layer_after_layer_is_the_same_helix_as_at_once():
    tracks = particles(200, pt=1.0)
    far = advanced(tracks, turn_to(tracks, 1020.0, 2.0), 2.0)
    step = tracks
    for radius in Barrel().radii:
        step = advanced(step, turn_to(step, radius, 2.0), 2.0)
    for name in ("x", "y", "z", "px", "py"):
        np.testing.assert_allclose(getattr(step, name), getattr(far, name), rtol=1e-7, atol=1e-7)


def test_a_particle_of_high_momentum_goes_straight():
    tracks = particles(50, pt=1e6, spread=0)
    there = advanced(tracks, turn_to(tracks, 1000.0, 2.0), 2.0)
    for name, momentum in (("x", "px"), ("y", "py")):
        np.testing.assert_allclose(getattr(there, name), getattr(tracks, momentum) / 1e6 * 1000, atol=1e-3)
    np.testing.assert_allclose(there.z - tracks.z, tracks.pz / 1e6 * 1000, atol=1e-3)
    np.testing.assert_allclose(there.radius, 1000, rtol=1e-9)


def test_positive_particles_turn_clockwise_in_a_field_along_z():
    none = np.zeros(2)
    tracks = Helices(none, none, none, none + 1.0, none, none, np.array([1.0, -1.0]), none)
    there = advanced(tracks, turn_to(tracks, 500.0, 2.0), 2.0)
    assert there.y[0] < 0 < there.y[1] and there.y[0] == pytest.approx(-there.y[1])
    circle = 1000 / (0.299792458 * 2.0)  # mm, of 1 GeV
    assert np.hypot(there.x[0], there.y[0] + circle) == pytest.approx(circle)


def test_what_turns_back_before_a_layer_does_not_cross_it():
    slow = particles(100, pt=0.2, spread=0)  # a circle of 667 mm across in 2 T, half of it for charge 2
    counts = [len(place) for place, _ in crossings(slow, Barrel(**PERFECT, half_length=1e5), np.random.default_rng(0))]
    single = int(np.sum(np.abs(slow.charge) == 1))
    assert counts[:5] == [100] * 5 and counts[5:8] == [single, single, single] and counts[8:] == [0, 0]


def test_a_particle_made_between_two_layers_crosses_the_outer_ones_only():
    none = np.zeros(1)
    tracks = Helices(none + 50, none, none, none + 5, none, none, none + 1, none + 0.14)
    crossed = [len(place) for place, _ in crossings(tracks, Barrel(), np.random.default_rng(0))]
    assert crossed == [0] + [1] * 9


def test_highland_is_the_formula_of_the_review_of_particle_physics():
    found = highland(np.array([1.0]), np.array([0.1396]), np.array([1.0]), np.array([0.02]))
    beta = 1 / np.hypot(1, 0.1396)
    assert found[0] == pytest.approx(0.0136 / beta * np.sqrt(0.02) * (1 + 0.038 * np.log(0.02 / beta**2)))
    assert highland(*(np.array([x]) for x in (1.0, 0.1, 1.0, 0.0)))[0] == 0


@pytest.mark.parametrize(("charge", "slope"), [(1.0, 0.0), (-1.0, 2.0), (2.0, -1.0)])
def test_the_scattering_angle_has_highlands_width(charge, slope):
    count, material = 200_000, 0.03
    none = np.zeros(count)
    tracks = Helices(none + 100, none, none, none + 1, none, none + slope, none + charge, none + 0.14)
    after = scattered(tracks, material, np.random.default_rng(1))
    momentum = np.hypot(1, slope)
    width = highland(*(np.array([x]) for x in (momentum, 0.14, charge, material * momentum)))[0]
    np.testing.assert_allclose(np.sqrt(after.px**2 + after.py**2 + after.pz**2), momentum, rtol=1e-12)
    polar = np.arctan2(after.pz, after.pt) - np.arctan2(slope, 1)
    across = after.py / momentum
    assert polar.std() == pytest.approx(width, rel=0.01) and across.std() == pytest.approx(width, rel=0.01)
    assert abs(polar.mean()) < 5 * width / np.sqrt(count) and abs(np.corrcoef(polar, across)[0, 1]) < 0.01


def test_scattering_moves_the_hits_of_outer_layers():
    """At one layer a kick θ shifts the next hit by θ times the way to it, without noise of its own."""
    none = np.zeros(20_000)
    tracks = Helices(none, none, none, none + 50, none, none, none + 1, none + 0.14)
    barrel = Barrel(**{**PERFECT, "material": 0.02}, radii=[100, 300])
    found = hits(tracks, none.astype(int), 1, barrel, np.random.default_rng(0))
    width = highland(*(np.array([x]) for x in (50.0, 0.14, 1.0, 0.02)))[0]
    assert found.z[found.layer == 0].std() == pytest.approx(0, abs=1e-9)
    assert found.z[found.layer == 1].std() == pytest.approx(200 * width, rel=0.03)


def test_perfect_hits_lie_on_the_circle_of_the_particle():
    tracks = particles(50, pt=2.0, spread=0)
    found = hits(tracks, np.zeros(50, int), 1, Barrel(**PERFECT, half_length=1e5), np.random.default_rng(0))
    assert len(found.x) == 500
    bend = 1 / tracks.curvature(2.0)[found.particle]
    centre = -tracks.py[found.particle] / 2 * bend, tracks.px[found.particle] / 2 * bend
    np.testing.assert_allclose(np.hypot(found.x - centre[0], found.y - centre[1]), np.abs(bend), rtol=1e-9)
    np.testing.assert_allclose(np.hypot(found.x, found.y), np.array(Barrel().radii)[found.layer], rtol=1e-12)


def test_resolution_efficiency_and_noise_are_as_asked():
    none = np.zeros(20_000)
    tracks = Helices(none, none, none, none + 1e6, none, none, none + 1, none + 0.14)
    barrel = Barrel(material=0, resolution_rphi=0.05, resolution_z=0.2, efficiency=0.9, noise_hits=0, radii=[50, 500])
    found = hits(tracks, none.astype(int), 1, barrel, np.random.default_rng(0))
    for layer, radius in enumerate(barrel.radii):
        here = found.layer == layer
        assert here.sum() == pytest.approx(18_000, abs=5 * np.sqrt(20_000 * 0.09))
        assert (radius * np.arctan2(found.y, found.x))[here].std() == pytest.approx(0.05, rel=0.03)
        assert found.z[here].std() == pytest.approx(0.2, rel=0.03)
        np.testing.assert_allclose(np.hypot(found.x, found.y)[here], radius)
    empty = particles(0)
    noise = hits(empty, np.zeros(0, int), 2000, Barrel(noise_hits=3, radii=[50, 500]), np.random.default_rng(0))
    assert (noise.particle == -1).all() and len(noise.x) == pytest.approx(12_000, abs=5 * np.sqrt(12_000))
    assert np.abs(noise.z).max() <= 1100 and np.bincount(noise.layer).tolist() == pytest.approx([6000] * 2, abs=400)


def test_hits_end_where_the_layers_do_and_their_order_tells_no_particle():
    tracks = particles(300, eta=4)
    found = hits(tracks, np.arange(300) // 100, 3, Barrel(noise_hits=0), np.random.default_rng(0))
    assert np.abs(found.z).max() < 1100 + 1
    phi = np.arctan2(found.y, found.x)
    order = np.lexsort((phi, found.layer, found.event))
    np.testing.assert_array_equal(order, np.arange(len(phi)))
    np.testing.assert_array_equal(found.event, found.particle // 100)


# --- settings


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"radii": [50, 40]}, "from the inside out"),
        ({"radii": []}, "at least 1"),
        ({"radii": [-1]}, "greater than 0"),
        ({"efficiency": 1.5}, "less than or equal to 1"),
        ({"field": 0}, "greater than 0"),
        ({"fields": 2}, "Extra inputs"),
    ],
)
def test_a_detector_that_cannot_be_is_refused(values, told):
    with pytest.raises(ValidationError, match=told):
        Barrel(**values)


def campaign(process="collisions", kind="hits", **generate):
    samples = {name: {"label": name, "generate": {"process": process, **generate}} for name in ("top", "qcd")}
    return {"name": "t", "output": "results/t", "samples": samples, "convert": {"format": {"kind": kind}}}


def planned(values, monkeypatch):
    """Return the plan of a campaign, without a look at its task."""
    monkeypatch.setattr("bunchtrain.config.checks._check_rows", lambda *_: None)
    return Plan(values, "c.yaml")


def test_a_shard_takes_the_number_of_its_own_rows():
    assert Generate(process="collisions").rows_per_shard == 200
    assert Generate(process="collisions", events_per_shard=7).rows_per_shard == 7
    assert Generate(process="qcd", jets_per_shard=9).rows_per_shard == 9
    for one in (Generate(process="collisions", events_per_shard=7), Generate(process="qcd", jets_per_shard=9)):
        assert Generate.model_validate(one.model_dump()) == one
    with pytest.raises(ValidationError, match="takes `events_per_shard`, not `jets_per_shard`"):
        Generate(process="collisions", jets_per_shard=9)
    with pytest.raises(ValidationError, match="takes `jets_per_shard`, not `events_per_shard`"):
        Generate(process="top", events_per_shard=9)


def test_a_campaign_says_the_detector_to_collisions_alone(monkeypatch):
    values = {**campaign(events_per_shard=5), "simulate": {"barrel": {"field": 3.8}}}
    spec = json.loads(planned(values, monkeypatch).spec("simulate", sample="top", shard="1"))
    assert spec["jets"] == 5 and spec["process"] == "collisions" and spec["settings"]["barrel"]["field"] == 3.8
    with pytest.raises(CampaignError, match="no sample that it would change"):
        planned({**values, **{k: campaign("qcd", "ntuple")[k] for k in ("samples", "convert")}}, monkeypatch)
    jets = planned(campaign("qcd", "ntuple"), monkeypatch)
    assert "barrel" not in json.loads(jets.spec("simulate", sample="top", shard="1"))["settings"]
    usual = json.loads(planned(campaign(), monkeypatch).spec("simulate", sample="top", shard="0"))
    assert usual["settings"]["barrel"] == Barrel().model_dump(mode="json")


def test_the_spec_of_a_sample_without_detector_is_as_ever():
    """The same text runs nothing anew, and stands in the files: a new part must not show where it is not used."""
    spec = SimulateSpec(version=1, sample="a", process="qcd", shard=0, jets=1, seed=1, settings=Simulate())
    assert "barrel" not in as_text(spec) and "barrel" not in Simulate().model_dump(mode="json")
    assert SimulateSpec.model_validate_json(as_text(spec)) == spec


@pytest.mark.parametrize(("process", "kind", "fit"), [("collisions", "ntuple", "hits"), ("qcd", "hits", "ntuple")])
def test_a_format_that_does_not_read_what_is_generated_is_refused(monkeypatch, process, kind, fit):
    with pytest.raises(CampaignError) as caught:
        planned(campaign(process, kind), monkeypatch)
    assert caught.value.details["key"] == "samples.top.generate.process" and fit in caught.value.details["expected"]
