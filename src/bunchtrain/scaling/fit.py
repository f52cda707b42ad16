"""A model of a step's time, linear in its coefficients, none of them negative.

N ranks, n of them on a node, b jets of a step on each rank:

compute        c0 + c1 b + c2 b (1 - 1/n)                 c2: ranks of a node share caches, memory and clock
input          i0 + i1 b
communication  l log2 N + m (N - 1)/N + w b sqrt(ln N)    latency of a tree; volume of a ring, for each rank;
                                                          waiting for the slowest of N (largest of N normal numbers)

For tree and ring see Thakur, Rabenseifner and Gropp, Int. J. High Perform. Comput. Appl. 19 (2005) 49.

P: probe, T: term, D: draw.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Least relative error of a probe: what the machine's own drift adds to the scatter of steps.
FLOOR = 0.02
DRAWS = 1000


class Point(NamedTuple):
    """Where a step's time is wanted: ranks in all, ranks on a node, jets of a step on each rank."""

    ranks: int
    on_node: int
    jets: float


def _features(part: str, point: Point) -> dict[str, float]:
    n, jets = point.ranks, point.jets
    if part == "compute":
        return {"a step": 1.0, "a jet": jets, "a jet beside other ranks": jets * (1 - 1 / point.on_node)}
    if part == "input":
        return {"a step": 1.0, "a jet": jets}
    return {
        "a doubling of ranks": float(np.log2(n)),
        "the gradients' volume": (n - 1) / n,
        "a jet, for the slowest rank": jets * float(np.sqrt(np.log(n))),
    }


class Interval(NamedTuple):
    """A value with the bounds of its 68 % band."""

    value: float
    low: float
    high: float


class _Candidate(NamedTuple):
    coefficients_DT: NDArray[np.float64]
    weight: float


class PartModel:
    """The model of one part of a step, fitted to probes.

    Every subset of the terms is fitted; those that describe the probes as well as the best do, all count. Where probes
    leave open which term is at work, predictions far from them differ, and the band says so.

    Parameters
    ----------
    part : str
        `compute`, `input` or `communication`.
    points : sequence of Point
        The probes; for communication, those of more than one rank.
    seconds, errors : sequence of float
        What they took, and its error.

    Raises
    ------
    ValueError
        If there is no probe.
    """

    def __init__(self, part: str, points: Sequence[Point], seconds: Sequence[float], errors: Sequence[float]) -> None:
        if not points:
            raise ValueError(f"no probe of {part}")
        self.part = part
        self.terms = list(_features(part, points[0]))
        matrix_PT = np.array([list(_features(part, point).values()) for point in points])
        values_P, errors_P = np.asarray(seconds, float), np.asarray(errors, float)
        errors_P = np.maximum(np.hypot(errors_P, FLOOR * values_P), 1e-9)
        draws_DP = np.random.default_rng(1).normal(size=(DRAWS, len(points))) * errors_P
        draws_DP = values_P + np.vstack([np.zeros(len(points)), draws_DP])
        self._candidates = self._fit(matrix_PT / errors_P[:, None], draws_DP / errors_P)

    def _fit(self, matrix_PT: NDArray[np.float64], draws_DP: NDArray[np.float64]) -> list[_Candidate]:
        found = []
        many, terms = matrix_PT.shape
        for size in range(min(many, terms) + 1):
            for chosen in itertools.combinations(range(terms), size):
                part = matrix_PT[:, list(chosen)]
                scale = np.linalg.norm(part, axis=0)
                if size and (np.any(scale == 0) or np.linalg.matrix_rank(part / scale, 1e-6) < size):
                    continue
                coefficients_DT = np.zeros((len(draws_DP), terms))
                if size:
                    coefficients_DT[:, list(chosen)] = (np.linalg.pinv(part / scale) @ draws_DP.T).T / scale
                if np.any(coefficients_DT[0] < 0):
                    continue
                misfit = float(np.sum((matrix_PT @ coefficients_DT[0] - draws_DP[0]) ** 2))
                found.append((misfit, size, np.maximum(coefficients_DT, 0)))
        least, fewest = min((misfit, size) for misfit, size, _ in found)
        # Where even the best misses the probes by more than their errors, the errors are too small: the scale factor of
        # the Review of Particle Physics.
        scale = max(1.0, least / max(many - fewest, 1))
        return [
            _Candidate(_spread(coefficients_DT, scale**0.5), float(np.exp(-0.5 * (misfit - least) / scale - size)))
            for misfit, size, coefficients_DT in found
            if misfit - least <= 4 * scale
        ]

    def __call__(self, point: Point) -> Interval:
        """Return the seconds of this part at `point`."""
        row_T = np.array(list(_features(self.part, point).values()))
        weights = np.array([candidate.weight for candidate in self._candidates])
        values_CD = np.array([candidate.coefficients_DT @ row_T for candidate in self._candidates])
        value = float(np.average(values_CD[:, 0], weights=weights))
        low, high = np.percentile(values_CD, 16, axis=1).min(), np.percentile(values_CD, 84, axis=1).max()
        return Interval(value, min(value, float(low)), max(value, float(high)))

    def coefficients(self) -> dict[str, float]:
        """Return the seconds for each term, the mean over the fits that count."""
        weights = np.array([candidate.weight for candidate in self._candidates])
        mean_T = np.average([candidate.coefficients_DT[0] for candidate in self._candidates], axis=0, weights=weights)
        return dict(zip(self.terms, map(float, mean_T), strict=True))

    def undetermined(self) -> list[str]:
        """Return the terms that some fits need and others, as good, do without."""
        used = np.array([candidate.coefficients_DT[0] > 0 for candidate in self._candidates])
        share_T = used.mean(axis=0)
        return [term for term, share in zip(self.terms, share_T, strict=True) if 0 < share < 1]


def _spread(coefficients_DT: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Return draws that lie `factor` times as far from the first, which is the fit itself; none negative."""
    wider_DT: NDArray[np.float64] = coefficients_DT[0] + factor * (coefficients_DT - coefficients_DT[0])
    return np.maximum(wider_DT, 0)


class StepModel:
    """The model of a whole step.

    Parameters
    ----------
    points : sequence of Point
        The probes.
    parts : mapping of str to (seconds, errors)
        What each part took in them.
    """

    def __init__(self, points: Sequence[Point], parts: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
        self.parts: dict[str, PartModel] = {}
        for part, (seconds, errors) in parts.items():
            used = [i for i, point in enumerate(points) if part != "communication" or point.ranks > 1]
            if used:
                chosen = [points[i] for i in used], [seconds[i] for i in used], [errors[i] for i in used]
                self.parts[part] = PartModel(part, *chosen)

    def breakdown(self, point: Point) -> dict[str, Interval]:
        """Return the seconds of every part at `point`.

        Raises
        ------
        ValueError
            If `point` has several ranks, and no probe had.
        """
        if point.ranks == 1:
            return {part: model(point) for part, model in self.parts.items() if part != "communication"}
        if "communication" not in self.parts:
            raise ValueError("communication was not measured: no probe has more than one rank")
        return {part: model(point) for part, model in self.parts.items()}

    def __call__(self, point: Point) -> Interval:
        """Return the seconds of a step at `point`."""
        found = self.breakdown(point).values()
        value = sum(one.value for one in found)
        down = float(np.sqrt(sum((one.value - one.low) ** 2 for one in found)))
        up = float(np.sqrt(sum((one.high - one.value) ** 2 for one in found)))
        return Interval(value, value - down, value + up)
