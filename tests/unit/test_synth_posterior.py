"""The tagger's posterior as a student learns it, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from test_config import changed, refused

from bunchtrain import dropout
from bunchtrain.config.candidates import candidates, own_value
from bunchtrain.config.specs import SynthesizeSpec, as_text, parse_spec
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.config.synthesize import Synthesize
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.reader import Dataset
from bunchtrain.models.base import load_weights, save_model
from bunchtrain.synth import distilled, material, posterior, student, teaching
from bunchtrain.synth.certainty import Said
from bunchtrain.synth.posterior import LOWEST, Scale
from bunchtrain.synth.tagger import Tagger
from cores import lesson, spec

SPREAD = {"spread": True, "passes": 20}


def test_a_student_without_a_spread_has_the_spec_that_it_always_had():
    fields = json.loads(as_text(spec()))["settings"]["student"]
    assert "spread" not in fields and "passes" not in fields
    assert as_text(spec(student={"spread": False, "passes": 7})) == as_text(spec())
    asked = spec(student=SPREAD)
    assert json.loads(as_text(asked))["settings"]["student"]["passes"] == 20
    assert parse_spec(SynthesizeSpec, as_text(asked)) == asked


@pytest.mark.parametrize("passes", [1, 0, 1.5])
def test_a_spread_takes_two_passes_at_least(passes):
    error = refused(changed(synthesize__student={"spread": True, "passes": passes}))
    assert error.details["key"] == "synthesize.student.passes" and error.details["found"] == str(passes)


def test_students_with_and_without_a_spread_can_be_compared():
    found = candidates(Synthesize(candidates={"spread": [False, True], "passes": [30]}), "my.yaml")
    assert [(one.spread, one.passes) for one in found.values()] == [(False, 30), (True, 30)]
    assert own_value(Settings(), "spread") is False and own_value(Settings(spread=True), "passes") == 50


@settings(deadline=None)
@given(some.lists(some.floats(0, 2), min_size=1, max_size=50))
def test_an_information_is_read_back_from_its_answer(values):
    log2 = posterior.log2_information(np.array(values))
    assert np.all(log2 >= LOWEST) and np.all(log2 <= 1)
    scale = Scale.fit(log2)
    answers = np.stack([np.zeros(len(log2)), scale.answer(log2)], -1)
    np.testing.assert_allclose(2 ** scale.log2(answers), np.maximum(values, 2.0**LOWEST))
    assert abs(np.median(scale.answer(log2))) <= 0.5


def tagger_of(unsure, **options):
    dataset, folder = unsure
    data = Dataset(dataset)
    return Tagger.load(spec(student=options), data, folder), data.features(data.indices("test"))


def test_the_posterior_is_that_of_the_passes_one_by_one(unsure):
    """Means and information of passes that are kept, against those that are streamed: within Monte-Carlo error."""
    count = 1000
    tagger, features = tagger_of(unsure, **{**SPREAD, "passes": count})
    found = tagger.answers(features)
    inputs = [torch.from_numpy(values) for values in tagger.scaler(features).of_width(3)]
    dropout.switch_on(tagger.network)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        encoded = tagger.network.encode(*inputs)
        p_TBC = torch.stack(
            [tagger.network.decide(encoded, levels=("graph",)).graph_BC.softmax(-1).double() for _ in range(count)]
        )
    mean_BC = p_TBC.mean(0)
    error_BC = (p_TBC.std(0) * (2 / count) ** 0.5).numpy()
    assert (np.abs(np.exp(found.logits_BC) - mean_BC.numpy()) < 6 * error_BC + 1e-6).all()
    information = -torch.xlogy(mean_BC, mean_BC).sum(-1) + torch.xlogy(p_TBC, p_TBC).sum(-1).mean(0)
    expected = np.maximum(np.log2(information.numpy()), LOWEST)
    apart = found.log2_spread_B - expected
    assert abs(apart.mean()) < 0.06 and np.abs(apart).mean() < 0.35 < np.std(expected)
    np.testing.assert_array_equal(found.log2_spread_B, tagger.answers(features).log2_spread_B)


def test_without_a_spread_it_is_one_pass(unsure):
    tagger, features = tagger_of(unsure)
    found = tagger.answers(features)
    with torch.inference_mode():
        logits = tagger.network.eval()(*map(torch.from_numpy, tagger.scaler(features).of_width(3))).graph_BC
    np.testing.assert_array_equal(found.logits_BC, logits)
    assert found.log2_spread_B is None


def test_a_tagger_without_dropout_has_no_spread(sample):
    with pytest.raises(CampaignError, match="needs a network with dropout") as caught:
        material.gather(spec(student=SPREAD), *sample)
    assert caught.value.details["key"] == "model.dropout" and "train again" in caught.value.details["mend"]


@pytest.mark.parametrize("options", [{}, SPREAD])
def test_answers_that_are_no_numbers_are_refused(unsure, tmp_path, options):
    dataset, folder = unsure
    tagger, _ = tagger_of(unsure)
    card = json.loads((folder / "model.json").read_text())
    with torch.no_grad():
        next(tagger.network.parameters())[0] = float("nan")
    save_model(tmp_path / "broken", tagger.network, card)
    assert any(not tensor.isfinite().all() for tensor in load_weights(tmp_path / "broken/model.safetensors").values())
    with pytest.raises(InputError, match="NaN or infinity") as caught:
        material.gather(spec(student=options), dataset, tmp_path / "broken")
    assert caught.value.details["mend"] == "train again"


def test_the_students_answers_have_a_place_for_the_spread(unsure):
    asked = spec(student=SPREAD)
    stuff = material.gather(asked, *unsure)
    assert stuff.lesson.spread_B is not None and len(stuff.lesson.spread_B) == len(stuff.lesson.labels_B)
    np.testing.assert_allclose(stuff.lesson.teacher_BC.exp().sum(1), 1, rtol=1e-5)
    assert teaching.untrained(asked, 2)(stuff.lesson.x_BI[:5]).shape == (5, 3)
    assert teaching.untrained(spec(), 2)(stuff.lesson.x_BI[:5]).shape == (5, 2)


def test_the_spread_is_no_class_in_the_loss():
    taught = lesson(50)
    classes = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    plain = student.distillation_loss(classes, taught, Settings())
    target = torch.linspace(-3, 3, 50)
    exact, off = (
        student.distillation_loss(
            torch.cat([classes, target[:, None] + away], 1), replace(taught, spread_B=target), Settings(spread=True)
        )
        for away in (0, 2)
    )
    assert exact == pytest.approx(plain) and off == pytest.approx(plain + student._SPREAD * 4)


def judged(stuff, answers):
    return distilled.judged(stuff, 20, {"float_student": Said(answers, {})})["rows"]


def test_a_student_that_says_what_the_tagger_says_is_worth_as_much(unsure):
    stuff = material.gather(spec(student=SPREAD), *unsure)
    same = np.concatenate([stuff.test.teacher_BC, stuff.spread.answer(stuff.test.log2_spread_B)[:, None]], 1)
    first, row = judged(stuff, same)
    assert row["correlation"] == pytest.approx(1) and row["deviation"] == pytest.approx(0, abs=1e-6)
    assert row["of_gain"] == pytest.approx(1) and row["of_area"] == pytest.approx(1)
    assert {name: row[name] for name in ("area", "error_detection")} == {
        name: first[name] for name in ("area", "error_detection")
    }
    blind = np.concatenate([stuff.test.teacher_BC, np.zeros((len(same), 1))], 1)
    _, row = judged(stuff, blind)
    assert row["correlation"] is None and row["of_gain"] == pytest.approx(0, abs=1e-9)
    wrong = same.copy()
    wrong[: len(same) // 5, :2] *= -1  # more wrong answers: more to gain, but a lower curve
    _, row = judged(stuff, wrong)
    assert row["of_area"] < 0.9


def test_where_the_tagger_gains_nothing_there_is_no_ratio():
    assert distilled.ratios({"area": 0.9, "gain": 0.1}, {"gain": 0.0, "accuracy": 0.9}) == {
        "of_gain": None,
        "of_area": None,
    }


def test_another_tagger_is_refused_with_either_kind_of_answers(unsure, tmp_path):
    dataset, folder = unsure
    shutil.copytree(folder, tmp_path / "tagger")
    card = json.loads((folder / "model.json").read_text())
    (tmp_path / "tagger/model.json").write_text(json.dumps({**card, "classes": ["qcd", "wz"]}))
    with pytest.raises(InputError, match="another data set"):
        material.gather(spec(student=SPREAD), dataset, tmp_path / "tagger")
