"""Scores of edges without a network: free of how layers are numbered, events batched, and pairs computed."""

import numpy as np
import pytest

from bunchtrain.evaluate.batches import _hits
from bunchtrain.events.hitdata import joined
from bunchtrain.tasks import _triplets
from graphtoys import toy_graph

BARREL = _triplets.Layers(0, 5)


def scored(graph, layers=BARREL, shift=0, wide=1.0):
    seen = _hits(graph)
    columns = (seen.edges_2E, seen.layer_N + shift, seen.r_N, seen.z0_E, seen.curvature_E)
    return _triplets.scores(*(one.numpy() for one in columns), layers, wide)


@pytest.mark.parametrize("shift", [5, -6])
def test_it_does_not_matter_where_the_numbers_of_layers_begin(shift):
    graph = joined([toy_graph(seed) for seed in range(3)])
    moved = scored(graph, _triplets.Layers(shift, shift + 5), shift)
    np.testing.assert_array_equal(moved, scored(graph))
    assert moved[graph.true].max() > 0.9


def test_it_does_not_matter_which_events_are_computed_together():
    parts = [toy_graph(1), toy_graph(2, 0, 3), toy_graph(3, 12, 30)]
    np.testing.assert_array_equal(scored(joined(parts)), np.concatenate([scored(one) for one in parts]))


@pytest.mark.parametrize("pairs", [1, 7, 100])
def test_pieces_are_the_whole(monkeypatch, pairs):
    graph = joined([toy_graph(seed, 8, 40) for seed in range(3)])
    whole = scored(graph)
    monkeypatch.setattr(_triplets, "_AT_ONCE", pairs)
    np.testing.assert_array_equal(scored(graph), whole)


def test_an_edge_that_agrees_in_curvature_alone_scores_less():
    """Two edges that go on in curvature, and in z0 or not."""
    edges, layer, r = np.array([[0, 1], [1, 2]]), np.array([0, 1, 2]), np.array([30.0, 70.0, 120.0])
    curvature = np.zeros(2)
    near, far = (
        _triplets.scores(edges, layer, r, z0, curvature, _triplets.Layers(0, 2))
        for z0 in np.array([[0, 0.1], [0, 5.0]])
    )
    assert near.min() > 0.9 and far.max() < 0.1


def test_no_edges_have_no_scores():
    assert len(scored(toy_graph(1, 0, 0))) == 0
