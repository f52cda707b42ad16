"""What a hunt found beside what was hidden.

N: events, W: windows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bunchtrain.discrimination import Scores, improvement
from bunchtrain.errors import InputError
from bunchtrain.unblind.answer import Answer

#: With less signal than this in a window no improvement is told.
_FEWEST = 10


def score(result: dict[str, Any], scores: Path, sensitivity: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Return what the hunt of a box is worth.

    Parameters
    ----------
    result : dict
        What `hunt` wrote.
    scores : path
        The ranks of all events, which `hunt` wrote beside it.
    sensitivity : dict
        What was expected.
    answer : Answer
        What was hidden.
    """
    with h5py.File(scores) as file:
        mass_N, rank_WN, window_W2, kept_N = (np.asarray(file[key][:]) for key in ("mass", "rank", "window", "kept"))
        signal_N = _matched(file["run_number"][:], file["event_number"][:], answer, scores)
    found, best = result["found"], result["best"]
    away = found["mass"] - answer.mass
    near = abs(away) <= found["resolution"]
    told: dict[str, Any] = {
        "verdict": _verdict(result["claimed"], answer.present, near),
        "right": result["claimed"] == answer.present and (near or not answer.present),
        "claimed": result["claimed"],
        "present": answer.present,
        "local_z": result["local"]["z"],
        "global_z": result["global"]["z"],
        "before": _held(mass_N, signal_N, answer.window),
    }
    told["found"] = {
        "before": _held(mass_N, signal_N, best["window"]),
        "after": _held(mass_N[kept_N], signal_N[kept_N], best["window"]),
    }
    if answer.present:
        told |= {
            "true": {"mass": answer.mass, "daughters": answer.daughters, "strength": answer.strength},
            "mass": {"found": found["mass"], "error": found["error"], "away": away, "within_resolution": near},
            "improvement": _improvement(mass_N, rank_WN, signal_N, window_W2, answer, sensitivity),
        }
    return told


def _matched(run_N: Any, event_N: Any, answer: Answer, file: Path) -> NDArray[np.bool_]:
    """Return which of the hunt's events are signal."""
    keys = zip(answer.run.tolist(), answer.event.tolist(), strict=True)
    truth = dict(zip(keys, answer.signal.tolist(), strict=True))
    try:
        return np.array([truth[key] for key in zip(run_N.tolist(), event_N.tolist(), strict=True)], bool)
    except KeyError:
        problem, mend = "the hunt saw an event that the box does not hold", "run the hunt again"
        raise InputError(problem, file=file, mend=mend) from None


def _verdict(claimed: bool, present: bool, near: bool) -> str:
    if not claimed:
        return "missed" if present else "empty, and called empty"
    if not present:
        return "empty, and a resonance was claimed"
    return "found" if near else "found at another mass"


def _held(mass_N: Any, signal_N: Any, window: list[float]) -> dict[str, float]:
    """Return signal and background in a window."""
    inside = (mass_N >= window[0]) & (mass_N < window[1])
    signal, background = int(np.sum(inside & signal_N)), int(np.sum(inside & ~signal_N))
    return {"signal": signal, "background": background, "strength": signal / max(background, 1) ** 0.5}


def _improvement(
    mass_N: Any, rank_WN: Any, signal_N: Any, window_W2: Any, answer: Answer, sensitivity: dict[str, Any]
) -> dict[str, Any]:
    """Return the improvement that was achieved in the window nearest to the resonance, beside what was expected."""
    centres = np.sqrt(window_W2[:, 0] * window_W2[:, 1])
    place = int(np.argmin(np.abs(np.log(centres / (answer.mass * sensitivity["scale"])))))
    inside = (mass_N >= window_W2[place, 0]) & (mass_N < window_W2[place, 1])
    signal, background = rank_WN[place][inside & signal_N], rank_WN[place][inside & ~signal_N]
    told: dict[str, Any] = {"window": window_W2[place].tolist()}
    curves = {
        "expected_with_labels": sensitivity["supervised"]["improvement"],
        "expected_without": sensitivity["weak"]["improvement"],
    }
    if len(signal) >= _FEWEST:
        curves["achieved"] = improvement(Scores(signal, background))
    return told | {"curves": curves, "largest": {name: max(one["value"], default=0.0) for name, one in curves.items()}}
