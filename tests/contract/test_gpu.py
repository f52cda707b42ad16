"""The same networks, losses and trainings on a GPU as on a CPU; without one these tests are left out."""

import itertools
import subprocess
import sys

import pytest
import torch
from test_graph_tasks import PAIRS as GRAPH_PAIRS
from test_graph_tasks import targets_for as graph_targets
from test_graph_tasks import task_of as graph_task
from test_tasks import PAIRS, learner, targets_for

from bunchtrain.config.specs import as_text
from bunchtrain.errors import Requeue
from bunchtrain.events.hitdata import joined
from bunchtrain.files import read_json
from bunchtrain.models.base import Shape, build, load_weights
from bunchtrain.train import batches, run
from graphtoys import graph_inputs, toy_graph
from graphtoys import toy_dataset as toy_events
from graphtoys import train_spec as events_spec
from toys import train_spec

if not torch.cuda.is_available():
    pytest.skip("there is no GPU", allow_module_level=True)

pytestmark = pytest.mark.gpu

OF_JETS = [model for model, task in PAIRS if task == "jet_tagging"]


def moved(values):
    """Return a tuple of tensors, named or not, on the GPU."""
    sent = [value.cuda() for value in values]
    return type(values)(*sent) if hasattr(values, "_fields") else tuple(sent)


def learned(network, task, inputs, targets):
    """Return loss and gradients."""
    network.zero_grad()
    loss = task.loss(network(*inputs), targets)
    loss.backward()
    gradients = {name: p.grad.cpu().clone() for name, p in network.named_parameters() if p.grad is not None}
    return loss.detach().cpu(), gradients


def same_there(network, task, inputs, targets):
    """Compare loss and gradients of both, in double precision."""
    loss, gradients = learned(network, task, inputs, targets)
    there, found = learned(network.cuda(), task, moved(inputs), moved(targets))
    torch.testing.assert_close(there, loss, rtol=1e-9, atol=1e-12)
    assert found.keys() == gradients.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-7, atol=1e-10, msg=lambda text, of=name: f"{of}: {text}"
        )


@pytest.mark.parametrize(("model", "kind"), PAIRS)
def test_losses_and_gradients_of_jets_are_the_same(model, kind):
    task, network, inputs = learner(model, kind)
    same_there(network, task, inputs, targets_for(task, inputs[3]))


@pytest.mark.parametrize(("model", "kind"), GRAPH_PAIRS)
def test_losses_and_gradients_of_events_are_the_same(model, kind):
    torch.manual_seed(0)
    graphs = joined([toy_graph(seed) for seed in range(4)])
    task, inputs = graph_task(kind), graph_inputs(graphs)
    network = build({"kind": model, "dropout": 0.0}, Shape(5, 0, 0, 0, 0, 1, 7)).double()
    same_there(network, task, inputs, graph_targets(graphs))


@pytest.mark.parametrize(("model", "kind"), PAIRS)
def test_figures_of_merit_are_the_same(model, kind):
    task, network, inputs = learner(model, kind, batch=24)
    network.eval()
    targets = targets_for(task, inputs[3])
    with torch.no_grad():
        here = task.items(network(*inputs), targets)
        there = task.items(network.cuda()(*moved(inputs)), moved(targets))
    for one, other in zip(there, here, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-8, atol=1e-10)


def course(folder, spec, data):
    """Train and return the history's losses and the weights."""
    run.train(spec, *data, folder)
    rows = read_json(folder / run.HISTORY)["rows"]
    return [(row["train_loss"], row["validation_loss"]) for row in rows], load_weights(folder / "model.safetensors")


@pytest.fixture(scope="session")
def events(tmp_path_factory):
    return toy_events(tmp_path_factory.mktemp("events"))


@pytest.mark.parametrize("more", [{}, {"ema": 0.9, "clip_norm": 0.5, "accumulation": 2, "schedule": "cosine"}])
def test_a_training_in_double_precision_takes_the_same_course(toy, tmp_path, more):
    model = {"kind": "edgeconv", "dropout": 0.0}
    here, _ = course(tmp_path / "cpu", train_spec(model, device="cpu", precision="float64", **more), toy)
    there, _ = course(tmp_path / "gpu", train_spec(model, device="cuda", precision="float64", **more), toy)
    assert there == [pytest.approx(one, rel=1e-6) for one in here]
    assert read_json(tmp_path / "gpu/model.json")["training"]["device"] == "cuda"


def test_a_training_on_events_takes_the_same_course(events, tmp_path):
    model = {"kind": "edge_network", "dropout": 0.0}
    here, _ = course(tmp_path / "cpu", events_spec(model, device="cpu", precision="float64"), events)
    there, _ = course(tmp_path / "gpu", events_spec(model, device="cuda", precision="float64"), events)
    assert there == [pytest.approx(one, rel=1e-6) for one in here]


#: Rounding grows with the rate of learning: at this one the courses stay together.
SLOW = {"learning_rate": 5e-4, "device": "cuda"}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", OF_JETS)
def test_lower_precision_learns_nearly_the_same(toy, tmp_path, kind, precision):
    model = {"kind": kind, "dropout": 0.0}
    high, _ = course(tmp_path / "high", train_spec(model, **SLOW), toy)
    low, _ = course(tmp_path / "low", train_spec(model, precision=precision, **SLOW), toy)
    assert low == [pytest.approx(one, rel=0.05, abs=0.02) for one in high]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_learns_events_nearly_the_same(events, tmp_path, precision):
    model = {"kind": "edge_network", "dropout": 0.0}
    high, _ = course(tmp_path / "high", events_spec(model, **SLOW), events)
    low, _ = course(tmp_path / "low", events_spec(model, precision=precision, **SLOW), events)
    assert low == [pytest.approx(one, rel=0.05, abs=0.02) for one in high]


@pytest.fixture
def deterministic():
    yield
    torch.use_deterministic_algorithms(False)


def bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", OF_JETS)
def test_the_deterministic_mode_gives_the_same_bits_twice(toy, tmp_path, deterministic, kind):
    spec = train_spec({"kind": kind}, device="cuda", deterministic=True)
    one, other = (course(tmp_path / name, spec, toy) for name in "ab")
    assert one[0] == other[0] and bits(one[1], other[1])


def test_the_deterministic_mode_of_events_gives_the_same_bits_twice(events, tmp_path, deterministic):
    spec = events_spec(device="cuda", deterministic=True)
    one, other = (course(tmp_path / name, spec, events) for name in "ab")
    assert one[0] == other[0] and bits(one[1], other[1])


@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(toy, tmp_path, deterministic, monkeypatch, precision):
    spec = train_spec({"kind": "edgeconv"}, device="cuda", deterministic=True, precision=precision, ema=0.9)
    whole = course(tmp_path / "whole", spec, toy)
    one_step, count = run.Optimisation.step, itertools.count()

    def step(self, *arguments, **options):
        return one_step(self, *arguments[:-1], next(count) == 20, **options)

    monkeypatch.setattr(run.Optimisation, "step", step)
    with pytest.raises(Requeue, match="asked to stop"):
        run.train(spec, *toy, tmp_path / "parts")
    parts = course(tmp_path / "parts", spec, toy)
    assert parts[0] == whole[0] and bits(parts[1], whole[1])


def test_features_beyond_the_memory_are_read_one_step_ahead_with_the_same_result(
    toy, tmp_path, deterministic, monkeypatch
):
    spec = train_spec({"kind": "edgeconv"}, device="cuda", deterministic=True)
    kept = course(tmp_path / "kept", spec, toy)
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    read = course(tmp_path / "read", spec, toy)
    assert kept[0] == read[0] and bits(kept[1], read[1])


@pytest.mark.parametrize("kind", ["deepsets", "edgeconv"])
def test_a_compiled_network_learns_the_same(toy, tmp_path, kind):
    model = {"kind": kind, "dropout": 0.0}
    plain, _ = course(tmp_path / "plain", train_spec(model, device="cuda"), toy)
    compiled, _ = course(tmp_path / "compiled", train_spec(model, device="cuda", compile=True), toy)
    assert compiled[-1] == pytest.approx(plain[-1], rel=1e-3)


def test_torchrun_gives_a_rank_its_gpu(toy, tmp_path):
    files = ("--dataset", toy[0], "--scaler", toy[1], "--out", tmp_path / "out")
    verb = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "bunchtrain", "train")
    text = as_text(train_spec(device="cuda", backend="ddp"))
    done = subprocess.run([*verb, "--spec", text, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rank(s) of ddp, cuda" in done.stdout
