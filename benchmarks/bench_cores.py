"""Cores of every kind of network that must become one: network, C++ and RTL on 20 000 vectors each, and what they cost.

Weights are random: a proof does not care what a network knows. Then single bits of the constants in the RTL of a small
core are flipped, and how many of these faults the proof finds is counted.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bunchtrain.errors import SynthesisError
from bunchtrain.synth import circuit, preflight, routes, rtl, rtlsim, vectors, verify
from bunchtrain.synth.backends import open_xilinx
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout, Student
from cores import INPUT, Anomaly, dense, quantised
from marks import Mark, conclude, table

VECTORS, SEED, CLOCK_NS, PART = 20_000, 1, 5.0, open_xilinx.Config().part
#: Share of the faults that must be found, a little less than was seen: how many of the others have no effect, such as
#: the sign of a number that is never negative, is not known.
FOUND = 0.7
MUTATIONS = int(os.environ.get("BUNCHTRAIN_BENCH_MUTATIONS", "50"))
#: Eight constituents of three numbers, and three of the jet.
JET = Layout(8, 3, 3)


def networks() -> dict[str, tuple[nn.Module, str]]:
    """Return the networks by name, with the kind whose route they take."""
    torch.manual_seed(SEED)
    made: dict[str, tuple[Student, str]] = {
        "dense 16-64-32-32-5": (dense(16, [64, 32, 32], 5), "dense"),
        "VAE encoder, clipped KL": (Anomaly(JET.inputs), "deepsets"),
        "surrogate 10-32-32-40": (dense(10, [32, 32], 40), "dense"),
        "mean and spread 27-16-2": (dense(27, [16], 2), "dense"),
    }
    for kind in ("deepsets", "interaction", "jedi_linear"):
        made[kind] = (students.build({"kind": kind}, JET, 5), kind)
    return {name: (quantised(network, 0.75, weight_bits=6), kind) for name, (network, kind) in made.items()}


def inputs(student: Student) -> np.ndarray:
    """Return codes: extremes, codes as jets have them, and codes of any size."""
    generator = np.random.default_rng(SEED)
    low, high = INPUT.code_range
    like_jets = INPUT.codes(generator.normal(0, 1, (VECTORS // 2, student.inputs)))
    any_size = generator.integers(low, high + 1, (VECTORS // 2, student.inputs))
    return np.concatenate([vectors.extremes(student.inputs, INPUT, SEED), like_jets, any_size])


def measure(name: str, student: Student, kind: str, folder: Path) -> tuple[list[object], int, rtl.Core, Any]:
    """Take a network through the whole chain; return its row, mismatches, core and vectors."""
    start = time.monotonic()
    preflight.check_layers(student)
    preflight.check_precision(student)
    made = routes.convert(student, {"kind": kind}, folder / "hls", part=PART, clock_ns=CLOCK_NS)
    codes = inputs(student)
    values = codes * INPUT.step
    answers = made.circuit.result.codes(verify.exact_logits(student, values))
    simulation = made.simulation(folder / "hls", folder / "csim", answers.shape[1])
    in_c = made.circuit.result.codes(simulation(values))
    core = rtl.write(made.circuit, folder / "rtl", top="bench_core", clock_ns=CLOCK_NS, part=PART)
    simulator = rtlsim.Simulator(core, folder / "sim", len(codes))
    simulator.build()
    measured = simulator.measure(codes, answers)
    wrong = int((in_c != answers).any(1).sum()) + int((measured.codes_VC != answers).any(1).sum())
    wrong += measured.spaced_mismatches
    design = Design(core.top, core.files, folder / "hls", made.top, CLOCK_NS)
    found = open_xilinx.synthesize(open_xilinx.Config(), design, folder / "yosys")
    products, cost = sum(student.products().values()), f"{core.adders:.0f}"
    row = [name, made.route, products, len(codes), wrong, measured.latency, measured.interval]
    row += [found.lut, cost, found.ff, found.dsp, f"{time.monotonic() - start:.0f}"]
    return row, wrong, core, (codes, answers)


def faults(text: str, parameters: dict[str, list[str]]) -> list[tuple[int, int, str]]:
    """Return where a bit of a constant can be flipped, with what then stands there.

    Constants are literals, shifts, and whether a number is signed or subtracted; with them stand the weights. Widths
    are left out: a wider wire computes the same.
    """
    found = []
    for literal in re.finditer(r"(?<='b)[01]+", text):
        for place in range(*literal.span()):
            found.append((place, place + 1, "10"[int(text[place])]))
    for instance in re.finditer(r"(\w+) #\(([-\d,]+)\)", text):
        for name, one in zip(parameters[instance[1]], re.finditer(r"-?\d+", instance[2]), strict=True):
            bits = 3 if name.startswith("SHIFT") else int(name.startswith(("SIGNED", "IS_")))
            start = instance.start(2) + one.start()
            found += [(start, start + len(one[0]), str(int(one[0]) ^ (1 << bit))) for bit in range(bits)]
    return found


def mutated(core: rtl.Core, folder: Path, chance: random.Random) -> rtl.Core:
    """Write a core in which one bit of one constant of its arithmetic is another."""
    folder.mkdir(parents=True)
    texts = {path: path.read_text() for path in core.files}
    names = {path.stem: re.findall(r"parameter (\w+)", text) for path, text in texts.items()}
    places = [(path, one) for path, text in texts.items() for one in faults(text, names)]
    path, (start, end, other) = chance.choice(places)
    texts[path] = texts[path][:start] + other + texts[path][end:]
    for one, text in texts.items():
        (folder / one.name).write_text(text)
    return replace(core, files=[folder / one.name for one in core.files])


def difference(core: rtl.Core, wrong: rtl.Core) -> list[str]:
    """Return the lines of a core that differ in another."""
    pairs = zip(core.files, wrong.files, strict=True)
    lines = (zip(a.read_text().splitlines(), b.read_text().splitlines(), strict=True) for a, b in pairs)
    return [f"{one.strip()}\n  {other.strip()}" for some in lines for one, other in some if one != other]


def detected(core: rtl.Core, folder: Path, codes: np.ndarray, answers: np.ndarray) -> bool:
    """Return whether the proof of a core fails."""
    try:
        simulator = rtlsim.Simulator(core, folder, len(codes))
        simulator.build()
        return simulator.measure(codes, answers).spaced_mismatches > 0
    except SynthesisError:
        return True


def mutations(folder: Path) -> tuple[int, int]:
    """Return how many of the faults were found, of how many."""
    torch.manual_seed(SEED)
    student = quantised(students.build({"kind": "deepsets", "each": [3], "hidden": [3]}, Layout(2, 3, 1), 2), 0.2)
    made = circuit.traced(student)
    core = rtl.write(made, folder / "rtl", top="bench_core", clock_ns=CLOCK_NS, part=PART)
    codes = inputs(student)
    answers = made.result.codes(verify.exact_logits(student, codes * INPUT.step))
    if detected(core, folder / "sound", codes, answers):
        raise SystemExit("FAIL the core without a fault is not proven")
    chance, found = random.Random(SEED), 0
    for number in range(MUTATIONS):
        wrong = mutated(core, folder / f"{number}/rtl", chance)
        seen = detected(wrong, folder / f"{number}/sim", codes, answers)
        found += seen
        if not seen:
            print("not found:", *difference(core, wrong), sep="\n  ", flush=True)
    return found, MUTATIONS


def main() -> None:
    torch.set_num_threads(1)
    rows, wrong, intervals = [], 0, []
    with tempfile.TemporaryDirectory(prefix="bench-cores-") as folder:
        for number, (name, (student, kind)) in enumerate(networks().items()):
            row, mismatches, *_ = measure(name, student, kind, Path(folder) / str(number))
            print(*row, flush=True)
            rows.append(row)
            wrong += mismatches
            intervals.append(row[6])
        found, of = mutations(Path(folder) / "mutations")
    print()
    columns = ["network", "route", "products", "vectors", "wrong", "cycles", "II"]
    table([*columns, "LUT", "LUT estimated", "FF", "DSP", "seconds"], rows)
    errors = [abs(float(row[8]) / row[7] - 1) for row in rows]
    print(f"error of the estimate before synthesis: {np.mean(errors):.0%} in the mean, {max(errors):.0%} at worst")
    print(f"faults found: {found} of {of} single bits flipped in constants of the RTL")
    marks = [Mark("mismatches", wrong, 0, at_least=False), Mark("interval", max(intervals), 1, at_least=False)]
    conclude([*marks, Mark("vectors", min(row[3] for row in rows), VECTORS), Mark("found", found / max(of, 1), FOUND)])


if __name__ == "__main__":
    main()
