"""Test vectors: jets, extreme inputs, and how numbers stand on a bus.

V: vector, I: input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bunchtrain.synth.fixedpoint import Fixed

if TYPE_CHECKING:
    from bunchtrain.synth.ports import Port


#: Random vectors there are at least, of all kinds together.
RANDOM = 1024


def extremes(inputs: int, form: Fixed, seed: int, at_least: int = 0) -> NDArray[np.int64]:
    """Return codes that jets hardly reach, shape [V, I]: `corners`, then random ones, `at_least` in all."""
    fixed = corners(inputs, form)
    return np.concatenate([fixed, random_codes(max(RANDOM, at_least - len(fixed)), inputs, form, seed)])


def corners(inputs: int, form: Fixed) -> NDArray[np.int64]:
    """Return codes at which a mistake in a format shows, shape [V, I].

    All zero, all largest, all smallest, alternating signs both ways, one step around zero, every input alone at either
    end, and every input alone at zero among the largest.
    """
    low, high = form.code_range
    one = np.eye(inputs, dtype=np.int64)
    alternating = np.where(np.arange(inputs) % 2 == 0, low, high)
    rows = [
        np.zeros((1, inputs), np.int64),
        np.full((1, inputs), high),
        np.full((1, inputs), low),
        alternating[None],
        alternating[None, ::-1] if inputs % 2 == 0 else np.where(alternating == low, high, low)[None],
        np.full((1, inputs), 1),
        np.full((1, inputs), -1),
        one * high,
        one * low,
        (1 - one) * high,
    ]
    return np.concatenate(rows).astype(np.int64)


def random_codes(size: int, inputs: int, form: Fixed, seed: int) -> NDArray[np.int64]:
    """Return random codes, shape [V, I]: of any size, at the two ends, and sparse ones, a third each.

    Codes of any size saturate the sums of most networks. Where most inputs are zero the sums stay in the middle of
    their range, and their lowest bits show.
    """
    generator = np.random.default_rng(seed)
    low, high = form.code_range
    anywhere_VI = generator.integers(low, high + 1, (size, inputs))
    ends_VI = np.where(generator.integers(0, 2, (size, inputs)) == 0, low, high)
    sparse_VI = np.where(generator.random((size, inputs)) < 1 / 4, anywhere_VI, 0)
    kind_V1 = np.arange(size)[:, None] % 3
    return np.choose(kind_V1, [anywhere_VI, ends_VI, sparse_VI]).astype(np.int64)


def to_words(codes_VI: NDArray[np.int64], port: Port) -> list[str]:
    """Return each vector as the hexadecimal word that stands on the bus; input 0 has the lowest bits."""
    size = port.lane // 8
    lanes = (codes_VI & ((1 << port.lane) - 1)).astype("<u8")
    octets = lanes.view(np.uint8).reshape(*codes_VI.shape, 8)[..., :size].reshape(len(codes_VI), -1)
    return [row[::-1].tobytes().hex() for row in octets]


def read_words(words: Sequence[str]) -> NDArray[np.uint8]:
    """Return hexadecimal words as bytes [V, bytes], lowest first."""
    octets = np.frombuffer(bytes.fromhex("".join(words)), np.uint8)
    return octets.reshape(len(words), -1)[:, ::-1]


def to_codes(octets_VB: NDArray[np.uint8], port: Port) -> NDArray[np.int64]:
    """Return the signed codes that stand in the bytes of a bus, shape [V, size]."""
    size = port.lane // 8
    wide = np.zeros((len(octets_VB), port.size, 8), np.uint8)
    wide[..., :size] = octets_VB.reshape(len(octets_VB), port.size, size)
    raw = wide.reshape(len(octets_VB), -1).view("<i8").reshape(len(octets_VB), port.size)
    shift = 64 - port.lane
    return (raw << shift) >> shift
