"""What every task of events must do with every network of graphs of hits that has the answers it asks for."""

import numpy as np
import pytest
import torch

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.evaluate.batches import _hits
from bunchtrain.events.hitdata import joined
from bunchtrain.levels import GraphTargets, Logits
from bunchtrain.models.base import Shape, build
from bunchtrain.tasks import base as tasks
from graphtoys import graph_inputs, toy_graph

TASKS = [kind for kind in registry.kinds("tasks") if literals.rows("tasks", kind) == "events"]
PAIRS = [(model, task) for task in TASKS for model in literals.fitting(task)]
GRAPHS = [toy_graph(1), toy_graph(2, particles=0, noise=1), toy_graph(3, 12, 20), toy_graph(4, 0, 30)]


def targets_for(graphs, weights=None):
    events = len(graphs.counts)
    weights = torch.ones(events, dtype=torch.float64) if weights is None else weights
    event, true = torch.from_numpy(graphs.event), torch.from_numpy(graphs.true)
    return GraphTargets(torch.zeros(events, dtype=torch.int64), weights, event, true)


def answers_for(task, graphs, *, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    sizes = (len(graphs.counts), len(graphs.nodes), len(graphs.features))
    made = (
        torch.randn(n, w, generator=generator, dtype=torch.float64) for n, w in zip(sizes, task.widths, strict=True)
    )
    return Logits(*(one.requires_grad_(requires_grad) for one in made))


def task_of(kind):
    return tasks.build({"kind": kind}, ["collision"])


def test_there_are_pairs():
    assert {task for _, task in PAIRS} == set(TASKS) and "tracking" in TASKS


@pytest.mark.parametrize(("model", "kind"), PAIRS)
def test_a_network_learns_a_task(model, kind):
    torch.manual_seed(0)
    task, graphs = task_of(kind), joined(GRAPHS)
    graph, nodes, edges = task.widths
    network = build({"kind": model, "dropout": 0.0, "hidden": 16}, Shape(5, 0, graph, 0, nodes, edges, 7)).double()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = task.loss(network(*graph_inputs(graphs)), targets_for(graphs))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", TASKS)
def test_every_event_that_has_items_counts_once(kind):
    task, graphs = task_of(kind), joined(GRAPHS)
    items = task.items(answers_for(task, graphs), targets_for(graphs))
    assert items.probabilities_MC.shape == (len(items.labels_M), len(task.classes))
    torch.testing.assert_close(items.probabilities_MC.sum(1), torch.ones(len(items.labels_M), dtype=torch.float64))
    sums = torch.zeros(len(GRAPHS), dtype=torch.float64).index_add(0, items.rows_M, items.weights_M)
    torch.testing.assert_close(sums[sums > 0], torch.ones(int((sums > 0).sum()), dtype=torch.float64))
    score = task.discriminant(items.probabilities_MC)
    assert (score >= 0).all() and (score <= 1).all()


def test_true_edges_weigh_as_much_as_the_others():
    task, graphs = task_of("tracking"), joined(GRAPHS)
    items = task.items(answers_for(task, graphs), targets_for(graphs))
    for number, (some, others) in enumerate([(True, True), (False, False), (True, True), (False, True)]):
        own = items.rows_M == number
        sums = [float(items.weights_M[own & (items.labels_M == label)].sum()) for label in (1, 0)]
        assert sums == pytest.approx([0.5 if some else 0.0, 0.5 if some else float(others)])


@pytest.mark.parametrize("kind", TASKS)
def test_the_loss_is_a_sum_over_events_by_their_weights(kind):
    task, parts = task_of(kind), GRAPHS
    whole = joined(parts)
    logits = answers_for(task, whole, requires_grad=True)
    loss = task.loss(logits, targets_for(whole))
    loss.backward()
    assert loss.ndim == 0 and loss > 0 and all(one.grad.abs().sum() > 0 for one in logits if one.numel())
    sizes = ([1] * len(parts), whole.hits.tolist(), whole.counts.tolist())
    cut = zip(*(torch.split(one.detach(), size) for one, size in zip(logits, sizes, strict=True)), strict=True)
    alone = [task.loss(Logits(*one), targets_for(part)) for one, part in zip(cut, parts, strict=True)]
    torch.testing.assert_close(sum(alone), loss.detach())
    doubled = targets_for(whole, torch.full((len(parts),), 2.0, dtype=torch.float64))
    torch.testing.assert_close(task.loss(logits, doubled), 2 * loss)


@pytest.mark.parametrize("kind", TASKS)
def test_events_without_edges_cost_nothing(kind):
    task, graphs = task_of(kind), joined([toy_graph(1, 0, 0), toy_graph(2, 0, 1)])
    logits, targets = answers_for(task, graphs), targets_for(graphs)
    assert task.loss(logits, targets) == 0 and len(task.items(logits, targets).labels_M) == 0
    merit = task.merit()
    merit.add(_hits(graphs), logits, targets)
    for panel in merit.panels():
        assert all(np.isfinite(value) for value in panel.figures.values())
        assert all(len(curve.x) == len(curve.y) > 0 for plot in panel.plots for curve in plot.curves)


@pytest.mark.parametrize("kind", TASKS)
def test_figures_of_merit_come_out_finite(kind):
    task, merit, count = task_of(kind), task_of(kind).merit(), 0
    for some in (GRAPHS, GRAPHS[::2]):
        graphs = joined(some)
        logits, targets = answers_for(task, graphs), targets_for(graphs)
        merit.add(_hits(graphs), logits, targets)
        count += len(task.items(logits, targets).labels_M)
    assert all(score.shape == (count,) for score in merit.rivals().values())
    panels = merit.panels()
    assert panels
    for panel in panels:
        assert panel.title and panel.text and all(len(row) == len(panel.columns) for row in panel.rows)
        assert all(abs(value) < 1e6 for value in panel.figures.values())
        assert all(len(curve.x) == len(curve.y) > 0 for plot in panel.plots for curve in plot.curves)
