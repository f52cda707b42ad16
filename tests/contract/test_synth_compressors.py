"""What every compressor must do: leave weights that the formats hold, in a student that still knows its lesson."""

import importlib.util
import re
import shutil

import numpy as np
import pytest
import torch

from bunchtrain import registry
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import MissingDependency
from bunchtrain.synth import circuit, preflight, reporting, rtl, rtlsim, vectors, verify
from bunchtrain.synth.compressors import base
from bunchtrain.synth.fixedpoint import bits_needed
from bunchtrain.synth.student import train
from cores import INPUT, dense, lesson

FAMILY = base.FAMILY
KINDS = registry.kinds(FAMILY)
PART = "xcvu13p-flga2577-2-e"
WAYS = [
    {"kind": "straight_through"},
    *({"kind": "pquant", "method": method} for method in ("pdp", "dst", "autosparse", "cs")),
    {"kind": "hgq2", "beta": 1e-4},
]


def installed(kind):
    return all(importlib.util.find_spec(name) for name in registry.constant(FAMILY, kind, "PACKAGES") or ())


def taught(way, **options):
    if not installed(way["kind"]):
        pytest.skip("pip install 'bunchtrain[compress]'")
    settings = Settings(constituents=2, epochs=12, batch_size=64, sparsity=0.5, compression=way, **options)
    torch.manual_seed(1)
    student = dense(9, [6], 2)
    student.input_format = INPUT
    whole = lesson()
    whole.x_BI.copy_(torch.from_numpy(INPUT.quantize(whole.x_BI.numpy())))
    train(student, whole, settings, seed=3)
    return student.eval(), whole


def named(way):
    return "-".join(map(str, way.values()))


def test_every_kind_is_tried_here():
    assert {way["kind"] for way in WAYS} == set(KINDS)


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_what_it_leaves_is_a_student_like_any_other(way):
    student, whole = taught(way)
    preflight.check_precision(student)
    for layer in student.dense.values():
        assert layer.compressor is None
        for values, form in zip(layer.constants(), (layer.weight_format, layer.bias_format), strict=True):
            assert form.holds(values) and form.width <= 16
        assert not layer.mask_OI[layer.parameters_used()[0] != 0].eq(0).any()
    right = (student(whole.x_BI).argmax(-1) == whole.labels_B).double().mean()
    assert right > 0.9 and not [name for name in student.state_dict() if "compressor" in name]


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_it_does_the_same_again(way):
    one, other = (taught(way)[0].state_dict() for _ in range(2))
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.fpga
@pytest.mark.skipif(shutil.which("g++") is None, reason="apt-get install g++ make")
@pytest.mark.parametrize("kind", KINDS)
def test_its_circuit_computes_what_it_computes(kind, tmp_path):
    student, _ = taught(next(way for way in WAYS if way["kind"] == kind))
    generator = np.random.default_rng(3)
    low, high = INPUT.code_range
    codes = np.concatenate([vectors.extremes(9, INPUT, 1), generator.integers(low, high + 1, (1000, 9))])
    answers = verify.exact_logits(student, codes * INPUT.step)
    made = circuit.traced(student)
    core = rtl.write(made, tmp_path / "rtl", top="toy_tagger", clock_ns=5.0, part=PART)
    simulator = rtlsim.Simulator(core, tmp_path / "sim", len(codes))
    simulator.build()
    wanted = made.result.codes(answers)
    np.testing.assert_array_equal(simulator.measure(codes, wanted).codes_VC, wanted)


def test_bits_that_cost_more_are_fewer():
    def bits(beta):
        student, _ = taught({"kind": "hgq2", "beta": beta})
        weights = np.concatenate([layer.constants()[0].ravel() for layer in student.dense.values()])
        return sum(bits_needed(one) for one in weights if one), reporting.weights_described(student)

    (cheap, text), (dear, _) = bits(1e-6), bits(3e-3)
    assert dear < 0.7 * cheap and re.fullmatch(r"weights of at most \d+ bits \(\d\.\d on average\)", text)


def test_the_width_of_the_house_and_of_pquant_is_the_students():
    for way in ({"kind": "straight_through"}, {"kind": "pquant"}):
        student, _ = taught(way, weight_bits=3)
        codes = [layer.constants()[0] / layer.weight_format.step for layer in student.dense.values()]
        assert max(np.abs(one).max() for one in codes) <= 4
        assert all(layer.weight_format.width <= 3 for layer in student.dense.values())
        assert student.sparsity >= 0.45


def test_a_package_that_is_missing_is_named_before_any_work(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"the compression hgq2 needs hgq, which is not installed") as caught:
        base.require("hgq2")
    assert "bunchtrain[compress]" in caught.value.details["mend"]
    base.require("straight_through")
