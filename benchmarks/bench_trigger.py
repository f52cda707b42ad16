"""An anomaly score in the trigger: the encoder of a variational autoencoder, placed and routed for Lattice ECP5.

Crossings are 25 ns apart. A pipeline that takes an event every cycle keeps up when its clock is 40 MHz or more; how
long an answer takes is another matter, and is cycles over clock. Cycles are measured in simulation, the clock is the
one that place and route found. For UltraScale+ there is no router here: its nanoseconds are those of the clock asked
for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from bench_cores import SEED, inputs
from bunchtrain.synth import circuit, rtl, rtlsim, verify
from bunchtrain.synth.backends import open_ecp5, open_xilinx
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.circuit import Circuit
from cores import INPUT, Anomaly, quantised
from marks import Mark, conclude, table

CROSSING_NS = 25.0

#: Delays that alkaid is told to keep between two registers: the shorter, the more stages.
STAGES_NS = (20.0, 10.0, 5.0, 2.5, 1.2)


def encoder() -> Anomaly:
    """Return the encoder: 27 inputs of 8 bits, 16 hidden, 4 latent numbers, and the sum of their clipped squares."""
    torch.manual_seed(SEED)
    return quantised(Anomaly(27), 0.75, weight_bits=6)


def measured(made: Circuit, student: Anomaly, clock_ns: float, folder: Path) -> tuple[rtl.Core, rtlsim.Measured, int]:
    """Return the core, what its simulation gave, and the number of wrong answers."""
    core = rtl.write(made, folder / "rtl", top="anomaly", clock_ns=clock_ns, part=open_xilinx.Config().part)
    codes = inputs(student)
    answers = made.result.codes(verify.exact_logits(student, codes * INPUT.step))
    simulator = rtlsim.Simulator(core, folder / "sim", len(codes))
    simulator.build()
    found = simulator.measure(codes, answers)
    return core, found, int((found.codes_VC != answers).any(1).sum()) + found.spaced_mismatches


def main() -> None:
    torch.set_num_threads(1)
    student = encoder()
    made = circuit.traced(student)
    rows, wrong = [], 0
    with tempfile.TemporaryDirectory(prefix="bench-trigger-") as name:
        for clock_ns in STAGES_NS:
            folder = Path(name) / f"{clock_ns:g}"
            core, found, mismatches = measured(made, student, clock_ns, folder)
            design = Design(core.top, core.files, folder, "tagger", clock_ns)
            ecp5 = open_ecp5.synthesize(open_ecp5.Config(), design, folder / "ecp5")
            xilinx = open_xilinx.synthesize(open_xilinx.Config(), design, folder / "xilinx")
            routed = ecp5.clock_mhz_routed or np.nan
            times = [f"{1000 * cycles / routed:.1f}" for cycles in (found.latency, found.interval)]
            row = [f"{clock_ns:g}", found.latency, found.interval, ecp5.lut, ecp5.ff, ecp5.dsp, f"{routed:.1f}", *times]
            rows.append([*row, xilinx.lut, xilinx.ff, xilinx.dsp, f"{found.latency * clock_ns:g}"])
            wrong += mismatches
            print(*rows[-1], flush=True)
    print()
    columns = ["ns asked", "cycles", "II", "LUT4", "FF", "DSP", "MHz routed", "latency ns", "an event every ns"]
    table([*columns, "LUT6 (xcup)", "FF", "DSP", "ns if the clock asked for were met"], rows)
    print(
        "ECP5: LFE5U-85F-8BG756C by nextpnr. UltraScale+: mapped by Yosys, not routed; no nanosecond of it is measured."
    )
    every = min(float(row[8]) for row in rows)
    marks = [Mark("mismatches", wrong, 0, at_least=False), Mark("interval", max(row[2] for row in rows), 1, False)]
    conclude([*marks, Mark("an_event_every_ns", every, CROSSING_NS, at_least=False)])


if __name__ == "__main__":
    main()
