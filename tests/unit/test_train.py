"""The training: order of jets, checkpoints, resuming, stopping, bad luck."""

import itertools
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bunchtrain.config.specs import as_text
from bunchtrain.config.train import Train
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.files import write_json
from bunchtrain.models.base import Shape, build, load_model, load_weights
from bunchtrain.parallel.serial import Parallel
from bunchtrain.tasks import base as tasks
from bunchtrain.train import checkpoint, loop, run
from bunchtrain.train.metrics import ValidationSums
from bunchtrain.train.sampler import rank_batches, stream_seed
from toys import CLASSES, train_spec

SILENT = {"say": lambda text: None}


@given(
    jets=st.integers(1, 300),
    batch=st.integers(1, 64),
    size=st.integers(1, 5),
    start=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_jet_once_per_epoch_in_an_order_free_of_the_ranks(jets, batch, size, start, epoch):
    indices = np.arange(jets) * 3
    settings = {"seed": 5, "epoch": epoch, "global_batch": batch * size}
    whole = {step: mine for step, mine, _ in rank_batches(indices, rank=0, size=1, **settings)}
    parts = [list(rank_batches(indices, rank=rank, size=size, **settings)) for rank in range(size)]
    for step, jets_of_step in whole.items():
        dealt = np.concatenate([part[step][1] for part in parts])
        assert sorted(dealt) == sorted(jets_of_step) and parts[0][step][2] == len(jets_of_step)
    assert sorted(np.concatenate(list(whole.values()))) == list(indices)
    resumed = [mine for _, mine, _ in rank_batches(indices, rank=0, size=1, start=start, **settings)]
    assert all(np.array_equal(a, b) for a, b in zip(resumed, list(whole.values())[start:], strict=True))


def test_random_streams_differ_by_step_and_rank():
    seeds = {stream_seed(1, step, rank) for step in range(50) for rank in range(4)}
    assert len(seeds) == 200 and all(0 <= seed < 2**63 for seed in seeds)


def test_learning_rate_warms_up_to_size_times_the_base_and_falls():
    settings = Train(learning_rate=1e-3, warmup_epochs=1, epochs=4)
    rates = [loop.learning_rate(settings, 4, step, 10) for step in range(40)]
    assert rates[0] == pytest.approx(1e-3) and max(rates) == pytest.approx(4e-3) and np.argmax(rates) == 10
    assert all(a > b for a, b in itertools.pairwise(rates[10:])) and rates[-1] > 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "model.safetensors")


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_and_leaves_weights_card_and_history(toy, tmp_path):
    run.train(train_spec(epochs=3), *toy, tmp_path)
    model, card = load_model(tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    assert card["classes"] == CLASSES and card["particles"] == 16 and not model.training
    assert history["rows"][-1]["validation_auc"] > 0.9
    assert history["rows"][-1]["validation_loss"] < history["rows"][0]["validation_loss"]
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_the_same_seed_gives_the_same_weights(toy, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run.train(train_spec(seed=seed), *toy, tmp_path / name)
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


COMMAND = [sys.executable, "-m", "bunchtrain", "train"]


def start(spec, toy, out):
    command = [*COMMAND, "--spec", as_text(spec), "--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_training_ends_in_the_same_weights(toy, tmp_path, number):
    spec = train_spec(epochs=6, patience=9)
    run.train(spec, *toy, tmp_path / "whole")
    process = start(spec, toy, tmp_path / "killed")
    for line in process.stdout:
        if "epoch 2/" in line:
            process.send_signal(number)
            break
    process.communicate()
    assert process.returncode in ({-9} if number == signal.SIGKILL else {85, 0})
    again = start(spec, toy, tmp_path / "killed")
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert "goes on from epoch" in output or number == signal.SIGTERM
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def trainer(toy, path, *, settings=None, fingerprint="f", parallel=None):
    model = build({"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 8}, Shape(7, 3, 2))
    task = tasks.build({"kind": "jet_tagging", "signal": "top", "background": "qcd"}, CLASSES)
    settings = settings or Train(epochs=2, batch_size=64)
    options = {"seed": 1, "fingerprint": fingerprint, "checkpoint_path": path, **SILENT}
    return loop.Trainer(model, task, parallel or Parallel(), settings, **options)


def splits(toy):
    data, scaler = run.Dataset(toy[0]), run.Scaler.load(toy[1])
    return [run._split(data, scaler, name, None, 1) for name in ("train", "validation")]


@pytest.mark.parametrize("stop_at", [3, 8, 15])
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(toy, tmp_path, monkeypatch, stop_at):
    monkeypatch.setattr(loop, "STOP_EVERY", 1)
    torch.manual_seed(0)
    whole = trainer(toy, tmp_path / "a")
    best = whole.fit(*splits(toy))
    torch.manual_seed(0)
    stopped = trainer(toy, tmp_path / "b")
    ask, questions = stopped._stop_if_told, iter(range(1000))

    def told():
        stopped._told_to_stop = next(questions) == stop_at
        ask()

    stopped._stop_if_told = told
    with pytest.raises(loop.Requeue) as caught:
        stopped.fit(*splits(toy))
    assert caught.value.exit_code == 85
    torch.manual_seed(99)
    resumed = trainer(toy, tmp_path / "b")
    assert equal(resumed.fit(*splits(toy)), best)
    for ours, theirs in zip(resumed.progress.history, whole.progress.history, strict=True):
        for name in ("train_loss", "validation_loss", "validation_auc", "learning_rate"):
            assert ours[name] == theirs[name]


def test_a_checkpoint_of_another_training_is_left_aside(toy, tmp_path):
    first = trainer(toy, tmp_path / "c")
    first.fit(*splits(toy))
    said = []
    other = trainer(toy, tmp_path / "c", fingerprint="other")
    other.say = said.append
    other._restore()
    assert other.progress.epoch == 0 and "another training" in said[0]


def test_a_hostile_checkpoint_is_refused(toy, tmp_path):
    path, trace = tmp_path / "c", tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (trace,))

    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        trainer(toy, path)._restore()
    with pytest.raises(InputError, match="not valid safetensors"):
        load_weights(path)
    assert not trace.exists()


def test_a_checkpoint_of_another_network_says_what_differs(toy, tmp_path):
    first = trainer(toy, tmp_path / "c")
    checkpoint.save(tmp_path / "c", first.progress, first.model, first.optimizer, first.best)
    model = build({"kind": "gnn", "hidden": 9, "layers": 1, "head": 8}, Shape(7, 3, 2))
    with pytest.raises(TrainingError) as caught:
        checkpoint.load(tmp_path / "c", "f", model, torch.optim.AdamW(model.parameters()))
    assert "(8" in caught.value.details["found"] and "(9" in caught.value.details["expected"]


def test_a_loss_that_is_not_finite_stops_with_its_own_exit_status(toy, tmp_path):
    with pytest.raises(loop.NonFiniteLoss) as caught:
        trainer(toy, tmp_path / "c", settings=Train(learning_rate=1e30, warmup_epochs=0)).fit(*splits(toy))
    assert caught.value.exit_code == 86 and "learning_rate" in str(caught.value)


def test_early_stopping_keeps_the_best_weights(toy, tmp_path):
    stopping = trainer(toy, tmp_path / "c", settings=Train(epochs=50, patience=1, learning_rate=0.3, warmup_epochs=0))
    best = stopping.fit(*splits(toy))
    progress = stopping.progress
    losses = [row["validation_loss"] for row in progress.history]
    assert len(losses) < 50 and progress.best_epoch == int(np.argmin(losses)) == len(losses) - 2
    stopping.model.load_state_dict(best)
    assert stopping._validate(splits(toy)[1]).loss == pytest.approx(min(losses), rel=1e-6)


def test_the_scans_best_values_replace_the_campaigns(tmp_path):
    write_json(tmp_path / "best.json", {"values": {"model.hidden": 5, "train.learning_rate": 0.5}})
    spec = run.with_best(train_spec(), tmp_path / "best.json")
    assert spec.model["hidden"] == 5 and spec.settings.learning_rate == 0.5 and spec.model["layers"] == 1


def test_a_finished_training_is_not_done_twice(toy, tmp_path, capsys):
    run.train(train_spec(), *toy, tmp_path)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    time.sleep(0.01)
    run.train(train_spec(), *toy, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before and "finished" in capsys.readouterr().out


def test_histogram_auc_is_the_rank_statistic():
    sklearn = pytest.importorskip("sklearn.metrics")
    task = tasks.build({"kind": "jet_tagging", "signal": "top", "background": "qcd"}, CLASSES)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (2000,), generator=generator)
    logits = torch.randn(2000, 2, generator=generator)
    logits[:, 1] += labels
    sums = ValidationSums()
    sums.add(task, logits[:500], labels[:500], torch.ones(500))
    sums.add(task, logits[500:], labels[500:], torch.ones(1500))
    assert sums.auc == pytest.approx(sklearn.roc_auc_score(labels, torch.softmax(logits, 1)[:, 1]), abs=1e-4)
    assert sums.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
