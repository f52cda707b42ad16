"""What a core says of its certainty: the table from floating point to RTL, unfamiliar jets, and the page's part."""

import json
import shutil
import zipfile
from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from bunchtrain import provenance
from bunchtrain.config.inputs import named
from bunchtrain.errors import InputError, SynthesisError
from bunchtrain.report import certainty as page
from bunchtrain.report import figures
from bunchtrain.synth import certainty, material, verify
from bunchtrain.synth.certainty import Said
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.inputs import Encoding
from bunchtrain.synth.material import Material, Taught
from bunchtrain.synth.posterior import Scale
from bunchtrain.synth.reprove import reprove
from bunchtrain.synth.run import synthesize
from bunchtrain.tasks import base as tasks
from cores import lesson, spec
from toys import toy_dataset

CLASSES = ["qcd", "top", "wz"]
TASK = {"kind": "jet_tagging", "signal": "top", "background": "qcd"}
SPREAD = {"spread": True, "passes": 12}
#: Names of the rows, from the network in floating point to the RTL.
STEPS = ["float_student", "quantised_student", "c_simulation", "rtl"]


class Known(nn.Module):
    """Answers with the logarithms of the true probabilities of three classes, which its inputs are."""

    def forward(self, x_BI):
        return x_BI


def jets(count, seed, present=(0, 1, 2)):
    """Jets whose classes are drawn with the probabilities that their codes stand for, of the classes that are there."""
    random = np.random.default_rng(seed)
    codes = random.integers(-128, 128, (count, 3))
    p = certainty.probabilities(codes / 32)
    labels = (p.cumsum(1) > random.random((count, 1))).argmax(1)
    kept = np.isin(labels, present)
    zeros = np.zeros((kept.sum(), 3), np.float32)
    return Taught(codes[kept], labels[kept], random.uniform(0.5, 2, kept.sum()), zeros)


def stuff(spread=None, **changes):
    encoding = Encoding(["log_mass"] * 3, [0] * 3, [0] * 3, 8)
    found = {"test": jets(4000, 1), "validation": jets(3000, 2), "unfamiliar": {}, "spread": spread, **changes}
    return Material(tasks.build(TASK, CLASSES), CLASSES, encoding, lesson(5), **found)


def judged(made, answers=None):
    said = Said(certainty.of_network(Known(), made).test_BA if answers is None else answers, {})
    return certainty.judged(made, Known(), {"rtl": said}, seed=1)


def test_a_network_that_knows_the_probabilities_keeps_what_it_says():
    found = judged(stuff())
    (row,) = found["rows"]
    low, high = found["conformal"]["expected"]
    assert low < 0.9 < high and high - low < 0.04 and low <= row["coverage"] <= high
    assert row["ece"] < 0.05 and 1 < row["set_size"] < 3 and row["error_detection"] > 0.6
    assert found["uncertainty"] == "entropy" and row["unfamiliar"] == {}


def test_overconfidence_costs_coverage_and_calibration():
    made = stuff()
    (sure,) = judged(made, 3 * certainty.of_network(Known(), made).test_BA)["rows"]
    found = judged(made)
    assert sure["ece"] > 3 * found["rows"][0]["ece"] and sure["nll"] > found["rows"][0]["nll"]
    assert sure["coverage"] < found["conformal"]["expected"][0]


def test_the_set_of_a_jet_holds_the_classes_above_the_threshold():
    made = stuff()
    found = judged(made)
    p = certainty.probabilities(certainty.of_network(Known(), made).test_BA)
    sets = p >= found["conformal"]["threshold"]
    labels, weights = made.test.labels_B, made.test.weights_B.copy()
    for label in range(3):
        weights[labels == label] /= weights[labels == label].sum()
    assert found["rows"][0]["coverage"] == pytest.approx(weights[sets[np.arange(len(p)), labels]].sum() / 3)
    assert found["rows"][0]["set_size"] == pytest.approx((weights * sets.sum(1)).sum() / 3)


def test_a_spread_orders_the_jets_where_there_is_one():
    made = stuff(Scale(-5))
    logits = certainty.of_network(Known(), made).test_BA
    wrong = logits.argmax(1) != made.test.labels_B
    with_spread = np.concatenate([logits, wrong[:, None] * 4.0], 1)
    said = {"rtl": Said(with_spread, {})}
    found = certainty.judged(made, Known(), said, seed=1)
    assert found["uncertainty"] == "spread" and found["rows"][0]["error_detection"] == 1.0
    np.testing.assert_array_equal(certainty.uncertainty(made, with_spread), wrong * 4.0 - 5)


def test_unfamiliar_jets_are_found_by_the_same_uncertainty():
    strange = replace(jets(500, 3), codes_BI=np.zeros((500, 3), int))  # of which the network says nothing
    made = stuff(unfamiliar={"tune": strange})
    found = certainty.judged(made, Known(), {"rtl": certainty.of_network(Known(), made)}, seed=1)
    assert found["rows"][0]["unfamiliar"]["tune"] > 0.99


@pytest.mark.parametrize(("present", "named"), [((0, 2), "0 signal jets"), ((1, 2), "0 background")])
def test_a_class_that_the_core_is_judged_by_must_be_there(present, named):
    with pytest.raises(SynthesisError, match="needs test jets of both classes") as caught:
        judged(stuff(test=jets(500, 1, present)))
    assert named in caught.value.details["found"]


def test_a_third_class_may_be_missing_in_the_test_or_in_the_validation():
    for missing in ({"test": jets(3000, 1, (0, 1))}, {"validation": jets(3000, 1, (0, 1))}):
        (row,) = judged(stuff(**missing))["rows"]
        assert 0 < row["coverage"] <= 1 and np.isfinite([row["ece"], row["nll"], row["auc"]]).all()


def test_answers_that_are_all_right_find_no_errors():
    made = stuff()
    (row,) = judged(made, 5.0 * np.eye(3)[made.test.labels_B])["rows"]
    assert row["error_detection"] is None and row["accuracy"] == 1


def test_the_part_of_each_sample_in_the_vectors():
    values = np.arange(20).reshape(10, 2)
    cases = verify.Vectors(values, values, 3, Fixed(8, 8), unfamiliar={"a": 2, "b": 1})
    assert cases.kinds == {"jets": 3, "unfamiliar": 3, "extreme": 4}
    parts = cases.samples(values)
    assert list(parts) == ["a", "b"] and parts["a"].tolist() == [[6, 7], [8, 9]] and parts["b"].tolist() == [[10, 11]]
    said = certainty.of_codes(values, cases)
    assert said.test_BA.tolist() == values[:3].tolist() and said.unfamiliar["b"].tolist() == [[10, 11]]
    plain = verify.Vectors(values, values, 3, Fixed(8, 8))
    assert plain.kinds == {"jets": 3, "extreme": 7} and plain.samples(values) == {}


def test_samples_have_names():
    found = named(["tune=a/dataset.h5", "pileup=b=c.h5"])
    assert {name: str(path) for name, path in found.items()} == {"tune": "a/dataset.h5", "pileup": "b=c.h5"}
    for texts, words in (
        (["dataset.h5"], "has no name"),
        (["=x.h5"], "has no name"),
        (["a="], "has no name"),
        (["a=x", "a=y"], "one name"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            named(texts)
        assert caught.value.details["key"] == "--unfamiliar"


def strangers(folder, jets=200, **settings):
    """Index of another sample, all of whose jets are test jets."""
    index, _ = toy_dataset(folder, jets, **settings)
    with h5py.File(index, "r+") as file:
        file["jets/split"][...] = 2
    return index


def gathered(sample, unfamiliar):
    return material.with_more(material.gather(spec(), *sample), spec(), *sample, unfamiliar)


def test_validation_jets_and_unfamiliar_ones_come_beside_the_test_jets(sample, tmp_path):
    made = gathered(sample, {"tune": strangers(tmp_path)})
    assert len(made.unfamiliar["tune"].codes_BI) == 150  # synthesize.vectors
    assert made.validation is not None and len(made.validation.codes_BI) <= 150
    assert not np.array_equal(made.validation.codes_BI[:50], made.test.codes_BI[:50])


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"variables": ["sv_mass"]}, "other variables"), ({"constituents": 9}, "another data set")],
)
def test_unfamiliar_jets_that_were_prepared_otherwise_are_refused(sample, tmp_path, settings, words):
    index = strangers(tmp_path, **{"constituents": 16, **{k: v for k, v in settings.items() if k == "constituents"}})
    if "variables" in settings:
        with h5py.File(index, "r+") as file:
            file.attrs["variables"] = json.dumps(settings["variables"])
    with pytest.raises(InputError, match=words):
        gathered(sample, {"tune": index})


def test_an_unfamiliar_sample_without_jets_is_refused(sample, tmp_path):
    index, _ = toy_dataset(tmp_path, 100)
    with h5py.File(index, "r+") as file:
        file["jets/split"][...] = 0
    with pytest.raises(InputError, match="no jets to judge by") as caught:
        gathered(sample, {"tune": index})
    assert caught.value.details["file"] == str(index) and caught.value.details["found"] == "0"
    with pytest.raises(InputError, match="cannot be read"):
        gathered(sample, {"tune": tmp_path / "nothing.h5"})


def row(name, **changes):
    found = {"name": name, "auc": 0.97, "ece": 0.0123, "ece_error": 0.002, "nll": 0.31, "accuracy": 0.9}
    return {**found, "coverage": 0.912, "set_size": 1.234, "error_detection": 0.81, "unfamiliar": {}, **changes}


def test_the_page_tells_what_became_of_the_certainty():
    expected = {"promised": 0.9, "expected": [0.88, 0.92], "threshold": 0.1, "validation_jets": 1234}
    rows = [row(name) for name in STEPS[:3]] + [row("rtl", error_detection=None)]
    (panel,) = page.panels({"certainty": {"uncertainty": "entropy", "conformal": expected, "rows": rows}})
    assert panel.rows[0][:4] == ["student, floating point", "0.9700", "1.23 ± 0.20 %", "0.3100"]
    assert panel.rows[3][-1] == "-" and len(panel.columns) == len(panel.rows[0])
    assert "1,234 validation jets" in panel.text and "88.0% and 92.0%" in panel.text and "entropy" in panel.text
    strange = [row(name, unfamiliar={"tune": 0.6}) for name in STEPS]
    (panel,) = page.panels({"certainty": {"uncertainty": "spread", "conformal": expected, "rows": strange}})
    assert panel.columns[-1] == "tune" and panel.rows[0][-1] == "0.600" and "Unfamiliar jets" in panel.text
    assert page.panels(None) == [] and page.panels({}) == []


def test_the_page_draws_what_a_student_learnt_of_the_posterior():
    curve = [{"kept": 0.5, "accuracy": 0.99}, {"kept": 1.0, "accuracy": 0.9}]
    worth = {"accuracy": 0.9, "gain": 0.0512, "error_detection": 0.8, "retention": curve}
    ratios = {"correlation": None, "deviation": 0.41, "of_gain": 1.1, "of_area": 0.95}
    told = {"passes": 30, "rows": [{"name": "teacher", **worth}, {"name": "quantised_student", **worth, **ratios}]}
    conformal = {"promised": 0.9, "expected": [0.88, 0.92], "threshold": 0.1, "validation_jets": 1234}
    table = {"uncertainty": "spread", "conformal": conformal, "rows": [row("rtl")]}
    _, panel = page.panels({"certainty": table, "posterior": told})
    assert panel.rows[0] == ["network, 30 passes", "90.0%", "0.0512", "0.800", "-", "-", "-", "-"]
    assert panel.rows[1][4:] == ["-", "0.410", "1.10", "0.950"] and len(panel.columns) == len(panel.rows[1])
    assert "<!-- network, 30 passes -->" in figures.plot(asdict(panel.plots[0]))


@pytest.mark.fpga
@pytest.mark.skipif(shutil.which("yosys") is None, reason="apt-get install yosys")
def test_a_core_answers_with_its_spread_bit_for_bit(unsure, tmp_path):
    """The whole stage with a spread and an unfamiliar sample, and the core proven again."""
    out, strange = tmp_path / "synthesize", strangers(tmp_path / "strange")
    asked = spec(student={**SPREAD, "epochs": 20}, settings={"vectors": 200})
    synthesize(asked, *unsure, out, {"tune": strange})
    report = json.loads((out / "report.json").read_text())
    proof, table = report["agreement"], report["certainty"]
    assert proof["mismatches"] == 0 and proof["unfamiliar"] == 200
    assert proof["vectors"] == proof["jets"] + proof["unfamiliar"] + proof["extreme"]
    assert proof["comparisons"][0]["values"] == 3 * proof["vectors"]
    rows = {one["name"]: {key: one[key] for key in one if key != "name"} for one in table["rows"]}
    assert list(rows) == STEPS and rows["quantised_student"] == rows["c_simulation"] == rows["rtl"]
    assert rows["float_student"] != rows["rtl"] and 0 < rows["rtl"]["unfamiliar"]["tune"] < 1
    assert table["uncertainty"] == "spread" and report["auc"]["rtl"] == rows["rtl"]["auc"]
    teacher, twin, built = report["posterior"]["rows"]
    assert (teacher["name"], twin["name"], built["name"]) == ("teacher", "float_student", "quantised_student")
    assert report["posterior"]["passes"] == 12 and twin["correlation"] > 0.2
    first, second = page.panels(report)
    assert (
        first.columns[-1] == "tune" and second.rows[0][0] == "network, 12 passes" and len(second.plots[0].curves) == 3
    )
    card = report["student"]["spread"]
    assert card["output"] == 2 and card["passes"] == 12 and -14 <= card["offset"] <= 1
    with zipfile.ZipFile(out / "core.zip") as archive:
        readme = archive.read("toy_tagger/README.md").decode()
        assert json.loads(archive.read("toy_tagger/certificate.json"))["core"]["outputs"] == 3
    assert f"| 2 | log2 I = code * 2^-{report_fraction(report)} {card['offset']:+d}, I the mutual" in readme
    assert "200 jets of unfamiliar samples" in readme
    assert [path["path"] for path in provenance.read(out / "core.zip")["inputs"]][-1].endswith("dataset.h5")
    assert all(one["mismatches"] == 0 for one in reprove(out / "core.zip"))


def report_fraction(report):
    width, integer, *_ = report["student"]["output_format"].removeprefix("fixed<").split(",")
    return int(width) - int(integer)


def test_a_search_judges_students_with_a_spread_too(unsure, tmp_path):
    from bunchtrain.synth.candidate import measure

    measure(spec(student=SPREAD), *unsure, tmp_path, estimate=True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["status"] == "done" and figures["student"]["spread"] is True
    assert figures["auc"]["quantised_student"] > 0.5 and figures["estimate"]["lut"] > 0


def test_students_that_answer_nothing_of_the_classes_are_refused_whatever_their_spread(unsure, tmp_path, monkeypatch):
    asked = spec(student=SPREAD)
    stuff = material.gather(asked, *unsure)
    codes = stuff.test.codes_BI
    made = Fixed(16, 8)
    network = nn.Linear(codes.shape[1], 3, bias=False)
    nn.init.zeros_(network.weight)
    with torch.no_grad():
        network.weight[2, 0] = 0.5
    monkeypatch.setattr(verify.limits, "search", lambda *_: verify.limits.Found(codes[:0], 0, 0))
    with pytest.raises(SynthesisError, match="same answer to every jet"):
        verify.make_vectors(network, stuff.encoding, stuff.test, made, 1)
