"""What the tracks of a jet say of a heavy hadron in it: impact parameters and one secondary vertex. No truth.

n: jets, t: tracks of the jet that has the most, c: candidates, p: pairs of candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.tracks import Tracks
from bunchtrain.simulate.tracker import PION
from bunchtrain.simulate.tracks import filled, padded, turned
from bunchtrain.simulate.vertexfit import CUT, Floats, Lines, adaptive, fit, lines, residuals

#: What is told of each jet, with the types in the file.
FIELDS = {
    "tracks": "int32",
    "displaced_tracks": "int32",
    "first_significance": "float32",
    "second_significance": "float32",
    "third_significance": "float32",
    "impact_sum": "float32",
    "sv_tracks": "int32",
    "sv_mass": "float32",
    "sv_energy_fraction": "float32",
    "sv_distance_significance": "float32",
    "sv_delta_r": "float32",
}

#: Lifetime-signed significance from which a track is displaced; and from which it may seed a vertex.
_DISPLACED, _SEED = 2.0, 1.5

#: Of a jet, the most displaced tracks are paired.
_CANDIDATES = 8

#: Larger significances say no more: the Gaussian errors are not to be trusted there.
_LARGEST = 10.0

#: Masses of what is no heavy hadron (GeV), with those of its two daughters, and the window around it.
_PROTON = 0.93827
_STRANGE = ((0.49761, PION, PION), (1.11568, _PROTON, PION), (1.11568, PION, _PROTON))
_WINDOW = 0.012

#: Tracks with a smaller weight are not in a vertex.
_MEMBER = 0.5


def summary(eta: NDArray[Any], phi: NDArray[Any], tracks: Any, settings: Tracks) -> dict[str, NDArray[Any]]:
    """Return the columns `FIELDS` of jets, shape [n] each; 0 where there is no such track or vertex.

    Parameters
    ----------
    eta, phi : ndarray
        Axes of the jets, shape [n].
    tracks : awkward array
        Jet, track, from `find_tracks`.
    settings : Tracks
        For the field.
    """
    import awkward as ak

    counts = ak.to_numpy(ak.num(tracks)).astype(np.int64)
    flat = {name: ak.to_numpy(ak.flatten(tracks[name])).astype(np.float64) for name in _READ}
    columns = {name: padded(values, counts, _FILL.get(name, 1.0)) for name, values in flat.items()}
    real = filled(counts, columns["px"].shape[1])
    axis = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=-1) / np.cosh(eta)[:, None]
    found = {"tracks": counts, **_impacts(columns["d0_significance"], real)}
    found |= _vertex(columns, real, axis.astype(np.float64), settings.field)
    return {name: found[name].astype(kind) for name, kind in FIELDS.items()}


_READ = (
    *("px", "py", "pz", "energy", "charge", "d0", "z0_sin_theta", "d0_error", "z0_sin_theta_error"),
    *("phi_error", "theta_error", "d0_significance"),
)
#: Where there is no track: one along x, of no significance.
_FILL = {"py": 0.0, "pz": 0.0, "d0": 0.0, "z0_sin_theta": 0.0, "d0_significance": -np.inf}


def _impacts(significance: Floats, real: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Return what the lifetime-signed significances of d0, [n, t], say."""
    falling = -np.sort(-significance, axis=1)
    enough = np.concatenate([falling, np.full((len(falling), 3), -np.inf)], axis=1)[:, :3]
    first, second, third = np.where(np.isfinite(enough), enough, 0.0).T
    return {
        "first_significance": first,
        "second_significance": second,
        "third_significance": third,
        "displaced_tracks": (significance > _DISPLACED).sum(axis=1),
        "impact_sum": np.sum(_surprise(np.where(real, significance, 0.0)), axis=1),
    }


def _surprise(significance: Floats) -> Floats:
    """Return -ln P: P is the chance that a primary track lies as far out on the positive side, 1 for negative ones.

    The sum over the tracks is what the jet probability of ALEPH is made of (Phys. Lett. B 313 (1993) 535). The
    complementary error function is that of Abramowitz and Stegun, 7.1.26.
    """
    x = np.clip(significance, 0.0, _LARGEST) / np.sqrt(2.0)
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.where(x > 0, x**2 - np.log(series), 0.0)


def _vertex(columns: dict[str, Floats], real: NDArray[np.bool_], axis: Floats, field: float) -> dict[str, NDArray[Any]]:
    """Return what is known of the secondary vertex: a seed of two tracks, then an adaptive fit of all.

    Parameters
    ----------
    columns : dict
        Of tracks, shape [n, t].
    real : ndarray of bool
        Where there is one, shape [n, t].
    axis : ndarray
        Unit vectors along the jets, [n, 3].
    field : float
        Of the solenoid, T.
    """
    found = {name: np.zeros(len(real)) for name in FIELDS if name.startswith("sv_")}
    some = np.flatnonzero((columns["d0_significance"] > _SEED).sum(axis=1) >= 2)
    if len(some) == 0:
        return found
    tracks = lines({name: values[some] for name, values in columns.items()}, field)
    seeds, seeded = _seeds(tracks, columns["d0_significance"][some], axis[some])
    some, tracks, seeds = some[seeded], tracks.at(seeded), seeds[seeded]
    points, covariance, weights = adaptive(tracks, real[some], seeds)
    members = weights > _MEMBER
    momenta = _momenta(tracks, points)
    forward = np.sum(points * axis[some], axis=1) > 0
    good = (members.sum(axis=1) >= 2) & forward & ~_strange_pair(tracks, members, momenta)
    energy = columns["energy"][some] * real[some]
    told = _told(points, covariance, members, momenta, energy, axis[some])
    for name, values in told.items():
        found[name][some[good]] = values[good]
    return found


def _seeds(tracks: Lines, significance: Floats, axis: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return for each jet the vertex of two displaced tracks that most others come from, mm, and whether there is one.

    Pairs that look like a K_S or a Λ, that do not meet, or meet behind the primary vertex are no seeds.
    """
    rows = np.arange(len(significance))[:, None]
    order = np.argsort(-significance, axis=1, kind="stable")[:, :_CANDIDATES]
    chosen, candidate = tracks.at((rows, order)), significance[rows, order] > _SEED
    one, other = np.triu_indices(order.shape[1], 1)
    pairs = chosen.at((slice(None), np.stack([one, other], axis=1)))  # [n, p, 2]
    points, chi2 = fit(pairs)
    momenta = _momenta(pairs, points)
    strange = _strange_pair(pairs, np.ones(pairs.d0.shape, bool), momenta)
    forward = np.sum(points * axis[:, None, :], axis=-1) > 0
    good = candidate[:, one] & candidate[:, other] & (chi2 < CUT) & forward & ~strange
    everyone = chosen.at((slice(None), None))  # [n, 1, c]
    near = np.exp(-residuals(everyone, points).chi2 / 2) * candidate[:, None, :]
    score = np.where(good, near.sum(axis=-1), 0.0)
    best = np.argmax(score, axis=1)
    return points[rows[:, 0], best], score[rows[:, 0], best] > 0


def _momenta(tracks: Lines, points: Floats) -> Floats:
    """Return the momenta of tracks where they pass points, GeV, shape [..., t, 3]."""
    phi = residuals(tracks, points).here.phi
    direction = np.stack([np.cos(phi), np.sin(phi), 1 / np.tan(tracks.theta)], axis=-1)
    return np.asarray(tracks.pt[..., None] * direction)


def _strange_pair(tracks: Lines, members: NDArray[np.bool_], momenta: Floats) -> NDArray[np.bool_]:
    """Return which vertices are two tracks of opposite charge with the mass of a K_S or a Λ."""
    two = (members.sum(axis=-1) == 2) & (np.sum(tracks.charge * members, axis=-1) == 0)
    places = np.argsort(~members, axis=-1, kind="stable")[..., :2, None]
    pair = np.take_along_axis(momenta, places, axis=-2)
    squared = np.sum(pair**2, axis=-1)
    total = np.sum(np.sum(pair, axis=-2) ** 2, axis=-1)
    looks = np.zeros(two.shape, bool)
    for mass, first, second in _STRANGE:
        energy = np.sqrt(squared[..., 0] + first**2) + np.sqrt(squared[..., 1] + second**2)
        looks |= np.abs(np.sqrt(np.maximum(energy**2 - total, 0.0)) - mass) < _WINDOW
    return np.asarray(two & looks)


def _told(
    points: Floats,
    covariance: Floats,
    members: NDArray[np.bool_],
    momenta: Floats,
    energy: Floats,
    axis: Floats,
) -> dict[str, NDArray[Any]]:
    """Return the columns of vertices: their tracks are taken for pions, the flight is from the primary vertex."""
    length = np.maximum(np.sqrt(np.sum(points**2, axis=1)), 1e-6)
    flight = points / length[:, None]
    variance = np.einsum("ni,nij,nj->n", flight, covariance, flight)
    total = np.sum(momenta * members[..., None], axis=1)
    energies = np.sqrt(np.sum(momenta**2, axis=-1) + PION**2) * members
    mass2 = np.sum(energies, axis=1) ** 2 - np.sum(total**2, axis=1)
    return {
        "sv_tracks": members.sum(axis=1),
        "sv_mass": np.sqrt(np.maximum(mass2, 0.0)),
        "sv_energy_fraction": np.sum(energies, axis=1) / np.sum(energy, axis=1),
        "sv_distance_significance": length / np.sqrt(variance),
        "sv_delta_r": _delta_r(flight, axis),
    }


def _delta_r(one: Floats, other: Floats) -> Floats:
    """Return ΔR between directions, [n, 3]."""
    (eta, phi), (other_eta, other_phi) = (
        (np.arcsinh(v[:, 2] / np.maximum(np.hypot(v[:, 0], v[:, 1]), 1e-9)), np.arctan2(v[:, 1], v[:, 0]))
        for v in (one, other)
    )
    return np.asarray(np.hypot(eta - other_eta, turned(phi - other_phi)))
