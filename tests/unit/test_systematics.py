"""Systematic variations: what is asked for, what becomes of each, and what all of them come to."""

import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest
from test_config import changed, refused

from bunchtrain import discrimination
from bunchtrain.config.specs import EvaluateSpec, IndexSpec, SimulateSpec, SystematicsSpec, VarySpec, parse_spec
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.evaluate.run import evaluate
from bunchtrain.evaluate.shiftpanels import _what as what
from bunchtrain.evaluate.shifts import FIGURES, Judged, allowed, covered, draws, figures, quadrature, shifts
from bunchtrain.evaluate.systematics import systematics
from bunchtrain.evaluate.vary import read, vary
from bunchtrain.events.reader import Dataset
from bunchtrain.files import read_json
from bunchtrain.panels import Bar, Bars, Curve, Plot
from bunchtrain.prepare.beside import index
from bunchtrain.report import figures as drawing
from bunchtrain.train.run import train
from toys import CLASSES, prepare_spec, toy_shard, train_spec

SCALE = {"up": {"kind": "energy_scale", "factor": 1.1}, "down": {"kind": "energy_scale", "factor": 0.9}}
TUNE = {"other": {"kind": "simulation", "simulate": {"tune": 5}, "shards": 1}}
TASK = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}


def plan(**systematics_) -> Plan:
    return Plan(changed(systematics=systematics_), "my.yaml")


def test_variations_of_the_jets_need_no_samples_and_another_simulation_has_its_own():
    asked = plan(scale=SCALE, tune=TUNE)
    assert [folder.split("/systematics/")[1] for folder in asked.varied()] == ["scale/down", "scale/up", "tune/other"]
    assert asked.varied_dataset("scale", "up").endswith("/prepare/dataset.h5")
    assert asked.varied_dataset("tune", "other").endswith("/systematics/tune/other/dataset.h5")
    places = [f"systematics/tune/other/{name}" for name in asked.campaign.samples]
    assert asked.beside == {"systematics/tune/other": places}
    made = parse_spec(SimulateSpec, asked.spec("simulate", sample=places[1], shard="0000"))
    usual = parse_spec(SimulateSpec, asked.spec("simulate", sample="top", shard="0000"))
    assert made.settings.tune == 5 and made.model_copy(update={"settings": usual.settings}) == usual
    assert len(asked.files(places[1], "0000")) == 1
    found = parse_spec(VarySpec, asked.spec("vary", source="scale", variation="up"))
    assert found.kind == {"kind": "energy_scale", "factor": 1.1} and found.settings.passes == 50


def test_the_order_of_the_variations_changes_nothing():
    one, other = plan(scale=SCALE, tune=TUNE), plan(tune=TUNE, scale=dict(reversed(SCALE.items())))
    assert one.varied() == other.varied() and one.spec("systematics") == other.spec("systematics")


def test_rows_of_another_simulation_keep_their_side_of_the_split():
    asked = plan(tune=TUNE)
    spec = parse_spec(IndexSpec, asked.spec("index", beside="systematics/tune/other"))
    assert spec.seed == asked.campaign.seed and spec.settings.split == asked.campaign.prepare.split


def test_nothing_of_the_chain_follows_from_variations():
    alone, more = Plan(changed(), "my.yaml"), plan(scale=SCALE, tune=TUNE)
    stages = ("prepare", "scan", "train", "evaluate", "synthesize", "report")
    assert [alone.spec(stage) for stage in stages] == [more.spec(stage) for stage in stages]
    assert alone.converted() == more.converted() and alone.varied() == []
    for name in alone.campaign.samples:
        assert alone.spec("convert", sample=name) == more.spec("convert", sample=name)


def test_a_variation_follows_from_what_a_network_is_asked_alone():
    one, other = (
        Plan(changed(systematics={"scale": SCALE}, evaluate=evaluation), "my.yaml")
        for evaluation in ({"passes": 5}, {"passes": 5, "bins": 9, "bootstrap": 7})
    )
    assert one.spec("vary", source="scale", variation="up") == other.spec("vary", source="scale", variation="up")
    assert one.spec("systematics") != other.spec("systematics")


@pytest.mark.parametrize(
    ("source", "key", "nearest"),
    [
        ({}, "systematics.s", None),
        ({"up": {"kind": "energy_scal", "factor": 1.1}}, "systematics.s.up.kind", "energy_scale"),
        ({"up": {"kind": "energy_scale", "facter": 1.1}}, "systematics.s.up.facter", "factor"),
        ({"up": {"kind": "energy_scale"}}, "systematics.s.up.factor", None),
        ({"up": {"kind": "energy_scale", "factor": 0}}, "systematics.s.up.factor", None),
        ({"up": {"kind": "energy_scale", "factor": -1}}, "systematics.s.up.factor", None),
        ({"up": {"kind": "energy_resolution", "smearing": 0}}, "systematics.s.up.smearing", None),
        ({"up": {"kind": "efficiency", "lost": 1}}, "systematics.s.up.lost", None),
        ({"up": {"kind": "efficiency", "lost": 0.1, "column": "charge"}}, "systematics.s.up.column", None),
        ({"up": {"kind": "columns", "variation": "jes"}}, "systematics.s.up.variation", None),
        ({"up": {"kind": "simulation", "simulate": {"tunes": 5}}}, "systematics.s.up.simulate.tunes", "tune"),
        ({"up": {"kind": "simulation", "simulate": {}}}, "systematics.s.up.simulate", None),
        ({"up": {"kind": "simulation", "simulate": {"tune": 5}, "shards": 0}}, "systematics.s.up.shards", None),
        ({"up": {"factor": 1.1}}, "systematics.s.up.kind", None),
        ({"../up": {"kind": "energy_scale", "factor": 1.1}}, None, None),
    ],
)
def test_what_cannot_be_is_refused(source, key, nearest):
    error = refused(changed(systematics={"s": source}))
    assert key is None or error.details["key"] == key
    assert nearest is None or error.details["nearest"] == nearest


def test_a_variation_of_the_conversion_must_be_defined_there():
    values = changed(systematics={"s": {"up": {"kind": "columns", "variation": "jes"}}})
    values["convert"]["systematics"] = {"jes_up": {"jets": {"pt": "pt * 1.02"}}}
    assert refused(values).details["nearest"] == "jes_up"
    values["systematics"]["s"]["up"]["variation"] = "jes_up"
    assert len(Plan(values, "my.yaml").varied()) == 1


def test_a_column_of_charges_must_be_mapped():
    values = changed(
        "tagging-in-pileup", systematics={"s": {"up": {"kind": "efficiency", "lost": 0.1, "column": "chrge"}}}
    )
    assert refused(values).details["nearest"] == "charge"


def test_events_have_no_variations():
    values = changed("tracking", systematics={"scale": SCALE})
    assert "rows are events" in refused(values).problem


def test_files_cannot_be_simulated_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.root").touch()
    values = changed(systematics={"tune": TUNE})
    values["samples"]["wz"] = {"label": "wz", "files": ["a.root"]}
    assert "samples.wz.files" in refused(values).details["found"]


RANDOM = np.random.default_rng(1)


def judged(scores, labels, spread=0.05, jets=None):
    jets = np.arange(len(scores)) if jets is None else jets
    return Judged(jets, labels, np.ones(len(scores)), scores, np.full(len(scores), spread), 1, 0)


def normal_scores(jets=1500, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], jets)
    return random.normal(labels, 1.0), labels


def test_figures_are_those_of_the_scores():
    scores, labels = normal_scores()
    one = judged(scores, labels)
    expected = discrimination.Scores(scores[labels == 1], scores[labels == 0])
    found = dict(zip(FIGURES, figures(one, 0.5, 1.0), strict=True))
    assert found["auc"] == expected.auc()
    assert np.exp(found["log_rejection"]) == pytest.approx(expected.rejection(0.5)["rejection"])
    assert found["signal_efficiency"] == np.mean(scores[labels == 1] >= 1)
    assert found["background_efficiency"] == np.mean(scores[labels == 0] >= 1)


def test_the_error_of_a_shift_is_the_spread_of_repeated_experiments():
    """On the same jets far below that of either side; on others the sum of both."""

    def experiment(seed):
        scores, labels = normal_scores(400, seed)
        noise = np.random.default_rng(seed + 10_000).normal(0, 0.2, len(scores))
        return judged(scores, labels), judged(scores + noise, labels)

    point = 0.5, 1.0
    found = np.array([figures(two, *point) - figures(one, *point) for one, two in map(experiment, range(150))])
    one, two = experiment(1000)
    arguments = (*point, 150, 800)
    nominal = draws(one, *arguments, [1])
    paired = shifts(figures(two, *point), figures(one, *point), draws(two, *arguments, [1]), nominal)
    apart = shifts(figures(two, *point), figures(one, *point), draws(two, *arguments, [1, 1]), nominal)
    for place, name in enumerate(FIGURES):
        assert paired[name].error == pytest.approx(found[:, place].std(), rel=0.4)
        assert paired[name].error < 0.6 * apart[name].error
    alone = discrimination.Scores(*(one.score_M[one.labels_M == k] for k in (1, 0))).auc_error()
    assert apart["auc"].error == pytest.approx(np.sqrt(2) * alone, rel=0.25)


def test_the_same_jets_have_no_shift_and_no_error():
    scores, labels = normal_scores()
    one = judged(scores, labels)
    again = draws(one, 0.5, 1.0, 20, len(scores), [1])
    found = shifts(figures(one, 0.5, 1.0), figures(one, 0.5, 1.0), again, again)
    assert all(shift.value == 0 and shift.error == 0 for shift in found.values())


def test_a_figure_that_is_not_there_has_no_error():
    scores, labels = np.r_[np.zeros(50), np.ones(50)], np.repeat([0, 1], 50)
    one = judged(scores, labels)
    found = shifts(*(figures(one, 0.5, 0.5),) * 2, *(draws(one, 0.5, 0.5, 10, 100, [1]),) * 2)
    assert np.isnan(found["log_rejection"].value) and np.isnan(found["log_rejection"].error)
    assert found["auc"].error == 0


def test_a_spread_that_is_the_shift_covers_as_much_as_a_normal_law_says():
    scores, labels = normal_scores(20_000)
    one = judged(scores, labels, spread=0.3)
    moved = judged(scores + RANDOM.normal(0, 0.3, len(scores)), labels)
    assert covered(one, moved, 1) == pytest.approx(0.683, abs=0.015)
    assert covered(one, moved, 2) == pytest.approx(0.954, abs=0.01)
    assert covered(one, judged(scores + 1, labels), 2) == 0 and covered(one, one, 1) == 1


def test_what_the_spread_allows_is_the_change_when_all_scores_move_by_it():
    scores, labels = normal_scores(20_000)
    signal, background = allowed(judged(scores, labels, spread=0.1), 1.0)
    assert signal == pytest.approx(0.1 / np.sqrt(2 * np.pi), rel=0.1)
    assert background == pytest.approx(0.1 * np.exp(-0.5) / np.sqrt(2 * np.pi), rel=0.1)


def test_sources_add_in_quadrature():
    assert quadrature({"a": [0.3, -0.1], "b": [0.4, -0.2]}) == pytest.approx((0.5, np.hypot(0.1, 0.2)))
    assert quadrature({"a": [0.3]}) == pytest.approx((0.3, 0.3))
    assert quadrature({"a": [0.3, 0.2], "b": []}) == pytest.approx((0.3, 0.0))
    assert quadrature({}) == (0, 0)


@pytest.fixture(scope="module")
def nominal(toy, tmp_path_factory):
    """A network and its evaluation."""
    folder = tmp_path_factory.mktemp("nominal")
    train(train_spec(), *toy, folder / "seed0")
    spec = EvaluateSpec(version=1, seed=1, task=TASK, settings={"passes": 5, "bootstrap": 20})
    evaluate(spec, toy[0], [folder / "seed0"], folder / "evaluate")
    return folder


def vary_spec(variation="up", kind=None, **settings) -> VarySpec:
    about = {"source": "scale", "variation": variation, "kind": kind or SCALE[variation]}
    return VarySpec(version=1, seed=1, task=TASK, settings={"passes": 5, **settings}, **about)


def joined(nominal, folders, tmp_path):
    systematics(SystematicsSpec(version=1, seed=1, bootstrap=30), nominal / "evaluate", folders, tmp_path / "s.json")
    return read_json(tmp_path / "s.json")


def test_a_variation_that_changes_nothing_is_the_nominal_evaluation_to_the_bit(toy, nominal, tmp_path):
    vary(vary_spec(kind={"kind": "energy_scale", "factor": 1.0}), toy[0], nominal / "seed0", tmp_path / "v")
    for name, values in read(nominal / "evaluate/predictions.h5").items():
        np.testing.assert_array_equal(values, read(tmp_path / "v/predictions.h5")[name])
    found = joined(nominal, [tmp_path / "v"], tmp_path)["variations"][0]
    assert found["shifts"]["auc"] == found["shifts"]["signal_efficiency"] == {"value": 0, "error": 0}
    assert found["covered"] == {"1": 1, "2": 1}


@pytest.fixture(scope="module")
def variations(toy, nominal, tmp_path_factory):
    folder = tmp_path_factory.mktemp("variations")
    for name in ("up", "down"):
        vary(vary_spec(name), toy[0], nominal / "seed0", folder / name)
    vary(vary_spec("gone", {"kind": "efficiency", "lost": 0.9999999}), toy[0], nominal / "seed0", folder / "gone")
    return folder


def test_a_variation_leaves_figures_scores_and_a_record(variations, nominal):
    found, about = read(variations / "up/predictions.h5"), read_json(variations / "up/metrics.json")
    assert about["paired"] and about["problem"] is None and 0.5 < about["auc"]["value"] <= 1
    assert len(about["working_points"]) == 3 and about["items"] == len(found["score"])
    scores = [found["score"][found["label"] == k] for k in (1, 0)]
    assert about["auc"]["value"] == pytest.approx(discrimination.auc(*scores), abs=1e-4)
    assert (found["spread"] > 0).any() and (variations / "up/metrics.json.prov.json").exists()
    np.testing.assert_array_equal(found["index"], read(nominal / "evaluate/predictions.h5")["index"])


def test_all_variations_come_to_panels(variations, nominal, tmp_path):
    folders = [variations / name for name in ("up", "down", "gone")]
    found = joined(nominal, folders, tmp_path)
    envelope, ranking, coverage, *pairs = found["panels"]
    assert [row[:2] for panel in pairs for row in panel["rows"]] == [["scale", "up"], ["scale", "down"]]
    band = envelope["plots"][0]["curves"][0]
    low, middle, high = (np.array(band[name]) for name in ("low", "y", "high"))
    assert (low <= middle).all() and (middle <= high).all() and (low < high).any()
    assert len(envelope["plots"][1]["curves"]) == 2
    assert ranking["rows"][0][2] == "energy scale, factor 1.1" and len(ranking["rows"][-1]) == len(ranking["columns"])
    assert [row[:2] for row in ranking["rows"]] == [["scale", name] for name in ("up", "down", "gone")] + [
        ["all, in quadrature", ""]
    ]
    assert "nothing to judge: no jet has a constituent left" in ranking["rows"][2]
    assert {bar["group"] for bars in ranking["bars"] for bar in bars["bars"]} <= {"up", "down"}
    assert [row[0] for row in coverage["rows"]] == ["scale up", "scale down"]
    assert "no varied jet" in coverage["text"]
    assert found["variations"][2]["problem"] and found["variations"][2]["shifts"] == {}
    for drawn in (*envelope["plots"], *ranking["bars"]):
        text = (drawing.plot if "curves" in drawn else drawing.bars)(drawn)
        assert text.startswith("<svg")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"kind": "efficiency", "lost": 0.03, "column": "q", "jet": True}, "efficiency, lost 0.03, column q, jet"),
        ({"kind": "efficiency", "lost": 0.03, "column": None, "jet": False}, "efficiency, lost 0.03"),
        (
            {"kind": "simulation", "simulate": {"tune": 5, "tracks": {"d0": [1, 2]}}, "shards": None},
            "simulation, tune 5, tracks.d0 [1, 2]",
        ),
    ],
)
def test_a_variation_is_told_with_its_options(kind, told):
    assert what(kind) == told


def test_with_nothing_to_judge_at_all_the_page_says_so(variations, nominal, tmp_path):
    found = joined(nominal, [variations / "gone"], tmp_path)
    ranking, coverage = found["panels"]
    assert "nothing to judge" in ranking["rows"][0][3] and ranking["bars"] == [] and coverage["rows"] == []


def test_joining_is_reproducible(variations, nominal, tmp_path):
    folders = [variations / "up", variations / "down"]
    assert joined(nominal, folders, tmp_path) == joined(nominal, folders, tmp_path)


def test_predictions_that_are_gone_are_named(variations, nominal, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v/metrics.json").write_text((variations / "up/metrics.json").read_text())
    with pytest.raises(InputError, match="cannot be read") as caught:
        joined(nominal, [tmp_path / "v"], tmp_path)
    assert "predictions.h5" in caught.value.details["file"]


def test_a_network_that_answers_with_nan_leaves_nothing_to_judge(toy, nominal, tmp_path, monkeypatch):
    from bunchtrain.errors import TrainingError
    from bunchtrain.evaluate import vary as module

    def broken(*_, **__):
        raise TrainingError("a network answers with NaN or infinity", key="score")

    monkeypatch.setattr(module, "answer", broken)
    vary(vary_spec(), toy[0], nominal / "seed0", tmp_path / "v")
    assert "NaN" in read_json(tmp_path / "v/metrics.json")["problem"]
    with h5py.File(tmp_path / "v/predictions.h5") as file:
        assert list(file) == []


def test_another_simulation_is_judged_on_its_test_split_alone(nominal, tmp_path):
    """The events of the training, simulated again with the same seeds, are on the side that the network has seen."""
    shards = [toy_shard(tmp_path / f"{label}.h5", label, 200, seed=5) for label in (0, 1)]
    settings = prepare_spec().settings
    index(IndexSpec(version=1, classes=CLASSES, seed=1, settings=settings), shards, tmp_path / "other")
    data = Dataset(tmp_path / "other/dataset.h5")
    assert 0 < len(data.indices("test")) < len(data) and len(data.indices("train"))
    assert data.class_weights.mean() == pytest.approx(1, abs=0.3)
    kind = {"kind": "simulation", "simulate": {"tune": 5}}
    vary(vary_spec("other", kind), tmp_path / "other/dataset.h5", nominal / "seed0", tmp_path / "v")
    found = read(tmp_path / "v/predictions.h5")
    np.testing.assert_array_equal(found["index"], data.indices("test"))
    row = joined(nominal, [tmp_path / "v"], tmp_path)["variations"][0]
    assert row["covered"] == {} and row["shifts"]["auc"]["error"] > 0 and not row["paired"]


def test_a_variation_for_other_classes_is_refused(toy, nominal, tmp_path):
    spec = vary_spec().model_copy(update={"task": {**TASK, "signal": "higgs"}})
    with pytest.raises(CampaignError, match="no sample has"):
        vary(spec, toy[0], nominal / "seed0", tmp_path)


def test_bars_and_bands_are_drawn_whatever_they_hold():
    bars = Bars("shift", [Bar("a", "up", 1.0, 0.1), Bar("b", "up", -2.0), Bar("a", "down", -0.5, 0.2)], "caption")
    text = drawing.bars(json.loads(json.dumps(asdict(bars))))
    assert text.startswith("<svg") and text.count("<path") > 5
    plain = Curve("c", [0.0, 1.0], [1.0, 2.0])
    banded = Curve("c", [0.0, 1.0], [1.0, 2.0], low=[0.5, 1.0], high=[1.5, 3.0])
    drawn = [drawing.plot(asdict(Plot("x", "y", [one]))) for one in (plain, banded)]
    assert len(drawn[1]) > len(drawn[0])
    old = asdict(Plot("x", "y", [plain]))
    old["curves"] = [{key: value for key, value in one.items() if key not in ("low", "high")} for one in old["curves"]]
    assert drawing.plot(old) == drawn[0]


@pytest.mark.parametrize("source", [{"kind": "energy_scale", "factor": 1.02}, None, "energy_scale", 1.02])
def test_a_source_without_names_of_variations_is_told_where_they_go(source):
    error = refused(changed(systematics={"jes": source}))
    assert error.details["key"] == "systematics" and "`jes: {up: {kind: energy_scale" in str(error)
