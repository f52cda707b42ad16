"""Trainings that are given what they should not be: damage, hostile checkpoints, options that mean nothing."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from bunchtrain.config.specs import as_text
from bunchtrain.errors import BunchtrainError, ContractError, InputError, Requeue, TrainingError
from bunchtrain.models.base import load_weights
from bunchtrain.scaling.probe import Runner, Setting
from bunchtrain.train import checkpoint, loop, run
from toys import toy_dataset, train_spec

SPEC = train_spec(epochs=4)


@pytest.fixture
def interrupted(toy, tmp_path, monkeypatch):
    """A training that ended after two epochs; its folder, with the checkpoints of both."""
    monkeypatch.setattr(loop.Trainer, "_out_of_patience", lambda self: self.progress.epoch == 2)
    monkeypatch.setattr(run, "_keep", lambda *arguments: None)
    run.train(SPEC, *toy, tmp_path / "train")
    monkeypatch.undo()
    return tmp_path / "train"


def newest(folder):
    return max(folder.glob("checkpoints/*/*.safetensors"))


def weights_of(folder):
    return {name: tensor.tolist() for name, tensor in load_weights(folder / "model.safetensors").items()}


@pytest.mark.parametrize("name", ["epoch", "best_loss", "identity", "scaler"])
def test_a_flipped_bit_of_the_header_is_damage_and_the_checkpoint_before_is_taken(
    toy, interrupted, tmp_path, name, capfd
):
    path = newest(interrupted)
    content = bytearray(path.read_bytes())
    place = content.index(f'\\"{name}\\": '.encode()) + len(name) + 6
    content[place + 1] ^= 4
    path.write_bytes(content)
    run.train(SPEC, *toy, interrupted)
    assert "goes on from epoch 2, step 0" in capfd.readouterr().out
    run.train(SPEC, *toy, tmp_path / "whole")
    assert weights_of(interrupted) == weights_of(tmp_path / "whole")


def forged(path, change):
    """Write a checkpoint anew, changed, with a digest that fits."""
    with safetensors.safe_open(path, "pt") as file:
        header, tensors = json.loads(file.metadata()["header"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, tensors)
    text = header if isinstance(header, str) else json.dumps(header)
    metadata = {"header": text, "digest": checkpoint._digest(text, tensors)}
    safetensors.torch.save_file(tensors, path, metadata=metadata)


def put(*keys, value):
    def change(header, tensors):
        *way, last = keys
        for key in way:
            header = header[key]
        header[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("progress", "epoch", value="x"),
        put("progress", "epoch", value=-5),
        put("progress", "more", value=1),
        put("progress", "history", value="abc"),
        put("scaler", value=None),
        lambda header, tensors: header.pop("scaler"),
        lambda header, tensors: tensors.pop("optimizer.0.exp_avg"),
        lambda header, tensors: tensors.update({"optimizer.0.exp_avg": torch.zeros(3)}),
        lambda header, tensors: tensors.pop("best.embed.weight"),
        lambda header, tensors: tensors.update({"model.embed.weight": tensors["model.embed.weight"].long()}),
    ],
)
def test_a_forged_checkpoint_is_an_error_for_people(toy, interrupted, change):
    for path in interrupted.glob("checkpoints/*/*.safetensors"):
        forged(path, change)
    with pytest.raises(BunchtrainError) as caught:
        run.train(SPEC, *toy, interrupted)
    assert "safetensors" in str(caught.value.details["file"])
    assert not (interrupted / "model.safetensors").exists()


def test_a_header_of_many_brackets_and_a_file_of_another_name_are_no_checkpoints(toy, interrupted, capfd):
    path = newest(interrupted)
    with safetensors.safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    safetensors.torch.save_file(tensors, path, metadata={"header": "[" * 200_000, "digest": "0"})
    path.with_name("1abc.safetensors").write_bytes(b"x")
    run.train(SPEC, *toy, interrupted)
    assert "goes on from epoch 2" in capfd.readouterr().out


@pytest.mark.parametrize(("name", "content"), [("model.safetensors", b"x"), ("model.json", b"[1]")])
def test_a_finished_training_whose_result_was_destroyed_is_trained_again(toy, tmp_path, name, content):
    run.train(train_spec(), *toy, tmp_path)
    before = weights_of(tmp_path)
    (tmp_path / name).write_bytes(content)
    run.train(train_spec(), *toy, tmp_path)
    assert weights_of(tmp_path) == before and "weights_sha256" in json.loads((tmp_path / "model.json").read_text())


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1,2\n", "step,epoch\n\u00b2,1\n".encode()])
def test_a_damaged_log_of_steps_does_not_stop_a_training(toy, interrupted, content):
    (interrupted / "steps.csv").write_bytes(content)
    run.train(SPEC, *toy, interrupted)
    assert (interrupted / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"kind": "gnn", "foo": 3}}, ("foo", "model")),
        ({"model": {"kind": "gnn", "hidden": 0}}, ("hidden", "0")),
        ({"model": {"hidden": 8}}, ("kind", "--spec")),
        ({"task": {"signal": "top"}}, ("kind", "--spec")),
        ({"model": {"kind": "gmn"}}, ("nearest", "gnn")),
        ({"seed": -1}, ("seed", "-1")),
        ({"seed": 2**70}, ("seed",)),
    ],
)
def test_options_that_mean_nothing_are_errors_for_people(toy, tmp_path, change, words):
    spec = json.dumps({**json.loads(as_text(train_spec())), **change})
    command = [sys.executable, "-m", "bunchtrain", "train", "--spec", spec, "--out", str(tmp_path / "train")]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ})
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("best", [{}, [], {"values": []}])
def test_a_best_that_holds_no_values_is_refused(tmp_path, best):
    (tmp_path / "best.json").write_text(json.dumps(best))
    with pytest.raises(InputError, match="best values"):
        run.with_best(train_spec(), tmp_path / "best.json")


def weighed(folder, change):
    """Change the shards of a dataset that was prepared."""
    paths = toy_dataset(folder)
    for shard in (folder / "shards").glob("*.h5"):
        with h5py.File(shard, "r+") as file:
            change(file["jets"])
    return paths


def test_jets_without_weight_are_an_error(tmp_path):
    def change(jets):
        jets["weight"][:] = (np.arange(len(jets["weight"])) == 5).astype("f4")

    with pytest.raises(TrainingError, match="positive number"):
        run.train(train_spec(max_jets=2, batch_size=2), *weighed(tmp_path, change), tmp_path / "train")


def test_a_weight_that_is_no_number_is_reported_with_its_jets(tmp_path):
    def change(jets):
        jets["weight"][3] = np.nan

    with pytest.raises(loop.NonFiniteLoss):
        run.train(train_spec(), *weighed(tmp_path, change), tmp_path / "train")
    kept = json.loads((tmp_path / "train/not-finite-rank0.json").read_text())
    assert "nan" in kept["weight"]


@pytest.mark.parametrize("label", [-1, 7])
def test_a_label_of_no_class_is_refused(tmp_path, label):
    def change(jets):
        jets["label"][3] = label

    with pytest.raises(ContractError, match="label"):
        run.train(train_spec(), *weighed(tmp_path, change), tmp_path / "train")


def test_an_epoch_resumed_after_its_last_step_claims_no_speed(toy, tmp_path, monkeypatch):
    spec = train_spec(epochs=1, schedule="constant", warmup_epochs=0)
    real = loop.Optimisation.step

    def told_at_the_end(self, step, *arguments, **options):
        *rest, _ = arguments
        last = step.number == -(-trained // spec.settings.batch_size) - 1
        return real(self, step, *rest, last, **options)

    trained = len(run.Dataset(toy[0]).indices("train"))
    monkeypatch.setattr(loop.Optimisation, "step", told_at_the_end)
    with pytest.raises(Requeue):
        run.train(spec, *toy, tmp_path)
    monkeypatch.undo()
    run.train(spec, *toy, tmp_path)
    (row,) = json.loads((tmp_path / "history.json").read_text())["rows"]
    assert row["learning_rate"] == spec.settings.learning_rate and "jets_per_second" not in row


def test_a_probe_that_was_killed_is_measured_from_its_start(toy, tmp_path, monkeypatch):
    trained, judged = (len(run.Dataset(toy[0]).indices(split)) for split in ("train", "validation"))
    launcher = "mpirun --allow-run-as-root --oversubscribe --bind-to none"
    runner = Runner(train_spec(), *toy, trained, judged, launcher, 1, 5, "digest")
    with monkeypatch.context() as killed:
        killed.setattr(run, "_keep", lambda *arguments: None)
        run.train(runner.training(Setting(1, 64)), *toy, tmp_path / "probe")
    assert list((tmp_path / "probe").glob("checkpoints/*/*.safetensors"))
    (tmp_path / "probe/probe.json").write_text("[]")
    assert len(runner.run(Setting(1, 64), tmp_path / "probe")["compute"]) >= 5
