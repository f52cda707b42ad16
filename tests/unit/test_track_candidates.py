"""Track candidates and their figures of merit: hand-made events, and slow counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hitgraph import tracks

from bunchtrain.config.barrel import Barrel
from bunchtrain.errors import CampaignError, ContractError
from bunchtrain.events.hitgraph import Windows, build, true_edges
from bunchtrain.simulate.barrel import hits
from bunchtrain.trackfinding import (
    Sought,
    Truth,
    candidates,
    efficiency_in_bins,
    figures,
    joined,
    match,
    rate,
    ratio,
    reconstructed,
    score,
)


def edges(*pairs):
    return np.array(pairs, int).reshape(-1, 2).T


def truth(particle, pt=None, eta=None):
    number = max(particle) + 1 if len(particle) else 0
    pt, eta = (np.full(number, value) if one is None else np.array(one) for one, value in ((pt, 1.0), (eta, 0.0)))
    return Truth(np.array(particle, int), pt, eta)


def chains(scores, pairs, count, threshold):
    """Return the candidates as sets of hits, edges taken one by one."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    out, into, groups = set(), set(), {hit: {hit} for hit in range(count)}
    for i in order:
        inner, outer = pairs[:, i]
        if scores[i] >= threshold and inner not in out and outer not in into:
            out.add(inner)
            into.add(outer)
            both = groups[inner] | groups[outer]
            groups |= dict.fromkeys(both, both)
    return {frozenset(one) for one in groups.values()}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 25), number=st.integers(0, 80), ties=st.booleans())
def test_candidates_are_those_of_edges_taken_one_by_one(seed, count, number, ties):
    random = np.random.default_rng(seed)
    pairs = np.sort(random.integers(0, count, (2, number)), axis=0)
    pairs = pairs[:, pairs[0] < pairs[1]]
    scores = random.integers(0, 4, pairs.shape[1]) / 4 if ties else random.random(pairs.shape[1])
    found = candidates(scores, pairs, count, 0.5, min_hits=1)
    groups = {frozenset(np.flatnonzero(found == one).tolist()) for one in range(found.max() + 1)}
    assert groups == chains(scores, pairs, count, 0.5) and (found >= 0).all()


def test_short_candidates_are_dropped_and_the_rest_numbered():
    found = candidates(np.ones(4), edges((0, 1), (2, 3), (3, 4), (5, 6)), 8, min_hits=3)
    assert found.tolist() == [-1, -1, 0, 0, 0, -1, -1, -1]
    assert candidates(np.zeros(0), np.zeros((2, 0), int), 0).shape == (0,)
    assert candidates(np.zeros(0), np.zeros((2, 0), int), 3).tolist() == [-1] * 3


def test_the_best_edge_of_a_hit_wins_on_both_of_its_ends():
    pairs = edges((0, 2), (1, 2), (2, 3), (2, 4))
    found = candidates(np.array([0.6, 0.9, 0.7, 0.8]), pairs, 5, min_hits=2)
    assert found.tolist() == [-1, 0, 0, -1, 0]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ((np.ones(1), edges((0, 1), (1, 2)), 3), "do not fit"),
        ((np.ones(1), edges((0, 3)), 3), "not there"),
        ((np.array([np.nan]), edges((0, 1)), 3), "no number"),
        ((np.ones(2), edges((0, 1), (1, 0)), 3), "ring"),
        ((np.ones(3), edges((0, 1), (1, 2), (2, 0)), 4), "ring"),
    ],
)
def test_scores_and_edges_that_cannot_be_are_refused(values, problem):
    with pytest.raises(ContractError, match=problem):
        candidates(*values)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(CampaignError, match="has hits"):
        candidates(np.ones(1), edges((0, 1)), 2, min_hits=0)
    with pytest.raises(CampaignError) as caught:
        score(np.zeros(3, int), truth([0, 0, 0]), weights="unifrom")
    assert caught.value.details["nearest"] == "uniform"
    with pytest.raises(CampaignError, match="unknown column"):
        efficiency_in_bins(np.zeros(3, int), truth([0, 0, 0]), "phi", [0, 1])
    with pytest.raises(CampaignError, match="do not rise"):
        efficiency_in_bins(np.zeros(3, int), truth([0, 0, 0]), "pt", [1, 0])
    with pytest.raises(ContractError, match="other hits"):
        match(np.zeros(2, int), truth([0, 0, 0]))
    with pytest.raises(ContractError, match="not there"):
        Truth(np.array([3]), np.ones(3), np.ones(3))


ANY = Sought(min_hits=1, pt_min=0, eta_max=9)


def test_a_perfect_candidate():
    found = figures(np.array([0, 0, 0, 0]), truth([0, 0, 0, 0]), ANY)
    assert {name: one[0] for name, one in found.items()} == {"efficiency": 1, "fake": 0, "duplicate": 0, "purity": 1}


def test_a_split_particle_has_one_candidate_of_its_own_and_a_duplicate():
    matched = match(np.array([0, 0, 0, 0, 1, 1, 1]), truth([0] * 7))
    assert matched.double.tolist() == [True, False] and matched.duplicate.tolist() == [False, True]
    assert matched.majority.all() and reconstructed(matched, truth([0] * 7)).tolist() == [True]


def test_a_particle_split_in_equal_halves_is_not_found():
    found = figures(np.array([0, 0, 0, 1, 1, 1]), truth([0] * 6), ANY)
    assert found["efficiency"][0] == 0 and found["duplicate"][0] == 0.5 and found["fake"][0] == 0
    assert score(np.array([0, 0, 0, 1, 1, 1]), truth([0] * 6)).value == 0


def test_two_merged_particles_of_equal_size_make_a_fake():
    found = figures(np.zeros(6, int), truth([0, 0, 0, 1, 1, 1]), ANY)
    assert found["fake"][0] == 1 and found["efficiency"] == rate(0, 2) and np.isnan(found["purity"][0])


def test_of_two_merged_particles_the_larger_is_found():
    one = truth([0, 0, 0, 0, 1, 1, 1])
    matched = match(np.zeros(7, int), one)
    assert matched.particle.tolist() == [0] and matched.common.tolist() == [4] and matched.double.all()
    purity = figures(np.zeros(7, int), one, ANY)["purity"]
    assert purity.value == 4 / 7 and purity.error == rate(1, 1).error and purity.total == 1
    assert score(np.zeros(7, int), one, min_hits=3).value == pytest.approx(4 / 7)


def test_a_candidate_of_noise_is_a_fake():
    found = figures(np.array([0, 0, 0, 1, 1, 1]), truth([-1, -1, 0, 0, 0, -1]), ANY)
    assert found["fake"] == rate(1, 2) and found["duplicate"][0] == 0
    alone = match(np.zeros(3, int), truth([-1, -1, -1]))
    assert alone.particle.tolist() == [-1] and not alone.majority.any() and not alone.double.any()


def test_without_candidates_nothing_is_found():
    found = figures(np.full(4, -1), truth([0, 0, 0, -1]), ANY)
    assert found["efficiency"] == rate(0, 1)
    assert all(found[name].total == 0 and np.isnan(found[name].value) for name in ("fake", "duplicate", "purity"))
    empty = figures(np.zeros(0, int), truth([]), ANY)
    assert empty["efficiency"].total == 0 and np.isnan(score(np.zeros(0, int), truth([])).value)


def test_only_particles_that_are_sought_count():
    particle = [0] * 5 + [1] * 5 + [2] * 4 + [3] * 5
    one = truth(particle, pt=[1.0, 0.4, 2.0, 5.0], eta=[0.0, 0.0, 0.0, -5.0])
    assert Sought().among(one).tolist() == [True, False, False, False]
    assert figures(np.array(particle), one)["efficiency"] == rate(1, 1)


def test_efficiency_in_bins_counts_each_particle_once():
    particle = [0] * 5 + [1] * 5 + [2] * 5
    one = truth(particle, pt=[1.0, 2.0, 3.0], eta=[-1.0, 0.0, 1.0])
    found = np.array([0] * 5 + [-1] * 5 + [1] * 5)
    assert efficiency_in_bins(found, one, "pt", [1, 2, 3, 4]) == [rate(1, 1), rate(0, 1), rate(1, 1)]
    by_eta = efficiency_in_bins(found, one, "eta", [-1, 0.5, 1.0])
    assert by_eta[0] == rate(1, 2) and by_eta[1].total == 0  # 1.0 lies beyond


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40))
def test_the_match_is_what_counting_says(seed, count):
    random = np.random.default_rng(seed)
    one, found = truth(random.integers(-1, 5, count).tolist()), random.integers(-1, 6, count)
    _, found = np.unique(np.append(found, -1), return_inverse=True)
    found = found[:-1] - 1
    matched = match(found, one)
    for number in range(found.max() + 1):
        own = one.particle[found == number]
        counts = [int(np.sum(own == particle)) for particle in range(len(one.pt))]
        most = max(counts, default=0)
        assert matched.size[number] == len(own) and matched.common[number] == most
        assert matched.particle[number] == (counts.index(most) if most else -1)
        assert matched.majority[number] == (most > len(own) / 2)
        assert matched.double[number] == (most > len(own) / 2 and most > one.hits[matched.particle[number]] / 2)
    for particle in range(len(one.pt)):
        of = matched.majority & (matched.particle == particle)
        assert np.sum(matched.duplicate & of) == max(of.sum() - 1, 0)
        assert np.sum(matched.double & of) <= 1
    assert not np.any(matched.double & matched.duplicate)


def test_the_score_weighs_by_pt():
    one = truth([0] * 4 + [1] * 4 + [2] * 3, pt=[0.2, 5.0, 5.0])
    found = np.array([-1] * 4 + [0] * 4 + [1] * 3)
    assert score(found, one).value == pytest.approx(0.5)  # three hits are too few for the third
    assert score(found, one, weights="pt").value == pytest.approx(1 / 1.2)
    middle = truth([0] * 4 + [1] * 4, pt=[1.75, 5.0])
    assert score(np.array([0] * 4 + [-1] * 4), middle, weights="pt").value == pytest.approx(0.6 / 1.6)


def test_errors_are_those_of_a_flat_prior():
    assert rate(0, 0).total == 0 and np.isnan(rate(0, 0).value)
    assert rate(0, 100).error == pytest.approx(rate(100, 100).error) and 0 < rate(0, 100).error < 0.011
    assert rate(5000, 10_000).error == pytest.approx(0.005, rel=1e-3)
    samples = np.random.default_rng(0).beta(3 + 1, 7 + 1, 200_000)
    assert rate(3, 10).error == pytest.approx(samples.std(), rel=0.01)


def test_events_are_joined_without_mixing():
    first, second = (np.array([0, 0, 0, -1]), truth([0, 0, 0, 1])), (np.array([-1, 0, 0, 0]), truth([-1, 0, 0, 0]))
    found, both = joined([first, second])
    assert found.tolist() == [0, 0, 0, -1, -1, 1, 1, 1] and both.particle.tolist() == [0, 0, 0, 1, -1, 2, 2, 2]
    assert figures(found, both, ANY)["efficiency"] == rate(2, 3)


@pytest.mark.parametrize("count", [30, 300])
def test_perfect_scores_find_every_particle(count):
    particles = tracks(count)
    detector = Barrel(efficiency=1, material=0)
    found = hits(particles, np.zeros(count, int), 1, detector, np.random.default_rng(0))
    graph = build(found.x, found.y, found.z, found.layer, Windows())
    true = true_edges(graph.edges, found.layer, found.particle)
    made = candidates(true.astype("f4"), graph.edges, len(found.x))
    one = Truth(found.particle, particles.pt, np.arcsinh(particles.pz / particles.pt))
    complete = one.hits == len(detector.radii)
    assert complete.sum() > 0.7 * count
    assert reconstructed(match(made, one), one)[complete].all()
    result = figures(made, one, Sought(min_hits=len(detector.radii)))
    assert result["efficiency"].value == 1 and result["fake"].value == result["duplicate"].value == 0
    assert result["purity"].value == 1 and score(made, one).value > 0.99


def test_the_error_of_a_purity_is_the_spread_over_candidates_not_over_hits():
    random = np.random.default_rng(2)

    def experiment():
        size = np.full(400, 10)
        return ratio(
            np.where(random.uniform(size=400) < 0.9, size, 6), size
        )  # hits of a bad candidate are bad together

    found = [experiment() for _ in range(200)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.15)
    assert found[0].error > 1.2 * rate(round(4000 * found[0].value), 4000).error
    assert ratio(np.full(9, 5), np.full(9, 5)) == (1.0, rate(9, 9).error, 9)


def test_a_score_has_the_error_of_whole_particles():
    one = truth(np.repeat(np.arange(40), 5).tolist())
    found = np.where(np.arange(200) < 150, one.particle, -1)
    shown = score(found, one)
    assert shown.value == 0.75 and shown.total == 40
    assert shown.error == pytest.approx(np.sqrt(0.75 * 0.25 / 40))
