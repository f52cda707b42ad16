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
from bunchtrain.errors import InputError, NonFiniteLoss, TrainingError
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.files import write_json
from bunchtrain.levels import Logits, Targets
from bunchtrain.models.base import Shape, build, load_model, load_weights
from bunchtrain.parallel.serial import Parallel
from bunchtrain.tasks import base as tasks
from bunchtrain.train import batches, device, loop, run
from bunchtrain.train.batches import BatchSource
from bunchtrain.train.checkpoint import Checkpoints
from bunchtrain.train.metrics import ValidationSums
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.sampler import rank_steps, stream_seed
from bunchtrain.train.schedule import learning_rate
from bunchtrain.train.tracking import Tracker
from toys import CLASSES, train_spec

SILENT = {"say": lambda text: None}


@given(
    jets=st.integers(1, 300),
    batch=st.integers(1, 64),
    pieces=st.integers(1, 6),
    size=st.integers(1, 6),
    start=st.integers(0, 3),
    epoch=st.integers(0, 3),
    sizes=st.sampled_from([None, lambda jets: jets % 7]),
)
def test_every_jet_once_per_epoch_in_pieces_free_of_the_ranks(jets, batch, pieces, size, start, epoch, sizes):
    indices = np.arange(jets) * 3
    settings = {"seed": 5, "epoch": epoch, "batch": batch, "pieces": pieces, "sizes": sizes}
    whole = list(rank_steps(indices, **settings))
    parts = [list(rank_steps(indices, rank=rank, size=size, **settings)) for rank in range(size)]
    for step in whole:
        dealt = {piece.number: piece.jets for part in parts for piece in part[step.number].mine}
        assert all(np.array_equal(dealt[piece.number], piece.jets) for piece in step.mine) and len(dealt) == pieces
        assert {part[step.number].jets for part in parts} == {step.jets} == {sum(len(p.jets) for p in step.mine)}
    seen = np.concatenate([piece.jets for step in whole for piece in step.mine])
    assert sorted(seen) == list(indices)
    # Half an epoch on `size` ranks, the rest on one: no jet is lost, none seen twice.
    before = [p.jets for part in parts for step in part[:start] for p in step.mine]
    after = [p.jets for step in rank_steps(indices, start=start, **settings) for p in step.mine]
    assert sorted(np.concatenate([*before, *after])) == list(indices)


def test_pieces_of_a_step_are_alike_in_size():
    sizes = np.random.default_rng(0).integers(1, 60, 4096)
    settings = {"seed": 5, "epoch": 0, "batch": 256, "pieces": 4}

    def spread(**more):
        steps = rank_steps(np.arange(4096), **settings, **more)
        sums = np.array([[sizes[piece.jets].sum() for piece in step.mine] for step in steps])
        return (sums.max(1) / sums.mean(1)).max() - 1

    assert spread(sizes=lambda jets: sizes[jets]) < 0.02 < 0.05 < spread()


@given(items=st.lists(st.integers()), looks=st.lists(st.booleans(), max_size=12))
def test_looking_ahead_changes_no_order(items, looks):
    ahead, seen = batches.Ahead(iter(items)), []
    for look in looks:
        if look:
            ahead.look()
        else:
            seen += itertools.islice(ahead, 1)
    assert seen + list(ahead) == items


def test_random_streams_differ_by_step_and_piece():
    seeds = {stream_seed(1, step, rank) for step in range(50) for rank in range(4)}
    assert len(seeds) == 200 and all(0 <= seed < 2**63 for seed in seeds)


def rates(steps=10, **settings):
    chosen = Train(**{"learning_rate": 1e-3, "warmup_epochs": 1, "epochs": 4, **settings})
    return [learning_rate(chosen, step, steps) for step in range(steps * chosen.epochs)]


def test_the_rate_grows_with_the_batch_warms_up_and_falls():
    found = rates(batch_size=1024, reference_batch=256)
    assert 1e-3 < found[0] < 2e-3 and max(found) == pytest.approx(4e-3) == found[9]
    assert all(a > b for a, b in itertools.pairwise(found[10:])) and 0 < found[-1] < 1e-4
    assert max(rates(batch_size=1024, reference_batch=256, scaling="sqrt")) == pytest.approx(2e-3)
    assert max(rates(batch_size=1024)) == pytest.approx(1e-3)


def test_every_schedule_goes_its_way():
    one = rates(schedule="one_cycle")
    assert np.argmax(one) == 12 and one[0] == pytest.approx(1e-3 / 25) and one[-1] < 1e-5
    assert set(rates(schedule="constant")[10:]) == {1e-3}
    assert learning_rate(Train(schedule="plateau", learning_rate=1e-3), 500, 10, factor=0.25) == 0.25e-3


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
    assert not (tmp_path / "checkpoints").exists()


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


IDENTITY = {"model": {"hidden": 8}, "contract": 1}


def trainer(toy, path, *, settings=None, identity=IDENTITY, hidden=8):
    model = build({"kind": "gnn", "hidden": hidden, "layers": 1, "neighbours": 4, "head": 8}, Shape(7, 3, 2))
    task = tasks.build({"kind": "jet_tagging", "signal": "top", "background": "qcd"}, CLASSES)
    settings = settings or Train(epochs=2, batch_size=64, ranks=1)
    state = Optimisation(model, task, Parallel(), settings, torch.device("cpu"))
    tracker = Tracker(path, settings.log_every)
    path.mkdir(exist_ok=True)
    return loop.Trainer(state, Checkpoints(path, identity), tracker, seed=1, **SILENT)


def splits(toy):
    data, scaler = Dataset(toy[0]), Scaler.load(toy[1])
    return [loop.Split(i, BatchSource(data, scaler, i)) for i in map(data.indices, ("train", "validation"))]


ALL = {"ema": 0.9, "clip_norm": 0.5, "schedule": "plateau", "plateau_patience": 1, "accumulation": 2}


@pytest.mark.parametrize("options", [{}, ALL, {"precision": "bf16"}])
@pytest.mark.parametrize("stop_at", [3, 20, 33])
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(toy, tmp_path, stop_at, options):
    settings = Train(epochs=2, batch_size=64, ranks=1, log_every=4, **options)
    torch.manual_seed(0)
    whole = trainer(toy, tmp_path / "a", settings=settings)
    best = whole.fit(*splits(toy))
    torch.manual_seed(0)
    stopped = trainer(toy, tmp_path / "b", settings=settings)
    one_step, count = stopped.state.step, itertools.count()

    def step(*arguments, **options):
        return one_step(*arguments[:-1], next(count) == stop_at, **options)

    stopped.state.step = step
    with pytest.raises(loop.Requeue) as caught:
        stopped.fit(*splits(toy))
    assert caught.value.exit_code == 85
    torch.manual_seed(99)
    resumed = trainer(toy, tmp_path / "b", settings=settings)
    assert equal(resumed.fit(*splits(toy)), best)
    for ours, theirs in zip(resumed.progress.history, whole.progress.history, strict=True):
        for name in ("train_loss", "validation_loss", "validation_auc", "learning_rate"):
            assert ours[name] == theirs[name]
    steps = [[row.split(",")[0] for row in (tmp_path / name / "steps.csv").read_text().split()] for name in "ab"]
    assert steps[0] == steps[1] == ["step", *map(str, range(4, 37, 4))]


def test_a_checkpoint_of_another_training_is_left_aside_and_found_again(toy, tmp_path):
    first = trainer(toy, tmp_path / "c")
    first.fit(*splits(toy))
    said = []
    other = trainer(toy, tmp_path / "c", identity={**IDENTITY, "model": {"hidden": 9}})
    other.say = said.append
    other._restore()
    assert other.progress.epoch == 0 and "another training" in said[0] and "model.hidden: 8, now 9" in said[0]
    again = trainer(toy, tmp_path / "c")
    again._restore()
    assert again.progress.epoch == 2


@pytest.mark.parametrize(
    ("change", "words"), [({"model": {"hidden": 9}}, "model.hidden: 8, now 9"), ({"contract": 2}, "contract: 1, now 2")]
)
def test_a_checkpoint_of_another_model_or_contract_says_what_differs(toy, tmp_path, change, words):
    first = trainer(toy, tmp_path / "c")
    path = first.checkpoints.save(1, first.progress, first.state, first.best)
    other = trainer(toy, tmp_path / "c", identity={**IDENTITY, **change})
    with pytest.raises(TrainingError, match="another training") as caught:
        other.checkpoints.load(path, other.state)
    assert words in caught.value.details["found"]


def test_a_hostile_checkpoint_is_refused(toy, tmp_path):
    trace = tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (trace,))

    attacked = trainer(toy, tmp_path / "c")
    path = attacked.checkpoints.path(3)
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        attacked._restore()
    with pytest.raises(InputError, match="not valid safetensors"):
        load_weights(path)
    assert not trace.exists()


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_taken(toy, tmp_path):
    first = trainer(toy, tmp_path / "c")
    first.fit(*splits(toy))
    newest, before = first.checkpoints.files()
    content = bytearray(newest.read_bytes())
    content[-9] ^= 4  # a valid number still
    newest.write_bytes(content)
    assert trainer(toy, tmp_path / "c").checkpoints.newest() == before
    before.write_bytes(before.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        trainer(toy, tmp_path / "c").checkpoints.newest()


def test_a_checkpoint_of_another_network_says_what_differs(toy, tmp_path):
    first = trainer(toy, tmp_path / "c")
    path = first.checkpoints.save(1, first.progress, first.state, first.best)
    other = trainer(toy, tmp_path / "c", hidden=9)
    with pytest.raises(TrainingError) as caught:
        other.checkpoints.load(path, other.state)
    assert "(8" in caught.value.details["found"] and "(9" in caught.value.details["expected"]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_jets(toy, tmp_path):
    settings = Train(learning_rate=1e30, warmup_epochs=0, ranks=1)
    with pytest.raises(NonFiniteLoss) as caught:
        trainer(toy, tmp_path / "c", settings=settings).fit(*splits(toy))
    assert caught.value.exit_code == 86 and "learning_rate" in str(caught.value)
    kept = json.loads((tmp_path / "c/not-finite-rank0.json").read_text())
    assert len(kept["index"]) == len(kept["event_number"]) == 256 and "epoch 1, step 1" in kept["where"]


def test_half_precision_on_a_cpu_is_refused():
    with pytest.raises(TrainingError, match="needs a GPU"):
        device.choose(Train(precision="fp16"))
    with pytest.raises(TrainingError, match="GPU of its own"):
        device.choose(Train(device="cuda"))


def test_features_beyond_the_memory_are_read_one_step_ahead_with_the_same_result(toy, tmp_path, monkeypatch):
    run.train(train_spec(), *toy, tmp_path / "kept")
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    run.train(train_spec(), *toy, tmp_path / "read")
    assert equal(weights(tmp_path / "kept"), weights(tmp_path / "read"))


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(toy, tmp_path):
    model = {"kind": "deepsets", "dropout": 0.0}  # compiled dropout draws other numbers
    run.train(train_spec(model, epochs=1), *toy, tmp_path / "plain")
    run.train(train_spec(model, epochs=1, compile=True), *toy, tmp_path / "compiled")
    names = ("plain", "compiled")
    plain, compiled = (json.loads((tmp_path / name / "history.json").read_text())["rows"][0] for name in names)
    assert compiled["validation_loss"] == pytest.approx(plain["validation_loss"], rel=1e-4)


def test_tensorboard_shows_the_course(toy, tmp_path):
    run.train(train_spec(tensorboard=True, log_every=5), *toy, tmp_path)
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"step/loss", "epoch/validation_loss"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("step/loss")] == list(range(5, 37, 5))


def test_early_stopping_keeps_the_best_weights(toy, tmp_path):
    stopping = trainer(
        toy,
        tmp_path / "c",
        settings=Train(epochs=50, patience=1, learning_rate=0.3, warmup_epochs=0, batch_size=64, ranks=1),
    )
    best = stopping.fit(*splits(toy))
    progress = stopping.progress
    losses = [row["validation_loss"] for row in progress.history]
    assert len(losses) < 50 and progress.best_epoch == int(np.argmin(losses)) == len(losses) - 2
    stopping.state.model.load_state_dict(best)
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
    for rows in (slice(0, 500), slice(500, 2000)):
        part = labels[rows]
        mask = torch.ones(len(part), 1, dtype=torch.bool)
        targets = Targets(part, torch.ones(len(part)), torch.zeros(len(part), 1, 0), mask, torch.zeros(len(part), 0))
        nothing = torch.zeros(len(part), 1, 0), torch.zeros(len(part), 1, 1, 0)
        sums.add(task, Logits(logits[rows], *nothing), targets)
    assert sums.auc == pytest.approx(sklearn.roc_auc_score(labels, torch.softmax(logits, 1)[:, 1]), abs=1e-4)
    assert sums.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_a_training_and_its_resumption_do_without_the_import_of_the_compiler(toy, tmp_path):
    code = (
        "import sys, pathlib, torch\n"
        "from bunchtrain.config.specs import TrainSpec\n"
        "from bunchtrain.train import run\n"
        "spec, *paths = sys.argv[1:]\n"
        "run.train(TrainSpec.model_validate_json(spec), *map(pathlib.Path, paths))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    for epochs in (1, 2):
        spec = train_spec(epochs=2, steps_per_epoch=2, checkpoint_minutes=1e-4)
        command = [sys.executable, "-c", code, as_text(spec), *map(str, toy), str(tmp_path)]
        if epochs == 1:  # leave a checkpoint behind
            command[2] = command[2].replace("run.train(", "run._keep = lambda *a: sys.exit(0)\nrun.train(")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert ("goes on from" in done.stdout) == (epochs == 2)


def test_packs_change_nothing_but_rounding(toy, tmp_path):
    model = {"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 16, "dropout": 0.0}
    found = []
    for padding in (0.05, 1.0):
        out = tmp_path / str(padding)
        run.train(train_spec(model, epochs=2, precision="float64", padding=padding), *toy, out)
        (row, _) = json.loads((out / "history.json").read_text())["rows"]
        found.append((load_weights(out / "model.safetensors"), row["padding"]))
    (packed, little), (whole, much) = found
    assert all(packed[name].allclose(whole[name], rtol=1e-9, atol=1e-11) for name in packed)
    assert little <= 0.05 < much
