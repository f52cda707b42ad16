"""C++ projects of either converter, compiled, and called in a process of their own.

The code may be that of a core which someone else made: it can crash or run for ever, and must not take us with it.

B: vector, I: input, C: answer.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bunchtrain.synth import tools

_COMPILE_SECONDS, _RUN_SECONDS = 600, 600

_DOUBLES: Any = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")

#: A function that takes all vectors at once, and their number.
BATCHED = "inference_f64"

_INPUTS, _ANSWERS = "inputs.npy", "answers.npy"


class Simulation(Protocol):
    """What gives the answers of compiled C++ code, float64 [B, C], for values [B, I]."""

    def __call__(self, x_BI: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the answers."""


def answers(library: Path, name: str, x_BI: NDArray[np.float64], outputs: int) -> NDArray[np.float64]:
    """Return what a compiled function answers, shape [B, C].

    Parameters
    ----------
    library : Path
        What `library` compiled; other files are written beside it.
    name : str
        The function: `BATCHED` takes all vectors at once, any other one vector at a time.
    x_BI : float64 [B, I]
        Inputs.
    outputs : int
        Numbers of one answer.

    Raises
    ------
    SynthesisError
        If the code crashes or takes too long.
    """
    folder = library.parent
    np.save(folder / _INPUTS, np.ascontiguousarray(x_BI, np.float64))
    command = [sys.executable, "-m", __name__, library.name, name, str(outputs)]
    log = folder / "csim.log"
    tools.run(command, name="the C simulation", cwd=folder, log=log, timeout=_RUN_SECONDS)
    found: NDArray[np.float64] = np.load(folder / _ANSWERS, allow_pickle=False)
    return found


def _call(library: str, name: str, outputs: str) -> None:
    """Call the function for the inputs in this folder, and leave its answers."""
    called, x_BI = getattr(ctypes.CDLL(str(Path(library).resolve())), name), np.load(_INPUTS, allow_pickle=False)
    answers_BC = np.zeros((len(x_BI), int(outputs)))
    called.restype = None
    if name == BATCHED:
        called.argtypes = [_DOUBLES, _DOUBLES, ctypes.c_size_t, ctypes.c_size_t]
        called(x_BI, answers_BC, len(x_BI), 1)
    else:
        called.argtypes = [_DOUBLES, _DOUBLES]
        for x_I, answer_C in zip(x_BI, answers_BC, strict=True):
            called(x_I, answer_C)
    np.save(_ANSWERS, answers_BC)


def library(
    folder: Path, sources: Sequence[Path], includes: Sequence[Path], defines: Mapping[str, str], scratch: Path
) -> Path:
    """Compile a project's sources, relative to its folder, under a new name in `scratch`; return where it is."""
    compiler = tools.find("g++", needed_by="the C simulation", mend="apt-get install g++")
    scratch.mkdir(parents=True, exist_ok=True)
    names = (scratch / f"csim{number}.so" for number in itertools.count())
    target = next(path for path in names if not path.exists()).resolve()
    command: list[str | Path] = [compiler, "-O1", "-fPIC", "-shared", "-std=c++17"]
    command += [f"-I{path.resolve()}" for path in includes]
    command += [f"-D{name}={value}" for name, value in defines.items()]
    command += [*sources, "-o", target]
    log = scratch / "g++.log"
    tools.run(command, name="g++ (C simulation)", cwd=folder, log=log, timeout=_COMPILE_SECONDS)
    return target


def text(path: Path) -> str:
    """Return a path as a string literal of C++."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    _call(*sys.argv[1:])
