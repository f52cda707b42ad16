"""Thresholds of a core: what passes them is counted by hand, and a score that they do not stand for has none."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from bunchtrain.discrimination import Scores
from bunchtrain.synth.material import Taught
from bunchtrain.synth.thresholds import NONE, Cuts, markdown
from bunchtrain.tasks import base as tasks

TASK = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
CLASSES = ["qcd", "top", "wz"]


def jets(count, seed=0, weighted=True):
    random = np.random.default_rng(seed)
    labels = np.r_[0, 1, random.integers(0, 3, count - 2)]
    weights = random.uniform(0.5, 2, count) if weighted else np.ones(count)
    codes = random.integers(-40, 41, (count, 3)) + 25 * (labels[:, None] == np.arange(3))
    nothing = np.zeros((count, 0))
    return Taught(nothing.astype(np.int64), labels, weights, nothing.astype(np.float32)), codes


def passing(jets, codes, label, threshold):
    of = jets.labels_B == label
    passed = codes[:, 1] - codes[:, 0] >= threshold
    return float(jets.weights_B[of & passed].sum() / jets.weights_B[of].sum())


@given(some.integers(20, 200), some.integers(0, 2**32 - 1), some.floats(0.05, 0.95))
def test_what_passes_a_threshold_is_what_is_told(count, seed, efficiency):
    sample, codes = jets(count, seed)
    (row,) = Cuts(tasks.build(TASK, CLASSES), sample, codes).rows([efficiency])
    assert isinstance(row["threshold"], int) and row["efficiency"] >= efficiency - 1e-9
    assert row["efficiency"] == pytest.approx(passing(sample, codes, 1, row["threshold"]))
    assert passing(sample, codes, 1, row["threshold"] + 1) < efficiency + 1e-9
    share = passing(sample, codes, 0, row["threshold"])
    assert row["lower_limit"] if share == 0 else row["rejection"] == pytest.approx(1 / share)


@pytest.mark.parametrize("seed", range(20))
def test_the_strictest_threshold_is_taken_with_negative_weights_too(seed):
    random = np.random.default_rng(seed)
    signal, background = random.integers(0, 30, 80) + 5, random.integers(0, 30, 80)
    weights = [np.where(random.random(80) < 0.25, -1.0, 1.0) for _ in range(2)]
    row = Scores(signal, background, *weights).cut(0.5)
    total = weights[0].sum()
    kept = {t: weights[0][signal >= t].sum() / total for t in np.unique(np.r_[signal, background])}
    assert row["threshold"] == max(t for t, share in kept.items() if share >= 0.5 - 1e-12)


def test_the_errors_are_those_of_a_fixed_threshold():
    random = np.random.default_rng(1)
    shares = []
    for _ in range(400):
        signal, background = random.normal(1, 1, 500), random.normal(0, 1, 500)
        shares.append((np.mean(signal >= 1), np.mean(background >= 1)))
    scores = Scores(np.round(random.normal(1, 1, 500), 1), np.round(random.normal(0, 1, 500), 1))
    row = scores.cut(0.5)
    kept, passing = np.array(shares).T
    assert row["efficiency_error"] == pytest.approx(kept.std(), rel=0.15)
    assert row["error"] / row["rejection"] ** 2 == pytest.approx(passing.std(), rel=0.25)


def test_a_jet_that_is_surely_of_a_third_class_takes_no_threshold_away():
    sample, codes = jets(300)
    codes[0] = [0, 0, 4000]
    assert len(Cuts(tasks.build(TASK, CLASSES), sample, codes).rows([0.5])) == 1


def test_the_table_has_every_threshold():
    sample, codes = jets(300, weighted=False)
    cuts = Cuts(tasks.build(TASK, CLASSES), sample, codes)
    rows = list(csv.DictReader(io.StringIO(cuts.table().decode())))
    thresholds = [int(row["threshold"]) for row in rows]
    assert thresholds == sorted(thresholds, reverse=True) and len(set(thresholds)) == len(rows) > 30
    for row in rows[::7]:
        for name, label in (("signal_efficiency", 1), ("background_efficiency", 0)):
            assert float(row[name]) == pytest.approx(passing(sample, codes, label, int(row["threshold"])), abs=1e-5)


def test_a_score_that_mixes_classes_has_no_threshold():
    mixing = {"kind": "flavour_tagging", "signal": "top", "background": "qcd", "mixture": {"qcd": 0.5, "wz": 0.5}}
    sample, codes = jets(300)
    cuts = Cuts(tasks.build(mixing, CLASSES), sample, codes)
    assert cuts.rows([0.5]) == [] and cuts.table().count(b"\n") == 1
    assert markdown([], tasks.build(mixing, CLASSES)) == NONE


def test_the_core_and_its_report_give_thresholds(finished):
    out, report = finished
    rows = report["working_points"]
    assert [row["wanted"] for row in rows] == [0.3, 0.5, 0.7]
    thresholds = [row["threshold"] for row in rows]
    assert thresholds == sorted(thresholds, reverse=True)
    with zipfile.ZipFile(out / "core.zip") as core:
        about, table = (core.read(f"toy_tagger/{name}").decode() for name in ("README.md", "reports/thresholds.csv"))
        figures = json.loads(core.read("toy_tagger/reports/figures.json"))
    assert "code[1] - code[0] >= threshold" in about and f"| {thresholds[1]} |" in about
    assert figures["working_points"] == rows
    told = {int(row["threshold"]): row for row in csv.DictReader(io.StringIO(table))}
    for row in rows:
        assert float(told[row["threshold"]]["signal_efficiency"]) == pytest.approx(row["efficiency"], abs=1e-5)
