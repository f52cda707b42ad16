"""Vectors for a simulator and the answers it gave, cycle by cycle, as the testbenches write them.

V: vector, I: input, C: class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError
from bunchtrain.synth.rtl import Core
from bunchtrain.synth.vectors import read_words, to_codes, to_words

#: Vectors that the slower simulators get.
MOST = 300


def chosen(vectors: int, most: int = MOST) -> NDArray[np.int64]:
    """Return which of the vectors the slower simulators get: the first, the last, and others evenly between them.

    Jets come first and extremes last, so that both are among them in the shares that they have.
    """
    return np.unique(np.linspace(0, vectors - 1, min(most, vectors)).round().astype(np.int64))


def write(folder: Path, core: Core, inputs_VI: NDArray[np.int64], expected_VC: NDArray[np.int64]) -> None:
    """Write `inputs.hex` and `expected.hex`, one word a line; bits of a lane above a number's width are anything."""
    above = np.random.default_rng(0).integers(0, 1 << 16, inputs_VI.shape) << core.source.form.width
    given_VI = (inputs_VI & ((1 << core.source.form.width) - 1)) | above
    for name, port, codes in (("inputs", core.source, given_VI), ("expected", core.result, expected_VC)):
        (folder / f"{name}.hex").write_text("\n".join(to_words(codes, port)) + "\n", encoding="ascii")


def answers(path: Path, core: Core, vectors: int, latency: int, gap: int, name: str) -> NDArray[np.int64]:
    """Return the answers that a testbench's `outputs.txt` marks as valid, shape [V, C].

    Parameters
    ----------
    path : Path
        Every line the valid bit and the output of one cycle, from the first input on.
    core : Core
    vectors, latency, gap : int
        Answers must come `gap` cycles apart, the first after `latency`, one for each vector.
    name : str
        The simulated thing, for an error.

    Raises
    ------
    SynthesisError
        If the valid bit marks other cycles, or bits of an answer are unknown.
    """
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    cycles = [cycle for cycle, row in enumerate(rows) if row[0] != "0"]
    if cycles != list(range(latency, latency + vectors * gap, gap)):
        raise SynthesisError(
            f"{name}: the valid bit does not mark the answers",
            found=f"{len(cycles)} in all, the first after {cycles[0] if cycles else -1} cycles",
            expected=f"{vectors} in all, the first after {latency} cycles, a new one every {gap}",
        )
    return codes([rows[cycle][-1] for cycle in cycles], core, name)


def codes(words: list[str], core: Core, name: str) -> NDArray[np.int64]:
    """Return hexadecimal words of answers as codes [V, C].

    Raises
    ------
    SynthesisError
        If a word has unknown bits.
    """
    for place, word in enumerate(words):
        if set(word.lower()) - set("0123456789abcdef"):
            raise SynthesisError(f"{name}: an answer has unknown bits", key=f"vector {place}", found=word)
    return to_codes(read_words(words), core.result)


def demand_equal(found: list[NDArray[np.int64]], expected_VC: NDArray[np.int64], name: str) -> None:
    """Refuse answers that are right back to back but not with pauses.

    Raises
    ------
    SynthesisError
        If they are.
    """
    first, *others = found
    for other in others:
        wrong = int((other != expected_VC).any(1).sum())
        if wrong and np.array_equal(first, expected_VC):
            problem = f"{name}: pauses between the inputs disturb the core"
            raise SynthesisError(problem, found=f"{wrong} wrong answers")
