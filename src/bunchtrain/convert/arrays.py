"""From what a format reads to what the event contract asks for: no per-jet loops.

n: jets, m: constituents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.formats.base import Batch
from bunchtrain.events.layout import CONSTITUENTS

Columns = dict[str, NDArray[Any]]

_TINY = 1e-9


class Tidy(NamedTuple):
    """Jets with at least one constituent each, constituents by falling pt, and what was left out.

    `entries` are the jets' places in their file.
    """

    jets: Columns
    constituents: Columns
    counts: NDArray[np.int64]
    entries: NDArray[np.int64]
    sum_of_weights: float
    dropped_jets: int
    dropped_constituents: int


def tidy(batch: Batch, run: int) -> Tidy:
    """Bring a batch under the event contract.

    Constituents without pt (padding) and jets without constituents are dropped. `sum_of_weights` is that of all jets,
    before any is dropped. `run` stands in for a missing run number.
    """
    jets = _with_defaults(batch, run)
    constituents, counts, padding = _without_padding(batch.constituents, np.asarray(batch.counts, np.int64))
    total = float(np.sum(jets["weight"], dtype=np.float64))
    kept = counts > 0
    if not kept.all():
        jets = {name: values[kept] for name, values in jets.items()}
    counts = counts[kept]
    constituents = _by_falling_pt(constituents, counts)
    missing = {"pt", "eta", "phi", "mass"} - jets.keys()
    if missing:
        computed = kinematics(constituents, counts)
        jets |= {name: computed[name] for name in missing}
    entries = batch.start + np.flatnonzero(kept)
    return Tidy(jets, constituents, counts, entries, total, int(np.sum(~kept)), padding)


def _with_defaults(batch: Batch, run: int) -> Columns:
    entries = np.arange(batch.start, batch.start + len(batch.counts), dtype=np.uint64)
    defaults: Columns = {
        "weight": np.ones(len(entries), np.float32),
        "run_number": np.full(len(entries), run, np.uint64),
        "event_number": entries,
    }
    return {**defaults, **batch.jets}


def _without_padding(constituents: Columns, counts: NDArray[np.int64]) -> tuple[Columns, NDArray[np.int64], int]:
    real = (constituents["px"] != 0) | (constituents["py"] != 0)
    if real.all():
        return constituents, counts, 0
    offsets = np.concatenate([[0], np.cumsum(counts)])
    before = np.concatenate([[0], np.cumsum(real)])
    kept = np.diff(before[offsets])
    return {name: values[real] for name, values in constituents.items()}, kept, int(np.sum(~real))


def _by_falling_pt(constituents: Columns, counts: NDArray[np.int64]) -> Columns:
    """Sort the constituents of each jet, unless they are sorted; equals keep their order."""
    pt = np.hypot(constituents["px"], constituents["py"]).astype(np.float32)
    rises = pt[1:] > pt[:-1]
    rises[np.cumsum(counts)[:-1] - 1] = False
    if not rises.any():
        return constituents
    # The bits of positive floats rise with their value: (jet, falling pt) is one integer, ten times faster to sort.
    jet = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    order = np.argsort((jet << np.uint64(32)) | ~pt.view(np.uint32), kind="stable")
    return {name: values[order] for name, values in constituents.items()}


def kinematics(constituents: Columns, counts: NDArray[np.int64]) -> Columns:
    """Return pt, mass (GeV), eta and phi (rad) of the sum of each jet's constituents, shape [n]; none may be empty."""
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    px, py, pz, energy = (
        np.add.reduceat(constituents[c.name].astype(np.float64), starts) if len(counts) else np.zeros(0)
        for c in CONSTITUENTS
    )
    pt = np.hypot(px, py)
    return {
        "pt": pt,
        "eta": np.arcsinh(pz / np.maximum(pt, _TINY)),
        "phi": np.arctan2(py, px),
        "mass": np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0)),
    }
