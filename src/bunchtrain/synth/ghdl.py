"""The core's VHDL under GHDL, driven by a testbench in VHDL that goes into the core too."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunchtrain.synth import streams, tools
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.rtlsim import DRAIN_MARGIN, plain_folder

TESTBENCH = "testbench.vhd"

MEND = "apt-get install ghdl"

_SECONDS = 600

#: Distances of two inputs, in clock cycles: back to back, and with pauses full of other data.
_GAPS = (1, 3)


def testbench(core: Core) -> str:
    """Return a self-checking testbench in VHDL-2008.

    It reads `inputs.hex` and `expected.hex` to their ends, gives a vector every `GAP` cycles (inverted data in between,
    not marked valid), writes every cycle's output to `outputs.txt`, and ends with a line PASS or FAIL.
    """
    return f"""library ieee;
use ieee.std_logic_1164.all;
use std.textio.all;
use std.env.finish;

entity testbench is
    generic (GAP : positive := 1);
end entity testbench;

architecture run of testbench is
    constant DRAIN : positive := {core.stages + DRAIN_MARGIN};
    signal aclk : std_logic := '0';
    signal aresetn : std_logic := '0';
    signal s_axis_tvalid : std_logic := '0';
    signal s_axis_tdata : std_logic_vector({core.source.bits - 1} downto 0) := (others => '0');
    signal m_axis_tvalid : std_logic;
    signal m_axis_tdata : std_logic_vector({core.result.bits - 1} downto 0);
begin
    aclk <= not aclk after 2 ns;

    dut : entity work.{core.top}
        port map (
            aclk => aclk,
            aresetn => aresetn,
            s_axis_tvalid => s_axis_tvalid,
            s_axis_tdata => s_axis_tdata,
            m_axis_tvalid => m_axis_tvalid,
            m_axis_tdata => m_axis_tdata
        );

    drive : process
        file inputs : text open read_mode is "inputs.hex";
        file expected : text open read_mode is "expected.hex";
        file outputs : text open write_mode is "outputs.txt";
        variable row : line;
        variable given : std_logic_vector(s_axis_tdata'range);
        variable answer : std_logic_vector(m_axis_tdata'range);
        variable cycle, sent, seen, wrong, drained : natural := 0;

        procedure step is
        begin
            wait until falling_edge(aclk);
            write(row, to_string(std_logic_vector'(0 => m_axis_tvalid)) & " " & to_hstring(m_axis_tdata));
            writeline(outputs, row);
            if m_axis_tvalid = '1' then
                seen := seen + 1;
                if endfile(expected) then
                    wrong := wrong + 1;
                else
                    readline(expected, row);
                    hread(row, answer);
                    if answer /= m_axis_tdata then
                        wrong := wrong + 1;
                    end if;
                end if;
            end if;
        end procedure step;
    begin
        for edge in 1 to DRAIN loop
            wait until falling_edge(aclk);
        end loop;
        -- A reset in the middle of a stream: nothing of it may come out.
        aresetn <= '1';
        s_axis_tvalid <= '1';
        for edge in 1 to DRAIN loop
            wait until falling_edge(aclk);
        end loop;
        aresetn <= '0';
        s_axis_tvalid <= '0';
        wait until falling_edge(aclk);
        aresetn <= '1';
        while drained < DRAIN loop
            step;
            if cycle mod GAP = 0 and not endfile(inputs) then
                readline(inputs, row);
                hread(row, given);
                s_axis_tvalid <= '1';
                s_axis_tdata <= given;
                sent := sent + 1;
            else
                s_axis_tvalid <= '0';
                s_axis_tdata <= not s_axis_tdata;
                if endfile(inputs) then
                    drained := drained + 1;
                end if;
            end if;
            cycle := cycle + 1;
        end loop;
        if seen = sent and wrong = 0 then
            write(row, "PASS " & integer'image(sent) & " vectors, 0 mismatches");
        else
            write(row, "FAIL " & integer'image(seen) & " of " & integer'image(sent) & " answers, "
                & integer'image(wrong) & " mismatches");
        end if;
        writeline(output, row);
        finish;
    end process drive;
end architecture run;
"""


def simulate(
    core: Core,
    inputs_VI: NDArray[np.int64],
    expected_VC: NDArray[np.int64],
    latency: int,
    scratch: Path,
    stop: threading.Event | None = None,
) -> NDArray[np.int64]:
    """Drive vectors through the VHDL, back to back and with pauses; return its answers to the former.

    Raises
    ------
    SynthesisError
        If GHDL refuses it, if answers come at other cycles than after `latency`, or if pauses change an answer.
    MissingDependency
        If GHDL is not installed.
    """
    program = tools.find("ghdl", needed_by="the VHDL simulation", mend=MEND)
    scratch.mkdir(parents=True, exist_ok=True)
    with plain_folder() as folder:
        (folder / TESTBENCH).write_text(testbench(core), encoding="utf-8")
        streams.write(folder, core, inputs_VI, expected_VC)
        names = [path.name for path in core.vhdl]
        for path in core.vhdl:
            (folder / path.name).symlink_to(path.resolve())
        reading: list[str | Path] = [program, "-i", "--std=08", *names, TESTBENCH]
        _ghdl(reading, folder, scratch / "ghdl-read.log", stop)
        making: list[str | Path] = [program, "-m", "--std=08", "testbench"]
        _ghdl(making, folder, scratch / "ghdl-make.log", stop)
        found = []
        for gap in _GAPS:
            # The first cycles have numbers that no one has given yet: the library would warn of each.
            command: list[str | Path] = [
                program,
                "-r",
                "--std=08",
                "testbench",
                f"-gGAP={gap}",
                "--ieee-asserts=disable",
            ]
            _ghdl(command, folder, scratch / f"ghdl-run{gap}.log", stop)
            shutil.copy(folder / "outputs.txt", scratch / f"outputs{gap}.txt")
            found.append(streams.answers(folder / "outputs.txt", core, len(inputs_VI), latency, gap, "vhdl"))
    streams.demand_equal(found, expected_VC, "vhdl")
    return found[0]


def _ghdl(command: Sequence[str | Path], folder: Path, log: Path, stop: threading.Event | None) -> None:
    tools.run(command, name="GHDL", cwd=folder, log=log, timeout=_SECONDS, stop=stop)
