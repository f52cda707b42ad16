"""NanoAOD, PHYSLITE and EDM4hep: four-momenta, constituents, truth and weights against slow loops over events."""

import math

import numpy as np
import pytest

from bunchtrain.config.convert import Truth
from bunchtrain.convert import cones, truth
from bunchtrain.convert.eventwise import Items


def distance(a, b):
    phi = abs(a["phi"] - b["phi"]) % (2 * math.pi)
    return math.hypot(a["eta"] - b["eta"], min(phi, 2 * math.pi - phi))


def slow_truth(jets, particles, cuts):
    """One event: lists of dicts in, one (flavour, origin, parton) per jet out."""
    flavours, origins, partons = [[] for _ in jets], [[] for _ in jets], [[] for _ in jets]
    for one in particles:
        code = abs(one["pdg"])
        near = sorted((distance(jet, one), at) for at, jet in enumerate(jets) if distance(jet, one) < cuts.radius)
        kind = 5 if code in (511, 521, 531, 5122) else 4 if code in (411, 421, 431, 4122) else 15 if code == 15 else 0
        if kind and one["pt"] > cuts.hadron_pt_min and near:
            flavours[near[0][1]].append(kind)
        if code in (6, 23, 24, 25) and one["last"] and one["pt"] > cuts.parton_pt_min:
            for _, at in near:
                origins[at].append(code)
        if code in (1, 2, 3, 4, 5, 21) and one["pt"] > 0:
            for _, at in near:
                partons[at].append((one["pt"], one["pdg"]))
    rank = {5: 3, 4: 2, 15: 1, 6: 9, 25: 8, 23: 7, 24: 6}
    return [
        (max(f, key=rank.get, default=0), max(o, key=rank.get, default=0), max(p, default=(0, 0))[1])
        for f, o, p in zip(flavours, origins, partons, strict=True)
    ]


def random_items(random, events, most, **more):
    counts = random.integers(0, most + 1, events)
    size = counts.sum()
    columns = {"eta": random.normal(0, 0.6, size), "phi": random.uniform(-np.pi, np.pi, size)}
    return Items(columns | {name: make(size) for name, make in more.items()}, counts)


def rows_of(items):
    """Return the items as lists of dicts, one list per owner."""
    found, at = [], 0
    for count in items.counts:
        found.append(
            [{name: values[i].item() for name, values in items.columns.items()} for i in range(at, at + count)]
        )
        at += count
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [3, 1_000_000])
def test_truth_is_that_of_a_loop_over_events(monkeypatch, seed, most):
    monkeypatch.setattr(cones, "_MOST_PAIRS", most)
    random = np.random.default_rng(seed)
    codes = [511, 5122, 421, 4122, 15, 6, 23, 24, 25, 21, 1, 5, 513, 22, 211]
    jets = random_items(random, 200, 5)
    particles = random_items(
        random,
        200,
        12,
        pdg=lambda size: random.choice(codes, size) * random.choice([-1, 1], size),
        pt=lambda size: random.exponential(15, size),
        last=lambda size: random.random(size) < 0.5,
    )
    cuts = Truth(radius=0.7)
    found = truth.match(jets, particles, cuts)
    expected = [
        row for event in zip(rows_of(jets), rows_of(particles), strict=True) for row in slow_truth(*event, cuts)
    ]
    got = list(zip(*(found[f"truth_{name}"].tolist() for name in ("flavour", "origin", "parton")), strict=True))
    assert got == expected
    assert {flavour for flavour, _, _ in got} == {0, 4, 5, 15}


def test_a_hadron_counts_for_the_closest_jet_alone_and_b_goes_before_c():
    jets = Items({"eta": np.array([0.0, 0.4]), "phi": np.array([3.1, -3.1])}, np.array([2]))
    pdg = np.array([511, 421, 423, 5])
    columns = {"pdg": pdg, "pt": np.full(4, 20.0), "eta": np.array([0.1, 0.1, 0.35, 0.2]), "phi": np.full(4, 3.14)}
    found = truth.match(jets, Items(columns, np.array([4])), Truth(radius=0.4))
    assert found["truth_flavour"].tolist() == [5, 0]
    assert found["truth_parton"].tolist() == [5, 5] and found["truth_origin"].tolist() == [0, 0]


def test_thresholds_are_strict_and_nothing_near_is_zero():
    jets = Items({"eta": np.zeros(2), "phi": np.zeros(2)}, np.array([1, 1]))
    columns = {"pdg": np.array([521, 24]), "pt": np.array([5.0, 10.0]), "eta": np.zeros(2), "phi": np.zeros(2)}
    found = truth.match(jets, Items(columns, np.array([2, 0])), Truth())
    assert all(values.tolist() == [0, 0] for values in found.values())
    none = truth.match(
        Items({"eta": np.zeros(0), "phi": np.zeros(0)}, np.array([0, 0])), Items(columns, np.array([2, 0])), Truth()
    )
    assert all(len(values) == 0 for values in none.values())


def test_the_last_of_copies_has_no_child_of_its_kind():
    pdg = np.array([6, 6, 24, 24, 5, 6])
    child, parent = np.array([1, 2, 3, 4]), np.array([0, 1, 2, 1])
    assert truth.last_copies(pdg, child, parent).tolist() == [False, True, False, True, True, True]
