"""FPGA benchmark: students of several widths through the whole open chain, on jets of its own.

No generator and no trained tagger are needed: jets with one or three prongs are drawn, a wide dense network is the
teacher. Prints a table, then one line per mark.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.errors import SynthesisError
from bunchtrain.events.features import Features, compute
from bunchtrain.synth import agreement, inputs, preflight, routes, rtl, rtlsim, verify
from bunchtrain.synth.backends import open_xilinx
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.material import Taught
from bunchtrain.synth.student import Lesson, train
from cores import dense

#: Widths of the students.
HIDDEN = [24, 16]

PART, CLOCK_NS, SEED, PARTICLES = open_xilinx.Config().part, 5.0, 1, 16
TRAINING_JETS, TEST_JETS = 10_000, 20_000
POINTS = [
    Settings(weight_bits=8, activation_bits=8, sparsity=0.5),
    Settings(),
    Settings(weight_bits=4, activation_bits=6),
]


@dataclass(frozen=True)
class Row:
    """What one student gave."""

    settings: Settings
    auc_float: float
    auc_quantised: float
    vectors: int
    mismatches: int
    latency: int
    interval: int
    lut: int
    ff: int
    dsp: int
    seconds: float


def draw(jets: int, seed: int) -> tuple[Features, np.ndarray]:
    """Return features of jets with one prong (class 0) or three (class 1), and their classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, jets)
    counts = np.clip(random.poisson(10 + 2 * labels), 3, PARTICLES)
    mask = np.arange(PARTICLES) < counts[:, None]
    prongs = random.normal(0, 1, (jets, 3, 2)) * np.where(labels, 0.25, 0.08)[:, None, None]
    which = random.choice(3, (jets, PARTICLES), p=[0.5, 0.3, 0.2])
    angles = np.take_along_axis(prongs, which[..., None], 1) + random.normal(0, 0.08, (jets, PARTICLES, 2))
    pt = np.sort(np.where(mask, random.exponential(40, (jets, PARTICLES)) + 1, 0), 1)[:, ::-1]
    eta, phi = angles[..., 0], angles[..., 1]
    p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1)
    whole = p4.sum(1)
    jet_pt = np.hypot(whole[:, 0], whole[:, 1])
    mass = np.sqrt(np.maximum(whole[:, 3] ** 2 - (whole[:, :3] ** 2).sum(1), 0))
    columns = [jet_pt, np.arcsinh(whole[:, 2] / jet_pt), np.arctan2(whole[:, 1], whole[:, 0]), mass]
    return compute(p4.astype(np.float32), mask, np.stack(columns, -1).astype(np.float32)), labels


def taught(jets: Any) -> torch.Tensor:
    """Return the logits of a wide network that learnt the classes of the training jets."""
    lesson, _ = lesson_of(jets, Settings(), torch.zeros(len(jets.labels), 2))
    torch.manual_seed(SEED)
    teacher = dense(lesson.x_BI.shape[1], [64, 32], 2)
    answers = train(teacher, lesson, Settings(distillation=0.0, epochs=10, sparsity=0.0), SEED)
    with torch.inference_mode():
        return answers(lesson.x_BI)


def area(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the AUC of class 1 against class 0."""
    score, ones = logits[:, 1] - logits[:, 0], np.ones(len(labels))
    signal, background = labels == 1, labels == 0
    return verify.auc(score[signal], score[background], ones[signal], ones[background])


def lesson_of(jets: Any, settings: Settings, teacher: torch.Tensor) -> tuple[Lesson, inputs.Encoding]:
    """Return what a student with these settings learns from, and how its inputs are encoded."""
    names = inputs.names(settings.constituents)
    quantities = inputs.quantities(jets.features, settings.constituents)
    encoding = inputs.Encoding.fit(quantities, names, settings.activation_bits)
    x = torch.from_numpy(encoding.values(encoding.codes(quantities))).float()
    labels = torch.from_numpy(jets.labels)
    return Lesson(x, teacher, labels, torch.ones(len(x)), inputs.angle_columns(names)), encoding


def measure(settings: Settings, train_jets: Any, test_jets: Any, teacher: torch.Tensor, folder: Path) -> Row:
    """Train one student and take it through C++, RTL, simulation and synthesis."""
    start = time.monotonic()
    lesson, encoding = lesson_of(train_jets, settings, teacher)
    torch.manual_seed(SEED)
    student = dense(len(encoding.names), HIDDEN, 2)
    student.input_format = encoding.format
    preflight.check_layers(student)
    twin = train(student, lesson, settings, SEED)
    preflight.check_precision(student.eval())

    seen = inputs.quantities(test_jets.features, settings.constituents)
    codes = encoding.codes(seen)
    jets = Taught(codes, test_jets.labels, np.ones(len(codes)), np.zeros((len(codes), 2), np.float32))
    made = routes.convert(student, {"kind": "dense"}, folder / "hls", part=PART, clock_ns=CLOCK_NS)
    cases = verify.make_vectors(student, encoding, jets, made.circuit.result, SEED)
    core = rtl.write(made.circuit, folder / "rtl", top="bench_tagger", clock_ns=CLOCK_NS, part=PART)
    simulation = made.simulation(folder / "hls", folder / "csim", 2)
    c_codes = made.circuit.result.codes(simulation(encoding.values(cases.inputs_VI)))
    simulator = rtlsim.Simulator(core, folder / "sim", len(cases.inputs_VI))
    simulator.build()
    measured = simulator.measure(cases.inputs_VI, cases.answers_VC)
    pairs = {
        ("torch", "c_simulation"): (cases.answers_VC, c_codes),
        ("torch", "rtl"): (cases.answers_VC, measured.codes_VC),
        ("c_simulation", "rtl"): (c_codes, measured.codes_VC),
    }
    wrong = sum(agreement.compare(names, *answers)["mismatches"] for names, answers in pairs.items())
    design = Design(core.top, core.files, folder / "hls", made.top, CLOCK_NS)
    found = open_xilinx.synthesize(open_xilinx.Config(), design, folder / "yosys")
    return Row(
        settings,
        area(verify.exact_logits(twin, encoding.values(codes)), test_jets.labels),
        area(measured.codes_VC[: cases.jets].astype(float), test_jets.labels),
        len(cases.inputs_VI),
        wrong + measured.spaced_mismatches,
        measured.latency,
        measured.interval,
        found.lut,
        found.ff,
        found.dsp,
        time.monotonic() - start,
    )


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text."""
    head = "weight act sparsity AUC-float AUC-built    loss vectors wrong cycles II   LUT    FF DSP seconds"
    lines = [head]
    for row in rows:
        s = row.settings
        lines.append(
            f"{s.weight_bits:6d} {s.activation_bits:3d} {s.sparsity:8.2f} {row.auc_float:9.4f} "
            f"{row.auc_quantised:9.4f} {row.auc_float - row.auc_quantised:7.4f} {row.vectors:7d} "
            f"{row.mismatches:5d} {row.latency:6d} {row.interval:2d} {row.lut:5d} {row.ff:5d} "
            f"{row.dsp:3d} {row.seconds:7.1f}"
        )
    return "\n".join(lines)


def marks(rows: list[Row]) -> list[tuple[str, float, str, bool]]:
    """Return name, value, bound and verdict of every mark."""
    vectors = min(row.vectors for row in rows)
    mismatches = sum(row.mismatches for row in rows)
    interval = max(row.interval for row in rows)
    at_most_8 = [row for row in rows if max(row.settings.weight_bits, row.settings.activation_bits) <= 8]
    loss = max(row.auc_float - row.auc_quantised for row in at_most_8)
    learnt = min(row.auc_float for row in rows)
    return [
        ("vectors", vectors, ">=20000", vectors >= 20_000),
        ("mismatches", mismatches, "0", mismatches == 0),
        ("initiation_interval", interval, "1", interval == 1),
        ("auc_float", round(learnt, 4), ">=0.8", learnt >= 0.8),
        ("auc_loss_at_most_8_bits", round(loss, 4), "<=0.005", loss <= 0.005),
    ]


def main() -> int:
    torch.set_num_threads(1)
    kinds = [
        SimpleNamespace(**dict(zip(("features", "labels"), draw(n, s), strict=True)))
        for n, s in ((TRAINING_JETS, 11), (TEST_JETS, 12))
    ]
    teacher = taught(kinds[0])
    try:
        with tempfile.TemporaryDirectory(prefix="bench-fpga-") as folder:
            rows = [measure(point, *kinds, teacher, Path(folder) / str(n)) for n, point in enumerate(POINTS)]
    except SynthesisError as error:
        print(f"{error}\nFAIL chain=0 mark=1")
        return 1
    print(table(rows))
    for row in rows:
        print(f"LUT at {row.settings.weight_bits}/{row.settings.activation_bits} bits: {row.lut}")
    verdicts = marks(rows)
    for name, value, bound, good in verdicts:
        print(f"{'PASS' if good else 'FAIL'} {name}={value:g} mark={bound}")
    return 0 if all(good for *_, good in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
