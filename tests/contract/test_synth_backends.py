"""What every synthesis backend owes the stage, and what each makes of its tool's report."""

import json
import os
import shutil

import pytest
from pydantic import ValidationError

from bunchtrain import registry
from bunchtrain.errors import CampaignError, MissingDependency, SynthesisError
from bunchtrain.synth.backends import open_xilinx, vitis
from bunchtrain.synth.backends.base import PARTS, available, part_for
from designs import design_in, stand_in

KINDS = registry.kinds("synth.backends")


def test_there_are_those_that_are_promised():
    assert {"open_ecp5", "open_xilinx", "quartus", "vitis", "vivado"} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_keeps_the_protocol(kind):
    declared = registry.declared("synth.backends", kind)
    module = registry.load("synth.backends", kind)
    assert set(declared.model_fields) == set(module.Config.model_fields) >= {"part", "timeout"}
    with pytest.raises(ValidationError):
        module.Config(no_such_option=1)
    with pytest.raises(ValidationError):
        module.Config(timeout=0)
    assert isinstance(module.VENDOR, bool) and len(module.MEND) > 10 and module.MAKER in ("AMD", "Lattice", "Intel")
    assert module.locate() is None or module.locate().exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_backend_without_its_tool_says_how_to_get_it(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    module = registry.load("synth.backends", kind)
    assert module.locate() is None
    with pytest.raises(MissingDependency) as caught:
        module.synthesize(module.Config(), design_in(tmp_path / "design"), tmp_path / "scratch")
    assert caught.value.details["mend"] == module.MEND
    assert not (tmp_path / "scratch" / "project").exists()


def test_an_unknown_backend_is_named_with_its_nearest():
    with pytest.raises(CampaignError) as caught:
        registry.load("synth.backends", "open_xilinks", "synthesize.backend.kind")
    assert caught.value.details["nearest"] == "open_xilinx"


@pytest.mark.parametrize(
    ("kind", "named_by", "part", "expected"),
    [
        ("vitis", "open_xilinx", "xcvu9p-flga2104-2-e", "xcvu9p-flga2104-2-e"),
        ("vivado", "vitis", "xcvu9p-flga2104-2-e", "xcvu9p-flga2104-2-e"),
        ("vitis", "open_ecp5", "LFE5U-45F-6BG381C", "xcvu13p-flga2577-2-e"),
        ("vivado", "quartus", "10AX115N2F45E1SG", "xcvu13p-flga2577-2-e"),
        ("quartus", "vivado", "xcvu9p-flga2104-2-e", "10AX115N2F45E1SG"),
    ],
)
def test_a_part_goes_only_to_tools_of_its_maker(kind, named_by, part, expected):
    modules = (registry.load("synth.backends", name) for name in (kind, named_by))
    assert part_for(*modules, part) == expected


def test_sizes_of_known_parts():
    assert available("xcvu13p-flga2577-2-e")["lut"] == 1728000
    assert available("xc7z020clg400-1") == {}
    assert all(set(row) == {"lut", "ff", "dsp", "bram"} for row in PARTS.values())


def stat(cells):
    return {"modules": {"\\top": {"num_cells_by_type": cells}}}


def test_cells_become_resources(tmp_path):
    cells = {
        **{"LUT2": 10, "LUT6": 5, "INV": 2, "SRL16E": 3, "FDRE": 20, "FDSE": 1, "CARRY4": 7, "MUXF7": 4},
        **{"DSP48E2": 2, "RAMB18E2": 3, "RAMB36E2": 1, "RAM64X1D": 1},
    }
    (tmp_path / "stat.json").write_text(json.dumps(stat(cells)))
    found = open_xilinx.parse(tmp_path / "stat.json", "top")
    assert found == dict(sorted(cells.items()))
    assert open_xilinx.count(found) == {"lut": 22, "ff": 21, "dsp": 2, "bram": 2.5}


@pytest.mark.parametrize("report", [{}, stat({}), {"modules": {"\\other": {"num_cells_by_type": {"LUT2": 1}}}}])
def test_a_count_that_is_not_there_is_an_error(report, tmp_path):
    (tmp_path / "stat.json").write_text(json.dumps(report))
    with pytest.raises(SynthesisError, match="counted no cells") as caught:
        open_xilinx.parse(tmp_path / "stat.json", "top")
    assert caught.value.details["expected"] == "top"


def test_a_cell_that_was_not_mapped_is_an_error():
    with pytest.raises(SynthesisError, match="not mapped") as caught:
        open_xilinx.count({"LUT2": 1, "$_AND_": 3})
    assert caught.value.details["found"] == "$_AND_"


@pytest.mark.fpga
@pytest.mark.skipif(shutil.which("yosys") is None, reason="apt-get install yosys")
def test_yosys_counts_a_counter(tmp_path):
    found = open_xilinx.synthesize(open_xilinx.Config(), design_in(tmp_path / "a design"), tmp_path / "scratch")
    assert found.ff == 8 and 8 <= found.lut <= 16 and found.dsp == 0 and found.bram == 0
    assert found.version.startswith("Yosys") and found.available["dsp"] == 12288 and found.seconds > 0


@pytest.mark.fpga
@pytest.mark.skipif(shutil.which("yosys") is None, reason="apt-get install yosys")
def test_yosys_refusing_verilog_is_an_error_with_its_reason(tmp_path):
    design = design_in(tmp_path / "design")
    design.rtl[0].write_text("module counter (input wire a; endmodule\n")
    with pytest.raises(SynthesisError, match="Yosys failed") as caught:
        open_xilinx.synthesize(open_xilinx.Config(), design, tmp_path / "scratch")
    assert "syntax error" in caught.value.details["found"]


def test_paths_that_would_be_code_for_yosys_are_refused(tmp_path):
    design = design_in(tmp_path / 'a "quoted" folder')
    with pytest.raises(SynthesisError, match="quotes"):
        open_xilinx.script(design)


CSYNTH = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
  <ReportVersion><Version>2024.1</Version></ReportVersion>
  <UserAssignments>
    <Part>xcvu13p-flga2577-2-e</Part><TopModelName>tagger</TopModelName>
    <TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty>
  </UserAssignments>
  <PerformanceEstimates>
    <SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.612</EstimatedClockPeriod></SummaryOfTimingAnalysis>
    <SummaryOfOverallLatency>
      <Best-caseLatency>9</Best-caseLatency><Worst-caseLatency>10</Worst-caseLatency>
      <Interval-min>1</Interval-min><Interval-max>1</Interval-max>
    </SummaryOfOverallLatency>
  </PerformanceEstimates>
  <AreaEstimates>
    <Resources><BRAM_18K>3</BRAM_18K><DSP>17</DSP><FF>2345</FF><LUT>6789</LUT><URAM>0</URAM></Resources>
    <AvailableResources>
      <BRAM_18K>5376</BRAM_18K><DSP>12288</DSP><FF>3456000</FF><LUT>1728000</LUT><URAM>1280</URAM>
    </AvailableResources>
  </AreaEstimates>
</profile>
"""


def test_a_report_of_vitis_is_read(tmp_path):
    (tmp_path / "report.xml").write_text(CSYNTH)
    found = vitis.parse(tmp_path / "report.xml")
    assert (found["lut"], found["ff"], found["dsp"], found["bram"]) == (6789, 2345, 17, 1.5)
    assert found["version"] == "2024.1" and found["part"] == "xcvu13p-flga2577-2-e"
    assert found["available"] == {"lut": 1728000, "ff": 3456000, "dsp": 12288, "bram": 2688}
    assert found["estimates"] == {
        "clock_asked_ns": 5.0,
        "clock_ns": 3.612,
        "latency_cycles": 10,
        "interval_cycles": 1,
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [("<profile/>", "AreaEstimates/Resources/LUT"), (CSYNTH.replace("<DSP>17</DSP>", "<DSP>?</DSP>"), "Resources/DSP")],
)
def test_a_report_that_lacks_a_number_is_an_error(text, key, tmp_path):
    (tmp_path / "report.xml").write_text(text)
    with pytest.raises(SynthesisError, match="lacks a number") as caught:
        vitis.parse(tmp_path / "report.xml")
    assert caught.value.details["key"].endswith(key)


def test_a_report_that_is_not_xml_is_an_error(tmp_path):
    (tmp_path / "report.xml").write_text(CSYNTH[:200])
    for path in (tmp_path / "report.xml", tmp_path / "missing.xml"):
        with pytest.raises(SynthesisError, match="cannot be read"):
            vitis.parse(path)


REPORTS = "tagger_prj/solution1/syn/report"


@pytest.mark.parametrize("name", ["vitis-run", "vitis_hls"])
def test_vitis_is_run_on_a_copy_of_the_project(name, monkeypatch, tmp_path):
    (tmp_path / "report.xml").write_text(CSYNTH)
    body = f'echo "$@" > arguments; mkdir -p {REPORTS}; cp {tmp_path}/report.xml {REPORTS}/tagger_csynth.xml'
    stand_in(tmp_path / "bin", name, body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    design = design_in(tmp_path / "design")
    found = vitis.synthesize(vitis.Config(), design, tmp_path / "scratch")
    assert (found.tool, found.lut, found.source) == (name, 6789, "hls")
    arguments = (tmp_path / "scratch" / "project" / "arguments").read_text()
    assert "build_prj.tcl" in arguments
    assert "synth 1" in (tmp_path / "scratch" / "project" / "build_opt.tcl").read_text()
    assert sorted(path.name for path in design.hls.iterdir()) == ["build_prj.tcl"]


@pytest.mark.parametrize(
    ("body", "problem"), [("echo no licence; exit 1", "failed with status 1"), ("true", "no report")]
)
def test_vitis_failing_is_an_error(body, problem, monkeypatch, tmp_path):
    stand_in(tmp_path / "bin", "vitis-run", body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(SynthesisError, match=problem) as caught:
        vitis.synthesize(vitis.Config(), design_in(tmp_path / "design"), tmp_path / "scratch")
    assert caught.value.details["file"]
