"""Students to compare: what a campaign asks for, what each becomes, and how the page shows them."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from test_config import changed, refused

from bunchtrain import provenance
from bunchtrain.config.candidates import candidates
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.config.synthesize import Synthesize
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, NonFiniteLoss
from bunchtrain.report import front
from bunchtrain.scan import process
from bunchtrain.synth import candidate, circuit, limits, pipeline, vectors
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.quantize import Dense
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout
from cores import INPUT, Anomaly, Mixed, dense, quantised, spec

GRID = {"network.hidden": [[8], [16, 8]], "weight_bits": [4, 6]}


def test_every_combination_is_a_student_with_a_name_of_its_own():
    found = candidates(Synthesize(candidates=GRID), "my.yaml")
    assert list(found) == [
        "hidden-8_weight_bits-4",
        "hidden-8_weight_bits-6",
        "hidden-16x8_weight_bits-4",
        "hidden-16x8_weight_bits-6",
    ]
    last = found["hidden-16x8_weight_bits-6"]
    assert last.network.options() == {"hidden": [16, 8]} and last.weight_bits == 6 and last.activation_bits == 8
    assert candidates(Synthesize(), "my.yaml") == {}


def test_whole_kinds_can_be_compared():
    networks = [{"kind": "dense", "hidden": [8]}, {"kind": "jedi_linear"}]
    found = candidates(Synthesize(candidates={"network": networks, "sparsity": [0.5]}), "my.yaml")
    assert [one.network.kind for one in found.values()] == ["dense", "jedi_linear"]
    assert [one.sparsity for one in found.values()] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("grid", "key", "words"),
    [
        ({"weight_bit": [4]}, "synthesize.candidates.weight_bit", "weight_bits"),
        ({"network.hiden": [[4]]}, "synthesize.candidates.network.hiden", "hidden"),
        ({"weight_bits": [1]}, "synthesize.candidates.weight_bits", "1"),
        ({"weight_bits": [4, 4]}, "synthesize.candidates", "the same"),
        ({"weight_bits": [4, 5, 6], "epochs": list(range(1, 90))}, "synthesize.candidates", "too many"),
        ({"network.hidden": [["../../etc"]]}, "synthesize.candidates.network.hidden.0", "integer"),
    ],
)
def test_what_is_no_student_is_refused_before_anything_runs(grid, key, words):
    error = refused(changed(synthesize__candidates=grid))
    assert error.details["key"] == key and words in str(error)


def test_a_candidate_must_not_see_more_than_is_kept():
    error = refused(changed(prepare__constituents=16, synthesize__candidates={"constituents": [8, 24]}))
    assert error.details["key"] == "synthesize.candidates.constituents-24.constituents"


@pytest.mark.parametrize(
    "grid",
    [{"weight_bits": [4, 4.0]}, {"network.hidden": [[8], [4]], "network": [{"kind": "dense", "hidden": [4]}] * 2}],
)
def test_one_student_under_two_names_is_refused(grid):
    assert "the same" in str(refused(changed(synthesize__candidates=grid)))


def test_a_whole_network_comes_before_its_options():
    grid = {"network.hidden": [[8], [4]], "network": [{"kind": "dense", "hidden": [2]}]}
    assert [one.network.options()["hidden"] for one in candidates(Synthesize(candidates=grid), "x").values()] == [
        [8],
        [4],
    ]


def test_an_empty_list_is_refused():
    with pytest.raises(CampaignError, match=r"candidates\.weight_bits"):
        Plan(changed(synthesize__candidates={"weight_bits": []}), "my.yaml")


def test_more_candidates_leave_the_core_and_the_others_as_they_are():
    few = Plan(changed(synthesize__candidates={"weight_bits": [4, 6]}), "my.yaml")
    more = Plan(changed(synthesize__candidates={"weight_bits": [3, 4, 6]}), "my.yaml")
    none = Plan(changed(), "my.yaml")
    assert few.spec("synthesize") == more.spec("synthesize") == none.spec("synthesize")
    assert few.spec("candidate", candidate="weight_bits-4") == more.spec("candidate", candidate="weight_bits-4")
    assert json.loads(more.spec("candidate", candidate="weight_bits-3"))["settings"]["student"]["weight_bits"] == 3


@pytest.mark.fpga
@pytest.mark.skipif(shutil.which("yosys") is None, reason="apt-get install yosys")
def test_a_candidate_is_trained_and_synthesised(sample, tmp_path):
    candidate.measure(spec(), *sample, tmp_path / "one")
    found = json.loads((tmp_path / "one/figures.json").read_text())
    assert found["status"] == "done" and found["candidate"] == "one" and found["auc"]["quantised_student"] > 0.7
    real, guess = found["resources"], found["estimate"]
    assert real["lut"] > 50 and guess["lut"] == pytest.approx(real["lut"], rel=0.6)
    assert guess["ff"] == pytest.approx(real["ff"], rel=0.3) and guess["dsp"] == real["dsp"] == 0
    assert guess["cycles"] == found["stages"] and guess["seconds"] < 5
    assert provenance.read(tmp_path / "one/figures.json")["stage"] == "candidate"
    assert provenance.altered(tmp_path / "one/figures.json") == []
    assert not (tmp_path / "one/core.zip").exists()


def test_a_student_that_learnt_nothing_is_no_candidate(sample, tmp_path):
    if importlib.util.find_spec("hgq") is None:
        pytest.skip("pip install 'bunchtrain[compress]'")
    dear = {"compression": {"kind": "hgq2", "beta": 10.0, "rate": 50.0}}
    candidate.measure(spec(student=dear), *sample, tmp_path / "dear", estimate=True)
    found = json.loads((tmp_path / "dear/figures.json").read_text())
    assert found["status"] == "failed" and "same answer to every jet" in found["error"]


def test_a_student_whose_loss_is_not_finite_says_so_by_its_status(sample, tmp_path):
    with pytest.raises(NonFiniteLoss) as caught:
        candidate.measure(spec(student={"learning_rate": 1e31}), *sample, tmp_path / "wild", estimate=True)
    assert process.failure(caught.value.exit_code, tmp_path) == "F_nan"


def test_a_student_that_cannot_become_a_circuit_is_a_result(sample, tmp_path):
    if shutil.which("yosys") is None:
        pytest.skip("apt-get install yosys")
    wide = {"network": {"kind": "dense", "hidden": [700]}}
    candidate.measure(spec(**wide), *sample, tmp_path / "wide")
    found = json.loads((tmp_path / "wide/figures.json").read_text())
    assert found["status"] == "failed" and "unrolled" in found["error"] and "resources" not in found


def test_a_crash_leaves_no_figures(sample, tmp_path, monkeypatch):
    if shutil.which("yosys") is None:
        pytest.skip("apt-get install yosys")
    monkeypatch.setattr(candidate.teaching, "taught", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        candidate.measure(spec(), *sample, tmp_path / "one")
    assert not (tmp_path / "one/figures.json").exists()


def made(name, lut, auc, estimated=None):
    """The figures of a candidate."""
    resources = {"lut": lut, "ff": 10, "dsp": 0, "tool": "yosys"}
    guess = {"lut": estimated or lut, "ff": 11, "dsp": 0, "cycles": 3, "seconds": 0.2}
    areas = {"float_student": auc + 0.001, "quantised_student": auc, "teacher": 0.99}
    return {"candidate": name, "status": "done", "auc": areas, "resources": resources, "estimate": guess, "stages": 3}


FAILED = {"candidate": "wide", "status": "failed", "error": "the network is too large to be unrolled"}


def test_the_front_is_of_those_that_none_beats():
    some = [made("a", 100, 0.9), made("b", 200, 0.89), made("c", 300, 0.95), made("d", 300, 0.94), FAILED]
    assert [one["candidate"] for one in front.on_front(some)] == ["a", "c"]
    rows = front.rows(some)
    assert [row["name"] for row in rows] == ["a", "b", "c", "d", "wide"]
    assert [row.get("front") for row in rows] == [True, False, True, False, None]


def test_the_text_tells_how_good_the_estimates_were():
    some = [made("a", 100, 0.9, estimated=80), made("b", 100, 0.9, estimated=140), FAILED]
    text = front.text(some)
    assert "2 of 3" in text and "30%" in text and "10%" in text
    assert "None" in front.text([FAILED])


def test_the_picture_stands_with_one_point_and_with_none():
    synthesis = {"resources": {"lut": 500}, "auc": {"quantised_student": 0.93}}
    for some in ([made("a", 100, 0.9)], [FAILED]):
        assert front.drawn(some, synthesis).startswith("<svg")


def test_whole_inputs_are_pruned_by_the_size_of_their_weights():
    torch.manual_seed(0)
    layer = Dense(6, 4)
    size = layer.weight_OI.detach().square().sum(0)
    layer.prune(0.5, inputs=True)
    kept = layer.mask_OI[0].bool()
    assert kept.sum() == 3 and size[kept].min() > size[~kept].max()
    assert torch.equal(layer.mask_OI, layer.mask_OI[:1].expand(4, 6))
    layer.prune(0.99, inputs=True)
    assert layer.mask_OI[0].sum() == 1
    layer.prune(0.0)
    assert layer.mask_OI.all()


def test_a_network_with_pruned_inputs_costs_less_than_one_with_as_many_pruned_weights():
    torch.manual_seed(1)
    costs = {}
    for inputs in (False, True):
        student = dense(12, [16], 2)
        student.input_format = INPUT
        student.prune(0.5, inputs=inputs)
        student.quantize(torch.randn(200, student.inputs), Settings())
        costs[inputs] = pipeline.estimate(circuit.traced(student), clock_ns=5.0).ff
    assert costs[True] < costs[False]


def test_a_product_of_two_inputs_is_counted_as_a_multiplier():
    torch.manual_seed(0)
    found = pipeline.estimate(circuit.traced(quantised(Anomaly(9))), clock_ns=5.0)
    assert found.dsp == 4 and found.lut > 100 and found.ff > 50 and found.cycles >= 2


def test_random_vectors_fill_up_and_reach_the_middle_and_the_ends():
    form = Fixed(8, 3)
    codes = vectors.extremes(5, form, seed=1, at_least=3000)
    assert len(codes) == 3000 and len(vectors.extremes(5, form, seed=1)) == len(vectors.corners(5, form)) + 1024
    np.testing.assert_array_equal(codes[:1000], vectors.extremes(5, form, seed=1, at_least=3000)[:1000])
    drawn = vectors.random_codes(900, 5, form, seed=2)
    anywhere, ends, sparse = drawn[0::3], drawn[1::3], drawn[2::3]
    low, high = form.code_range
    assert set(np.unique(ends)) == {low, high} and (sparse == 0).mean() > 0.6
    assert len(np.unique(anywhere)) > 200


def test_inputs_are_found_that_bring_numbers_to_their_limits():
    torch.manual_seed(3)
    student = quantised(dense(6, [8, 5], 2), weight_bits=6)
    found = limits.search(student, INPUT, seed=1)
    assert found.wanted == 8 + 5 and found.reached > 6 and len(found.codes_VI) <= 3 * found.wanted
    low, high = INPUT.code_range
    assert found.codes_VI.min() >= low and found.codes_VI.max() <= high
    np.testing.assert_array_equal(found.codes_VI, limits.search(student, INPUT, seed=1).codes_VI)
    before, form = student.layers[0](torch.from_numpy(found.codes_VI).float() * INPUT.step), student.layers[1].format
    near = (before.double() - form.high).abs() <= 1.5 * form.step
    assert near.any(0).sum() >= 4


def test_squares_and_signed_numbers_have_limits_too():
    torch.manual_seed(0)
    found = limits.search(quantised(Anomaly(9)), INPUT, seed=1)
    assert found.wanted == 16 + 4 * 2 + 4 and found.reached > 4


def test_a_network_that_cuts_nothing_off_has_no_limits():
    student = quantised(Mixed(Dense(6, 2)))
    assert limits.search(student, INPUT, seed=1).codes_VI.shape == (0, 6)


@pytest.mark.parametrize("kind", ["deepsets", "jedi_linear", "interaction"])
def test_an_answer_that_is_always_zero_has_a_circuit(kind):
    torch.manual_seed(0)
    student = quantised(students.build({"kind": kind}, Layout(2, 3, 3), 2), 0.2)
    last = list(student.dense.values())[-1]
    with torch.no_grad():
        last.weight_OI[0], last.bias_O[0] = 0, 0
    made = circuit.traced(student)
    assert 2 < made.result.width < 30 and len(made.outputs) == 2


@pytest.mark.parametrize("kind", ["dense", "deepsets", "jedi_linear", "interaction"])
def test_numbers_that_are_the_same_for_every_input_have_a_circuit(kind):
    """A neuron that is constant, and alone has a weight in the layer after it, beside others that are not."""
    torch.manual_seed(0)
    student = quantised(students.build({"kind": kind}, Layout(2, 3, 3), 2), 0.2)
    first, *_, before, last = student.dense.values()
    with torch.no_grad():
        for layer in (first, before):
            layer.weight_OI[0], layer.bias_O[0] = 0, -0.5
        for layer in (before, last):
            layer.mask_OI = torch.zeros_like(layer.mask_OI)
            layer.mask_OI[:, 0] = 1
    made = circuit.traced(student)
    assert len(made.outputs) == 2 and len(made.logic.ops) > 0


@pytest.mark.parametrize(
    ("student", "key", "words"),
    [
        ({"compression": {"kind": "hgq"}}, "synthesize.student.compression.kind", "hgq2"),
        ({"compression": {"kind": "pquant", "method": "pdq"}}, "synthesize.student.compression.method", "pdp"),
        ({"compression": {"kind": "hgq2", "beta": 0}}, "synthesize.student.compression.beta", "greater than 0"),
        ({"compression": {"kind": "hgq2"}, "pruning": "inputs"}, "synthesize.student.pruning", "straight_through"),
    ],
)
def test_a_compression_that_does_not_fit_is_refused(student, key, words):
    error = refused(changed(synthesize__student=student))
    assert isinstance(error, CampaignError) and error.details["key"] == key and words in str(error)
