"""The page: what stands at the top, how curves are told apart, and what is said of them."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from bunchtrain import provenance
from bunchtrain.config.specs import EvaluateSpec, ReportSpec
from bunchtrain.evaluate.answers import Answers
from bunchtrain.evaluate.byclass import by_class
from bunchtrain.evaluate.run import evaluate
from bunchtrain.files import read_json
from bunchtrain.panels import Curve, Headline, Panel, Plot
from bunchtrain.report import figures, fpga
from bunchtrain.report.run import _cards, _spread, report
from bunchtrain.rounding import together
from bunchtrain.tasks.base import Merit, build
from bunchtrain.train.run import train
from graphtoys import toy_dataset, train_spec


def point(efficiency, passing, rejection, error=1.0, limit=False):
    row = {"efficiency": efficiency, "background_passing": passing, "background_total": 87089}
    return {**row, "rejection": rejection, "error": error, "lower_limit": limit}


def cards(points, headlines=(), synthesis=None, **changes):
    metrics = {
        "signal": "b",
        "background": "light",
        "rows": "jets",
        "items": "jets",
        "auc": {"value": 0.98765, "error": 0.0021},
        "calibration": {"ece": 0.0123, "ece_error": 0.0011},
        "baselines": [{"name": "dense network", "auc": {"value": 0.9}}],
        "working_points": points,
        **changes,
    }
    panels = {"panels": [asdict(Panel("t", "x", headlines=[*headlines]))], "trust": []}
    return _cards(SimpleNamespace(metrics=metrics, synthesis=synthesis, panels=panels, of_classes=True))


def test_the_tasks_own_figures_come_first():
    own = Headline("track efficiency", 99.5393, 0.0904, "%", "triplets: 98.0 %")
    names = [card["name"] for card in cards([point(0.5, 20, 100.0)], [own])]
    assert names == ["track efficiency", "AUC", "light rejection", "calibration error"]
    first, area, *_ = cards([point(0.5, 20, 100.0)], [own])
    assert (first["value"], first["unit"], first["note"]) == ("99.539", "± 0.090 %", "triplets: 98.0 %")
    assert (area["value"], area["unit"]) == ("0.9877", "± 0.0021")


@pytest.mark.parametrize(
    ("points", "value", "unit", "words"),
    [
        ([point(0.5, 3, 409.7, 246), point(0.7, 40, 61.24, 9.4)], "61.2", "± 9.4", "at 70 % b efficiency"),
        ([point(0.5, 1, 262262.0, None)], "≈ 260,000", "", "1 of 87089 pass"),
        ([point(0.5, 0, 2212.0, None, True)], "> 2,200", "", "68 % lower limit"),
        ([point(0.5, 20, 1.9, 0.04)], "1.900", "± 0.040", "at 50 %"),
    ],
)
def test_the_rejection_at_the_top_is_one_that_was_measured_or_says_that_it_was_not(points, value, unit, words):
    card = cards(points)[1]
    assert (card["value"], card["unit"]) == (value, unit) and words in card["note"]


SYNTHESIS = {
    "auc": {"teacher": 0.942, "float_student": 0.629, "quantised_student": 0.632, "c_simulation": 0.632, "rtl": 0.632},
    "timing": {"latency_cycles": 5, "initiation_interval": 1},
    "resources": {"lut": 5739, "ff": 100, "dsp": 0},
    "agreement": {"mismatches": 0, "vectors": 10},
    "student": {
        "described": "dense",
        "constituents": 8,
        "weights_described": "weights of at most 6 bits (3.1 on average)",
        "activation_bits": 8,
        "sparsity": 0.5,
    },
}


def test_the_core_says_what_it_knows_before_what_it_costs():
    found = cards([point(0.5, 20, 100.0)], synthesis=SYNTHESIS)[3:]
    assert found[0] == {"name": "AUC of the core", "value": "0.632", "unit": "", "note": "network: 0.942"}
    assert found[1]["name"] == "FPGA core"
    text = fpga._text(SYNTHESIS)
    assert "-0.3100 from the network" in text and "+0.0030 from the student" in text and "costs" not in text


def test_curves_of_a_class_share_a_colour_and_no_two_look_alike():
    several = [Curve(str(n), [1.0], [1.0], dashed=bool(n % 2), group=n // 2) for n in range(10)]
    styles = [figures.style(asdict(curve), number) for number, curve in enumerate(several)]
    assert all(styles[n]["color"] == styles[n + 1]["color"] for n in range(0, 10, 2))
    assert len({(one["color"], str(one["linestyle"])) for one in styles}) == 10
    many = [figures.style(asdict(Curve("", [], [], False)), number) for number in range(14)]
    assert len({(one["color"], str(one["linestyle"])) for one in many}) == 14


def test_errors_of_shares_end_at_one_and_bins_are_not_joined(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.errorbar", lambda self, *positional, **named: drawn.append((positional, named))
    )
    curve = Curve("a", [1.0, 2.0], [0.99, 0.5], errors=[0.05, 0.1], widths=[0.5, 0.5])
    figures.plot(asdict(Plot("pT", "efficiency", [curve], share=True, logarithmic_x=True)))
    (_, _, yerr, xerr), named = drawn[0]
    np.testing.assert_allclose(yerr, [[0.05, 0.1], [0.01, 0.1]])
    assert xerr == [0.5, 0.5] and named["linestyle"] == "none"


def test_no_rejection_is_drawn_where_less_than_one_would_pass():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [400, 107, 107])
    task = build({"kind": "flavour_tagging", "signal": "b", "background": "light"}, ["b", "c", "light"])
    network = (labels == 0) + random.normal(0, 0.6, len(labels))
    tied = np.round((labels == 0) + random.normal(0, 0.6, len(labels)))  # of few values, as a window's
    answers = Answers({"score": network}, labels, np.ones(len(labels)), np.arange(len(labels)), Merit())
    (panel,) = by_class(task, answers, {"best mass window": tied}, [0.3, 0.5, 0.8])
    assert max(max(curve.y) for curve in panel.plots[0].curves) < 107.001
    assert [curve.group for curve in panel.plots[0].curves] == [0, 0, 1, 1]
    (gain,) = panel.headlines
    row = next(row for row in panel.rows if row[0] == "light" and f"at {row[1]}" in gain.note)
    assert gain.name == "gain over the best mass window" and together(gain.value, gain.error) == row[-1]
    assert row[1] == "80 %"  # at the others fewer than ten pass
    x, y, shown = figures._measured(
        {"signal_efficiency": [0.1, 0.5], "background_efficiency": [1e-4, 0.1], "fewest": 0.01}
    )
    assert shown.tolist() == [False, True] and len(x) == len(y)


def test_the_ratio_has_errors_and_says_of_what_it_is(monkeypatch):
    bars = []
    kept = figures.Axes.errorbar
    monkeypatch.setattr(
        "matplotlib.axes.Axes.errorbar",
        lambda self, x, y, yerr=None, *rest, **named: (
            bars.append((x, y, yerr)) or kept(self, x, y, yerr, *rest, **named)
        ),
    )
    curve = {"signal_efficiency": [0.1, 0.5, 1.0], "background_efficiency": [0.01, 0.1, 1.0], "fewest": 0.001}
    one = {"auc": {"value": 0.9}, "roc": curve, "working_points": [point(0.5, 20, 10.0, 1.0)]}
    two = {**one, "name": "dense network", "working_points": [point(0.5, 20, 5.0, 0.5)]}
    svg = figures.roc({**one, "signal": "b", "background": "light", "baselines": [two]})
    assert "network over" in svg and "<!-- dense network -->" in svg
    (_, ratio, error) = bars[0]
    assert ratio == 2.0 and error == pytest.approx(2 * 0.1 * 2**0.5)


def test_what_is_said_of_the_spread_follows_the_figure():
    told = _spread({"right": [0, 0, 0.0123, 0, 0], "wrong": [0, 0, 0.04, 0, 0]})
    assert told == "Median of right answers 0.012, of wrong answers 0.040."
    assert _spread({"right": [0, 0, 0.5, 0, 0], "wrong": []}) == "Median of right answers 0.50."


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a small tracking campaign."""
    results = tmp_path_factory.mktemp("results")
    sample = toy_dataset(results)
    train(train_spec({"kind": "edge_network", "hidden": 16, "layers": 1}, epochs=8), *sample, results / "train/seed0")
    spec = EvaluateSpec(version=1, seed=1, task={"kind": "tracking"}, settings={"passes": 2, "bootstrap": 3})
    evaluate(spec, sample[0], [results / "train/seed0"], results / "evaluate")
    (results / "scan").mkdir()
    (results / "scan/results.csv").write_text("trial,status\n")
    (results / "scan/best.json").write_text(json.dumps({"trial": None}))
    front = {"objectives": [{"name": "validation_loss", "larger": False, "limit": None}], "front": [], "reference": {}}
    (results / "scan/front.json").write_text(
        json.dumps({**front, "hypervolume": [], "importance": {"absent": "-"}, "busy": None})
    )
    provenance.record([results / "scan/best.json"], stage="scan", spec={"version": 1}, inputs=[])
    asked = ReportSpec(version=1, title="Tracks", name="tracking", classes=["collision"], core=False)
    report(asked, results, [], [results / "train/seed0/history.json"], results / "report.html")
    return results, (results / "report.html").read_text()


def test_the_page_tells_scores_losses_and_limits(page):
    results, text = page
    metrics = read_json(results / "evaluate/metrics.json")
    assert text.index(">track efficiency<") < text.index(">track duplicate rate<") < text.index(">AUC<")
    assert f"Score: {metrics['told']['score']}." in text and f"Loss: {metrics['told']['loss']}." in text
    assert "true from false edges" in text and "false edges passing" in text and "68 % confidence" in text
    assert "1 over ε<sub>B</sub>" in text and "<!-- loss -->" in text and "cross entropy -->" not in text
    assert "If an uncertainty is of use" in text and "Wrong answers have" not in text
    assert "<!-- score -->" in text and "1/ε$_B$" in text
