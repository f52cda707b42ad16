"""From a trained student to C++ and a circuit: by hls4ml where it can read the network, by alkaid alone where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bunchtrain.synth import circuit, hls
from bunchtrain.synth.circuit import Circuit
from bunchtrain.synth.csim import Simulation
from bunchtrain.synth.students import base as students
from bunchtrain.synth.students.base import Student
from bunchtrain.synth.students.dense import Network as Dense


@dataclass(frozen=True)
class Converted:
    """What a converter made.

    Parameters
    ----------
    route : str
        `hls4ml`: C++ by hls4ml, the circuit from its graph. `alkaid`: both from the network's own `forward`.
    circuit : Circuit
        What becomes RTL.
    top : str
        C++ function that an HLS compiler starts from.
    simulation : callable
        Compiles the C++ in a folder, with a scratch folder and the number of answers.
    """

    route: str
    circuit: Circuit
    top: str
    simulation: Callable[[Path, Path, int], Simulation]


def convert(student: Student, network: Mapping[str, Any], folder: Path, *, part: str, clock_ns: float) -> Converted:
    """Write the C++ project of a student of the kind `network` into `folder`, and return its circuit.

    Raises
    ------
    SynthesisError
        If a converter refuses the network, changes a format, or a number needs too many bits to be checked.
    MissingDependency
        If a converter is not installed.
    """
    route = students.route(network)
    if route == "hls4ml":
        graph = hls.project(hls.plan(cast(Dense, student)), folder, part=part, clock_ns=clock_ns)
        return Converted(route, hls.replayed(graph), hls.PROJECT, simulation(route))
    made = circuit.traced(student)
    circuit.project(made, folder, part=part, clock_ns=clock_ns)
    return Converted(route, made, circuit.TOP, simulation(route))


def simulation(route: str) -> Callable[[Path, Path, int], Simulation]:
    """Return what compiles the C++ of a route; see `Converted`."""
    return hls.CSimulation if route == "hls4ml" else circuit.CSimulation
