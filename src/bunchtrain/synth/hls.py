"""The HLS project (C++, hls4ml) of a quantised network, and its C simulation.

B: batch, I: input, C: class.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bunchtrain.errors import MissingDependency, SynthesisError
from bunchtrain.synth import csim
from bunchtrain.synth.circuit import Circuit, too_wide
from bunchtrain.synth.fixedpoint import EXACT_BITS, Fixed
from bunchtrain.synth.quantize import Dense, Relu
from bunchtrain.synth.students.dense import Network
from bunchtrain.synth.wires import Wires, cast, product, symbols

#: Name of the project and of its C++ function.
PROJECT = "tagger"


@dataclass(frozen=True)
class Plan:
    """The network as plain layers with exact numbers, and the format on every wire.

    Parameters
    ----------
    layers : OrderedDict of nn.Module
        `nn.Linear` and `nn.ReLU` by name.
    precisions : dict
        Per layer the format of `result`, and for dense layers of `weight`, `bias` and `accum` too.
    source, result : Fixed
        Formats of the network's inputs and outputs.
    """

    layers: OrderedDict[str, nn.Module]
    precisions: dict[str, dict[str, Fixed]]
    source: Fixed
    result: Fixed


def plan(student: Network) -> Plan:
    """Return the trained student in plain layers, with a format for every weight, sum and output.

    Raises
    ------
    SynthesisError
        If a sum needs more bits than a double can hold exactly, or the network is more than its layers in their order.
    """
    if student.input_format is None:
        raise SynthesisError("the precision of the inputs is not declared", key="input_format")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    precisions: dict[str, dict[str, Fixed]] = {}
    present = student.input_format
    for number, layer in enumerate(student.layers, start=1):
        if isinstance(layer, Dense):
            name = f"dense{(number + 1) // 2}"
            present = layer.sum_format(present)
            _check_width(name, present)
            layers[name] = _linear(layer)
            precisions[name] = _dense_formats(layer, present)
        elif isinstance(layer, Relu) and layer.format is not None:
            name = f"relu{number // 2}"
            present = layer.format
            layers[name] = nn.ReLU()
            precisions[name] = {"result": present}
    _check_plain(student)
    return Plan(layers, precisions, student.input_format, present)


def _check_plain(student: Network) -> None:
    """Refuse a network that does more than one layer after the other: slices or another order of the inputs.

    hls4ml converts a slice before a layer, or channels in torch's order, into something else without a word.
    """
    x_BI = torch.randn(64, student.inputs, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        try:
            plain = torch.equal(student(x_BI), Network.forward(student, x_BI))
        except RuntimeError:  # the layers alone do not even fit together
            plain = False
    if not plain:
        raise SynthesisError(
            "the network is not its layers one after the other, which is all that hls4ml reads right",
            found=f"{type(student).__name__}.forward does something else",
            expected="dense layers and rectifiers, each on all of the answer before it",
            mend="leave out ROUTE in the student's module: alkaid then converts its `forward`",
        )


def _check_width(name: str, form: Fixed) -> None:
    if form.width > EXACT_BITS:
        raise too_wide(name, form.width)


def _linear(layer: Dense) -> nn.Linear:
    weight_OI, bias_O = (tensor.detach() for tensor in layer.parameters_used())
    linear = nn.Linear(weight_OI.shape[1], weight_OI.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight_OI)
        linear.bias.copy_(bias_O)
    return linear


def _dense_formats(layer: Dense, total: Fixed) -> dict[str, Fixed]:
    if layer.weight_format is None or layer.bias_format is None:
        raise SynthesisError("the precision of a layer is not declared", found="Dense")
    return {"weight": layer.weight_format, "bias": layer.bias_format, "accum": total, "result": total}


def project(design: Plan, folder: Path, *, part: str, clock_ns: float) -> Any:
    """Write the HLS project into `folder` and return hls4ml's `ModelGraph`.

    Raises
    ------
    MissingDependency
        If hls4ml is not installed.
    SynthesisError
        If hls4ml refuses the network, or gives a wire another format than was asked for.
    """
    try:
        import hls4ml
    except ImportError:
        raise MissingDependency("hls4ml", needed_by="synthesize", mend="pip install 'bunchtrain[synth]'") from None
    network = nn.Sequential(design.layers).eval()
    width = next(iter(network)).in_features
    config = hls4ml.utils.config_from_pytorch_model(
        network, (width,), granularity="name", backend="Vitis", default_precision=design.source.hls
    )
    _set_precisions(config, design)
    with contextlib.redirect_stdout(io.StringIO()):
        graph = hls4ml.converters.convert_from_pytorch_model(
            network,
            hls_config=config,
            output_dir=str(folder),
            project_name=PROJECT,
            backend="Vitis",
            io_type="io_parallel",
            part=part,
            clock_period=clock_ns,
        )
        graph.write()
    _check_precisions(graph, design)
    _clean(folder, graph)
    return graph


def _set_precisions(config: dict[str, Any], design: Plan) -> None:
    for name, row in config["LayerName"].items():
        formats = design.precisions.get(name, {"result": design.source})
        row["Precision"] = {what: form.hls for what, form in formats.items()}


def _check_precisions(graph: Any, design: Plan) -> None:
    """Compare the formats in the graph with those asked for: an optimiser pass must not have changed any."""
    expected = {name: formats["result"] for name, formats in design.precisions.items()}
    seen = set()
    for layer in graph.get_layers():
        if layer.class_name == "Input":
            wanted = design.source
        elif layer.name in expected:
            wanted = expected[layer.name]
            seen.add(layer.name)
        else:
            raise SynthesisError("hls4ml added a layer of its own", key=layer.name, found=layer.class_name)
        found = as_fixed(layer.get_output_variable().type.precision)
        if found != wanted:
            raise SynthesisError("hls4ml changed a precision", key=layer.name, found=found.hls, expected=wanted.hls)
        if (sums := layer.get_attr("accum_t")) is not None and "accum" in design.precisions.get(layer.name, {}):
            _check_sums(layer.name, as_fixed(sums.precision), design.precisions[layer.name]["accum"])
    if missing := sorted(expected.keys() - seen):
        raise SynthesisError("hls4ml left out a layer", key=missing[0])


def _check_sums(name: str, found: Fixed, wanted: Fixed) -> None:
    if found != wanted:
        problem = "hls4ml changed the precision in which a layer adds up"
        raise SynthesisError(problem, key=name, found=found.hls, expected=wanted.hls)


def replayed(graph: Any) -> Circuit:
    """Return the circuit that hls4ml's graph describes, with the constants and formats that stand in it.

    Raises
    ------
    SynthesisError
        If the graph holds a layer that cannot be replayed.
    """
    inputs: Wires = None
    wires: Wires = None
    source = present = Fixed(1, 1)
    for layer in graph.get_layers():
        variable = layer.get_output_variable()
        present = as_fixed(variable.type.precision)
        if layer.class_name == "Input":
            source = present
            inputs = wires = symbols(int(np.prod(variable.shape)), source)
        elif layer.class_name == "Dense":
            wires = product(wires, np.asarray(layer.weights["weight"].data, np.float64))
            wires = cast(wires + np.asarray(layer.weights["bias"].data, np.float64), present)
        elif layer.class_name == "Activation" and layer.get_attr("activation") == "relu":
            wires = cast(wires.relu(), present)
        else:
            mend = "teach bunchtrain.synth.hls to replay it"
            raise SynthesisError("a layer cannot be turned into RTL", key=layer.name, found=layer.class_name, mend=mend)
    return Circuit(inputs, wires, source, present)


def as_fixed(precision: Any) -> Fixed:
    """Return hls4ml's description of a fixed-point type as a `Fixed`."""
    return Fixed(
        int(precision.width),
        int(precision.integer),
        bool(precision.signed),
        str(precision.rounding_mode),
        str(precision.saturation_mode),
    )


def _clean(folder: Path, graph: Any) -> None:
    """Make the project depend on its content alone: no pickled network, no random stamp."""
    (folder / "hls4ml_config.yml").unlink(missing_ok=True)
    script = folder / "build_lib.sh"
    stamp = str(graph.config.get_config_value("Stamp"))
    script.write_text(script.read_text(encoding="utf-8").replace(stamp, "local"), encoding="utf-8")


def check_constants(folder: Path) -> None:
    """Demand that the constants an HLS compiler sees are those that the C simulation reads.

    hls4ml writes each array twice: `weights/w2.h` for synthesis, `weights/w2.txt` for simulation.

    Raises
    ------
    SynthesisError
        If a file is missing, or the two differ.
    """
    headers = sorted((folder / "firmware" / "weights").glob("*.h"))
    for header in headers:
        read = header.with_suffix(".txt")
        listed = re.search(r"=\s*\{([^{}]*)\}", header.read_text(encoding="utf-8"))
        if listed is None or not read.exists():
            raise SynthesisError("an HLS project lacks weights", file=header, expected=f"an array, as in {read.name}")
        pair = [[float(word) for word in text.split(",")] for text in (listed[1], read.read_text(encoding="utf-8"))]
        if pair[0] != pair[1]:
            raise SynthesisError("an HLS compiler would build other weights than were simulated", file=header)
    if not headers:
        raise SynthesisError("an HLS project has no weights", file=folder)


class CSimulation:
    """The project's C++ code, compiled and loaded; see `csim`.

    Parameters
    ----------
    folder : Path
        The HLS project.
    scratch : Path
        Where the library and the compiler's log go.
    outputs : int
        Width of the network's answer.
    """

    def __init__(self, folder: Path, scratch: Path, outputs: int) -> None:
        self.outputs = outputs
        check_constants(folder)
        defines = {"WEIGHTS_DIR": csim.text(folder.resolve() / "firmware" / "weights")}
        sources = [Path(f"firmware/{PROJECT}.cpp"), Path(f"{PROJECT}_bridge.cpp")]
        self._library = csim.library(folder, sources, [folder / "firmware/ap_types"], defines, scratch)

    def __call__(self, x_BI: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the answers of the C++ code, shape [B, C]."""
        return csim.answers(self._library, f"{PROJECT}_double", x_BI, self.outputs)
