"""What every task must do with every network that has the answers it asks for."""

import pytest
import torch
from test_models import jets

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.levels import Logits, Targets
from bunchtrain.models.base import Shape, build
from bunchtrain.tasks import base as tasks

CLASSES = ["qcd", "top", "wz"]
#: Tasks that tell jets apart; those of events are in test_graph_tasks, those without labels in test_latent.
TASKS = [
    kind
    for kind in registry.kinds("tasks")
    if (literals.rows("tasks", kind), literals.answers("tasks", kind)) == ("jets", "classes")
]
#: Of tasks that name classes of jets.
OPTIONS = {"signal": "top", "background": "qcd", "window": [1.0, 2.0], "range": [0.0, 3.0]}
PAIRS = [(model, task) for task in TASKS for model in literals.fitting(task)]


def task_of(kind):
    known = registry.declared("tasks", kind).model_fields
    return tasks.build({"kind": kind, **{key: value for key, value in OPTIONS.items() if key in known}}, CLASSES)


def columns_for(task, count, dtype):
    """Columns of jets that a task learns from: spread over the ranges of OPTIONS, and a little beyond."""
    names = tasks.columns(task)
    return torch.rand(count, len(names), generator=torch.Generator().manual_seed(6), dtype=dtype) * 3.5 - 0.2


def targets_for(task, mask, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    truth = torch.randint(0, 2, (*mask.shape, len(task.truth)), generator=generator, dtype=torch.int32)
    return Targets(
        torch.arange(len(mask)) % 3,
        torch.ones(len(mask), dtype=dtype),
        truth * mask[..., None],
        mask,
        columns_for(task, len(mask), dtype),
    )


def answers_for(task, mask, *, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    batch, places = mask.shape
    shapes = zip(((batch,), (batch, places), (batch, places, places)), task.widths, strict=True)
    logits = (torch.randn(*shape, width, generator=generator, dtype=torch.float64) for shape, width in shapes)
    return Logits(*(one.requires_grad_(requires_grad) for one in logits))


def learner(model, kind, batch=12):
    """A task, a network for it in double precision without dropout, and inputs."""
    torch.manual_seed(0)
    task = task_of(kind)
    graph, nodes, edges = task.widths
    network = build({"kind": model, "dropout": 0.0}, Shape(7, 3, graph, 0, nodes, edges)).double()
    return task, network, jets(batch=batch)


def test_there_are_pairs():
    assert len(PAIRS) >= len(literals.fitting("jet_tagging")) and {task for _, task in PAIRS} == set(TASKS)


@pytest.mark.parametrize(("model", "kind"), PAIRS)
def test_a_network_learns_a_task(model, kind):
    task, network, inputs = learner(model, kind)
    targets = targets_for(task, inputs[3])
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = task.loss(network(*inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert silent == []


@pytest.mark.parametrize("kind", TASKS)
def test_items_have_probabilities_labels_weights_and_jets(kind):
    task, mask = task_of(kind), jets(batch=20)[3]
    logits, targets = answers_for(task, mask), targets_for(task, mask)
    items = task.items(logits, targets)
    count = len(items.labels_M)
    assert items.probabilities_MC.shape == (count, len(task.classes)) and count > 0
    torch.testing.assert_close(items.probabilities_MC.sum(1), torch.ones(count, dtype=torch.float64))
    score = task.discriminant(items.probabilities_MC)
    assert score.shape == (count,) and (score >= 0).all() and (score <= 1).all()
    assert items.labels_M.min() >= 0 and items.labels_M.max() < len(task.classes)
    # Every jet that has items counts once.
    sums = torch.zeros(20, dtype=torch.float64).index_add(0, items.rows_M, items.weights_M)
    torch.testing.assert_close(sums[sums > 0], torch.ones(int((sums > 0).sum()), dtype=torch.float64))


@pytest.mark.parametrize("kind", TASKS)
def test_the_loss_is_a_sum_over_jets_by_their_weights(kind):
    task, mask = task_of(kind), jets(batch=20)[3]
    logits, targets = answers_for(task, mask, requires_grad=True), targets_for(task, mask)
    loss = task.loss(logits, targets)
    loss.backward()
    assert loss.ndim == 0 and loss > 0
    assert all(one.grad.abs().sum() > 0 for one in logits if one.numel())

    def part(rows):
        return task.loss(Logits(*(one[rows] for one in logits)), Targets(*(one[rows] for one in targets)))

    torch.testing.assert_close(part(slice(0, 7)) + part(slice(7, 20)), loss)
    doubled = targets._replace(weights_B=2 * targets.weights_B)
    torch.testing.assert_close(task.loss(logits, doubled), 2 * loss)


@pytest.mark.parametrize("kind", TASKS)
def test_padding_changes_neither_loss_nor_items(kind):
    task, mask = task_of(kind), jets(batch=20)[3]
    logits, targets = answers_for(task, mask), targets_for(task, mask)
    nothing = torch.nn.functional.pad(logits.nodes_BPC, (0, 0, 0, 5), value=7.0)
    pairs = torch.nn.functional.pad(logits.edges_BPPC, (0, 0, 0, 5, 0, 5), value=7.0)
    wider = Logits(logits.graph_BC, nothing, pairs)
    truth = torch.nn.functional.pad(targets.truth_BPT, (0, 0, 0, 5))
    padded = targets._replace(truth_BPT=truth, mask_BP=torch.nn.functional.pad(mask, (0, 5)))
    torch.testing.assert_close(task.loss(wider, padded), task.loss(logits, targets))
    for one, other in zip(task.items(wider, padded), task.items(logits, targets), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", TASKS)
def test_jets_without_constituents_cost_nothing_that_is_not_finite(kind):
    task, mask = task_of(kind), torch.zeros(4, 3, dtype=torch.bool)
    logits, targets = answers_for(task, mask), targets_for(task, mask)
    assert torch.isfinite(task.loss(logits, targets))
    assert len(task.items(logits, targets).labels_M) in (0, 4)


@pytest.mark.parametrize("kind", TASKS)
def test_figures_of_merit_come_out_finite(kind):
    task = task_of(kind)
    merit, count = task.merit(), 0
    for seed in (0, 1):
        inputs = jets(batch=20, seed=seed)
        logits, targets = answers_for(task, inputs[3]), targets_for(task, inputs[3])
        merit.add(inputs[1], logits, targets)
        count += len(task.items(logits, targets).labels_M)
    assert all(score.shape == (count,) for score in merit.rivals().values())
    for panel in merit.panels():
        assert panel.title and panel.text and all(len(row) == len(panel.columns) for row in panel.rows)
        assert all(abs(value) < 1e6 for value in panel.figures.values())
        assert all(len(curve.x) == len(curve.y) > 0 for plot in panel.plots for curve in plot.curves)
