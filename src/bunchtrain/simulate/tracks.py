"""Tracks of jets: which tracks a jet has, in which order, and what is known of them relative to its axis.

n: jets, t: tracks of the jet that has the most, m: tracks of all jets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.events.ragged import starts
from bunchtrain.simulate.flavour import FAKE, PILEUP
from bunchtrain.simulate.tracker import Columns, Tracker

#: Decay vertices closer than this (mm) cannot be told apart: their tracks share one.
SAME_VERTEX = 0.1

_FLOATS = (
    *("px", "py", "pz", "energy", "d0", "z0_sin_theta", "d0_error", "z0_sin_theta_error"),
    *("d0_significance", "z0_significance", "q_over_p", "q_over_p_error", "theta_error", "phi_error"),
)
_HITS = ("innermost_hits", "next_hits", "pixel_hits", "strip_hits", "shared_hits", "split_hits")

#: The fields of a track in the file, with their types.
FIELDS = {
    **dict.fromkeys(_FLOATS, "float32"),
    **dict.fromkeys(_HITS, "int32"),
    "charge": "int8",
    "origin": "int32",
    "vertex": "int32",
}


def find_tracks(tracker: Tracker, visible: Any, jets: Any, kept: Any) -> Any:
    """Return the tracks of each jet that is kept, hardest first: jet, track, with the fields `FIELDS`.

    A track belongs to the closest of the jets found in its event, if its ΔR at the perigee is below `radius`.

    Parameters
    ----------
    tracker : Tracker
        What sees the particles.
    visible : awkward array
        The particles of each event, from `visible_particles` and the pile-up.
    jets : awkward array
        The jets of each event: eta, phi.
    kept : awkward array
        Which of these count.
    """
    import awkward as ak

    flat = ak.flatten(visible)
    particles = {name: ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "x", "y", "z", "id", "origin")}
    particles["event"] = np.repeat(np.arange(len(visible)), ak.to_numpy(ak.num(visible)))
    tracks = tracker.reconstruct(particles)
    numbers = ak.to_numpy(ak.num(jets)).astype(np.int64)
    eta, phi = (ak.to_numpy(ak.flatten(jets[name])) for name in ("eta", "phi"))
    owner = _owner(tracks, numbers, eta, phi, tracker.settings.radius)
    mask = ak.to_numpy(ak.flatten(kept)).astype(bool)
    place = np.where(mask, np.cumsum(mask) - 1, -1)
    tracks["jet"] = np.where(owner >= 0, place[owner] if len(place) else -1, -1)
    return described(tracks, eta[mask], phi[mask], tracker)


def _owner(tracks: Columns, numbers: NDArray[np.int64], eta: Any, phi: Any, radius: float) -> NDArray[np.int64]:
    """Return the jet of each track as its place among the jets of all events, -1 for none."""
    first = starts(numbers)[:-1]
    best = np.full(len(tracks["px"]), radius)
    owner = np.full(len(best), -1)
    pt = np.hypot(tracks["px"], tracks["py"])
    own_eta, own_phi = np.arcsinh(tracks["pz"] / pt), np.arctan2(tracks["py"], tracks["px"])
    for number in range(int(numbers.max(initial=0))):
        some = np.flatnonzero(numbers[tracks["event"]] > number)
        jet = first[tracks["event"][some]] + number
        distance = np.hypot(own_eta[some] - eta[jet], turned(own_phi[some] - phi[jet]))
        closer = distance < best[some]
        best[some[closer]], owner[some[closer]] = distance[closer], jet[closer]
    return owner


def described(tracks: Columns, eta: NDArray[Any], phi: NDArray[Any], tracker: Tracker) -> Any:
    """Return the tracks with all that is known of them, jet after jet; `jet` numbers their jets, -1 is no jet.

    Parameters
    ----------
    tracks : dict
        From `Tracker.reconstruct`, with `jet`.
    eta, phi : ndarray
        Axes of the jets, shape [n].
    tracker : Tracker
        For its limits, and what is drawn.
    """
    import awkward as ak

    pt = np.hypot(tracks["px"], tracks["py"])
    order = np.lexsort((-pt, tracks["jet"]))
    order = order[tracks["jet"][order] >= 0]
    tracks = {name: values[order] for name, values in tracks.items()}
    counts = np.bincount(tracks["jet"], minlength=len(eta)).astype(np.int64)
    tracks |= _clusters(tracks, counts, tracker)
    rank = np.arange(len(order)) - np.repeat(starts(counts)[:-1], counts)
    tracks = {name: values[rank < tracker.settings.most] for name, values in tracks.items()}
    counts = np.minimum(counts, tracker.settings.most)
    tracks |= _signed(tracks, eta[tracks["jet"]], phi[tracks["jet"]])
    tracks["vertex"] = _vertices(tracks, counts)
    return ak.unflatten(ak.zip({name: tracks[name].astype(kind) for name, kind in FIELDS.items()}), counts)


def _signed(tracks: Columns, eta: NDArray[Any], phi: NDArray[Any]) -> Columns:
    """Return the significances of d0 and z0 with the sign of a lifetime.

    That of d0 is positive where the perigee lies on the jet's side of the primary vertex: sin(φ_jet - φ) d0 > 0; that
    of z0 where (η_jet - η) z0 > 0 (ATLAS, JINST 11 (2016) P04008).
    """
    own_phi = np.arctan2(tracks["py"], tracks["px"])
    own_eta = np.arcsinh(tracks["pz"] / np.hypot(tracks["px"], tracks["py"]))
    d0 = np.abs(tracks["d0"]) * np.sign(np.sin(phi - own_phi) * tracks["d0"])
    z0 = np.abs(tracks["z0_sin_theta"]) * np.sign((eta - own_eta) * tracks["z0_sin_theta"])
    return {"d0_significance": d0 / tracks["d0_error"], "z0_significance": z0 / tracks["z0_sin_theta_error"]}


def _clusters(tracks: Columns, counts: NDArray[np.int64], tracker: Tracker) -> Columns:
    """Return how many of each track's pixel clusters are shared with its closest neighbour, and how many were split.

    Two tracks of a jet are ΔR · r apart on a layer of radius r.
    """
    pt = np.hypot(tracks["px"], tracks["py"])
    eta, phi = np.arcsinh(tracks["pz"] / pt), np.arctan2(tracks["py"], tracks["px"])
    a, b = padded(eta, counts, np.inf), padded(phi, counts, 0.0)
    with np.errstate(invalid="ignore"):
        distance = np.hypot(a[:, :, None] - a[:, None, :], turned(b[:, :, None] - b[:, None, :]))
    distance[np.isnan(distance)] = np.inf
    width = distance.shape[1]
    distance[:, np.arange(width), np.arange(width)] = np.inf
    closest = distance.min(axis=2, initial=np.inf)[filled(counts, width)]
    settings = tracker.settings
    merged = closest[:, None] * np.array(settings.pixel_radii) < settings.two_track_distance
    many = np.minimum(merged.sum(axis=1), tracks["pixel_hits"])
    split = tracker.rng.binomial(many, settings.split_clusters)
    return {"shared_hits": many - split, "split_hits": split}


def _vertices(tracks: Columns, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each track's vertex in its jet: 0 the primary one, then by the hardest track; -1 for none.

    Vertices chained by distances below `SAME_VERTEX` are one.
    """
    known = (tracks["origin"] != PILEUP) & (tracks["origin"] != FAKE)
    places = [padded(np.where(known, tracks[name], np.inf), counts, np.inf) for name in "xyz"]
    points = np.stack([np.concatenate([np.zeros((len(counts), 1)), one], axis=1) for one in places])
    with np.errstate(invalid="ignore"):
        squared = np.sum((points[:, :, :, None] - points[:, :, None, :]) ** 2, axis=0)
    near = squared < SAME_VERTEX**2  # false where a difference of infinities is not a number
    width = near.shape[1]
    near[:, np.arange(width), np.arange(width)] = True
    label = np.broadcast_to(np.arange(width), near.shape[:2])
    while True:
        spread = np.where(near, label[:, None, :], width).min(axis=2)
        if np.array_equal(spread, label):
            break
        label = spread
    real = np.isfinite(points[0])
    roots = (label == np.arange(width)) & real
    number = np.take_along_axis(np.cumsum(roots, axis=1) - 1, label, axis=1)
    return np.where(real, number, -1)[:, 1:][filled(counts, width - 1)]


def padded(values: NDArray[Any], counts: NDArray[np.int64], fill: float) -> NDArray[Any]:
    """Return a value per track as a value per jet and track, [m] to [n, t]."""
    width = int(counts.max(initial=0))
    out = np.full((len(counts), width), fill, np.result_type(values, type(fill)))
    out[filled(counts, width)] = values
    return out


def filled(counts: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """Return which places of a padded array hold a track, bool [n, t]."""
    return np.arange(width) < counts[:, None]


def turned(angle: NDArray[Any]) -> NDArray[Any]:
    """Return angles in [-π, π)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
