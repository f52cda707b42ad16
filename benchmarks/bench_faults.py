"""Faults: single bits flipped in the constants of a small core's RTL, and how many of them its proof finds.

Some faults change nothing, such as the sign of a number that is never negative. ABC's equivalence check says which: it
looks for inputs on which the two circuits differ, among all that there are.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench_cores import CLOCK_NS, PART, SEED, inputs
from bunchtrain.errors import SynthesisError
from bunchtrain.synth import circuit, rtl, rtlsim, verify
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout
from cores import INPUT, quantised
from marks import Mark, conclude

MUTATIONS = int(os.environ.get("BUNCHTRAIN_BENCH_MUTATIONS", "60"))

#: Seconds that the solver may take over one fault.
PATIENCE = 60

#: A wire in the place of a register, for Yosys.
WIRED = """(* techmap_celltype = "$dff" *)
module wired #(parameter WIDTH = 1, parameter CLK_POLARITY = 1) (input CLK, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
    assign Q = D;
endmodule
"""


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


def gates(core: rtl.Core, folder: Path, name: str) -> Path:
    """Write a core without its registers as a graph of AND gates.

    Cores are pipelines without feedback: with wires in place of their registers they compute the same.
    """
    reading = "".join(f'read_verilog "{path}"\n' for path in core.files)
    graph = folder / f"{name}.aig"
    (folder / "wired.v").write_text(WIRED)
    (folder / f"{name}.ys").write_text(
        f"{reading}prep -flatten -top {core.top}\ntechmap -map {folder / 'wired.v'}\nopt -full\ntechmap\nopt\n"
        f"aigmap\nwrite_aiger {graph}\n"
    )
    subprocess.run(["yosys", "-q", "-s", str(folder / f"{name}.ys")], capture_output=True, check=True)
    return graph


def differ(core: rtl.Core, wrong: rtl.Core, folder: Path) -> bool | None:
    """Return whether there are inputs on which two cores differ; None where the solver does not come to an end."""
    pair = f"{gates(core, folder, 'sound')} {gates(wrong, folder, 'mutated')}"
    command = ["yosys-abc", "-q", f"cec -n -T {PATIENCE} {pair}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "NOT EQUIVALENT" in said:
        return True
    if "Networks are equivalent" in said:
        return False
    if "UNDECIDED" in said:
        return None
    raise SystemExit(f"FAIL the solver: {said}")


def mutations(folder: Path) -> dict[str, int]:
    """Return how many faults there are of each fate."""
    torch.manual_seed(SEED)
    student = quantised(students.build({"kind": "deepsets", "each": [3], "hidden": [3]}, Layout(2, 3, 1), 2), 0.2)
    made = circuit.traced(student)
    core = rtl.write(made, folder / "rtl", top="bench_core", clock_ns=CLOCK_NS, part=PART)
    codes = inputs(student)
    answers = made.result.codes(verify.exact_logits(student, codes * INPUT.step))
    if detected(core, folder / "sound", codes, answers):
        raise SystemExit("FAIL the core without a fault is not proven")
    chance = random.Random(SEED)
    fates = dict.fromkeys(("found", "missed", "without effect", "not decided"), 0)
    for number in range(MUTATIONS):
        wrong = mutated(core, folder / f"{number}/rtl", chance)
        if detected(wrong, folder / f"{number}/sim", codes, answers):
            fate = "found"
        else:
            fate = {True: "missed", False: "without effect", None: "not decided"}[differ(core, wrong, folder)]
            print(f"{fate}:", *difference(core, wrong), sep="\n  ", flush=True)
        fates[fate] += 1
    return fates


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as folder:
        fates = mutations(Path(folder))
    print(f"of {MUTATIONS} single bits: {', '.join(f'{count} {fate}' for fate, count in fates.items())}")
    effective = MUTATIONS - fates["without effect"]
    conclude(
        [Mark("found_of_those_with_effect", fates["found"] / max(effective, 1), 0.95), Mark("bits", MUTATIONS, 50)]
    )


if __name__ == "__main__":
    main()
