"""The proof: the quantised network, its C simulation and its RTL on the same vectors, and what each is worth on jets.

V: vector, I: input, C: class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bunchtrain.discrimination import Scores
from bunchtrain.errors import SynthesisError
from bunchtrain.synth import agreement, limits, vectors
from bunchtrain.synth.csim import Simulation
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.inputs import Encoding
from bunchtrain.synth.material import Jets, Taught
from bunchtrain.synth.rtlsim import Measured, Simulator
from bunchtrain.synth.students.base import Student
from bunchtrain.tasks.base import TaskProtocol


@dataclass(frozen=True)
class Vectors:
    """Test vectors and the answers that the quantised network gives to them.

    Test jets come first, then those of unfamiliar samples, then extremes.

    Parameters
    ----------
    inputs_VI : int64 [V, I]
        Codes.
    answers_VC : int64 [V, C]
        Codes of the exact answers.
    jets : int
        How many of them are test jets.
    result : Fixed
        Format of the answers.
    limits : pair of int
        How many limits of numbers inside the network are reached, of how many that were looked for.
    unfamiliar : mapping
        How many are jets of each unfamiliar sample, in their order.
    """

    inputs_VI: NDArray[np.int64]
    answers_VC: NDArray[np.int64]
    jets: int
    result: Fixed
    limits: tuple[int, int] = (0, 0)
    unfamiliar: Mapping[str, int] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, int]:
        """Number of vectors by kind."""
        others = sum(self.unfamiliar.values())
        jets = {"jets": self.jets, **({"unfamiliar": others} if others else {})}
        return {**jets, "extreme": len(self.inputs_VI) - self.jets - others}

    def samples(self, values_VA: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the part of each unfamiliar sample in what belongs to the vectors, by name."""
        ends = np.cumsum([self.jets, *self.unfamiliar.values()])
        return dict(zip(self.unfamiliar, np.split(values_VA[: ends[-1]], ends[:-1])[1:], strict=True))


@dataclass(frozen=True)
class Proof:
    """What was compared and measured.

    Parameters
    ----------
    rows : list of dict
        The comparisons.
    c_codes_VC : int64 [V, C]
        Answers of the C simulation.
    measured : Measured
        Answers and timing of the RTL.
    """

    rows: list[dict[str, Any]]
    c_codes_VC: NDArray[np.int64]
    measured: Measured


def make_vectors(
    student: Student,
    encoding: Encoding,
    jets: Taught,
    result: Fixed,
    seed: int,
    at_least: int = 0,
    unfamiliar: Mapping[str, Jets] | None = None,
) -> Vectors:
    """Return jets, inputs at the limits of numbers inside, and extremes, `at_least` in all, with the exact answers.

    Behind the jets come those of unfamiliar samples.

    Raises
    ------
    SynthesisError
        If an answer does not fit the declared format, so that the network would not be what is built, or if the
        student learnt nothing.
    """
    at_limits = limits.search(student, encoding.format, seed)
    others = unfamiliar or {}
    sampled = [jets.codes_BI, *(other.codes_BI for other in others.values()), at_limits.codes_VI]
    missing = at_least - sum(map(len, sampled))
    extreme = vectors.extremes(len(encoding.names), encoding.format, seed, missing)
    found = answered(student, encoding, np.concatenate([*sampled, extreme]), len(jets.codes_BI), result)
    counts = {name: len(other.codes_BI) for name, other in others.items()}
    require_answers(found.answers_VC[: found.jets, : jets.teacher_BC.shape[1]])
    return replace(found, limits=(at_limits.reached, at_limits.wanted), unfamiliar=counts)


def require_answers(answers_BC: NDArray[Any]) -> None:
    """Refuse a student that learnt nothing of the classes, whose answers these are.

    Raises
    ------
    SynthesisError
        If all jets have the same answer.
    """
    if len(np.unique(answers_BC, axis=0)) == 1:
        mend = "lower synthesize.student.sparsity, or raise weight_bits, epochs or the hidden widths"
        raise SynthesisError("the student gives the same answer to every jet", key="synthesize.student", mend=mend)


def answered(student: nn.Module, encoding: Encoding, inputs_VI: NDArray[np.int64], jets: int, result: Fixed) -> Vectors:
    """Return input codes, the first of them jets, with the network's exact answers.

    Raises
    ------
    SynthesisError
        If an answer does not fit the declared format.
    """
    logits_VC = exact_logits(student, encoding.values(inputs_VI))
    if not result.holds(logits_VC):
        raise SynthesisError("the network's answers do not fit their declared format", expected=result.hls)
    return Vectors(inputs_VI, result.codes(logits_VC), jets, result)


def exact_logits(student: nn.Module, x_VI: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the network's logits in double precision, where every fixed-point sum is exact, shape [V, C]."""
    with torch.inference_mode():
        logits: NDArray[np.float64] = student.double()(torch.from_numpy(x_VI)).numpy()
    student.float()
    return logits


def prove_c(simulation: Simulation, encoding: Encoding, cases: Vectors) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Run the C simulation on all vectors and demand the network's answers; return the comparison and its answers.

    Raises
    ------
    SynthesisError
        At the first vector that differs.
    """
    values_VC = simulation(encoding.values(cases.inputs_VI))
    if not cases.result.holds(values_VC):
        raise SynthesisError("the C simulation gave a value that its format cannot hold", expected=cases.result.hls)
    codes_VC = cases.result.codes(values_VC)
    row = agreement.compare(("torch", "c_simulation"), cases.answers_VC, codes_VC)
    agreement.demand(row, cases.inputs_VI, (cases.answers_VC, codes_VC))
    return row, codes_VC


def prove_rtl(simulator: Simulator, cases: Vectors) -> tuple[dict[str, Any], Measured]:
    """Drive all vectors through the RTL and demand the network's answers; return the comparison and the timing.

    Raises
    ------
    SynthesisError
        If an answer differs, or if pauses between the inputs disturb the core.
    """
    measured = simulator.measure(cases.inputs_VI, cases.answers_VC)
    row = agreement.compare(("torch", "rtl"), cases.answers_VC, measured.codes_VC)
    agreement.demand(row, cases.inputs_VI, (cases.answers_VC, measured.codes_VC))
    if measured.spaced_mismatches:
        raise SynthesisError(
            "pauses between the inputs disturb the core", found=f"{measured.spaced_mismatches} wrong answers"
        )
    return row, measured


def areas(task: TaskProtocol, jets: Jets, logits: dict[str, NDArray[Any]]) -> dict[str, float]:
    """Return the AUC of signal against background for every set of answers [B, A], by the jets' event weights.

    Those of the classes come first, and are all that counts.
    """
    signal, background = jets.labels_B == task.signal, jets.labels_B == task.background
    found = {}
    for name, answers_BA in logits.items():
        logits_BC = answers_BA[:, : len(task.classes)]
        scores_B = task.discriminant(torch.softmax(torch.from_numpy(logits_BC.astype(np.float64)), -1)).numpy()
        found[name] = auc(scores_B[signal], scores_B[background], jets.weights_B[signal], jets.weights_B[background])
    return found


def auc(
    signal: NDArray[Any], background: NDArray[Any], signal_weights: NDArray[Any], background_weights: NDArray[Any]
) -> float:
    """Return the share of the pairs, by the product of their weights, in which signal scores higher, ties half.

    Raises
    ------
    SynthesisError
        If the weights of a class do not add up to a positive number.
    """
    sums = [float(np.sum(weights, dtype=np.float64)) for weights in (signal_weights, background_weights)]
    if min(sums) <= 0:
        raise SynthesisError(
            "an AUC needs test jets of both classes, with weights that add up to a positive number",
            found=f"{len(signal)} signal jets of weight {sums[0]:g}, {len(background)} background of {sums[1]:g}",
            mend="take more events, or raise synthesize.vectors",
        )
    return Scores(signal, background, signal_weights, background_weights).auc()
