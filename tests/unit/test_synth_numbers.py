"""Fixed point, quantised layers, inputs and test vectors: the numbers behind a core."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import TrainingError
from bunchtrain.events.features import compute
from bunchtrain.synth import inputs, vectors
from bunchtrain.synth.fixedpoint import Fixed, exact_sum, fitted
from bunchtrain.synth.ports import Port
from bunchtrain.synth.quantize import Dense, Relu, fake_quantize
from bunchtrain.synth.student import distillation_loss, train
from cores import dense, lesson


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks train faster on one thread, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


formats = some.builds(
    Fixed,
    width=some.integers(2, 12),
    integer=some.integers(-2, 10),
    signed=some.booleans(),
    rounding=some.sampled_from(["TRN", "RND"]),
    overflow=some.sampled_from(["WRAP", "SAT"]),
)


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (Fixed(8, 3, True, "RND", "SAT"), 0.015625, 0.03125),
        (Fixed(8, 3, True, "RND", "SAT"), -0.015625, 0.0),
        (Fixed(8, 3, True, "TRN", "SAT"), -0.001, -0.03125),
        (Fixed(8, 3, True, "TRN", "SAT"), 100.0, 3.96875),
        (Fixed(8, 3, True, "TRN", "SAT"), -100.0, -4.0),
        (Fixed(4, 4, True, "TRN", "WRAP"), 8.0, -8.0),
        (Fixed(4, 4, False, "TRN", "WRAP"), 17.0, 1.0),
        (Fixed(4, 4, False, "RND", "SAT"), -3.0, 0.0),
        (Fixed(4, 6, True, "RND", "SAT"), 6.0, 8.0),
    ],
)
def test_rounding_and_overflow_by_hand(form, value, expected):
    assert form.quantize(np.array([value]))[0] == expected


@given(formats, some.lists(some.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_a_format_holds_what_it_made(form, values):
    held = form.quantize(np.array(values))
    assert form.holds(held)
    assert held.min() >= form.low and held.max() <= form.high
    low, high = form.code_range
    assert form.holds(np.array([low, high]) * form.step) and not form.holds(np.array([(high + 1) * form.step]))


def test_a_format_is_named_as_hls_names_it():
    assert Fixed(9, -1, False, "RND", "SAT").hls == "ufixed<9,-1,RND,SAT>"
    assert Fixed(8, 3).sign_integer_fraction == (1, 2, 5)


@given(some.lists(some.floats(-50, 50).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=50))
def test_the_fitted_format_is_the_best_of_all(values):
    best = fitted(np.array(values), 6)
    error = np.mean((best.quantize(np.array(values)) - values) ** 2)
    for integer in range(-12, 9):
        other = Fixed(6, integer, True, "RND", "SAT")
        assert error <= np.mean((other.quantize(np.array(values)) - values) ** 2) * (1 + 1e-9)


@given(some.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_exact_sums_hold_the_worst_case_and_no_more(seed):
    random = np.random.default_rng(seed)
    source = Fixed(int(random.integers(3, 8)), 2, bool(random.integers(2)))
    weights = random.integers(-31, 32, (3, 5)) / 16
    bias = random.integers(-31, 32, 3) / 16
    total = exact_sum(weights, bias, source, 4 + source.fractional)
    worst = np.where(weights[:, None, :] * np.array([1, -1])[None, :, None] > 0, source.high, source.low)
    sums = (weights[:, None, :] * worst).sum(-1) + bias[:, None]
    assert total.holds(sums)
    assert not Fixed(total.width - 1, total.integer - 1).holds(sums) or total.integer == 1


@given(formats.filter(lambda form: form.overflow == "SAT"), some.integers(0, 2**32 - 1))
def test_torch_rounds_like_numpy(form, seed):
    values = np.random.default_rng(seed).normal(0, 3 * max(abs(form.low), form.high), 200)
    rounded = fake_quantize(torch.from_numpy(values), form)
    np.testing.assert_array_equal(rounded.numpy(), form.quantize(values))


def test_the_gradient_passes_inside_and_stops_outside():
    x = torch.tensor([0.3, 9.0, -9.0], requires_grad=True)
    fake_quantize(x, Fixed(8, 3, True, "RND", "SAT")).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0]


def test_pruning_takes_the_smallest_and_gives_back():
    layer = Dense(4, 1)
    layer.weight_OI.data = torch.tensor([[0.1, -0.4, 0.2, -0.3]])
    layer.prune(0.5)
    assert layer.parameters_used()[0].tolist() == [[0.0, pytest.approx(-0.4), 0.0, pytest.approx(-0.3)]]
    layer.prune(0.0)
    assert int((layer.parameters_used()[0] != 0).sum()) == 4


def test_a_dead_rectifier_gets_a_format_all_the_same():
    layer = Relu()
    layer.quantize(torch.full((3, 2), -1.0), 6)
    assert layer.format is not None and layer(torch.full((1, 2), -1.0)).tolist() == [[0.0, 0.0]]


def test_training_quantises_prunes_and_learns():
    options = Settings(constituents=2, epochs=10, batch_size=64, sparsity=0.5)
    torch.manual_seed(1)
    student = dense(9, [6], 2)
    whole = lesson()
    twin = train(student, whole, options, seed=3)
    for layer in student.dense.values():
        for tensor, form in zip(layer.parameters_used(), (layer.weight_format, layer.bias_format), strict=True):
            assert form.width == 6 and form.holds(tensor.detach().numpy())
    assert student.sparsity >= 0.5
    assert all(layer.weight_format is None for layer in twin.dense.values()) and twin.sparsity < 0.1
    with torch.no_grad():
        right = (student(whole.x_BI).argmax(-1) == whole.labels_B).double().mean()
    assert right > 0.9


def test_training_repeats_itself():
    options = Settings(constituents=2, epochs=2, batch_size=64)
    students = []
    for _ in range(2):
        torch.manual_seed(1)
        students.append(dense(9, [6], 2))
        train(students[-1], lesson(), options, seed=3)
    for first, second in zip(*(student.state_dict().values() for student in students), strict=True):
        assert torch.equal(first, second)


def test_a_loss_that_is_not_finite_is_an_error():
    broken = lesson()
    broken.x_BI[0] = float("nan")
    with pytest.raises(TrainingError, match="not finite") as caught:
        train(dense(9, [6], 2), broken, Settings(constituents=2, epochs=1), seed=1)
    assert caught.value.details["key"] == "synthesize.student.learning_rate"


def gradient(weights):
    torch.manual_seed(1)
    student, whole = dense(9, [6], 2), replace(lesson(jets=4), weights_B=torch.tensor(weights))
    loss = distillation_loss(student(whole.x_BI), whole, Settings(constituents=2))
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def test_the_loss_is_linear_in_the_weights_whatever_they_add_up_to():
    alone = [gradient([float(place == jet) for place in range(4)]) for jet in range(4)]
    for weights in ([1.0, 2.0, 0.5, 1.0], [1.0, -2.0, 0.5, -0.5], [1.0, -1.0, 1.0, -1.001], [0.0] * 4):
        expected = sum(weight * grad for weight, grad in zip(weights, alone, strict=True))
        torch.testing.assert_close(gradient(weights), expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(gradient([1.0] * 4), sum(alone), atol=1e-6, rtol=1e-4)


def test_a_last_batch_without_weight_does_no_harm():
    whole = replace(lesson(jets=65), weights_B=torch.zeros(65))
    train(dense(9, [6], 2), whole, Settings(constituents=2, epochs=3, batch_size=64), seed=1)


def test_turning_and_reflecting_keeps_everything_but_the_angles():
    whole = lesson()
    rows = torch.arange(200)
    before = whole.x_BI.clone()
    seen = [whole.rows(rows, torch.Generator().manual_seed(seed)).x_BI for seed in range(20)]
    assert torch.equal(whole.x_BI, before)
    kept = [0, 3, 6, 7, 8]
    orientations = {tuple(turned[0, [1, 2]].tolist()) for turned in seen}
    for turned in seen:
        assert torch.equal(turned[:, kept], before[rows][:, kept])
        for eta, phi in ((1, 2), (4, 5)):
            length = turned[:, eta] ** 2 + turned[:, phi] ** 2
            torch.testing.assert_close(length, before[rows, eta] ** 2 + before[rows, phi] ** 2)
    assert len(orientations) > 4


def jets_by_hand():
    p4 = np.zeros((2, 3, 4), np.float32)
    p4[0, 0] = [60, 0, 0, 60]
    p4[0, 1] = [40 * np.cos(0.1), 40 * np.sin(0.1), 40 * np.sinh(0.2), 40 * np.cosh(0.2)]
    p4[1, 0] = [100, 0, 0, 100]
    mask = np.array([[True, True, False], [True, False, False]])
    return compute(p4, mask, np.array([[100, 0, 0, 10], [100, 0, 0, 5]], np.float32))


def test_inputs_mean_what_their_names_say():
    found = inputs.quantities(jets_by_hand(), 2)
    names = inputs.names(2)
    assert names[:3] == ["log_pt_fraction_1", "delta_eta_1", "delta_phi_1"] and names[-3] == "log_mass"
    row = dict(zip(names, found[0], strict=True))
    assert row["log_pt_fraction_1"] == pytest.approx(np.log(0.6), abs=1e-5)
    assert row["delta_eta_2"] == pytest.approx(0.2, abs=1e-5) and row["delta_phi_2"] == pytest.approx(0.1, abs=1e-5)
    assert row["log_mass"] == pytest.approx(np.log(10), abs=1e-5)
    alone = dict(zip(names, found[1], strict=True))
    assert alone["log_pt_fraction_2"] == pytest.approx(np.log(1 / 256))
    assert alone["delta_eta_2"] == alone["delta_phi_2"] == 0.0


def test_every_input_follows_its_definition():
    jet_eta, phi = -1.0, [3.1, -3.1, 3.0, -3.0, 3.1]
    pt, eta = np.array([50.0, 30.0, 15.0, 5.0, 0.1]), np.array([-0.8, -1.1, -1.3, -0.9, -1.0])
    p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1).astype("f4")
    jets = np.array([[100.0, jet_eta, 3.1, 0.3]], "f4")
    seen = compute(p4[None, :3], np.ones((1, 3), bool), jets, np.array([5]))
    rows = inputs.Encoding(inputs.names(3), [0] * 12, [0] * 12, 8).rows()
    found = dict(zip([row["definition"] for row in rows], inputs.quantities(seen, 3)[0], strict=True))
    for n in (1, 2, 3):
        fraction = found.pop(f"ln(pt of constituent {n} / pt of the jet), not below ln(1/256)")
        assert fraction == pytest.approx(np.log(pt[n - 1] / 100), abs=1e-4)
        turned = found.pop(f"(eta of constituent {n} - eta of the jet), times -1 if eta of the jet is below 0")
        assert turned == pytest.approx(jet_eta - eta[n - 1], abs=1e-5)
        folded = found.pop(f"phi of constituent {n} - phi of the jet, folded into [-pi, pi)")
        assert folded == pytest.approx((phi[n - 1] - 3.1 + np.pi) % (2 * np.pi) - np.pi, abs=1e-5)
    assert found == {
        "ln(max(mass of the jet, 1 GeV) / GeV)": 0.0,
        "ln(pt of the jet / GeV)": pytest.approx(np.log(100)),
        "ln(number of all constituents of the jet, those the core does not see included)": pytest.approx(np.log(5)),
    }


@given(some.integers(0, 2**32 - 1), some.integers(4, 12))
@settings(max_examples=30)
def test_codes_count_units_from_an_offset(seed, bits):
    random = np.random.default_rng(seed)
    names = inputs.names(2)
    values = random.normal(random.normal(0, 5, len(names)), random.uniform(0.01, 3, len(names)), (500, len(names)))
    encoding = inputs.Encoding.fit(values, names, bits)
    codes = encoding.codes(values)
    low, high = encoding.format.code_range
    assert codes.min() >= low and codes.max() <= high
    inside = (codes > low) & (codes < high)
    units = 2.0 ** np.array(encoding.exponents)
    back = (codes + np.array(encoding.offsets)) * units
    assert np.all(np.abs(back - values)[inside] <= np.broadcast_to(units / 2, values.shape)[inside] * (1 + 1e-9))
    assert inside.mean() > 0.85
    assert inputs.Encoding.from_dict(encoding.as_dict()) == encoding


def test_angles_share_their_unit_and_have_no_offset():
    names = inputs.names(3)
    values = np.random.default_rng(0).normal(0.3, 1.0, (300, len(names))) * np.linspace(0.1, 2, len(names))
    encoding = inputs.Encoding.fit(values, names, 8)
    eta, phi = inputs.angle_columns(names)
    assert eta == [1, 4, 7] and phi == [2, 5, 8]
    assert [encoding.exponents[i] for i in eta] == [encoding.exponents[i] for i in phi]
    assert all(encoding.offsets[i] == 0 for i in eta + phi)
    assert [row["physical_unit"] for row in encoding.rows()][:3] == ["1", "1", "rad"]


@given(some.integers(2, 40), some.integers(1, 6), some.integers(0, 2**32 - 1))
def test_bus_words_go_there_and_back(width, size, seed):
    port = Port(size, Fixed(width, 3))
    low, high = port.form.code_range
    codes = np.random.default_rng(seed).integers(low, high + 1, (7, size))
    words = vectors.to_words(codes, port)
    assert {len(word) for word in words} == {port.bits // 4}
    np.testing.assert_array_equal(vectors.to_codes(vectors.read_words(words), port), codes)
    assert int(words[0], 16) & ((1 << port.lane) - 1) == codes[0, 0] % (1 << port.lane)


def test_extremes_reach_both_ends_of_every_input():
    form = Fixed(6, 3)
    for size in (5, 6):
        codes = vectors.extremes(size, form, seed=1)
        assert codes.min() == form.code_range[0] and codes.max() == form.code_range[1]
        np.testing.assert_array_equal(codes, vectors.extremes(size, form, seed=1))
        assert [0] * size in codes.tolist()
        low, high = form.code_range
        pattern = [low if i % 2 == 0 else high for i in range(size)]
        assert pattern in codes.tolist() and [low + high - code for code in pattern] in codes.tolist()
