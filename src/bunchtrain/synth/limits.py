"""Test vectors at which numbers inside a network saturate: jets and random codes hardly ever do it by one step.

A fault in a saturation shows only where a number lies at its limit. So for every number that is cut off an input is
looked for, by changing a few codes at a time, that brings it to its limit, one step below and one above.

S: search, C: child, V: vector, I: input, U: number inside the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.quantize import Relu, Rounded, Squared, declared
from bunchtrain.synth.students.base import Student

#: Searches at most: large networks have many numbers of one kind, and a part of them stands for all.
MOST = 768

_STEPS, _CHILDREN, _START = 64, 8, 512


#: Layers that cut numbers off.
Cutting = Rounded | Squared


@dataclass(frozen=True)
class Found:
    """What the search gave.

    Parameters
    ----------
    codes_VI : int64 [V, I]
        The inputs found, each once.
    reached, wanted : int
        Limits that some input reaches within half a step, and how many were looked for. Many limits cannot be reached:
        formats are rounded up to whole bits.
    """

    codes_VI: NDArray[np.int64]
    reached: int
    wanted: int


def search(student: Student, form: Fixed, seed: int) -> Found:
    """Return inputs that bring the numbers inside a quantised student to their limits; none if nothing is cut off."""
    generator = np.random.default_rng(seed)
    codes_VI = _start(student.inputs, form, generator)
    seen_VU, layers = cut(student, torch.from_numpy(codes_VI).float() * form.step)
    targets = _targets(layers)
    chosen = np.sort(generator.permutation(len(targets))[:MOST])
    unit_S, target_S, step_S = targets[chosen, 0].astype(np.int64), targets[chosen, 1], targets[chosen, 2]
    off_VS = np.abs(seen_VU[:, unit_S] - target_S)
    codes_SI, off_S = codes_VI[off_VS.argmin(0)], off_VS.min(0)
    every_S = np.arange(len(chosen))
    for _ in range(_STEPS if len(chosen) else 0):
        children_CSI = _mutated(codes_SI, form, generator)
        children_VI = torch.from_numpy(children_CSI.reshape(-1, student.inputs)).float() * form.step
        seen_VU, _ = cut(student, children_VI)
        seen_CSU = seen_VU.reshape(_CHILDREN, len(chosen), -1)
        off_CS = np.abs(seen_CSU[:, every_S, unit_S] - target_S)
        child_S = off_CS.argmin(0)
        better_S = off_CS[child_S, every_S] < off_S
        codes_SI = np.where(better_S[:, None], children_CSI[child_S, every_S], codes_SI)
        off_S = np.minimum(off_S, off_CS[child_S, every_S])
    at_S = targets[chosen, 3] == 0
    return Found(np.unique(codes_SI, axis=0), int((off_S <= step_S / 2)[at_S].sum()), int(at_S.sum()))


def _start(size: int, form: Fixed, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return random codes, every second row sparse."""
    low, high = form.code_range
    codes_VI = generator.integers(low, high + 1, (_START, size))
    codes_VI[1::2] *= generator.random((_START // 2, size)) < 1 / 2
    return codes_VI


def _mutated(codes_SI: NDArray[np.int64], form: Fixed, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return children [C, S, I], each with one to three other codes: half of them a little off, the others anything."""
    low, high = form.code_range
    codes_CSI = np.repeat(codes_SI[None], _CHILDREN, 0)
    shape = codes_CSI.shape[:2]
    child, parent = np.indices(shape)
    for number in range(3):
        place = generator.integers(0, codes_CSI.shape[2], shape)
        old = codes_CSI[child, parent, place]
        near = np.clip(old + generator.integers(-2, 3, shape), low, high)
        new = np.where(generator.random(shape) < 1 / 2, near, generator.integers(low, high + 1, shape))
        changed = (generator.random(shape) < 1 / 2) | (number == 0)
        codes_CSI[child, parent, place] = np.where(changed, new, old)
    return codes_CSI


def cut(student: Student, x_VI: Tensor) -> tuple[NDArray[np.float64], list[tuple[Cutting, int]]]:
    """Return every number before it is cut off, [V, U], and by which layers, with how many each."""
    parts: list[Tensor] = []
    layers: list[tuple[Cutting, int]] = []

    def keep(layer: Cutting, seen_VI: Tensor) -> None:
        values = seen_VI.square() if isinstance(layer, Squared) else seen_VI
        parts.append(values.reshape(len(values), -1))
        layers.append((layer, parts[-1].shape[1]))

    cutting = [layer for layer in student.modules() if isinstance(layer, Cutting)]
    student.watch(cutting, keep, x_VI)
    found = torch.cat(parts, 1) if parts else torch.zeros(len(x_VI), 0)
    return found.double().numpy(), layers


def _targets(layers: list[tuple[Cutting, int]]) -> NDArray[np.float64]:
    """Return a row for every search: which number, what it shall be, its format's step, and steps off the limit."""
    rows, start = [], 0
    for layer, size in layers:
        for limit, step in _limits(layer):
            rows += [(start + unit, limit + away * step, step, away) for unit in range(size) for away in (-1, 0, 1)]
        start += size
    return np.array(rows, np.float64).reshape(-1, 4)


def _limits(layer: Cutting) -> list[tuple[float, float]]:
    """Return the values at which a layer cuts off, with the step of the format there."""
    if isinstance(layer, Squared):
        return [(2.0**layer.log2_most, 2.0 ** (layer.log2_most - 6))]
    form = declared(layer.format)
    lowest = [] if isinstance(layer, Relu) else [(form.low, form.step)]
    return [(form.high, form.step), *lowest]
