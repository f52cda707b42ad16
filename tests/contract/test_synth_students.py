"""What every kind of student must do: the same numbers in torch, C++ and RTL, whatever its layers are."""

import shutil

import numpy as np
import pytest
import torch

from bunchtrain import registry
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.synth import circuit, preflight, routes, rtl, rtlsim, vectors, verify
from bunchtrain.synth.quantize import Squared
from bunchtrain.synth.student import Lesson, train
from bunchtrain.synth.students import base
from bunchtrain.synth.students.base import Layout
from cores import INPUT, Anomaly, quantised

KINDS = registry.kinds("synth.students")
LAYOUT = Layout(3, 3, 3)
#: Smaller than by default: a simulator is built of each.
SIZES = {
    "dense": {"hidden": [6]},
    "deepsets": {"each": [4, 3], "hidden": [4]},
    "interaction": {"edge": 3, "node": [3], "hidden": [4]},
    "jedi_linear": {"each": 3, "hidden": [4]},
}
PART = "xcvu13p-flga2577-2-e"


def student_of(kind, seed=0, outputs=2, **bits):
    torch.manual_seed(seed)
    return quantised(base.build({"kind": kind, **SIZES.get(kind, {})}, LAYOUT, outputs), **bits)


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_it_is_built_and_small_enough(kind):
    student = base.build({"kind": kind}, Layout(8, 3, 3), 5)
    preflight.check_layers(student)
    assert student(torch.zeros(4, student.inputs)).shape == (4, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_declared_and_learns(kind):
    student = student_of(kind)
    preflight.check_precision(student)
    student(torch.randn(50, student.inputs)).square().sum().backward()
    assert [name for name, p in student.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_products_are_counted(kind):
    products = student_of(kind).products()
    by_hand = {
        "dense": [12 * 6, 6 * 2],
        "deepsets": [3 * 3 * 4, 3 * 4 * 3, 6 * 4, 4 * 2],
        "interaction": [3 * 3 * 3, 3 * 3 * 3, 3 * 6 * 3, 6 * 4, 4 * 2],
        "jedi_linear": [3 * 3 * 3, 3 * 3 * 3, 3 * 3, 6 * 4, 4 * 2],
    }
    assert list(products.values()) == by_hand[kind]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if base.route({"kind": kind}) == "alkaid"])
def test_constituents_may_change_places(kind):
    student, x = student_of(kind), INPUT.quantize(np.random.default_rng(1).normal(0, 2, (40, LAYOUT.inputs)))
    places = np.arange(9).reshape(3, 3)[[2, 0, 1]].ravel()
    moved = x.copy()
    moved[:, :9] = x[:, places]
    np.testing.assert_array_equal(verify.exact_logits(student, moved), verify.exact_logits(student, x))


@pytest.mark.fpga
@pytest.mark.skipif(shutil.which("g++") is None, reason="apt-get install g++ make")
@pytest.mark.parametrize("kind", KINDS)
def test_torch_c_simulation_and_rtl_agree_on_every_vector(kind, tmp_path):
    student = student_of(kind, outputs=3)  # two classes and a spread
    network = {"kind": kind, **SIZES.get(kind, {})}
    made = routes.convert(student, network, tmp_path / "hls", part=PART, clock_ns=5.0)
    generator = np.random.default_rng(3)
    low, high = INPUT.code_range
    codes = np.concatenate(
        [vectors.extremes(student.inputs, INPUT, 1), generator.integers(low, high + 1, (1000, student.inputs))]
    )
    answers = verify.exact_logits(student, codes * INPUT.step)
    result = made.circuit.result
    assert result.holds(answers) and len(np.unique(answers, axis=0)) > 100
    simulation = made.simulation(tmp_path / "hls", tmp_path / "csim", 3)
    np.testing.assert_array_equal(simulation(codes * INPUT.step), answers)
    core = rtl.write(made.circuit, tmp_path / "rtl", top="toy_tagger", clock_ns=5.0, part=PART)
    simulator = rtlsim.Simulator(core, tmp_path / "sim", len(codes))
    simulator.build()
    measured = simulator.measure(codes, result.codes(answers))
    np.testing.assert_array_equal(measured.codes_VC, result.codes(answers))
    assert measured.interval == 1 and measured.spaced_mismatches == 0


@pytest.mark.parametrize("kind", [*KINDS, "anomaly"])
def test_forward_with_symbols_is_the_network(kind):
    """The network's own operations, without any converter, in alkaid's interpreter."""
    torch.manual_seed(0)
    student = quantised(Anomaly(12, 6, 2)) if kind == "anomaly" else student_of(kind)
    made = circuit.traced(student)
    x = INPUT.quantize(np.random.default_rng(2).normal(0, 2, (300, student.inputs)))
    answers = verify.exact_logits(student, x)
    np.testing.assert_array_equal(made.logic.predict(x), answers)
    assert len(np.unique(answers)) > 100


@pytest.fixture
def one_thread():
    """As the stage trains its students."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_a_spread_behind_its_classes(kind):
    """Of jets that one number of the whole jet tells apart; how unsure the tagger is follows from another."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(1000, LAYOUT.inputs, generator=random) * 0.7
    labels = (x[:, -1] > 0).long()
    logits = torch.stack([-x[:, -1], x[:, -1]], -1) * 3
    angles = ([1, 4, 7], [2, 5, 8])
    lesson = Lesson(x, logits, labels, torch.ones(len(x)), angles, spread_B=2 * x[:, -2] - 1)
    torch.manual_seed(0)
    student = base.build({"kind": kind}, LAYOUT, 3)
    student.input_format = INPUT
    settings = Settings(epochs=10, batch_size=50, sparsity=0.3, spread=True)
    train(student, lesson, settings, seed=1)
    with torch.inference_mode():
        answers = student.eval()(torch.from_numpy(INPUT.quantize(x.numpy())).float())
    assert np.corrcoef(answers[:, 2], lesson.spread_B)[0, 1] > 0.9
    assert (answers[:, :2].argmax(1) == labels).float().mean() > 0.9


def test_a_square_is_clipped_at_its_largest():
    x = torch.tensor([-3.0, -1.5, 0.5, 2.0, 9.0])
    assert Squared(2)(x).tolist() == [4.0, 2.25, 0.25, 4.0, 4.0]
