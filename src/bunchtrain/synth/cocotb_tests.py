"""Tests of the core's stream with cocotb: answers, their order, number and latency, pauses, and a reset in between.

This file stands by itself. In a core it is `sim/test_core.py`: `python test_core.py` runs it with Icarus, or with the
simulator that the variable SIM names. It reads `core.json`, `inputs.hex` and `expected.hex` beside it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

FOLDER = Path(__file__).resolve().parent
SEED = int(os.environ.get("SEED", "1"))
MARGIN = 8


def words(name: str) -> list[int]:
    """Return the words of a file, one a line."""
    return [int(word, 16) for word in (FOLDER / name).read_text(encoding="ascii").split()]


class Stream:
    """The core, driven and looked at on falling edges; it works on rising ones."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.cycle = dut, 0
        self.latency = int(json.loads((FOLDER / "core.json").read_text(encoding="utf-8"))["latency_cycles"])
        self.random = random.Random(SEED)
        self.given: list[int] = []
        self.seen: list[tuple[int, str]] = []

    async def start(self) -> None:
        """Start the clock and hold the reset until the pipeline has forgotten everything."""
        self.dut.aresetn.value = 0
        self.dut.s_axis_tvalid.value = 0
        self.dut.s_axis_tdata.value = 0
        Clock(self.dut.aclk, 4, unit="ns").start(start_high=False)
        for _ in range(self.latency + MARGIN):
            await FallingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1

    async def step(self, word: int | None = None) -> None:
        """Look at the output of one cycle, then give a word, or garbage that is not marked valid."""
        await FallingEdge(self.dut.aclk)
        valid = str(self.dut.m_axis_tvalid.value)
        assert valid in ("0", "1"), f"cycle {self.cycle}: m_axis_tvalid is {valid}"
        if valid == "1":
            self.seen.append((self.cycle, str(self.dut.m_axis_tdata.value)))
        self.dut.s_axis_tvalid.value = word is not None
        self.dut.s_axis_tdata.value = self.garbage() if word is None else word
        if word is not None:
            self.given.append(self.cycle)
        self.cycle += 1

    def garbage(self) -> int:
        """Return bits that mean nothing."""
        return self.random.getrandbits(len(self.dut.s_axis_tdata))

    async def drain(self) -> None:
        """Wait until every answer must have come."""
        for _ in range(self.latency + MARGIN):
            await self.step()

    async def give(self, vectors: Iterable[int]) -> None:
        """Give vectors at every cycle."""
        for word in vectors:
            await self.step(word)

    def check(self, expected: list[int]) -> None:
        """Demand one answer for every vector, the right one, in order, and after the latency."""
        assert len(self.seen) == len(self.given), f"{len(self.seen)} answers to {len(self.given)} vectors"
        for number, (given, (cycle, bits)) in enumerate(zip(self.given, self.seen, strict=True)):
            assert cycle - given == self.latency, f"vector {number}: {cycle - given} cycles, not {self.latency}"
            assert bits == format(expected[number], f"0{len(bits)}b"), f"vector {number}: {bits} is not the answer"

    def write(self, name: str) -> None:
        """Write the answers, one word a line, as `expected.hex` has them."""
        width = len(self.dut.m_axis_tdata) // 4
        lines = [
            format(int(bits, 2), f"0{width}x") if set(bits) <= {"0", "1"} else "x" * width for _, bits in self.seen
        ]
        Path(name).write_text("\n".join(lines) + "\n", encoding="ascii")


@cocotb.test()
async def back_to_back(dut: Any) -> None:
    """A vector at every cycle."""
    stream = Stream(dut)
    await stream.start()
    await stream.give(words("inputs.hex"))
    await stream.drain()
    stream.write("answers.hex")
    stream.check(words("expected.hex"))


@cocotb.test()
async def with_pauses(dut: Any) -> None:
    """Vectors with random pauses full of garbage between them."""
    stream = Stream(dut)
    await stream.start()
    for word in words("inputs.hex"):
        while stream.random.random() < 0.3:
            await stream.step()
        await stream.step(word)
    await stream.drain()
    stream.check(words("expected.hex"))


@cocotb.test()
async def reset_in_between(dut: Any) -> None:
    """A reset while vectors are on their way: none of their answers may be marked, and the next ones are right."""
    stream, inputs, expected = Stream(dut), words("inputs.hex"), words("expected.hex")
    await stream.start()
    for length in (1, stream.random.randint(2, 2 * stream.latency)):
        some = [stream.random.randrange(len(inputs)) for _ in range(2 * stream.latency + 1)]
        await stream.give(inputs[number] for number in some)
        dut.aresetn.value = 0
        for _ in range(length - 1):  # what is given during a reset is lost
            await stream.step(stream.garbage())
        await FallingEdge(dut.aclk)
        dut.aresetn.value = 1
        dut.s_axis_tvalid.value = 0
        stream.given, stream.seen = [], []
        await stream.drain()
        assert not stream.seen, f"{len(stream.seen)} stale answers are marked valid after a reset of {length} cycles"
        await stream.give(inputs[number] for number in some)
        await stream.drain()
        stream.check([expected[number] for number in some])


def main() -> None:
    """Compile the core beside this file and run the tests on it."""
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    top = json.loads((FOLDER / "core.json").read_text(encoding="utf-8"))["top"]
    runner = get_runner(os.environ.get("SIM", "icarus"))
    build = FOLDER / "build"
    sources = sorted((FOLDER.parent / "rtl").glob("*.v"))
    runner.build(sources=sources, hdl_toplevel=top, build_dir=build, timescale=("1ns", "1ps"))
    results = runner.test(hdl_toplevel=top, test_module="test_core", build_dir=build, test_dir=FOLDER)
    tests, failed = get_results(results)
    print(f"{'FAIL' if failed else 'PASS'} {tests} tests, {failed} failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
