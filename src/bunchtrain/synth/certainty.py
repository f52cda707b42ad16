"""Does what a network says of its certainty survive the way into hardware? Float twin, fixed point, C++ and RTL.

A: answer, B: jet, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bunchtrain import conformal
from bunchtrain.calibration import balanced, calibration, usefulness
from bunchtrain.discrimination import auc, effective
from bunchtrain.posterior import entropy
from bunchtrain.synth import verify
from bunchtrain.synth.material import Jets, Material

Floats = NDArray[np.float64]

#: Promised share of conformal sets that hold the true class; it is kept within the interval of this many errors.
COVERAGE, ERRORS = 0.9, 1.96

#: Of the calibration error, as `evaluate` has them by default.
BINS, BOOTSTRAP = 15, 200


@dataclass(frozen=True)
class Said:
    """Answers of one implementation: to test jets [B, A], and to the jets of every unfamiliar sample."""

    test_BA: Floats
    unfamiliar: Mapping[str, Floats]


def of_network(network: nn.Module, stuff: Material) -> Said:
    """Return what a network says, in double precision."""

    def answers(jets: Jets) -> Floats:
        return verify.exact_logits(network, stuff.encoding.values(jets.codes_BI))

    return Said(answers(stuff.test), {name: answers(jets) for name, jets in stuff.unfamiliar.items()})


def of_codes(codes_VA: NDArray[np.int64], cases: verify.Vectors) -> Said:
    """Return what an implementation says, from the codes that it gave to all vectors."""
    values_VA = np.asarray(codes_VA * cases.result.step, np.float64)
    return Said(values_VA[: cases.jets], cases.samples(values_VA))


def implementations(
    stuff: Material, twin: nn.Module, quantised: nn.Module, cases: verify.Vectors, proof: verify.Proof
) -> dict[str, Said]:
    """Return what every implementation says, from the network in floating point to the RTL."""
    return {
        "float_student": of_network(twin, stuff),
        "quantised_student": of_network(quantised, stuff),
        "c_simulation": of_codes(proof.c_codes_VC, cases),
        "rtl": of_codes(proof.measured.codes_VC, cases),
    }


def judged(stuff: Material, quantised: nn.Module, said: Mapping[str, Said], seed: int) -> dict[str, Any]:
    """Return what every implementation's certainty is worth.

    Parameters
    ----------
    stuff : Material
        With validation jets.
    quantised : nn.Module
        The quantised network: its answers to validation jets give the threshold of the conformal sets, for all.
    said : mapping
        Answers by implementation.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `uncertainty`, what jets are ordered by: `spread` or `entropy`; `conformal`, the threshold, and between which
        coverages 95 % of samples of this size lie where the promise is kept; `rows`.
    """
    validation, test = stuff.validation, stuff.test
    if validation is None:
        raise ValueError("the certainty is judged with validation jets")
    classes = len(stuff.classes)
    logits_BA = verify.exact_logits(quantised, stuff.encoding.values(validation.codes_BI))
    true_B = conformal.of_true(probabilities(logits_BA[:, :classes]), validation.labels_B)
    weights_B = balanced(validation.weights_B, validation.labels_B, classes)
    least = conformal.threshold(true_B, weights_B, COVERAGE)
    counts = effective(weights_B), effective(balanced(test.weights_B, test.labels_B, classes))
    half = ERRORS * float(np.sqrt(COVERAGE * (1 - COVERAGE) * sum(1 / max(count, 1.0) for count in counts)))
    return {
        "uncertainty": "entropy" if stuff.spread is None else "spread",
        "conformal": {
            "promised": COVERAGE,
            "expected": [COVERAGE - half, min(COVERAGE + half, 1.0)],
            "threshold": least,
            "validation_jets": len(true_B),
        },
        "rows": [{"name": name, **_row(stuff, one, least, seed)} for name, one in said.items()],
    }


def probabilities(logits_BC: NDArray[Any]) -> Floats:
    """Return the softmax of logits."""
    found: Floats = torch.softmax(torch.from_numpy(np.asarray(logits_BC, np.float64)), -1).numpy()
    return found


def uncertainty(stuff: Material, answers_BA: Floats) -> Floats:
    """Return by what jets are ordered: the spread that a student answers, else the entropy of its class answers."""
    if stuff.spread is not None:
        return stuff.spread.log2(answers_BA)
    found: Floats = entropy(torch.from_numpy(probabilities(answers_BA))).numpy()
    return found


def _row(stuff: Material, said: Said, least: float, seed: int) -> dict[str, Any]:
    test, classes = stuff.test, len(stuff.classes)
    p_BC, weights_B = probabilities(said.test_BA[:, :classes]), balanced(test.weights_B, test.labels_B, classes)
    found = calibration(p_BC, test.labels_B, weights_B, bins=BINS, bootstrap=BOOTSTRAP, seed=seed)
    sets_BC, unsure_B = conformal.sets(p_BC, least), uncertainty(stuff, said.test_BA)
    return {
        "auc": verify.areas(stuff.task, test, {"it": said.test_BA})["it"],
        **{name: found[name] for name in ("ece", "ece_error", "nll", "accuracy")},
        "coverage": float(np.average(conformal.covered(sets_BC, test.labels_B), weights=weights_B)),
        "set_size": float(np.average(sets_BC.sum(1), weights=weights_B)),
        "error_detection": usefulness(unsure_B, p_BC.argmax(1) == test.labels_B, weights_B)["auroc"],
        "unfamiliar": {
            name: auc(uncertainty(stuff, answers), unsure_B, stuff.unfamiliar[name].weights_B, weights_B)
            for name, answers in said.unfamiliar.items()
        },
    }
