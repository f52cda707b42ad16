"""Vivado and Quartus: their scripts, hand-made reports in their formats, and programs that stand in for them."""

import os
from dataclasses import replace

import pytest

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import harness, tcl
from bunchtrain.synth.backends import quartus, vivado
from designs import design_in, stand_in

#: Registers around the counter: eight bits in, eight out, a reset.
AROUND = 17

HEAD = """----------------------------------------------------------------
| Tool Version : Vivado v.2023.1 (lin64) Build 3865809 Sun May  7 15:04:56 MDT 2023
| Design       : counter_harness
| Device       : xcvu13p-flga2577-2-e
| Design State : Routed
----------------------------------------------------------------
"""

USED = f"""{HEAD}
1. CLB Logic
------------

+----------------------------+------+-------+------------+-----------+-------+
|          Site Type         | Used | Fixed | Prohibited | Available | Util% |
+----------------------------+------+-------+------------+-----------+-------+
| CLB LUTs*                  | 6543 |     0 |          0 |   1728000 |  0.38 |
|   LUT as Logic             | 6500 |     0 |          0 |   1728000 |  0.38 |
|   LUT as Memory            |   43 |     0 |          0 |    791040 | <0.01 |
| CLB Registers              | 2635 |     0 |          0 |   3456000 |  0.08 |
+----------------------------+------+-------+------------+-----------+-------+

3. BLOCKRAM
-----------

+-------------------+------+-------+------------+-----------+-------+
|     Site Type     | Used | Fixed | Prohibited | Available | Util% |
+-------------------+------+-------+------------+-----------+-------+
| Block RAM Tile    |  1.5 |     0 |          0 |      2688 |  0.06 |
|   RAMB36/FIFO*    |    1 |     0 |          0 |      2688 |  0.04 |
+-------------------+------+-------+------------+-----------+-------+

4. ARITHMETIC
-------------

+-----------+------+-------+------------+-----------+-------+
| Site Type | Used | Fixed | Prohibited | Available | Util% |
+-----------+------+-------+------------+-----------+-------+
| DSPs      |    7 |     0 |          0 |     12288 |  0.06 |
+-----------+------+-------+------------+-----------+-------+

9. Primitives
-------------

+----------+------+---------------------+
| Ref Name | Used | Functional Category |
+----------+------+---------------------+
| FDRE     | 2635 |            Register |
+----------+------+---------------------+
"""

#: An older version, of a smaller family: other names, and no column for prohibited sites.
SEVEN = """| Tool Version : Vivado v.2018.3 (lin64) Build 2405991 Thu Dec  6 23:36:41 MST 2018
| Device       : 7z020clg400-1

+-------------------------+------+-------+-----------+-------+
|        Site Type        | Used | Fixed | Available | Util% |
+-------------------------+------+-------+-----------+-------+
| Slice LUTs              |  100 |     0 |     53200 |  0.19 |
| Slice Registers         |   50 |     0 |    106400 |  0.05 |
| Block RAM Tile          |    0 |     0 |       140 |  0.00 |
| DSPs                    |    0 |     0 |       220 |  0.00 |
+-------------------------+------+-------+-----------+-------+
"""

TITLES = (
    "    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)  "
    "THS Failing Endpoints  THS Total Endpoints     WPWS(ns)     TPWS(ns)  TPWS Failing Endpoints"
)


def timing(setup: str, hold: str = "0.021", pulse: str = "2.225") -> str:
    return f"""{HEAD}
| Design Timing Summary
| ---------------------
----------------------------------------------------------------

{TITLES}
    -------      -------  ---------------------  -------------------      -------      -------  ------
      {setup}        0.000                      0                 3053        {hold}        0.000                   0  \
              3053        {pulse}        0.000                       0                  2636


All user specified timing constraints are met.
"""


def reports(folder, used=USED, slacks=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "utilization.rpt").write_text(used)
    (folder / "timing.rpt").write_text(slacks if slacks is not None else timing("1.250"))
    return folder


def test_reports_of_vivado_are_read(tmp_path):
    reports(tmp_path)
    found = vivado.utilization(tmp_path / "utilization.rpt")
    assert (found["lut"], found["ff"], found["dsp"], found["bram"]) == (6543, 2635, 7, 1.5)
    assert found["available"] == {"lut": 1728000, "ff": 3456000, "dsp": 12288, "bram": 2688}
    assert (found["version"], found["part"]) == ("Vivado v.2023.1", "xcvu13p-flga2577-2-e")
    assert vivado.slack(tmp_path / "timing.rpt") == {"setup": 1.25, "hold": 0.021, "pulse": 2.225}


def test_a_report_of_an_older_vivado_is_read(tmp_path):
    found = vivado.utilization(reports(tmp_path, used=SEVEN) / "utilization.rpt")
    assert (found["lut"], found["ff"], found["dsp"], found["bram"]) == (100, 50, 0, 0)
    assert (found["version"], found["part"]) == ("Vivado v.2018.3", "7z020clg400-1")


@pytest.mark.parametrize(
    "text",
    ["", HEAD, USED.replace("CLB LUTs*", "CLB MUTs"), USED.replace("|    7 |", "|    ? |"), USED[:700]],
)
def test_a_count_that_vivado_does_not_give_is_an_error(text, tmp_path):
    with pytest.raises(SynthesisError, match="lacks a count"):
        vivado.utilization(reports(tmp_path, used=text) / "utilization.rpt")


@pytest.mark.parametrize("text", ["", HEAD, TITLES, timing("NA"), timing("1.0", pulse="NA")])
def test_a_slack_that_vivado_does_not_give_is_an_error(text, tmp_path):
    with pytest.raises(SynthesisError, match=r"lacks the summary|no worst slack"):
        vivado.slack(reports(tmp_path, slacks=text) / "timing.rpt")


def test_a_slack_longer_than_the_period_is_an_error():
    assert vivado.clock(5.0, 1.0) == 250 and vivado.clock(5.0, -5.0) == 100
    with pytest.raises(SynthesisError, match="longer than the clock period"):
        vivado.clock(5.0, 5.0)


def vivado_at(folder, monkeypatch, body):
    stand_in(folder / "bin", "vivado", body)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)


@pytest.mark.parametrize(("setup", "clock", "met"), [("1.000", 250.0, True), ("-5.000", 100.0, False)])
def test_vivado_is_run_and_a_missed_clock_is_told(setup, clock, met, monkeypatch, tmp_path):
    kept = reports(tmp_path / "kept", slacks=timing(setup))
    vivado_at(tmp_path, monkeypatch, f'echo "$@" > arguments; cp {kept}/*.rpt .')
    design = design_in(tmp_path / "a design")
    found = vivado.synthesize(vivado.Config(), design, tmp_path / "scratch")
    assert (found.lut, found.ff, found.dsp) == (6543, 2635 - AROUND, 7) and harness.registers(design) == AROUND
    assert found.clock_mhz_routed == clock and found.estimates["timing_met"] is met and found.files == {}
    words = (tmp_path / "scratch" / "arguments").read_text().split()
    assert words == ["-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", "run.tcl"]
    script = (tmp_path / "scratch" / "run.tcl").read_text()
    assert f"read_verilog {{{design.rtl[0].resolve()}}}" in script
    assert "synth_design -mode out_of_context -top {counter_harness} -part {xcvu13p-flga2577-2-e}" in script
    assert script.index("synth_design") < script.index("place_design") < script.index("report_timing_summary")
    assert "create_clock -period 5 " in (tmp_path / "scratch" / "clock.xdc").read_text()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("echo 'ERROR: [Common 17-345] A valid license was not found'; exit 1", "failed with status 1"),
        ("true", "wrote no report"),
        ("touch utilization.rpt timing.rpt", "lacks a count"),
    ],
)
def test_vivado_failing_is_an_error_and_an_old_report_is_not_read(body, problem, monkeypatch, tmp_path):
    reports(tmp_path / "scratch")
    vivado_at(tmp_path, monkeypatch, body)
    with pytest.raises(SynthesisError, match=problem) as caught:
        vivado.synthesize(vivado.Config(), design_in(tmp_path / "design"), tmp_path / "scratch")
    assert caught.value.details["file"] and ("license" in str(caught.value) or "license" not in body)


@pytest.mark.parametrize("word", ["a}b", "a{b", "a\\b", "a\nb", "a\rb"])
def test_words_that_would_be_code_for_tcl_are_refused(word, tmp_path):
    with pytest.raises(SynthesisError, match="plain word"):
        tcl.braced(word)
    for check in (
        lambda: vivado.check(vivado.Config(part=word)),
        lambda: quartus.check(quartus.Config(part=word)),
        lambda: quartus.check(quartus.Config(family=word)),
        lambda: vivado.script(vivado.Config(), design_in(tmp_path / word)),
        lambda: quartus.script(quartus.Config(), design_in(tmp_path / f"{word} again")),
    ):
        with pytest.raises(SynthesisError, match="plain word"):
            check()
    assert tcl.braced("a [exit] $b; c") == "{a [exit] $b; c}"


FIT = """Fitter Status : Successful - Wed Jun 14 10:11:12 2023
Quartus Prime Version : 22.1std.2 Build 922 07/20/2023 SC Standard Edition
Revision Name : core
Top-level Entity Name : counter_harness
Family : Arria 10
Device : 10AX115N2F45E1SG
Timing Models : Final
Logic utilization (in ALMs) : 4,321 / 427,200 ( 1 % )
Total registers : 2635
Total pins : 1 / 960 ( < 1 % )
Total virtual pins : 17
Total block memory bits : 20,480 / 55,562,240 ( < 1 % )
Total RAM Blocks : 9 / 2,713 ( < 1 % )
Total DSP Blocks : 7 / 1,518 ( < 1 % )
"""

LONG = """+--------------------------------------------------------------+
; Fitter Resource Usage Summary                                ;
+---------------------------------------------+--------+-------+
; Resource                                    ; Usage  ; %     ;
+---------------------------------------------+--------+-------+
; Combinational ALUT usage for logic          ; 7,654  ;       ;
;     -- 7 input functions                    ; 12     ;       ;
+---------------------------------------------+--------+-------+
"""


def corner(title, *rows):
    body = "\n".join(f"; {' ; '.join(row)} ;" for row in rows)
    return f"""
+-----------------------------------------------------+
; {title} ;
+------------+-----------------+------------+---------+
; Fmax       ; Restricted Fmax ; Clock Name ; Note    ;
+------------+-----------------+------------+---------+
{body}
+------------+-----------------+------------+---------+
This panel reports FMAX for every clock in the design, regardless of the user-specified clock periods.
"""


STA = corner("Slow 900mV 100C Model Fmax Summary", ("231.5 MHz", "231.5 MHz", "aclk", "")) + corner(
    "Slow 900mV 0C Model Fmax Summary",
    ("900.0 MHz", "225.25 MHz", "aclk", "limit due to minimum period restriction"),
    ("10.0 MHz", "10.0 MHz", "altera_reserved_tck", ""),
)


def compiled(folder, fit=FIT, long=LONG, sta=STA):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("fit.summary", fit), ("fit.rpt", long), ("sta.rpt", sta)):
        if text is not None:
            (folder / f"core.{name}").write_text(text)
    return folder


def test_reports_of_quartus_are_read(tmp_path):
    found = quartus.fit(compiled(tmp_path) / "core.fit.summary", tmp_path / "core.fit.rpt")
    assert (found["lut"], found["ff"], found["dsp"], found["counted"]) == (7654, 2635, 7, "ALUT")
    assert found["bram"] == pytest.approx(9 * 20 / 36)  # M20K
    assert found["available"] == pytest.approx({"lut": 854400, "dsp": 1518, "bram": 2713 * 20 / 36})
    assert found["cells"] == {"ALM": 4321, "ALUT": 7654, "RAM block": 9}
    assert found["version"].startswith("22.1std.2 Build 922") and found["part"] == "10AX115N2F45E1SG"
    assert quartus.clock(tmp_path / "core.sta.rpt") == 225.25


def test_a_summary_of_the_pro_edition_without_aluts_counts_alms(tmp_path):
    text = FIT.replace("Total registers : 2635", "Total dedicated logic registers : 2,635")
    for long in (None, LONG.replace("ALUT", "logic")):
        compiled(tmp_path, fit=text, long=long)
        found = quartus.fit(tmp_path / "core.fit.summary", tmp_path / "core.fit.rpt")
        assert (found["lut"], found["ff"], found["counted"]) == (4321, 2635, "ALM")
        assert found["available"]["lut"] == 427200 and "ALUT" not in found["cells"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "did not fit"),
        (FIT.replace("Successful", "Failed"), "did not fit"),
        (FIT.replace("4,321 / 427,200 ( 1 % )", "N/A until Partition Merge"), "lacks a count"),
        (FIT.replace("Total DSP Blocks", "Embedded Multipliers"), "lacks a count"),
    ],
)
def test_a_summary_that_quartus_did_not_end_is_an_error(text, problem, tmp_path):
    with pytest.raises(SynthesisError, match=problem):
        quartus.fit(compiled(tmp_path, fit=text) / "core.fit.summary", tmp_path / "core.fit.rpt")


@pytest.mark.parametrize(
    "text",
    [
        "",
        STA.replace("Restricted Fmax", "Fmax"),
        STA.replace("aclk", "other"),
        corner("Slow Model Fmax Summary"),
        corner("Fmax Summary", ("No paths to report", "", "aclk", "")),
    ],
)
def test_a_clock_that_quartus_does_not_give_is_an_error(text, tmp_path):
    with pytest.raises(SynthesisError, match="no fastest clock"):
        quartus.clock(compiled(tmp_path, sta=text) / "core.sta.rpt")


def quartus_at(folder, monkeypatch, body):
    stand_in(folder / "bin", "quartus_sh", body)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)


def test_quartus_is_run_and_a_missed_clock_is_told(monkeypatch, tmp_path):
    kept = compiled(tmp_path / "kept")
    quartus_at(tmp_path, monkeypatch, f'echo "$@" > arguments; mkdir out; cp {kept}/core.* out')
    design = design_in(tmp_path / "a design")
    found = quartus.synthesize(quartus.Config(), design, tmp_path / "scratch")
    assert (found.lut, found.ff, found.clock_mhz_routed) == (7654, 2635 - AROUND, 225.25)
    assert found.estimates["timing_met"] is True and found.estimates["lut_counts"] == "ALUT"
    assert (tmp_path / "scratch" / "arguments").read_text().split() == ["-t", "run.tcl"]
    script = (tmp_path / "scratch" / "run.tcl").read_text()
    assert f"VERILOG_FILE {{{design.rtl[0].resolve()}}}" in script and "-name FAMILY {Arria 10}" in script
    assert "VIRTUAL_PIN ON -to {vector[*]}" in script and "execute_flow -compile" in script
    fast = replace(design, clock_ns=2.0)
    assert quartus.synthesize(quartus.Config(), fast, tmp_path / "again").estimates["timing_met"] is False


@pytest.mark.parametrize(
    ("body", "problem"),
    [("echo 'Error: no license'; exit 3", "failed with status 3"), ("true", "wrote no report")],
)
def test_quartus_failing_is_an_error_and_an_old_report_is_not_read(body, problem, monkeypatch, tmp_path):
    compiled(tmp_path / "scratch" / "out")
    quartus_at(tmp_path, monkeypatch, body)
    with pytest.raises(SynthesisError, match=problem) as caught:
        quartus.synthesize(quartus.Config(), design_in(tmp_path / "design"), tmp_path / "scratch")
    assert caught.value.details["file"] and ("license" in str(caught.value) or "license" not in body)
