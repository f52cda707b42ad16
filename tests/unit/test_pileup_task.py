"""Pile-up at the level of constituents: the local shape, the masses, and a training that finds them."""

import math

import numpy as np
import pytest
import torch

from bunchtrain.levels import Logits, Targets
from bunchtrain.tasks import _puppi
from bunchtrain.tasks._masses import CHARGED, NETWORK, NOTHING, SHAPE, Masses, quantile, resolutions
from bunchtrain.tasks.base import build

TASK = build({"kind": "pileup"}, ["qcd"])


def momenta(*rows):
    """Massless momenta from (pt, eta, phi)."""
    pt, eta, phi = torch.tensor(rows, dtype=torch.float64).T
    return torch.stack([pt * torch.cos(phi), pt * torch.sin(phi), pt * torch.sinh(eta), pt * torch.cosh(eta)], -1)[None]


def weights(p4, charged, hard, collisions):
    """Weights of the local shape with the spread of the pile-up of these jets."""
    alpha = _puppi.shape(p4, charged & hard)
    pt = torch.hypot(p4[..., 0], p4[..., 1])
    return _puppi.weights(alpha, pt, collisions, _puppi.spread(alpha[charged & ~hard]))


def targets(vertex, charge, weight=1.0):
    truth = torch.tensor([vertex, charge], dtype=torch.int32).T[None]
    mask = torch.ones(1, len(vertex), dtype=torch.bool)
    return Targets(
        torch.zeros(1, dtype=torch.long), torch.tensor([weight], dtype=torch.float64), truth, mask, torch.zeros(1, 0)
    )


def test_the_local_shape_is_the_formula():
    p4 = momenta((10, 0, 0), (4, 0.1, 0), (6, 0, 0.2), (3, 0.9, 0), (2, 0.01, 0))
    seeds = torch.tensor([[False, True, True, True, True]])
    found = _puppi.shape(p4, seeds)[0]
    # Of the first: three within 0.3, one too far. A seed is no neighbour of its own.
    assert found[0] == pytest.approx(math.log(4 / 0.1 + 6 / 0.2 + 2 / 0.01))
    assert found[3] == -math.inf
    assert torch.isneginf(_puppi.shape(p4, torch.zeros(1, 5, dtype=torch.bool))).all()


def test_the_local_shape_wraps_around_in_phi():
    p4 = momenta((10, 0, math.pi - 0.05), (4, 0, -math.pi + 0.05))
    found = _puppi.shape(p4, torch.tensor([[False, True]]))[0, 0]
    assert found == pytest.approx(math.log(4 / 0.1))


def test_a_neutral_beside_hard_tracks_weighs_more_than_one_among_pileup():
    generator = torch.Generator().manual_seed(3)
    spots = (torch.rand(40, 2, generator=generator) - 0.5).tolist()
    rows = [(30.0, 0.0, 0.0), (20.0, 0.05, 0.05)]  # charged, hard
    rows += [(1.0, eta, phi) for eta, phi in spots]  # charged, pile-up
    # Neutral: beside the hard ones, away from them, and away but with more pt than pile-up has.
    rows += [(2.0, 0.03, 0.0), (2.0, 0.9, -0.9), (7.0, 0.9, 0.9)]
    charged = torch.tensor([[True] * 42 + [False] * 3])
    hard = torch.tensor([[True] * 2 + [False] * 40 + [True, False, True]])
    found = weights(momenta(*rows), charged, hard, torch.tensor([20.0]))[0]
    assert found[-3] > 0.9 and found[-2] < 0.5 and found[-1] == 1


def test_without_charged_pileup_all_with_a_neighbour_is_kept():
    p4 = momenta((30, 0, 0), (2, 0.1, 0), (2, 0.9, 0))
    charged = hard = torch.tensor([[True, False, False]])
    assert weights(p4, charged, hard, torch.zeros(1))[0].tolist()[1:] == [1.0, 0.0]


def test_items_are_the_neutral_constituents_and_every_jet_counts_once():
    logits = Logits(torch.zeros(1, 0), torch.tensor([[[0.0, 2.0], [0.0, -2.0], [1.0, 1.0]]]), torch.zeros(1, 3, 3, 0))
    items = TASK.items(logits, targets([0, 3, 0], [0, 0, 1], weight=4.0))
    found = [one.tolist() for one in (items.labels_M, items.weights_M, items.rows_M)]
    assert found == [[1, 0], [2.0, 2.0], [0, 0]]
    expected = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))]
    assert TASK.discriminant(items.probabilities_MC).tolist() == pytest.approx(expected)


def test_a_perfect_network_gives_the_true_mass_and_no_removal_a_larger_one():
    merit = Masses()
    random = np.random.default_rng(0)
    for _ in range(30):
        rows = [(random.exponential(20) + 5, *random.normal(0, 0.2, 2)) for _ in range(10)]
        rows += [(random.exponential(1) + 0.5, *random.normal(0, 0.4, 2)) for _ in range(40)]
        vertex = [0] * 10 + [int(v) for v in random.integers(1, 20, 40)]
        truth = targets(vertex, [int(c) for c in random.integers(-1, 2, 50)])
        perfect = 50.0 * (2 * (truth.truth_BPT[..., 0] == 0).double() - 1)
        merit.add(
            momenta(*rows),
            Logits(torch.zeros(1, 0), torch.stack([-perfect, perfect], -1), torch.zeros(1, 50, 50, 0)),
            truth,
        )
    (panel,) = merit.panels()
    rows = {row[0]: row[1:] for row in panel.rows}
    shifts = {name: float(cells[0].split()[0]) for name, cells in rows.items()}
    assert shifts[NETWORK] == pytest.approx(0, abs=1e-6) and rows[NETWORK][1].startswith("0.00")
    assert shifts[NOTHING] > shifts[CHARGED] > 1 and "±" in rows[CHARGED][0] and rows[CHARGED][0].startswith("+")
    assert panel.figures[f"mass resolution, {NETWORK} (GeV)"] < panel.figures[f"mass resolution, {SHAPE} (GeV)"]


def test_the_resolution_of_a_normal_distribution_is_its_width():
    values = np.random.default_rng(1).normal(3, 2, 20000)
    (middle, its_error), (width, error) = resolutions(values, np.ones(20000))
    assert width == pytest.approx(2 * 0.9945, abs=4 * error) and 0 < error < 0.05
    assert quantile(values, np.ones(20000), 0.5) == pytest.approx(3, abs=0.06)
    assert middle == pytest.approx(3, abs=4 * its_error)
    assert its_error == pytest.approx(2 * 1.2533 / 20000**0.5, rel=0.3)


def test_the_resolution_stands_at_the_top_and_the_page_says_what_was_done():
    merit = Masses()
    random = np.random.default_rng(2)
    for _ in range(30):
        rows = [(random.exponential(20) + 5, *random.normal(0, 0.2, 2)) for _ in range(12)]
        truth = targets([0] * 8 + [1, 1, 2, 3], [0, 1] * 6)
        logits = Logits(torch.zeros(1, 0), torch.zeros(1, 12, 2, dtype=torch.float64), torch.zeros(1, 12, 12, 0))
        merit.add(momenta(*rows), logits, truth)
    (panel,) = merit.panels()
    (headline,) = panel.headlines
    assert headline.value == panel.figures[f"mass resolution, {NETWORK} (GeV)"] and headline.error > 0
    assert headline.unit == "GeV" and headline.note.startswith(SHAPE) and headline.note.endswith("GeV")
    assert CHARGED == "charged-hadron subtraction" and CHARGED in panel.text and "median" in panel.text
    assert "own constituents alone" in panel.text and "-60 to 120 GeV" in panel.plots[0].caption


def test_the_local_shape_does_not_depend_on_how_jets_are_batched():
    """Its median and σ are those of all jets, whatever comes together."""
    random = np.random.default_rng(5)
    made = []
    for kind in range(40):
        rows = [(random.exponential(15) + 3, *random.normal(0, 0.1 if kind < 20 else 0.4, 2)) for _ in range(40)]
        truth = targets([int(v) for v in random.integers(0, 3, 40)], [int(c) for c in random.integers(0, 2, 40)])
        logits = Logits(torch.zeros(1, 0), torch.zeros(1, 40, 2, dtype=torch.float64), torch.zeros(1, 40, 40, 0))
        made.append((momenta(*rows), logits, truth))
    found = []
    for size in (1, 40):
        merit = Masses()
        for start in range(0, 40, size):
            p4, logits, truth = zip(*made[start : start + size], strict=True)
            merit.add(
                torch.cat(p4),
                Logits(*(torch.cat(one) for one in zip(*logits, strict=True))),
                Targets(*(torch.cat(one) for one in zip(*truth, strict=True))),
            )
        found.append((merit.panels(), merit.rivals()[SHAPE]))
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])


def test_jets_of_pileup_alone_are_left_out_of_the_shares_of_pt():
    merit = Masses()
    for number in range(20):
        vertex = [0, 0, 1, 1] if number % 2 else [1, 1, 2, 2]
        truth = targets(vertex, [1, 0, 1, 0])
        logits = Logits(torch.zeros(1, 0), torch.zeros(1, 4, 2, dtype=torch.float64), torch.zeros(1, 4, 4, 0))
        merit.add(momenta((30, 0, 0), (20, 0.1, 0), (3 + number, 0.2, 0.2), (4, -0.3, 0)), logits, truth)
    cells = {row[0]: row for row in merit.panels()[0].rows}
    assert abs(float(cells[NOTHING][3].split()[0])) < 100


def test_negative_weights_leave_a_quantile_inside():
    assert quantile(np.arange(1.0, 6.0), np.array([5.0, -4.0, 1.0, 1.0, 1.0]), 0.9) <= 5.0


def test_weights_count_in_quantiles():
    assert quantile(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 98.0]), 0.5) == 3.0
