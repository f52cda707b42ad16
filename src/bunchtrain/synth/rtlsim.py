"""The RTL under Verilator: what it answers, and after how many clock edges.

The testbench is plain Verilog and goes into the IP core, so that any simulator can repeat what is claimed.

V: vector, I: input, C: class.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import streams, tools
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.vectors import read_words, to_codes

#: Largest distance of two inputs, in clock cycles, that is tried when the initiation interval is measured.
_LARGEST_INTERVAL = 4

#: Edges that the testbench waits for the last answer, beyond the stages that the core declares.
DRAIN_MARGIN = 8

_BUILD_SECONDS = 900
_RUN_SECONDS = 600

TESTBENCH = "testbench.v"


@dataclass(frozen=True)
class Measured:
    """What the simulation gave.

    Parameters
    ----------
    codes_VC : int64 [V, C]
        The answers, one row per vector, inputs following each other at the initiation interval.
    latency : int
        Clock cycles from the edge that takes a vector to the edge at which its answer can be taken.
    interval : int
        Smallest number of cycles between two inputs at which every answer is right.
    spaced_mismatches : int
        Wrong or missing answers when inputs come with pauses full of other data.
    """

    codes_VC: NDArray[np.int64]
    latency: int
    interval: int
    spaced_mismatches: int


def testbench(core: Core, vectors: int) -> str:
    """Return a self-checking Verilog testbench for `vectors` test vectors.

    It reads `inputs.hex` and `expected.hex`, gives a vector every `+gap=` cycles (inverted data in between, not
    marked valid), writes every cycle's output to `outputs.txt`, and ends with a line PASS or FAIL.
    """
    cycles = core.stages + DRAIN_MARGIN
    return f"""`timescale 1 ns / 1 ps

module testbench;

    localparam VECTORS = {vectors};
    localparam DRAIN = {cycles};

    reg aclk = 1'b0;
    reg aresetn = 1'b0;
    reg s_axis_tvalid = 1'b0;
    reg [{core.source.bits - 1}:0] s_axis_tdata;
    wire m_axis_tvalid;
    wire [{core.result.bits - 1}:0] m_axis_tdata;

    reg [{core.source.bits - 1}:0] inputs [0:VECTORS-1];
    reg [{core.result.bits - 1}:0] expected [0:VECTORS-1];

    integer gap, cycle, sent, seen, wrong, drained, file;

    {core.top} dut (
        .aclk(aclk),
        .aresetn(aresetn),
        .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tdata(s_axis_tdata),
        .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tdata(m_axis_tdata)
    );

    always #2 aclk = ~aclk;

    task step;
        begin
            @(negedge aclk);
            $fdisplay(file, "%b %h", m_axis_tvalid, m_axis_tdata);
            if (m_axis_tvalid) begin
                if (seen >= VECTORS || m_axis_tdata !== expected[seen]) wrong = wrong + 1;
                seen = seen + 1;
            end
        end
    endtask

    initial begin
        if (!$value$plusargs("gap=%d", gap)) gap = 1;
        $readmemh("inputs.hex", inputs);
        $readmemh("expected.hex", expected);
        file = $fopen("outputs.txt", "w");
        s_axis_tdata = inputs[0];
        repeat (DRAIN) @(negedge aclk);
        // A reset in the middle of a stream: nothing of it may come out.
        aresetn = 1'b1;
        s_axis_tvalid = 1'b1;
        repeat (DRAIN) @(negedge aclk);
        aresetn = 1'b0;
        s_axis_tvalid = 1'b0;
        @(negedge aclk);
        aresetn = 1'b1;
        seen = 0;
        wrong = 0;
        sent = 0;
        cycle = 0;
        drained = 0;
        while (drained < DRAIN) begin
            step;
            if (sent < VECTORS && cycle % gap == 0) begin
                s_axis_tvalid = 1'b1;
                s_axis_tdata = inputs[sent];
                sent = sent + 1;
            end else begin
                s_axis_tvalid = 1'b0;
                s_axis_tdata = ~s_axis_tdata;
                if (sent == VECTORS) drained = drained + 1;
            end
            cycle = cycle + 1;
        end
        $fclose(file);
        if (seen == VECTORS && wrong == 0) $display("PASS %0d vectors, 0 mismatches", VECTORS);
        else $display("FAIL %0d of %0d answers, %0d mismatches", seen, VECTORS, wrong);
        $finish;
    end

endmodule
"""


class Simulator:
    """The core and its testbench, compiled by Verilator.

    Parameters
    ----------
    core : Core
        The RTL.
    scratch : Path
        Where everything that is built goes.
    vectors : int
        Number of test vectors.
    name : str, optional
        What it is, for an error.
    """

    def __init__(self, core: Core, scratch: Path, vectors: int, name: str = "the RTL") -> None:
        self.core, self.scratch, self.vectors, self.name = core, scratch, vectors, name
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / TESTBENCH).write_text(testbench(core, vectors), encoding="utf-8")

    def build(self, stop: threading.Event | None = None) -> None:
        """Compile; fast to compile rather than fast to run.

        Verilator's makefiles fail on paths with spaces: it runs in a temporary folder with links to what it needs.
        """
        tools.find("make", needed_by="Verilator", mend="apt-get install make")
        tools.find("g++", needed_by="Verilator", mend="apt-get install g++")
        with plain_folder() as folder:
            root = folder / "verilator"
            root.symlink_to(verilator_root().resolve())
            names = [Path(self.scratch, TESTBENCH), *self.core.files]
            for path in names:
                (folder / path.name).symlink_to(path.resolve())
            self._verilate(root, folder, [path.name for path in names], stop)
            shutil.rmtree(self.scratch / "obj", ignore_errors=True)
            shutil.move(folder / "obj", self.scratch / "obj")

    def _verilate(self, root: Path, folder: Path, names: list[str], stop: threading.Event | None) -> None:
        command: list[str | Path] = [
            root / "bin" / "verilator_bin",
            *("--binary", "--timing", "-O3", "-j", "2", "-Wno-fatal", "-Wno-WIDTH"),
            *("--top-module", "testbench", "--Mdir", "obj", "-o", "simulate"),
            *("-CFLAGS", "-std=c++20 -fcoroutines"),
            *(
                "-MAKEFLAGS",
                "VM_PARALLEL_BUILDS=0 CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
            ),
            *names,
        ]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        tools.run(
            command,
            name="Verilator",
            cwd=folder,
            log=self.scratch / "verilator.log",
            timeout=_BUILD_SECONDS,
            environment={"VERILATOR_ROOT": str(root), "PATH": path},
            stop=stop,
        )

    def measure(self, inputs_VI: NDArray[np.int64], expected_VC: NDArray[np.int64]) -> Measured:
        """Drive the vectors through the core and find out how it answers.

        Raises
        ------
        SynthesisError
            If no spacing of the inputs gives the expected answers, if the valid bit disagrees with the data, or if the
            latency cannot be told.
        """
        streams.write(self.scratch, self.core, inputs_VI, expected_VC)
        for interval in range(1, _LARGEST_INTERVAL + 1):
            valid_T, codes_TC = self._run(interval)
            latencies = _latencies(codes_TC, expected_VC, interval)
            if latencies:
                break
        else:
            raise self._wrong(codes_TC, expected_VC)
        latency = self._one_latency(latencies, valid_T)
        spaced_valid_T, spaced_TC = self._run(interval + 2)
        answers_VC = codes_TC[latency::interval][: self.vectors]
        return Measured(answers_VC, latency, interval, _mismatches(spaced_TC[spaced_valid_T], expected_VC))

    def _run(self, gap: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return the valid bit [T] and the output codes [T, C] of every cycle from the first input on."""
        log = self.scratch / f"simulate{gap}.log"
        command: list[str | Path] = [self.scratch.resolve() / "obj" / "simulate", f"+gap={gap}"]
        tools.run(command, name="the RTL simulation", cwd=self.scratch, log=log, timeout=_RUN_SECONDS)
        lines = (self.scratch / "outputs.txt").read_text(encoding="ascii").split()
        valid = np.array([bit == "1" for bit in lines[0::2]])
        return valid, to_codes(read_words(lines[1::2]), self.core.result)

    def _one_latency(self, latencies: list[int], valid_T: NDArray[np.bool_]) -> int:
        if len(latencies) > 1:
            mend = "use more test vectors"
            raise SynthesisError("the latency cannot be told: answers repeat", found=latencies, mend=mend)
        rises = np.flatnonzero(valid_T)
        first = int(rises[0]) if len(rises) else -1
        if first != latencies[0] or len(rises) != self.vectors:
            raise SynthesisError(
                "the core's valid bit does not mark its answers",
                found=f"first valid answer after {first} cycles, {len(rises)} in all",
                expected=f"after {latencies[0]} cycles, {self.vectors} in all",
            )
        return latencies[0]

    def _wrong(self, codes_TC: NDArray[np.int64], expected_VC: NDArray[np.int64]) -> SynthesisError:
        stop = self.core.stages + self.vectors * _LARGEST_INTERVAL
        answers_VC = codes_TC[self.core.stages : stop : _LARGEST_INTERVAL]
        rows = min(len(answers_VC), len(expected_VC))
        different = np.flatnonzero((answers_VC[:rows] != expected_VC[:rows]).any(1))
        first = int(different[0]) if len(different) else rows
        return SynthesisError(
            f"{self.name} does not compute what the network computes",
            file=self.scratch,
            found=f"{len(different)} of {self.vectors} vectors differ; vector {first}: "
            f"{answers_VC[first].tolist() if first < rows else 'no answer'}",
            expected=f"{expected_VC[first].tolist() if first < len(expected_VC) else ''} at every vector",
        )


def _latencies(codes_TC: NDArray[np.int64], expected_VC: NDArray[np.int64], interval: int) -> list[int]:
    """Return the delays, in cycles, at which every answer is the expected one."""
    span = (len(expected_VC) - 1) * interval + 1
    delays = range(len(codes_TC) - span + 1)
    return [d for d in delays if np.array_equal(codes_TC[d : d + span : interval], expected_VC)]


def _mismatches(answers_VC: NDArray[np.int64], expected_VC: NDArray[np.int64]) -> int:
    rows = min(len(answers_VC), len(expected_VC))
    wrong = int((answers_VC[:rows] != expected_VC[:rows]).any(1).sum())
    return wrong + abs(len(answers_VC) - len(expected_VC))


def verilator_root() -> Path:
    """Return the folder of the Verilator that the Python package brings.

    Raises
    ------
    MissingDependency
        If the package is not installed.
    """
    return tools.package_folder("verilator", needed_by="the RTL simulation")


@contextlib.contextmanager
def plain_folder() -> Iterator[Path]:
    """Yield a new temporary folder whose path has no character that a shell or make would read; it goes in the end.

    Raises
    ------
    SynthesisError
        If no such folder can be made.
    """
    places = [Path(place).resolve() for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")]
    for place in places:
        if re.fullmatch(r"[\w./+-]+", str(place), re.ASCII) and os.access(place, os.W_OK | os.X_OK):
            with tempfile.TemporaryDirectory(prefix="bunchtrain-", dir=place) as folder:
                yield Path(folder)
            return
    raise SynthesisError(
        "there is no temporary folder that Verilator can build in",
        found=", ".join(map(str, places)),
        expected="a folder to write to, its path of letters, digits and ._+-/ alone",
        mend="set TMPDIR",
    )
