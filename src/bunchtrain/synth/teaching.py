"""A campaign's student: built, taught by the tagger, and judged on the test jets."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.synth import inputs, verify
from bunchtrain.synth.material import Material
from bunchtrain.synth.student import train
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Layout, Student


def untrained(spec: SynthesizeSpec, classes: int) -> Student:
    """Return the student as it begins; the seed says how. Behind the classes comes its spread, if it has one."""
    outputs = classes + int(spec.settings.student.spread)
    layout = Layout(spec.settings.student.constituents, inputs.OF_CONSTITUENT, inputs.OF_JET)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return students.build(spec.network, layout, outputs)


def taught(spec: SynthesizeSpec, stuff: Material) -> tuple[Student, Student]:
    """Return the quantised student and its floating-point twin, trained on one thread: the same on every machine."""
    student = untrained(spec, len(stuff.classes))
    student.input_format = stuff.encoding.format
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        twin = train(student, stuff.lesson, spec.settings.student, spec.seed)
    finally:
        torch.set_num_threads(threads)
    return student.eval(), twin


def judged(stuff: Material, student: Student, twin: Student) -> dict[str, float]:
    """Return the AUC of tagger, floating-point twin and quantised student on the jets that it is judged by.

    Twin and student get the same inputs, the core's.
    """
    x_BI = stuff.encoding.values(stuff.test.codes_BI)
    logits: dict[str, NDArray[Any]] = {
        "teacher": stuff.test.teacher_BC,
        "float_student": verify.exact_logits(twin, x_BI),
        "quantised_student": verify.exact_logits(student, x_BI),
    }
    return verify.areas(stuff.task, stuff.test, logits)
