"""Trainings that are given what they should not be: damage, hostile checkpoints, options that mean nothing."""

import json
import os
import socket
import subprocess
import sys

import h5py
import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from bunchtrain.config.specs import as_text
from bunchtrain.errors import BunchtrainError, ContractError, InputError, NonFiniteLoss, Requeue, TrainingError
from bunchtrain.events.reader import Dataset
from bunchtrain.levels import Logits, Targets
from bunchtrain.models.base import load_weights
from bunchtrain.parallel.serial import Parallel
from bunchtrain.scaling.probe import Runner, Setting
from bunchtrain.tasks import base as tasks
from bunchtrain.train import checkpoint, launch, loop, run
from bunchtrain.train.batches import Batch
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.sampler import Piece, Step
from toys import CLASSES, toy_dataset, train_spec

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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"x"),
        ("model.json", b"[1]"),
        ("model.json", b"{"),
        ("history.json", b"x"),
        ("steps.csv.prov.json", None),
    ],
)
def test_a_finished_training_whose_result_was_destroyed_is_trained_again(toy, tmp_path, name, content):
    run.train(train_spec(), *toy, tmp_path)
    before = weights_of(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    run.train(train_spec(), *toy, tmp_path)
    assert "rows" in json.loads((tmp_path / "history.json").read_text()) and (tmp_path / "steps.csv.prov.json").exists()
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

    trained = len(Dataset(toy[0]).indices("train"))
    monkeypatch.setattr(loop.Optimisation, "step", told_at_the_end)
    with pytest.raises(Requeue):
        run.train(spec, *toy, tmp_path)
    monkeypatch.undo()
    run.train(spec, *toy, tmp_path)
    (row,) = json.loads((tmp_path / "history.json").read_text())["rows"]
    assert row["learning_rate"] == spec.settings.learning_rate and "jets_per_second" not in row


def test_a_probe_that_was_killed_is_measured_from_its_start(toy, tmp_path, monkeypatch):
    trained, judged = (len(Dataset(toy[0]).indices(split)) for split in ("train", "validation"))
    launcher = "mpirun --allow-run-as-root --oversubscribe --bind-to none"
    runner = Runner(train_spec(), *toy, trained, judged, launcher, 1, 5, "digest")
    with monkeypatch.context() as killed:
        killed.setattr(run, "_keep", lambda *arguments: None)
        run.train(runner.training(Setting(1, 64)), *toy, tmp_path / "probe")
    assert list((tmp_path / "probe").glob("checkpoints/*/*.safetensors"))
    (tmp_path / "probe/probe.json").write_text("[]")
    assert len(runner.run(Setting(1, 64), tmp_path / "probe")["compute"]) >= 5


def test_a_training_touches_nothing_behind_links_and_nothing_that_is_not_its_own(toy, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "train"
    (elsewhere / "scratch").mkdir(parents=True)
    (out / "checkpoints/mine").mkdir(parents=True)
    kept = [elsewhere / "000000001.safetensors", elsewhere / "2024-data.safetensors", out / "checkpoints/mine/1.txt"]
    kept += [out / "checkpoints/mine/000000001.safetensors", elsewhere / "lock"]
    for path in kept:
        path.write_text("precious")
    (out / "checkpoints/0123456789abcdef").symlink_to(elsewhere)
    (out / ".lock").symlink_to(elsewhere / "lock")
    run.train(train_spec(epochs=1), *toy, out)
    assert all(path.read_text() == "precious" for path in kept)
    other = tmp_path / "other"
    other.mkdir()
    (other / "checkpoints").symlink_to(elsewhere / "scratch")
    run.train(train_spec(epochs=1), *toy, other)
    assert (other / "model.safetensors").exists() and list((elsewhere / "scratch").iterdir()) == []


def test_a_kill_after_the_last_record_leaves_no_checkpoint_for_good(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoints, "clear", lambda self: None)
    run.train(train_spec(), *toy, tmp_path)
    assert list(tmp_path.glob("checkpoints/*/*"))
    monkeypatch.undo()
    run.train(train_spec(), *toy, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_half_files_of_killed_saves_go_with_the_next_save(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    checkpoints, state = checkpoint.Checkpoints(tmp_path, {}), stub_state()
    checkpoints.folder.mkdir(parents=True)
    here = socket.gethostname()
    mine, *others = (
        checkpoints.folder / f".000000003.safetensors.{owner}.tmp"
        for owner in (f"{here}-{dead.pid}", f"another-{dead.pid}", f"{here}-2-{dead.pid}", f"{here}-{os.getpid()}")
    )
    for path in (mine, *others):
        path.write_bytes(b"half")
    checkpoints.save(9, checkpoint.Progress(), state, state.model.state_dict())
    assert not mine.exists() and all(path.exists() for path in others)


class Unused(torch.nn.Module):
    """A network with a parameter that nothing depends on."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = torch.nn.Linear(3, 2), torch.nn.Parameter(torch.ones(3))

    def forward(self, nodes, momenta, jets, mask):
        return Logits(self.used(jets), torch.zeros(4, 1, 0), torch.zeros(4, 1, 1, 0))


def stub_state(parallel=None, **settings):
    spec = train_spec(warmup_epochs=0.0, **settings)
    task = tasks.build(spec.task, CLASSES)
    return Optimisation(Unused(), task, parallel or Parallel(), spec.settings, torch.device("cpu"))


def one_step(state, **options):
    jets = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    inputs = (torch.zeros(4, 1, 7), torch.zeros(4, 1, 4), jets, torch.ones(4, 1, dtype=torch.bool))
    truth = torch.zeros(4, 1, 0, dtype=torch.int32)
    batch = Batch(inputs, Targets(torch.tensor([0, 1, 0, 1]), torch.ones(4), truth, inputs[3], torch.zeros(4, 0)), 4, 4)
    step = Step(0, [Piece(0, np.arange(4))], 4)
    return state.step(step, [[batch]], 0.1, 1, 0, False, meanwhile=lambda: None, **options)


class Pair(Parallel):
    """Stands for two ranks, of which the gradients come back changed."""

    size = 2

    def __init__(self, factor):
        self.factor = factor

    def average(self, tensors, figures, meanwhile):
        meanwhile()
        for tensor in tensors:
            tensor.mul_(self.factor)
        return figures


def test_a_parameter_that_is_not_used_fares_alike_on_one_rank_and_on_two(tmp_path):
    torch.manual_seed(0)
    one = stub_state(weight_decay=1.0)
    torch.manual_seed(0)
    two = stub_state(Pair(0.5), weight_decay=1.0)  # the mean of two equal ranks of half the jets each
    for state in (one, two):
        one_step(state)
    torch.testing.assert_close(one.model.state_dict(), two.model.state_dict())
    assert (one.model.unused < 1).all()
    checkpoints = checkpoint.Checkpoints(tmp_path, {})
    path = checkpoints.save(1, checkpoint.Progress(step=1), one, one.model.state_dict())
    checkpoints.load(path, stub_state(weight_decay=1.0))


@pytest.mark.parametrize("settings", [{"clip_norm": 1.0}, {}])
def test_a_gradient_that_is_not_finite_is_not_followed(settings):
    state = stub_state(Pair(torch.inf), **settings)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    figures = one_step(state)
    assert figures.not_finite and np.isfinite(figures.loss)
    torch.testing.assert_close(state.model.state_dict(), before)


def test_a_gradient_lost_in_half_precision_says_so_and_leaves_a_sound_checkpoint(toy, tmp_path, monkeypatch):
    steps, real = [], Optimisation._exchange

    def exchange(self, figures, meanwhile):
        steps.append(1)
        if len(steps) == 7:
            next(self.model.parameters()).grad.fill_(torch.inf)
        return real(self, figures, meanwhile)

    monkeypatch.setattr(Optimisation, "_exchange", exchange)
    spec = train_spec(compression="fp16", clip_norm=1.0, checkpoint_minutes=1e-6, epochs=4)
    with pytest.raises(NonFiniteLoss, match="gradient") as error:
        run.train(spec, *toy, tmp_path)
    assert "compression" in str(error.value) and list(tmp_path.glob("not-finite-rank0.json"))
    run.train(spec, *toy, tmp_path)  # the stroke of bad luck is over: it goes on
    run.train(spec, *toy, tmp_path / "whole")
    assert weights_of(tmp_path) == weights_of(tmp_path / "whole")


def test_weights_that_are_not_finite_are_not_saved(toy, tmp_path, monkeypatch):
    real = Optimisation._update

    def update(self, figures, watched):
        found = real(self, figures, watched)
        next(self.model.parameters()).data.fill_(torch.nan)
        return found

    monkeypatch.setattr(Optimisation, "_update", update)
    with pytest.raises(NonFiniteLoss, match="weights"):
        run.train(train_spec(checkpoint_minutes=1e-6, epochs=1), *toy, tmp_path)
    assert not list(tmp_path.glob("checkpoints/*/*"))


@pytest.mark.parametrize("launcher", ["torchrun", "/usr/bin/env/../horovodrun --gloo"])
def test_launchers_that_lose_the_end_of_their_ranks_are_refused(tmp_path, monkeypatch, launcher):
    monkeypatch.setattr("shutil.which", lambda name: name)
    with pytest.raises(TrainingError, match="how its ranks ended"):
        launch.supervise(launcher, 2, ["true"], tmp_path, 1)
