"""Training on variations: who sees what in which step."""

import numpy as np
import pytest
import torch
from test_config import changed, refused
from test_train_survives import started

from bunchtrain.config.specs import TrainSpec, as_text, parse_spec
from bunchtrain.config.train import Train
from bunchtrain.dag import Plan
from bunchtrain.files import read_json, sha256
from bunchtrain.models.base import load_weights
from bunchtrain.tasks import base as tasks
from bunchtrain.train import rows
from bunchtrain.train.optimise import Optimisation
from bunchtrain.train.run import train
from toys import CLASSES, train_spec

SCALE = {"up": {"kind": "energy_scale", "factor": 1.5}, "down": {"kind": "energy_scale", "factor": 0.5}}
KINDS = [*SCALE.values(), {"kind": "efficiency", "lost": 0.3}]


def plan(**values) -> Plan:
    return Plan(changed(systematics={"scale": SCALE}, **values), "my.yaml")


def test_a_training_without_has_the_spec_it_always_had():
    text = Plan(changed(), "my.yaml").spec("train", number="0")
    assert "vary" not in text and "variations" not in text
    assert text == plan().spec("train", number="0") and "vary" not in Train().model_dump(mode="json")


def test_a_training_is_told_of_the_variations_it_sees():
    asked = plan(train__vary=["scale"])
    spec = parse_spec(TrainSpec, asked.spec("train", number="0"))
    assert spec.variations == [SCALE[name] for name in ("down", "up")] and as_text(spec) == asked.spec(
        "train", number="0"
    )
    assert '"factor":1.5' in asked.spec("scan")


def test_sources_that_are_none_or_have_other_jets_are_refused():
    error = refused(changed(systematics={"scale": SCALE}, train__vary=["scael"]))
    assert error.details["nearest"] == "scale" and error.details["key"] == "train.vary"
    error = refused(changed(systematics={"scale": SCALE}, train__vary=["scale", "scale"]))
    assert "named twice" in str(error)
    tune = {"other": {"kind": "simulation", "simulate": {"tune": 5}}}
    error = refused(changed(systematics={"tune": tune}, train__vary=["tune"]))
    assert "simulation" in error.details["found"]


@pytest.fixture(scope="module")
def seen(toy):
    return rows.opened("jet_tagging", "gnn", *toy)


def sources(seen, padding=1.0, kinds=KINDS):
    task = tasks.build(train_spec().task, CLASSES)
    about = seen.data.indices("train"), (torch.float32, torch.device("cpu")), padding, task
    return seen.varied(*about, kinds, 1), seen.source(*about)


def test_each_jet_is_seen_evenly_often_as_each_variation(seen):
    varied, _ = sources(seen)
    jets = seen.data.indices("train")
    found = np.concatenate([varied.chosen(jets, turn) for turn in range(40)])
    shares = np.bincount(found, minlength=4) / len(found)
    assert len(shares) == 4 and np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / len(found))
    assert not np.array_equal(varied.chosen(jets, 0), varied.chosen(jets, 1))


def test_who_sees_what_follows_from_jet_and_step_alone(seen):
    varied, _ = sources(seen)
    jets = np.random.default_rng(0).permutation(seen.data.indices("train"))
    whole = varied.chosen(jets, 7)
    parts = np.concatenate([varied.chosen(jets[start : start + 9], 7) for start in range(0, len(jets), 9)])
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(varied.chosen(np.sort(jets), 7), whole[np.argsort(jets)])


@pytest.mark.parametrize("padding", [1.0, 0.1])
def test_a_jet_is_what_its_variation_makes_of_it(seen, padding):
    varied, _ = sources(seen, padding)
    jets = seen.data.indices("train")[:60]
    batches = varied(jets, 3)
    chosen = np.bincount(varied.chosen(jets, 3), minlength=4)
    pt = torch.cat([batch.inputs[2][:, 1] for batch in batches]).double()
    expected = torch.cat([s.pack(jets[varied.chosen(jets, 3) == k], 16).inputs[2][:, 1]
                          for k, s in enumerate(varied._sources) if chosen[k]]).double()  # fmt: skip
    torch.testing.assert_close(pt.sort().values, expected.sort().values)
    assert sum(len(batch.inputs[0]) for batch in batches) == 60 and (chosen > 0).all()
    assert all(batch.slots == batch.inputs[3].numel() for batch in batches)
    assert all(len({len(one) for one in (*batch.inputs, *batch.targets)}) == 1 for batch in batches)


def test_outside_of_steps_jets_are_as_they_are(seen):
    varied, nominal = sources(seen)
    jets = seen.data.indices("train")[:50]
    for one, other in zip(varied(jets), nominal(jets), strict=True):
        assert all(map(torch.equal, one.inputs, other.inputs))


def test_without_variations_it_is_the_plain_source(seen):
    varied, nominal = sources(seen, 0.2, [])
    jets = seen.data.indices("train")[:50]
    for one, other in zip(varied(jets, 5), nominal(jets, 5), strict=True):
        assert all(map(torch.equal, one.inputs, other.inputs))
        assert all(map(torch.equal, one.targets, other.targets))
        assert (one.constituents, one.slots) == (other.constituents, other.slots)


def trained(toy, folder, variations, **settings):
    spec = train_spec(**settings).model_copy(update={"variations": variations})
    train(spec, *toy, folder)
    return sha256(folder / "model.safetensors"), read_json(folder / "history.json")


def test_a_training_on_variations_is_another_and_repeatable(toy, tmp_path):
    plain, _ = trained(toy, tmp_path / "plain", [])
    one, history = trained(toy, tmp_path / "one", KINDS)
    other, _ = trained(toy, tmp_path / "other", KINDS)
    assert one == other != plain and np.isfinite([row["train_loss"] for row in history["rows"]]).all()


def test_it_does_not_matter_whether_features_are_kept(toy, tmp_path, monkeypatch):
    from bunchtrain.train import batches

    kept, _ = trained(toy, tmp_path / "kept", KINDS)
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    computed, _ = trained(toy, tmp_path / "computed", KINDS)
    assert kept == computed


@pytest.mark.mpi
def test_two_ranks_see_what_one_does(toy, tmp_path):
    spec = train_spec(ranks=2, precision="float64").model_copy(update={"variations": KINDS})
    train(spec, *toy, tmp_path / "one")
    process = started(spec, toy, tmp_path / "two")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0 and "2 rank(s)" in said, said
    one, two = (load_weights(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(one[name].allclose(two[name], rtol=1e-7, atol=1e-9) for name in one)


def test_a_stopped_training_goes_on_with_the_same_choices(toy, tmp_path, monkeypatch):
    """The choice follows from the step of the whole training, also after a start in the middle of it."""
    spec = train_spec(deterministic=True, checkpoint_minutes=1e-9).model_copy(update={"variations": KINDS})
    train(spec, *toy, tmp_path / "whole")
    steps, usual = [], Optimisation.step

    def stopping(*arguments, **options):
        steps.append(None)
        if len(steps) == 22:  # in the second epoch
            raise KeyboardInterrupt
        return usual(*arguments, **options)

    monkeypatch.setattr(Optimisation, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(spec, *toy, tmp_path / "stopped")
    train(spec, *toy, tmp_path / "stopped")
    assert 22 < len(steps) < 44
    assert sha256(tmp_path / "whole/model.safetensors") == sha256(tmp_path / "stopped/model.safetensors")
