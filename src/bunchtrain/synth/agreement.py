"""Do torch, the C simulation and the RTL say the same? The comparisons, what they are worth, and the certificate.

V: vector, C: class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.errors import SynthesisError

CLAIM = (
    "For every vector listed, the C simulation of the HLS project and the RTL gave exactly the answers of the "
    "quantised torch network, bit for bit. A comparison of fewer vectors took them evenly from the list: the RTL "
    "driven by cocotb in Icarus, the VHDL in GHDL, and the netlist of the synthesis where its cells have models."
)


def compare(names: tuple[str, str], first_VC: NDArray[np.int64], second_VC: NDArray[np.int64]) -> dict[str, Any]:
    """Return how many vectors two implementations answer differently, by their output codes.

    Raises
    ------
    SynthesisError
        If they differ in the number of answers.
    """
    if first_VC.shape != second_VC.shape:
        raise SynthesisError(
            "two implementations differ in the number of answers", found=second_VC.shape, expected=first_VC.shape
        )
    wrong = np.flatnonzero((first_VC != second_VC).any(1))
    return {
        "between": list(names),
        "vectors": len(first_VC),
        "values": int(first_VC.size),
        "mismatches": len(wrong),
        "first_mismatch": int(wrong[0]) if len(wrong) else None,
    }


def demand(row: Mapping[str, Any], inputs_VI: NDArray[np.int64], answers: tuple[NDArray[Any], NDArray[Any]]) -> None:
    """Refuse a comparison that found mismatches.

    Raises
    ------
    SynthesisError
        With the first vector that differs and both answers to it.
    """
    if row["mismatches"] == 0:
        return
    place = row["first_mismatch"]
    first, second = row["between"]
    raise SynthesisError(
        f"{second} does not compute what {first} computes",
        key=f"vector {place}, input codes {inputs_VI[place].tolist()}",
        found=f"{row['mismatches']} of {row['vectors']} vectors differ; {second}: {answers[1][place].tolist()}",
        expected=f"{first}: {answers[0][place].tolist()}",
        mend="this is a fault of the tool chain: keep the build folder and report it",
    )


def digest(values: NDArray[np.int64]) -> str:
    """Return the SHA-256 digest of codes as little-endian 64-bit integers."""
    return hashlib.sha256(np.ascontiguousarray(values, "<i8").tobytes()).hexdigest()


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 digest of every file."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def certificate(
    *,
    comparisons: list[dict[str, Any]],
    inputs_VI: NDArray[np.int64],
    answers_VC: NDArray[np.int64],
    kinds: Mapping[str, int],
    timing: Mapping[str, int],
    files: Mapping[str, bytes],
    core: Mapping[str, Any],
    tools: Mapping[str, str],
) -> dict[str, Any]:
    """Return the certificate: what was compared on what, and the digests that tie it to the files of the core.

    Parameters
    ----------
    comparisons : list
        Rows of `compare`, all without mismatches.
    inputs_VI, answers_VC : int64
        Codes of the vectors and of the answers.
    kinds : mapping
        Number of vectors by kind.
    timing : mapping
        Measured latency and interval, in cycles.
    files : mapping
        Files of the core that the claim is about.
    core : mapping
        Top module, ports, stages and route: what is needed to repeat the proof.
    tools : mapping
        Versions of the tools by name.
    """
    if any(row["mismatches"] for row in comparisons):
        raise SynthesisError("no certificate for implementations that differ", found=comparisons)
    return {
        "certificate": 1,
        "claim": CLAIM,
        "vectors": {**kinds, "inputs_sha256": digest(inputs_VI), "answers_sha256": digest(answers_VC)},
        "comparisons": comparisons,
        "timing": dict(timing),
        "core": dict(core),
        "files": digests(files),
        "tools": dict(tools),
    }
