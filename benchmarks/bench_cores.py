"""Cores of every kind of network that must become one: network, C++ and RTL on 20 000 vectors each, and what they cost.

Weights are random: a proof does not care what a network knows. Icarus, GHDL and the netlist get a part of the vectors,
as in a campaign.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bunchtrain.synth import independent, limits, netlist, pipeline, preflight, routes, rtl, rtlsim, vectors, verify
from bunchtrain.synth.backends import open_xilinx
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout, Student
from cores import INPUT, Anomaly, dense, quantised
from marks import Mark, conclude, table

VECTORS, SEED, CLOCK_NS, PART = 20_000, 1, 5.0, open_xilinx.Config().part
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
    at_limits = limits.search(student, INPUT, SEED).codes_VI
    return np.concatenate([at_limits, vectors.extremes(student.inputs, INPUT, SEED), like_jets, any_size])


def measure(name: str, student: Student, kind: str, folder: Path) -> tuple[list[Any], int]:
    """Take a network through the whole chain; return its row and its mismatches."""
    start = time.monotonic()
    preflight.check_layers(student)
    preflight.check_precision(student)
    made = routes.convert(student, {"kind": kind}, folder / "hls", part=PART, clock_ns=CLOCK_NS)
    codes = inputs(student)
    values = codes * INPUT.step
    answers = made.circuit.result.codes(verify.exact_logits(student, values))
    simulation = made.simulation(folder / "hls", folder / "csim", answers.shape[1])
    in_c = made.circuit.result.codes(simulation(values))
    vhdl = folder / "vhdl"
    core = rtl.write(made.circuit, folder / "rtl", top="bench_core", clock_ns=CLOCK_NS, part=PART, vhdl_folder=vhdl)
    simulator = rtlsim.Simulator(core, folder / "sim", len(codes))
    simulator.build()
    measured = simulator.measure(codes, answers)
    wrong = int((in_c != answers).any(1).sum()) + int((measured.codes_VC != answers).any(1).sum())
    wrong += measured.spaced_mismatches
    design = Design(core.top, core.files, folder / "hls", made.top, CLOCK_NS)
    found = open_xilinx.synthesize(open_xilinx.Config(), design, folder / "yosys")
    others = independent.prove(core, codes, answers, measured.latency, folder / "independent")
    mapped = netlist.prove(core, found, (codes, answers), folder / "netlist")
    wrong += sum(row["mismatches"] for row in (*others, *mapped.rows))
    products, guess = sum(student.products().values()), pipeline.estimate(made.circuit, clock_ns=CLOCK_NS)
    row = [name, made.route, products, len(codes), wrong, measured.latency, measured.interval]
    row += [found.lut, guess.lut, found.ff, guess.ff, found.dsp, guess.dsp, f"{guess.seconds:.2f}"]
    return [*row, mapped.remark, f"{time.monotonic() - start:.0f}"], wrong


def main() -> None:
    torch.set_num_threads(1)
    rows, wrong, intervals = [], 0, []
    with tempfile.TemporaryDirectory(prefix="bench-cores-") as folder:
        for number, (name, (student, kind)) in enumerate(networks().items()):
            row, mismatches = measure(name, student, kind, Path(folder) / str(number))
            print(*row, flush=True)
            rows.append(row)
            wrong += mismatches
            intervals.append(row[6])
    print()
    columns = ["network", "route", "products", "vectors", "wrong", "cycles", "II"]
    table([*columns, "LUT", "estimated", "FF", "estimated", "DSP", "estimated", "in s", "netlist", "seconds"], rows)
    for name, real in (("LUT", 7), ("FF", 9)):
        errors = [abs(row[real + 1] / row[real] - 1) for row in rows]
        print(f"error of the {name} estimated: {np.mean(errors):.0%} in the mean, {max(errors):.0%} at worst")
    marks = [Mark("mismatches", wrong, 0, at_least=False), Mark("interval", max(intervals), 1, at_least=False)]
    conclude([*marks, Mark("vectors", min(row[3] for row in rows), VECTORS)])


if __name__ == "__main__":
    main()
