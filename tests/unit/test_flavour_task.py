"""Flavour tagging with vertexing: the three losses, the score, and the vertices that are found."""

import itertools

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from bunchtrain.errors import CampaignError
from bunchtrain.levels import Logits, Targets
from bunchtrain.tasks._vertices import ORIGINS, Vertices, connected
from bunchtrain.tasks.base import build, told

CLASSES = ["b", "c", "light"]


def task(**options):
    return build({"kind": "flavour_tagging", **options}, CLASSES)


def jet(origins, vertices, label=0):
    """Targets of one jet."""
    truth = torch.tensor([origins, vertices], dtype=torch.int32).T[None]
    mask = torch.ones(1, len(origins), dtype=torch.bool)
    return Targets(torch.tensor([label]), torch.ones(1, dtype=torch.float64), truth, mask, torch.zeros(1, 0))


def said(origins, vertices, graph=None):
    """Logits that are sure of origins, and of the vertices of pairs."""
    nodes = 20.0 * functional.one_hot(torch.tensor(origins), len(ORIGINS)).double()[None]
    number = torch.tensor(vertices)
    same = (number[:, None] == number) & (number >= 0)[:, None]
    edges = (40.0 * same.double() - 20.0)[None, ..., None]
    return Logits(torch.zeros(1, 3, dtype=torch.float64) if graph is None else graph, nodes, edges)


def test_the_loss_is_that_of_the_jet_plus_the_means_over_tracks_and_pairs():
    generator = torch.Generator().manual_seed(2)
    shapes = ((1, 3), (1, 4, 7), (1, 4, 4, 1))
    logits = Logits(*(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes))
    targets = jet([2, 2, 3, 4], [0, 0, 1, 2], label=1)
    jets = functional.cross_entropy(logits.graph_BC, torch.tensor([1]))
    tracks = functional.cross_entropy(logits.nodes_BPC[0], torch.tensor([2, 2, 3, 4]))
    pairs = [
        functional.binary_cross_entropy_with_logits(
            logits.edges_BPPC[0, i, j, 0], torch.tensor(float((i, j) == (0, 1)), dtype=torch.float64)
        )
        for i, j in itertools.combinations(range(4), 2)
    ]
    expected = jets + 0.5 * tracks + 1.5 * sum(pairs) / 6
    torch.testing.assert_close(task().loss(logits, targets), expected)
    torch.testing.assert_close(task(vertex_weight=0).loss(logits, targets), jets + 0.5 * tracks)


def test_without_weights_it_asks_for_answers_about_jets_alone_and_needs_no_truth():
    alone = task(origin_weight=0, vertex_weight=0)
    assert alone.widths == (3, 0, 0) and alone.truth == () and alone.merit().panels() == []
    assert task().widths == (3, 7, 1) and task().truth == ("origin", "vertex")


def test_tracks_of_no_vertex_share_none():
    """Two of pile-up are a pair that shares no vertex, though both have the number -1."""
    targets = jet([0, 0], [-1, -1])
    apart, together = said([0, 0], [-1, -1]), said([0, 0], [5, 5])
    assert task().loss(apart, targets) < task().loss(together, targets)


def test_the_score_mixes_the_backgrounds():
    p = torch.tensor([[0.5, 0.4, 0.1]], dtype=torch.float64)
    assert task().discriminant(p).item() == pytest.approx(0.5 / 0.6)
    mixed = task(mixture={"light": 9, "c": 1}).discriminant(p).item()
    assert mixed == pytest.approx(0.5 / (0.5 + 0.9 * 0.1 + 0.1 * 0.4))


def test_score_and_loss_are_told_in_words():
    found = told(task(mixture={"light": 9, "c": 1}))
    assert found["score"] == "p(b) / (p(b) + 0.1 p(c) + 0.9 p(light))"
    assert "0.5 times that of the origins" in found["loss"] and "1.5 times that of the pairs" in found["loss"]
    alone = told(task(origin_weight=0, vertex_weight=0))
    assert alone == {"score": "p(b) / (p(b) + p(light))", "loss": "cross entropy of the jet's class"}
    plain = told(build({"kind": "jet_tagging", "signal": "b", "background": "c"}, CLASSES))
    assert plain == {"score": "p(b) / (p(b) + p(c))", "loss": "cross entropy"}
    assert "true and its false edges" in told(build({"kind": "tracking"}, ["collision"]))["loss"]


@pytest.mark.parametrize("mixture", [{"tau": 1.0}, {"b": 1.0}])
def test_a_mixture_of_no_backgrounds_is_refused(mixture):
    with pytest.raises(CampaignError) as error:
        task(mixture=mixture)
    assert error.value.details["key"] == "task.mixture" and "light" in str(error.value)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_shares_of_a_mixture_are_numbers_above_0(share):
    with pytest.raises(ValidationError):
        task(mixture={"c": share})


def test_what_hangs_together_is_found_through_any_chain():
    random = np.random.default_rng(4)
    for _ in range(20):
        size = int(random.integers(1, 12))
        joined = torch.from_numpy(random.uniform(size=(1, size, size)) < 0.15)
        mask = torch.from_numpy(random.uniform(size=(1, size)) < 0.8)
        found = connected(joined & mask[:, :, None] & mask[:, None], mask)[0]
        # By hand: spread from each track.
        both = (joined | joined.mT)[0] & mask[0][:, None] & mask[0]
        for start in range(size):
            seen, left = {start} if mask[0, start] else set(), [start] if mask[0, start] else []
            while left:
                onward = {int(j) for j in torch.nonzero(both[left.pop()])} - seen
                seen |= onward
                left += onward
            assert set(torch.nonzero(found[start])[:, 0].tolist()) == seen


def rows(merit):
    return {row[0]: row[1:] for row in merit.panels()[0].rows}


def test_perfect_answers_find_every_vertex_and_nothing_else():
    merit = Vertices(CLASSES)
    origins, vertices = [2, 2, 3, 3, 4, 4, 4, 6, 6], [0, 0, 1, 1, 2, 2, 2, 3, 3]
    for _ in range(5):
        merit.add(torch.zeros(1, 9, 4), said(origins, vertices), jet(origins, vertices))
        merit.add(torch.zeros(1, 3, 4), said([2, 2, 2], [0, 0, 0]), jet([2, 2, 2], [0, 0, 0], label=2))
    found = rows(merit)
    assert found["b"][:2] == ["5", "10"] and found["b"][2] == found["b"][3] == "100.0 ± 5.0 %"
    assert found["light"][1:] == ["0", "-", "-", "0.00 ± 0.20"] and found["b"][4] == "2.00 ± 0.63"
    assert found["c"][0] == "0" and found["c"][4] == "-"
    assert merit.panels()[0].figures == {"vertices found": 1.0, "vertices right": 1.0}
    (headline,) = merit.panels()[0].headlines
    assert (headline.value, headline.error, headline.unit) == (100.0, 5.0, "%") and "100 %" in headline.note
    origins_table = {row[0]: row[1:] for row in merit.panels()[1].rows}
    assert origins_table["b hadron"] == ["10", "100.0 ± 5.0 %", "100.0 ± 5.0 %"]


def test_of_a_few_vertices_no_share_is_told():
    merit = Vertices(CLASSES)
    merit.add(torch.zeros(1, 2, 4), said([2, 2], [-1, -1]), jet([3, 3], [1, 1], label=2))
    assert rows(merit)["light"][1:4] == ["1", "-", "-"] and merit.panels()[0].headlines == []


def test_a_merged_vertex_is_right_once_and_a_split_one_at_most_once():
    truth = jet([3, 3, 4, 4, 4], [1, 1, 2, 2, 2])
    merged = Vertices(CLASSES)
    for _ in range(8):
        merged.add(torch.zeros(1, 5, 4), said([3, 3, 4, 4, 4], [1] * 5), truth)
    # Three of five are more than half of the found one and all of a true one.
    assert rows(merged)["b"] == ["8", "16", "50 ± 12 %", "100.0 ± 6.2 %", "1.00 ± 0.35"]
    split = Vertices(CLASSES)
    four = jet([3] * 4, [1] * 4)
    for _ in range(5):
        split.add(torch.zeros(1, 4, 4), said([3] * 4, [1, 1, 2, 2]), four)
    assert rows(split)["b"][1:4] == ["5", "0 ± 10 %", "0.0 ± 5.0 %"]


def test_single_tracks_and_primary_vertices_are_no_vertices_of_heavy_hadrons():
    merit = Vertices(CLASSES)
    merit.add(torch.zeros(1, 4, 4), said([2, 2, 3, 5], [0, 0, 1, 2]), jet([2, 2, 3, 5], [0, 0, 1, 2]))
    assert rows(merit)["b"][1:] == ["0", "-", "-", "0.0 ± 1.0"]
