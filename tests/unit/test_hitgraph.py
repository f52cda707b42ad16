"""Graphs of hits: the same edges as a slow search over all pairs, true edges, and what helices in windows keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunchtrain.config.barrel import Barrel
from bunchtrain.errors import CampaignError, ContractError
from bunchtrain.events.hitgraph import EDGE_FEATURES, NODE_FEATURES, Windows, build, count_true, quality, true_edges
from bunchtrain.simulate.barrel import hits
from bunchtrain.simulate.solenoid import Helices

RADII = np.array([32.0, 72.0, 116.0, 172.0])


def uniform(count, seed, radii=RADII, half_length=400):
    """Hits anywhere on the layers."""
    random = np.random.default_rng(seed)
    layer = random.integers(0, len(radii), count)
    phi, z = random.uniform(-np.pi, np.pi, count), random.uniform(-half_length, half_length, count)
    return radii[layer] * np.cos(phi), radii[layer] * np.sin(phi), z, layer


def tracks(count, seed=0, **kinematics):
    """Particles from near the beam line, with a pt above 0.6 GeV."""
    random = np.random.default_rng(seed)
    pt = kinematics.get("pt", 0.6 + random.exponential(1, count))
    phi, eta = random.uniform(-np.pi, np.pi, count), random.uniform(-0.8, 0.8, count)
    none = np.zeros(count)
    momentum = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))
    return Helices(none, none, random.normal(0, 50, count), *momentum, random.choice([-1.0, 1.0], count), none + 0.14)


def event(count, seed=0, **settings):
    return hits(tracks(count, seed), np.zeros(count, int), 1, Barrel(**settings), np.random.default_rng(seed))


def slowly(x, y, z, layer, windows):
    """Return the edges as a loop over all pairs finds them, by plain geometry of circles through the beam line."""
    found, smallest = [], 1000 * windows.pt_min / (0.299792458 * windows.field)  # mm
    r, phi = np.hypot(x, y), np.arctan2(y, x)
    for i in range(len(x)):
        for j in range(len(x)):
            if not 1 <= layer[j] - layer[i] <= 1 + windows.skip:
                continue
            angle = abs((phi[j] - phi[i] + np.pi) % (2 * np.pi) - np.pi)
            turns = max(smallest, r[j] / 2)  # what turns back before has no hit there
            bends = [np.arcsin(min(one / (2 * turns), 1)) for one in (r[i], r[j])]
            if angle > bends[1] - bends[0] + windows.d0_max * (1 / r[i] - 1 / r[j]):
                continue
            chord = np.hypot(x[j] - x[i], y[j] - y[i])
            radius = chord / (2 * np.sin(angle)) if angle > 1e-9 else 1e12
            arcs = [2 * radius * np.arcsin(min(one / (2 * radius), 1)) for one in (r[i], r[j])]
            slope = (z[j] - z[i]) / (arcs[1] - arcs[0])
            if abs(z[i] - slope * arcs[0]) <= windows.z0_max and abs(slope) <= np.sinh(windows.eta_max):
                found.append((i, j))
    return found


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 70),
    seed=st.integers(0, 10_000),
    pt_min=st.sampled_from([0.02, 0.1, 0.5, 50.0]),
    d0_max=st.sampled_from([0.0, 1.0, 30.0]),
    z0_max=st.sampled_from([5.0, 100.0, 1000.0]),
    eta_max=st.sampled_from([0.5, 4.0]),
    skip=st.integers(0, 3),
)
def test_the_edges_are_those_of_a_search_over_all_pairs(count, seed, skip, **windows):
    columns, chosen = uniform(count, seed), Windows(skip=skip, **windows)
    graph = build(*columns, chosen)
    assert [tuple(edge) for edge in graph.edges.T] == sorted(slowly(*columns, chosen))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0, 30))
def test_layers_need_not_be_exact_cylinders(seed, spread):
    x, y, z, layer = uniform(60, seed)
    scale = 1 + np.random.default_rng(seed).uniform(0, spread, 60) / np.hypot(x, y)
    graph = build(x * scale, y * scale, z, layer, Windows(pt_min=0.1))
    found = sorted(slowly(x * scale, y * scale, z, layer, Windows(pt_min=0.1)))
    r = np.hypot(x * scale, y * scale)
    assert [tuple(edge) for edge in graph.edges.T] == [(i, j) for i, j in found if r[j] > r[i]]


@pytest.mark.parametrize("turn", [0.0, np.pi / 2, np.pi, 3.0, -2.9])
def test_a_turn_around_the_beam_changes_no_edge(turn):
    x, y, z, layer = uniform(300, 1)
    before = build(x, y, z, layer, Windows(pt_min=0.2))
    cos, sin = np.cos(turn), np.sin(turn)
    after = build(cos * x - sin * y, sin * x + cos * y, z, layer, Windows(pt_min=0.2))
    np.testing.assert_array_equal(after.edges, before.edges)
    np.testing.assert_allclose(after.features, before.features, rtol=1e-3, atol=1e-3)


def test_an_edge_may_cross_the_seam_of_the_azimuth():
    phi = np.array([np.pi - 0.002, -np.pi + 0.002])
    graph = build(RADII[:2] * np.cos(phi), RADII[:2] * np.sin(phi), np.array([10.0, 20.0]), np.arange(2), Windows())
    assert graph.edges.tolist() == [[0], [1]]
    assert graph.features[0, EDGE_FEATURES.index("dphi")] == pytest.approx(0.004, rel=1e-4)


@pytest.mark.parametrize("count", [0, 1])
def test_an_event_of_no_or_one_hit_has_no_edges(count):
    graph = build(*(column[:count] for column in uniform(1, 0)), Windows())
    assert graph.nodes.shape == (count, len(NODE_FEATURES)) and graph.edges.shape == (2, 0)
    assert graph.features.shape == (0, len(EDGE_FEATURES)) and graph.edges.dtype == np.int64
    alone = np.zeros(count, int)
    assert true_edges(graph.edges, alone, alone).shape == (0,) and count_true(alone, alone).sum() == 0
    assert np.isnan(quality(graph, alone, alone)["efficiency"])


def test_hits_of_one_layer_have_no_edges():
    x, y, z, _ = uniform(50, 2, radii=RADII[:1])
    assert build(x, y, z, np.full(50, 7), Windows()).edges.shape == (2, 0)


def test_noise_has_edges_but_no_true_ones():
    x, y, z, layer = uniform(400, 3)
    noise = np.full(400, -1)
    graph = build(x, y, z, layer, Windows())
    found = quality(graph, layer, noise)
    assert found["edges"] > 100 and found["purity"] == found["true_edges"] == found["kept"] == 0


def test_true_edges_join_consecutive_hits_of_a_particle():
    layer = np.array([0, 1, 2, 3, 0, 2, 3, 1, 2])
    particle = np.array([0, 0, 0, 0, 1, 1, 1, -1, -1])
    pairs = [(0, 1), (1, 2), (0, 2), (2, 3), (4, 5), (5, 6), (4, 6), (7, 8), (0, 7), (3, 4), (0, 5)]
    found = true_edges(np.array(pairs).T, layer, particle)
    assert [pair for pair, true in zip(pairs, found, strict=True) if true] == [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6)]
    assert count_true(layer, particle).tolist() == [1, 1, 1, 0, 1, 1, 0, 0, 0]


def test_two_hits_on_a_layer_are_both_joined_to_the_next():
    layer, particle = np.array([0, 0, 1, 1, 2]), np.zeros(5, int)
    pairs = [(i, j) for i in range(5) for j in range(5) if layer[j] > layer[i]]
    found = true_edges(np.array(pairs).T, layer, particle)
    assert [pair for pair, true in zip(pairs, found, strict=True) if true] == [
        (i, j) for i, j in pairs if layer[j] == layer[i] + 1
    ]
    assert count_true(layer, particle).sum() == found.sum() == 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 60))
def test_what_is_counted_as_true_is_what_a_graph_of_all_pairs_holds(seed, count):
    random = np.random.default_rng(seed)
    layer, particle = random.integers(0, 5, count), random.integers(-1, 8, count)
    inner, outer = np.nonzero(layer[:, None] < layer[None, :])
    true = true_edges(np.stack([inner, outer]), layer, particle)
    np.testing.assert_array_equal(count_true(layer, particle), np.bincount(inner[true], minlength=count))


def test_the_features_are_those_of_the_hits():
    found = event(30, noise_hits=0, material=0, resolution_z=0, resolution_rphi=0)
    graph = build(found.x, found.y, found.z, found.layer, Windows())
    r, phi, eta = (
        np.hypot(found.x, found.y),
        np.arctan2(found.y, found.x),
        np.arcsinh(found.z / np.hypot(found.x, found.y)),
    )
    np.testing.assert_allclose(graph.nodes, np.stack([r, phi, found.z, eta, found.layer], axis=1), rtol=1e-5, atol=1e-5)
    inner, outer = graph.edges
    named = dict(zip(EDGE_FEATURES, graph.features.T, strict=True))
    np.testing.assert_allclose(named["dr"], r[outer] - r[inner], rtol=1e-4)
    np.testing.assert_allclose(named["dz"], found.z[outer] - found.z[inner], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(named["deta"], eta[outer] - eta[inner], atol=1e-5)
    np.testing.assert_allclose(named["dR"], np.hypot(named["deta"], named["dphi"]), rtol=1e-5)


def test_z0_and_curvature_of_true_edges_are_those_of_the_particle():
    particles, exact = tracks(40), {"noise_hits": 0, "material": 0, "resolution_z": 0, "resolution_rphi": 0}
    found = hits(particles, np.zeros(40, int), 1, Barrel(**exact), np.random.default_rng(1))
    graph = build(found.x, found.y, found.z, found.layer, Windows())
    true = true_edges(graph.edges, found.layer, found.particle)
    owner = found.particle[graph.edges[0][true]]
    named = dict(zip(EDGE_FEATURES, graph.features[true].T, strict=True))
    assert len(owner) > 200
    np.testing.assert_allclose(named["z0"], particles.z[owner], atol=2e-3)
    np.testing.assert_allclose(named["curvature"], particles.curvature(2.0)[owner], rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("skip", "least"), [(0, 0.93), (1, 0.99)])
def test_tracks_keep_their_edges_also_past_a_layer_that_saw_nothing(skip, least):
    found = event(300, efficiency=0.95)
    graph = build(found.x, found.y, found.z, found.layer, Windows(skip=skip))
    kept = quality(graph, found.layer, found.particle)
    assert least < kept["efficiency"] <= 1 and 0.05 < kept["purity"] < 1
    assert kept["kept"] == true_edges(graph.edges, found.layer, found.particle).sum()
    if skip == 0:
        assert kept["efficiency"] < 0.97


def test_particles_below_the_window_lose_edges_and_need_not_count():
    slow = tracks(100, pt=np.full(100, 0.2))
    found = hits(slow, np.zeros(100, int), 1, Barrel(noise_hits=0), np.random.default_rng(1))
    graph = build(found.x, found.y, found.z, found.layer, Windows(pt_min=0.6, d0_max=0.1))
    assert quality(graph, found.layer, found.particle)["efficiency"] < 0.2
    assert quality(graph, found.layer, found.particle, found.particle < 0)["true_edges"] == 0


def test_the_work_follows_the_windows_not_all_pairs(monkeypatch):
    looked_at = []
    from bunchtrain.events import hitgraph

    accepted = hitgraph._accepted
    monkeypatch.setattr(
        hitgraph, "_accepted", lambda p, pairs, w: looked_at.append(pairs.shape[1]) or accepted(p, pairs, w)
    )
    x, y, z, layer = uniform(4000, 5)
    graph = build(x, y, z, layer, Windows(skip=0))
    assert sum(looked_at) < 3 * graph.edges.shape[1] < 0.1 * 3 * 1000**2


@pytest.mark.parametrize(
    ("key", "value"),
    [("pt_min", 0), ("field", -2), ("z0_max", float("nan")), ("d0_max", -1), ("skip", -1), ("eta_max", 0)],
)
def test_windows_that_cannot_be_are_refused(key, value):
    with pytest.raises(CampaignError) as caught:
        Windows(**{key: value})
    assert (caught.value.details["key"] == key and "at least 0" in str(caught.value)) or "above 0" in str(caught.value)


def test_hits_that_cannot_be_are_refused():
    x, y, z, layer = uniform(10, 0)
    with pytest.raises(ContractError, match="differ in length"):
        build(x, y, z[:5], layer, Windows())
    x[3] = y[3] = 0
    with pytest.raises(ContractError) as caught:
        build(x, y, z, layer, Windows())
    assert "hit 3" in caught.value.details["found"]
