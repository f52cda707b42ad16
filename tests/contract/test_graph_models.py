"""What every network of graphs of hits must do, whatever its kind."""

import dataclasses

import numpy as np
import pytest
import torch

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.events.hitdata import joined
from bunchtrain.levels import LEVELS, Logits
from bunchtrain.models.base import Shape, build, load_model, save_model
from graphtoys import graph_inputs, toy_graph

KINDS = [kind for kind in registry.kinds("models") if literals.rows("models", kind) == "events"]


def shape(kind):
    """Answers on the levels that the network has."""
    had = literals.given(kind)
    graph, nodes, edges = (width * (level in had) for width, level in zip((3, 2, 1), LEVELS, strict=True))
    return Shape(nodes=5, globals=0, outputs=graph, node_outputs=nodes, edge_outputs=edges, edges=7)


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    return build({"kind": request.param}, shape(request.param)).double().eval()


def alike(found, expected, **tolerance):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def test_there_are_kinds():
    assert "edge_network" in KINDS


def test_answers_are_of_the_edges_and_hits_that_there_are(model):
    graph = toy_graph(1)
    _, of_nodes, of_edges = model(*graph_inputs(graph))
    assert of_nodes.shape[0] == len(graph.nodes) and of_edges.shape == (len(graph.features), 1)


def test_permuting_hits_and_edges_permutes_answers(model):
    nodes, features, edges = graph_inputs(toy_graph(1))
    generator = torch.Generator().manual_seed(1)
    hits, order = (torch.randperm(len(one), generator=generator) for one in (nodes, features))
    place = torch.empty_like(hits)
    place[hits] = torch.arange(len(hits))
    _, of_nodes, of_edges = model(nodes[hits], features[order], place[edges][:, order])
    expected = model(nodes, features, edges)
    alike((of_nodes, of_edges), (expected.nodes_BPC[hits], expected.edges_BPPC[order]), rtol=1e-9, atol=1e-10)


def test_events_in_one_batch_are_answered_as_each_alone(model):
    parts = [toy_graph(1), toy_graph(2, particles=0, noise=1), toy_graph(3, particles=12), toy_graph(4, 0, 0)]
    together = model(*graph_inputs(joined(parts)))
    alone = [model(*graph_inputs(one)) for one in parts]
    for level in ("nodes_BPC", "edges_BPPC"):
        expected = torch.cat([getattr(one, level) for one in alone])
        torch.testing.assert_close(getattr(together, level), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("particles", "noise"), [(0, 0), (0, 1), (0, 2), (1, 0)])
def test_no_hits_one_hit_and_no_edges_are_finite(model, particles, noise):
    graph = toy_graph(7, particles, noise)
    answers = model(*graph_inputs(graph))
    assert all(torch.isfinite(one).all() for one in answers) and len(answers.edges_BPPC) == len(graph.features)


def test_a_chain_is_heard_of(model):
    """An answer about an edge depends on edges that go on from it, and not on those of other hits."""
    graph = toy_graph(1, particles=2, noise=0)
    nodes, features, edges = graph_inputs(graph)
    before = model(nodes, features, edges).edges_BPPC
    changed = features.clone()
    changed[0] += 1.0
    moved = (model(nodes, changed, edges).edges_BPPC - before).abs().flatten() > 1e-9
    touching = np.isin(graph.edges, graph.edges[:, 0]).any(0)
    assert moved[0] and moved[torch.from_numpy(touching)].sum() > 1


def test_every_weight_learns(model):
    model(*graph_inputs(toy_graph(1))).edges_BPPC.square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_encode_and_decide_are_the_whole(model):
    inputs = graph_inputs(toy_graph(1))
    alike(model.decide(model.encode(*inputs)), model(*inputs), rtol=0, atol=0)
    assert all(one.shape[-1] == 0 for one in model.decide(model.encode(*inputs), ()))


def test_dropout_acts_in_the_head_alone(model):
    inputs = graph_inputs(toy_graph(1))
    model.train()
    assert torch.equal(model.encode(*inputs)[0], model.encode(*inputs)[0])
    assert not torch.equal(model(*inputs).edges_BPPC, model(*inputs).edges_BPPC)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    torch.manual_seed(3)
    network = build({"kind": kind}, shape(kind)).eval()
    save_model(tmp_path, network, {"model": {"kind": kind}, "shape": shape(kind)._asdict(), "classes": ["a"]})
    loaded, _ = load_model(tmp_path)
    inputs = tuple(x.float() if x.is_floating_point() else x for x in graph_inputs(toy_graph(1)))
    found, expected = (Logits(*one(*inputs)) for one in (loaded, network))
    assert all(map(torch.equal, found, expected))


def test_features_of_another_order_of_size_do_no_harm(model):
    nodes, features, edges = graph_inputs(dataclasses.replace(toy_graph(1)))
    assert all(torch.isfinite(one).all() for one in model(1e4 * nodes, 1e4 * features, edges))
