"""A surrogate as an ONNX graph, from parameters as they are and normal numbers to quantities, checked against torch.

B: row, A: parameter, U: feature, N: normal number, Q: quantity, G: group.
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bunchtrain import provenance
from bunchtrain.errors import InputError, MissingDependency
from bunchtrain.files import atomic, disk_errors
from bunchtrain.models import base as models
from bunchtrain.sampling import Surrogate

#: Rows that graph and network are compared on.
_ROWS = 256

#: Largest difference, as a share of the largest number of an output.
_AGREED = 1e-4


class Graph(nn.Module):
    """What is exported.

    Of a flow with groups it ends before the spots are drawn, for which ONNX has no operator: sums, shares of each
    quantity in its sum, and numbers of spots.
    """

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.model, self.scales = surrogate.model.float(), list(surrogate.scaler.scales.values())
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(surrogate.scaler, name), dtype=torch.float32))
        self.total = None if surrogate.total is None else surrogate.parameters.index(surrogate.total)
        self.grouped = bool(getattr(self.model, "groups", 0))

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs."""
        return ["sums", "shares", "spots"] if self.grouped else ["quantities"]

    def forward(self, parameters_BA: Tensor, normal_BN: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs."""
        columns: list[Tensor] = []
        for place, scale in enumerate(self.scales):
            values_B = parameters_BA[:, place]
            if scale == "angle":
                columns += [values_B.cos(), values_B.sin()]
            else:
                columns.append(values_B.log() if scale == "log" else values_B)
        features_BU = (torch.stack(columns, -1) - cast(Tensor, self.mean)) / cast(Tensor, self.std)
        totals_B = torch.ones_like(parameters_BA[:, 0]) if self.total is None else parameters_BA[:, self.total]
        model = cast(Any, self.model)
        if not self.grouped:
            return (model.answer(features_BU, totals_B, normal_BN),)
        sums_BG = model.drawn(features_BU, totals_B, normal_BN)
        log_p_BQ, log_spots_BG = model.shared(features_BU, model.coordinates(totals_B, sums_BG))
        return sums_BG, log_p_BQ.exp(), log_spots_BG.exp()


def export(folder: Path, out: Path) -> float:
    """Write a surrogate as ONNX; return by how much the graph differs from torch, as a share of the largest number.

    Raises
    ------
    MissingDependency
        If onnx or onnxruntime is not installed.
    InputError
        If the network is no surrogate, its total is no parameter, or the graph computes something else.
    """
    surrogate = Surrogate(folder)
    if surrogate.total is not None and surrogate.total not in surrogate.parameters:
        problem = "a graph starts from parameters, and the total is none of them"
        raise InputError(problem, file=folder, key=surrogate.total, choices=surrogate.parameters)
    graph = Graph(surrogate).eval()
    inputs = _some(surrogate)
    text = _exported(graph, inputs, surrogate)
    apart = _compared(graph, text, inputs)
    if not apart <= _AGREED:
        problem, expected = "the graph does not compute what the network computes", f"at most {_AGREED:g}"
        raise InputError(problem, file=folder, key="largest difference", found=f"{apart:g}", expected=expected)
    with disk_errors(out), atomic(out) as temporary:
        temporary.write_bytes(text)
    read = [folder / models.WEIGHTS, folder / models.CARD]
    provenance.record([out], stage="onnx", spec={}, inputs=read, facts={"largest_difference": apart})
    return apart


def _some(surrogate: Surrogate) -> tuple[Tensor, Tensor]:
    """Return parameters within what was learned, and normal numbers."""
    random, scaler = np.random.default_rng(1), surrogate.scaler
    low, high = np.array(scaler.lowest), np.array(scaler.highest)
    parameters = low + (high - low) * random.random((_ROWS, len(low)))
    normal = random.normal(size=(_ROWS, cast(Any, surrogate.model).chances))
    return torch.from_numpy(parameters).float(), torch.from_numpy(normal).float()


def _exported(graph: Graph, inputs: tuple[Tensor, Tensor], surrogate: Surrogate) -> bytes:
    """Return the graph as ONNX, with what its inputs and outputs are."""
    try:
        import onnx
    except ImportError:
        raise MissingDependency("onnx", needed_by="onnx", mend="pip install 'bunchtrain[surrogates]'") from None
    stream, named = io.BytesIO(), ["parameters", "normal"]
    with warnings.catch_warnings():
        # torch.export, by which torch would rather do it, fixes the number of rows in a flow's splines.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            inputs,
            cast(Any, stream),
            input_names=named,
            output_names=graph.outputs,
            dynamic_axes={name: {0: "rows"} for name in (*named, *graph.outputs)},
            dynamo=False,
        )
    made = onnx.load_model_from_string(stream.getvalue())
    card = surrogate.card
    about = {"quantities": surrogate.quantities, "groups": list(card["shape"]["groups"])}
    about |= {key: getattr(surrogate.scaler, key) for key in ("lowest", "highest")}
    about |= {"parameters": surrogate.parameters, "weights_sha256": card["weights_sha256"]}
    onnx.helper.set_model_props(made, {key: json.dumps(value) for key, value in about.items()})
    return bytes(made.SerializeToString())


def _compared(graph: Graph, text: bytes, inputs: tuple[Tensor, Tensor]) -> float:
    """Return the largest difference of any output, as a share of its largest number; on other rows than the export's.

    An answer that is not finite makes it infinite.
    """
    try:
        import onnxruntime
    except ImportError:
        problem = "pip install 'bunchtrain[surrogates]'"
        raise MissingDependency("onnxruntime", needed_by="onnx", mend=problem) from None
    session = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"])
    few = tuple(one[: _ROWS // 2 + 1].flip(0) for one in inputs)
    found: list[NDArray[Any]] = session.run(
        graph.outputs, dict(zip(("parameters", "normal"), (one.numpy() for one in few), strict=True))
    )
    with torch.no_grad():
        expected = [one.numpy() for one in graph(*few)]
    differences = [
        float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-30)) for a, b in zip(found, expected, strict=True)
    ]
    largest = max(differences)
    return largest if np.isfinite(largest) else float("inf")
