"""From a trained autoencoder to the circuit of its trigger score: fixed point, RTL, proof, and what rounding costs.

V: vector, I: input.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.anomalies import BACKGROUND, refuse_name
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.discrimination import Scores
from bunchtrain.errors import InputError, SynthesisError
from bunchtrain.events import finite
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.files import exclusive, sha256, write_json
from bunchtrain.models.base import CARD, WEIGHTS, load_model, save_weights
from bunchtrain.synth import circuit, encoder, rtl, rtlsim, steps, verify
from bunchtrain.synth.backends import open_xilinx
from bunchtrain.synth.backends.base import Design
from bunchtrain.synth.encoder import Encoder
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.tasks import base as tasks
from bunchtrain.tasks.base import LatentTask

ENCODER, ENCODER_CARD, REPORT = "encoder.safetensors", "encoder.json", "trigger.json"

#: Name of the top module.
TOP = "anomaly"

#: Jets that formats are made for, and vectors that go through the RTL.
_SEEN, _VECTORS, _STEP = 4096, 4096, 4096


def trigger(
    dataset: Path, model: Path, out: Path, unfamiliar: Mapping[str, Path], *, bits: int = 8, clock_ns: float = 5.0
) -> None:
    """Write the encoder's weights and formats, its Verilog and `trigger.json` into `out`.

    Parameters
    ----------
    dataset : path
        The index of the jets that the network learned from.
    model : path
        Folder of a trained network of kind `vae`, `of: list`.
    out : path
        `out/build` is scratch.
    unfamiliar : mapping
        Indices of hidden signals, by name.
    bits : int
        Width of inputs, weights and activations.
    clock_ns : float
        Period that the stages are made for.

    Raises
    ------
    SynthesisError
        If the network has no such encoder, or RTL and network disagree.
    InputError
        If a sample has no jets, or a value of one is no number.
    CampaignError
        If a sample has the name of the background.
    """
    for name in unfamiliar:
        refuse_name(name, key="--unfamiliar")
    network, card = load_model(model)
    encoder.require(card, model)
    data = Dataset(dataset)
    task = cast(LatentTask, tasks.build(card["task"], data.classes))
    samples = {BACKGROUND: data, **{name: Dataset(path) for name, path in unfamiliar.items()}}
    seen = {name: _listed(one, network, card, "test") for name, one in samples.items()}
    weights = {name: finite.weights(one, one.indices("test")) for name, one in samples.items()}
    learned = _listed(data, network, card, "train")[:_SEEN]
    clip = float(cast(Any, task).config.clip)
    units = encoder.units(learned)
    student = encoder.of_network(network, card, clip, units, model)
    exact = {name: _scores(student, values / 2.0 ** np.asarray(units)) for name, values in seen.items()}
    student.input_format = Fixed(bits, 3, True, "RND", "SAT")
    codes = {name: encoder.encoded(values, units, student.input_format) for name, values in seen.items()}
    inside = encoder.encoded(learned, units, student.input_format) * student.input_format.step
    student.quantize(torch.from_numpy(inside).float(), Settings(weight_bits=bits, activation_bits=bits))
    rounded = {name: _scores(student, one * student.input_format.step) for name, one in codes.items()}
    with exclusive(out / ".lock"):
        build = steps.emptied(out / "build")
        proof, resources = _proven(student, np.concatenate(list(codes.values()))[:_VECTORS], build, clock_ns)
        report = {
            "inputs": len(units),
            "clip": clip,
            "bits": bits,
            "areas": {name: _areas(name, exact, rounded, weights) for name in unfamiliar},
            **proof,
            "resources": resources,
        }
        _write(out, student, units, report, [dataset, *unfamiliar.values(), model / WEIGHTS, model / CARD])
    for name, area in report["areas"].items():
        print(f"[trigger] AUC, {name}: {area['float']:.4f} in floating point, {area['fixed']:.4f} as built", flush=True)


def _listed(data: Dataset, network: torch.nn.Module, card: Mapping[str, Any], split: str) -> NDArray[np.float64]:
    """Return what the network sees of the jets of a split as a list, float64 [B, I]."""
    scaler, chosen = Scaler(**card["scaler"]), data.indices(split)
    if not len(chosen):
        raise InputError("there are no jets to score", file=data.path, key=split, mend="convert more")
    scaler.require(data.inputs, data.variables, data.path)
    parts = []
    for start in range(0, len(chosen), _STEP):
        features = data.features(chosen[start : start + _STEP], card["particles"])
        inputs = [torch.from_numpy(x) for x in scaler(features).of_width(card["shape"]["globals"])]
        finite.inputs(data, chosen[start : start + _STEP], inputs)
        parts.append(cast(Any, network).listed(*inputs).double().numpy())
    return np.concatenate(parts)


def _scores(student: Encoder, x_BI: NDArray[Any]) -> NDArray[np.float64]:
    return verify.exact_logits(student, x_BI.astype(np.float64))[:, 0]


def _areas(
    name: str,
    exact: Mapping[str, NDArray[np.float64]],
    rounded: Mapping[str, NDArray[np.float64]],
    weights: Mapping[str, NDArray[np.float64]],
) -> dict[str, float]:
    """Return the areas of the score in floating point and as it is built."""
    of_both = [weights[one] for one in (name, BACKGROUND)]
    both = {"float": exact, "fixed": rounded}
    return {word: Scores(found[name], found[BACKGROUND], *of_both).auc() for word, found in both.items()}


def _proven(
    student: Encoder, codes_VI: NDArray[np.int64], build: Path, clock_ns: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what RTL simulation measured, and what the mapped circuit takes.

    Raises
    ------
    SynthesisError
        If an answer of the RTL is another than the network's.
    """
    made = circuit.traced(student)
    form = made.source
    answers = made.result.codes(verify.exact_logits(student, (codes_VI * form.step).astype(np.float64)))
    core = rtl.write(made, build / "rtl", top=TOP, clock_ns=clock_ns, part=open_xilinx.Config().part)
    simulator = rtlsim.Simulator(core, build / "sim", len(codes_VI))
    simulator.build()
    found = simulator.measure(codes_VI, answers)
    wrong = int((found.codes_VC != answers).any(1).sum()) + found.spaced_mismatches
    if wrong:
        raise SynthesisError("RTL and network disagree", file=build / "rtl", key="trigger", found=f"{wrong} answers")
    design = Design(core.top, core.files, build, TOP, clock_ns)
    mapped = open_xilinx.synthesize(open_xilinx.Config(), design, build / "xilinx")
    proof = {"vectors": len(codes_VI), "mismatches": wrong, "latency": found.latency, "interval": found.interval}
    files = [str(path.relative_to(build)) for path in core.files]
    return {**proof, "clock_ns": clock_ns, "files": files}, mapped.as_dict()


def _write(out: Path, student: Encoder, units: list[int], report: dict[str, Any], sources: list[Path]) -> None:
    save_weights(student.state_dict(), out / ENCODER)
    formats = {
        name: str(getattr(layer, key))
        for name, layer in student.named_modules()
        for key in ("weight_format", "bias_format", "format")
        if getattr(layer, key, None) is not None
    }
    card = {
        "inputs": encoder.input_names(len(units) // 3),
        "units_log2": units,
        "input_format": str(student.input_format),
        "formats": formats,
        "score": f"sum of min(mean squared, {report['clip']:g})",
        "weights_sha256": sha256(out / ENCODER),
    }
    write_json(out / ENCODER_CARD, card)
    write_json(out / REPORT, report)
    written = [out / name for name in (ENCODER, ENCODER_CARD, REPORT)]
    asked = {"bits": report["bits"], "clock_ns": report["clock_ns"]}
    facts = {"mismatches": report["mismatches"]}
    provenance.record(written, stage="trigger", spec={"version": 1, **asked}, inputs=sources, facts=facts)
