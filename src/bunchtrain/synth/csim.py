"""C++ projects of either converter, compiled and called from here."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bunchtrain.synth import tools

_COMPILE_SECONDS = 600

#: Arguments of compiled functions.
DOUBLES: Any = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
SIZE: Any = ctypes.c_size_t


class Simulation(Protocol):
    """What gives the answers of compiled C++ code, float64 [B, C], for values [B, I]."""

    def __call__(self, x_BI: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the answers."""


def function(library: Path, name: str, *arguments: Any) -> Callable[..., None]:
    """Return a function of a compiled library that gives nothing back."""
    found = getattr(ctypes.CDLL(str(library)), name)
    found.argtypes, found.restype = list(arguments), None
    called: Callable[..., None] = found
    return called


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
