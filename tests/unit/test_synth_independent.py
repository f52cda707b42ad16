"""The proof by other tools than Verilator, and the core as FuseSoC sees it, on a tiny core."""

import ast
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bunchtrain.errors import MissingDependency, SynthesisError
from bunchtrain.synth import circuit, cosim, fusesoc, ghdl, independent, netlist, rtl, rtlsim, streams, verify
from bunchtrain.synth.backends import open_xilinx
from bunchtrain.synth.backends.base import Design, Resources
from cores import INPUT, Anomaly, dense, quantised

TOOLS = ("yosys", "iverilog", "ghdl")
pytestmark = [
    pytest.mark.fpga,
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"apt-get install {' '.join(TOOLS)}"),
]

PART = "xcvu13p-flga2577-2-e"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A tiny core in a folder whose path holds spaces and signs, with inputs and answers."""
    torch.manual_seed(0)
    student = quantised(dense(6, [5], 2), 0.3)
    made = circuit.traced(student)
    folder = tmp_path_factory.mktemp("a $(core) & 'more'")
    core = rtl.write(made, folder / "rtl", top="toy_tagger", clock_ns=2.0, part=PART, vhdl_folder=folder / "vhdl")
    inputs = np.random.default_rng(0).integers(-128, 128, (40, 6))
    return core, inputs, made.result.codes(verify.exact_logits(student, inputs * made.source.step))


def changed(paths, folder, name, old, new):
    """Copies of files in which one place of one of them is another."""
    folder.mkdir()
    for path in paths:
        text = path.read_text()
        if path.name == name:
            assert re.search(old, text)
            text = re.sub(old, new, text, count=1)
        (folder / path.name).write_text(text)
    return [folder / path.name for path in paths]


def test_icarus_and_ghdl_agree_with_torch(toy, tmp_path):
    core, inputs, answers = toy
    rows = independent.prove(core, inputs, answers, core.stages, tmp_path / "else where")
    assert [row["between"] for row in rows] == [["torch", "icarus"], ["torch", "vhdl"]]
    assert all(row["vectors"] == 40 and row["mismatches"] == 0 for row in rows)
    assert "PASS 40 vectors" in (tmp_path / "else where" / "vhdl" / "ghdl-run3.log").read_text()


@pytest.mark.parametrize(
    ("old", "new", "problem", "found"),
    [
        (r"aresetn \? ", "1'b1 ? ", "fails its tests with cocotb", "stale answers"),
        (r"valid\[STAGES-1\]", "valid[STAGES-2]", "icarus does not compute", "vectors differ"),
        (r"(network_out\[0 \+: \d+\])", r"~\1", "icarus does not compute", "vectors differ"),
        (r"network_in\[0 \+:", "network_in[1 +:", "unknown bits", "x"),
    ],
)
def test_a_fault_of_the_verilog_is_found_under_icarus(toy, tmp_path, old, new, problem, found):
    core, inputs, answers = toy
    files = changed(core.files, tmp_path / "rtl", "toy_tagger.v", old, new)
    with pytest.raises(SynthesisError, match=problem) as caught:
        independent.prove(replace(core, files=files), inputs, answers, core.stages, tmp_path / "scratch")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("toy_tagger.vhd", r"<= (network_out\(\d+ )", r"<= not \1", "vhdl does not compute"),
        ("toy_tagger.vhd", r"valid\(STAGES\)", "valid(1)", "the valid bit does not mark"),
        ("toy_tagger_stage0.vhd", r"IS_SUB=>1", "IS_SUB=>0", "vhdl does not compute|unknown bits"),
        ("toy_tagger.vhd", r"\bbegin\b", "begn", "GHDL failed"),
    ],
)
def test_a_fault_of_the_vhdl_is_found_under_ghdl(toy, tmp_path, name, old, new, problem):
    core, inputs, answers = toy
    files = changed(core.vhdl, tmp_path / "vhdl", name, old, new)
    with pytest.raises(SynthesisError, match=problem):
        independent.prove(replace(core, vhdl=tuple(files)), inputs, answers, core.stages, tmp_path / "scratch")


def test_verilog_and_vhdl_have_equal_ports_and_names_of_their_own(toy):
    core, _, _ = toy
    text = "".join(path.read_text() for path in core.vhdl)
    entities = re.findall(r"^entity (\w+) is", text, re.MULTILINE)
    assert len(entities) == len(core.vhdl) and all(name.startswith("toy_tagger") for name in entities)
    assert set(re.findall(r"entity work\.(\w+)", text)) <= set(entities)
    ports = core.vhdl[0].read_text().partition("end entity")[0]
    for name in ("aclk", "aresetn", "s_axis_tvalid", "m_axis_tvalid"):
        assert re.search(rf"\b{name} : (in|out) std_logic;", ports)
    assert f"s_axis_tdata : in std_logic_vector({core.source.bits - 1} downto 0)" in ports


def test_the_netlist_is_simulated_with_yosys_models(toy, tmp_path):
    core, inputs, answers = toy
    design = Design(core.top, core.files, tmp_path, "tagger", 2.0)
    found = open_xilinx.synthesize(open_xilinx.Config(), design, tmp_path / "open xilinx")
    assert found.netlist is not None and "netlist" not in found.as_dict() and "models" not in found.as_dict()
    rows, remark = netlist.prove(core, found, (inputs, answers), tmp_path / "sim")
    assert remark == "simulated" and rows[0]["between"] == ["torch", "netlist"] and rows[0]["mismatches"] == 0
    text = found.netlist.read_text()
    found.netlist.write_text(re.sub(r"\.INIT\(4'h6\)", ".INIT(4'h9)", text, count=1))
    with pytest.raises(SynthesisError, match="the netlist does not compute"):
        netlist.prove(core, found, (inputs, answers), tmp_path / "wrong")


@pytest.mark.fpga
def test_a_netlist_with_multiplier_blocks_is_simulated(tmp_path):
    """The square of a number is a DSP48E2, whose model is the house's own: of the one use that Yosys makes of it."""
    torch.manual_seed(0)
    student = quantised(Anomaly(4, hidden=4, latent=2))
    made = circuit.traced(student)
    core = rtl.write(made, tmp_path / "rtl", top="score", clock_ns=5.0, part="xcvu13p-flga2577-2-e")
    low, high = INPUT.code_range
    inputs = np.random.default_rng(1).integers(low, high + 1, (200, 4))
    answers = made.result.codes(verify.exact_logits(student, inputs * INPUT.step))
    design = Design("score", core.files, tmp_path, "score", 5.0)
    found = open_xilinx.synthesize(open_xilinx.Config(), design, tmp_path / "open xilinx")
    assert found.dsp == 2 and found.netlist is not None and len(np.unique(answers)) > 20
    rows, remark = netlist.prove(core, found, (inputs, answers), tmp_path / "sim")
    assert remark == "simulated" and rows[0]["mismatches"] == 0
    text = found.netlist.read_text()
    for before, after in ((".OPMODE(9'h005)", ".OPMODE(9'h035)"), (".PREG(32'sd0)", ".PREG(32'sd1)")):
        assert before in text
        found.netlist.write_text(text.replace(before, after, 1))
        with pytest.raises(SynthesisError):
            netlist.prove(core, found, (inputs, answers), tmp_path / f"wrong {after[1]}")


def test_cells_without_a_model_are_named(toy, tmp_path):
    core, inputs, answers = toy
    (tmp_path / "netlist.v").write_text(
        "module t (a);\n  DSP48E2 #(\n    .A(1)\n  ) x (\n  );\n  LUT2 y (\n  );\nendmodule\n"
    )
    (tmp_path / "models.v").write_text("module LUT2(output O);\nendmodule\nmodule DSP48E2 (...);\nendmodule\n")
    some = Resources("open_xilinx", "yosys", "1", "rtl", "a part", 1, 0, 1, 0)
    made = replace(some, netlist=tmp_path / "netlist.v", models=(tmp_path / "models.v",))
    rest = (inputs, answers), tmp_path / "sim"
    assert netlist.prove(core, made, *rest) == ([], "not simulated, no model of DSP48E2")
    assert netlist.prove(core, some, *rest) == ([], "not simulated, the backend writes none")


def test_the_chosen_vectors_are_the_same_every_time_and_spread():
    assert streams.chosen(5).tolist() == [0, 1, 2, 3, 4]
    part = streams.chosen(4186)
    assert len(part) == 300 and part[0] == 0 and part[-1] == 4185 and np.diff(part).max() <= 14


@pytest.mark.parametrize(("missing", "mend"), [("iverilog", cosim.MEND), ("ghdl", ghdl.MEND)])
def test_a_missing_simulator_is_known_at_once(missing, mend, tmp_path, monkeypatch):
    for name in {"iverilog", "vvp", "ghdl"} - {missing}:
        (tmp_path / name).symlink_to(shutil.which("true"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=missing) as caught:
        independent.require()
    assert caught.value.details["mend"] == mend


def test_the_cocotb_tests_stand_by_themselves():
    tree = ast.parse(cosim.SOURCE.read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in named if name.startswith("bunchtrain")]


@pytest.mark.skipif(shutil.which("fusesoc") is None, reason="pip install fusesoc")
def test_fusesoc_simulates_the_core(toy, tmp_path):
    core, inputs, answers = toy
    root = tmp_path / "toy_tagger"
    files = {f"rtl/{path.name}": path.read_bytes() for path in core.files}
    files |= {f"vhdl/{path.name}": path.read_bytes() for path in core.vhdl}
    files |= fusesoc.constraints(core.top, 2.0)
    files["sim/testbench.v"] = rtlsim.testbench(core, len(inputs)).encode()
    vlnv = f"bunchtrain:taggers:{core.top}:1.0"
    files[f"{core.top}.core"] = fusesoc.core_file(vlnv, core.top, [*files, "sim/inputs.hex"], PART)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    streams.write(root / "sim", core, inputs, answers)
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
    environment = {**os.environ, **dict.fromkeys(homes, str(tmp_path / "home"))}
    command = ["fusesoc", "--cores-root", ".", "run", "--target=sim", "--build-root", str(tmp_path / "build"), vlnv]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "PASS 40 vectors, 0 mismatches" in done.stdout + done.stderr
    assert b"-period 2 " in (root / "constraints" / "toy_tagger.sdc").read_bytes()
    assert sorted(path.name for path in Path(root).iterdir()) == [
        "constraints",
        "rtl",
        "sim",
        "toy_tagger.core",
        "vhdl",
    ]
