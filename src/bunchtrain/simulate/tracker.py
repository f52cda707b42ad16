"""Charged particles to reconstructed tracks: hits, efficiency, perigee parameters smeared by Gaussians, fakes.

m: particles or tracks of a batch, l: layers from the innermost outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.specs import SimulateSpec
from bunchtrain.config.tracks import Resolution, Tracks
from bunchtrain.simulate.flavour import FAKE
from bunchtrain.simulate.generator import tracks_seed
from bunchtrain.simulate.helix import curvature, perigee

Columns = dict[str, NDArray[Any]]
Charges = Callable[[NDArray[np.int32]], NDArray[np.int8]]

#: Particles this far beyond the limit in |η| can be measured inside; no track is nearer to the beam than this (rad).
_MARGIN, _STEEPEST = 0.2, 1e-3

#: All tracks are taken for pions, GeV.
PION = 0.13957

#: Fakes: mean pt above the threshold (GeV), spread around a true track (in η and φ), and of d0 and z0 sin θ (mm).
_FAKE_PT, _FAKE_ANGLE, _FAKE_D0, _FAKE_Z0 = 1.0, 0.1, 1.0, 2.0


class Tracker:
    """A tracker of cylinders around the beam, set up for one shard.

    Parameters
    ----------
    spec : SimulateSpec
        With a section `tracks`.
    charges : callable
        From PDG codes to charges (e).
    """

    def __init__(self, spec: SimulateSpec, charges: Charges) -> None:
        if spec.settings.tracks is None:
            raise ValueError("settings without a section tracks")
        self.settings: Tracks = spec.settings.tracks
        self.rng = np.random.default_rng(tracks_seed(spec))
        self._charges = charges
        self.radii = np.array([*self.settings.pixel_radii, *self.settings.strip_radii])

    def reconstruct(self, particles: Columns) -> Columns:
        """Return the tracks of a batch, in the order of their particles and fakes after them.

        Parameters
        ----------
        particles : dict
            px, py, pz (GeV), id, the production vertex x, y, z (mm) relative to the primary vertex, `origin` and
            `event`: its place in the batch.

        Returns
        -------
        dict
            px, py, pz, energy, charge, d0, z0_sin_theta, their errors, q_over_p and its error, those of φ and θ, the
            numbers of hits, and of the truth x, y, z, origin, event.
        """
        particles = {**particles, "charge": self._charges(particles["id"])}
        pt = np.hypot(particles["px"], particles["py"])
        within = np.abs(np.arcsinh(particles["pz"] / pt)) < self.settings.eta_max + _MARGIN
        particles = _taken(particles, within & (particles["charge"] != 0))
        true = self._true(particles)
        hits = self._hits(np.hypot(particles["x"], particles["y"]), true)
        seen = (hits.sum(axis=1) >= self.settings.least_hits) & (self.rng.random(len(hits)) < self.settings.efficiency)
        true = _taken({**particles, **true, **self._counts(hits), "first": self._first(hits)}, seen)
        tracks = self._accepted(self._smeared(true))
        return _joined(tracks, self._accepted(self._fakes(tracks)))

    def _true(self, particles: Columns) -> Columns:
        """Return the parameters at the perigee, and 1/pt with the charge's sign."""
        pt = np.hypot(particles["px"], particles["py"])
        cot = particles["pz"] / pt
        bend = curvature(particles["charge"], pt, self.settings.field)
        angle = np.arctan2(particles["py"], particles["px"])
        found = perigee(particles["x"], particles["y"], particles["z"], angle, cot, bend)
        theta = np.arctan2(1.0, cot)
        longitudinal = found.z0 * np.sin(theta)
        inverse = particles["charge"] / pt
        values = {"d0": found.d0, "z0_sin_theta": longitudinal, "phi": found.phi, "theta": theta, "inverse": inverse}
        return {**values, "bend": bend}

    def _hits(self, radius: NDArray[Any], true: Columns) -> NDArray[np.int8]:
        """Return the hits, int8 [m, l]: none on layers inside the production radius (mm), or beyond the circle.

        The far side of the circle is at 2/ω less d0 from the beam.
        """
        far = 2 / np.abs(true["bend"]) - np.abs(true["d0"])
        crossed = (radius[:, None] < self.radii) & (far[:, None] > self.radii)
        sides = self.rng.random((2, *crossed.shape)) < self.settings.hit_efficiency
        sides[1, :, : len(self.settings.pixel_radii)] = False
        return np.asarray(crossed * sides.sum(axis=0), np.int8)

    def _counts(self, hits: NDArray[np.int8]) -> Columns:
        """Return the hits by groups of layers."""
        pixels = len(self.settings.pixel_radii)
        groups = {"innermost": hits[:, :1], "next": hits[:, 1:2], "pixel": hits[:, :pixels], "strip": hits[:, pixels:]}
        return {f"{name}_hits": some.sum(axis=1, dtype=np.int32) for name, some in groups.items()}

    def _first(self, hits: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the radius of the first hit, in units of the innermost layer's: d0 and z0 are as much worse."""
        return np.asarray(self.radii[np.argmax(hits > 0, axis=1)] / self.radii[0])

    def _smeared(self, true: Columns) -> Columns:
        """Return measured tracks: each parameter off by a Gaussian of its own."""
        tracks = dict(true)
        scales = {"d0": true["first"], "z0_sin_theta": true["first"]}
        pt = 1 / np.abs(true["inverse"])
        for name, resolution in self._resolutions().items():
            sigma = _sigma(resolution, pt, true["theta"]) * scales.get(name, 1.0)
            tracks[name] = true[name] + sigma * self.rng.standard_normal(len(pt))
        tracks["theta"] = np.clip(tracks["theta"], _STEEPEST, np.pi - _STEEPEST)
        return self._measured(tracks)

    def _resolutions(self) -> dict[str, Resolution]:
        ours = self.settings
        named = {"d0": ours.d0, "z0_sin_theta": ours.z0_sin_theta, "phi": ours.phi, "theta": ours.theta}
        return {**named, "inverse": ours.curvature}

    def _measured(self, tracks: Columns) -> Columns:
        """Add momenta and errors to measured parameters; the errors are those at the measured pt and θ."""
        theta, phi, inverse = tracks["theta"], tracks["phi"], tracks["inverse"]
        pt = 1 / np.maximum(np.abs(inverse), 1e-9)
        sin = np.sin(theta)
        sigma = {name: _sigma(one, pt, theta) for name, one in self._resolutions().items()}
        momentum = pt / sin
        # q/p = (q/pt) sin θ
        q_over_p_error = np.hypot(sin * sigma["inverse"], inverse * np.cos(theta) * sigma["theta"])
        return {
            **{name: tracks[name] for name in _KEPT},
            "px": pt * np.cos(phi),
            "py": pt * np.sin(phi),
            "pz": momentum * np.cos(theta),
            "energy": np.hypot(momentum, PION),
            "charge": np.where(inverse > 0, 1, -1),
            "d0_error": sigma["d0"] * tracks["first"],
            "z0_sin_theta_error": sigma["z0_sin_theta"] * tracks["first"],
            "q_over_p": inverse * sin,
            "q_over_p_error": q_over_p_error,
            "theta_error": sigma["theta"],
            "phi_error": sigma["phi"],
        }

    def _accepted(self, tracks: Columns) -> Columns:
        """Return the tracks inside the limits of the reconstruction."""
        ours = self.settings
        pt = np.hypot(tracks["px"], tracks["py"])
        inside = (pt >= ours.pt_min) & (np.abs(np.arcsinh(tracks["pz"] / pt)) < ours.eta_max)
        close = (np.abs(tracks["d0"]) < ours.d0_max) & (np.abs(tracks["z0_sin_theta"]) < ours.z0_sin_theta_max)
        return _taken(tracks, inside & close)

    def _fakes(self, tracks: Columns) -> Columns:
        """Return tracks of no particle, made where there are many others: soft, near one of them, from anywhere."""
        near = _taken(tracks, self.rng.random(len(tracks["px"])) < self.settings.fakes)
        count = len(near["px"])
        pt = self.settings.pt_min + self.rng.exponential(_FAKE_PT, count)
        eta = np.arcsinh(near["pz"] / np.hypot(near["px"], near["py"])) + self.rng.normal(0, _FAKE_ANGLE, count)
        phi = np.arctan2(near["py"], near["px"]) + self.rng.normal(0, _FAKE_ANGLE, count)
        parameters = {
            "inverse": self.rng.choice([-1.0, 1.0], count) / pt,
            "theta": np.arctan2(1.0, np.sinh(eta)),
            "phi": phi,
            "d0": self.rng.normal(0, _FAKE_D0, count),
            "z0_sin_theta": self.rng.normal(0, _FAKE_Z0, count),
        }
        hits = self._fake_hits(count)
        nowhere = dict.fromkeys("xyz", np.full(count, np.nan))
        truth = {**nowhere, "origin": np.full(count, FAKE, np.int8), "event": near["event"]}
        return self._measured({**parameters, **truth, **self._counts(hits), "first": self._first(hits)})

    def _fake_hits(self, count: int) -> NDArray[np.int8]:
        """Return just as many hits as a track needs, on any layers, int8 [m, l]."""
        pixels, layers = len(self.settings.pixel_radii), len(self.radii)
        layer_of = np.concatenate([np.arange(pixels), np.repeat(np.arange(pixels, layers), 2)])
        chosen = np.argsort(self.rng.random((count, len(layer_of))), axis=1)[:, : self.settings.least_hits]
        hits = np.zeros((count, layers), np.int8)
        np.add.at(hits, (np.arange(count)[:, None], layer_of[chosen]), 1)
        return hits


#: What of the parameters stays with a measured track.
_KEPT = (
    *("d0", "z0_sin_theta", "innermost_hits", "next_hits", "pixel_hits", "strip_hits"),
    *("x", "y", "z", "origin", "event"),
)


def _sigma(resolution: Resolution, pt: NDArray[Any], theta: NDArray[Any]) -> NDArray[np.float64]:
    """Return a ⊕ b / (pt √sin θ), as the ATLAS and CMS trackers are described (CERN-LHCC-97-16)."""
    constant, scattering = resolution
    return np.asarray(np.hypot(constant, scattering / (pt * np.sqrt(np.sin(theta)))))


def _taken(columns: Columns, kept: NDArray[np.bool_]) -> Columns:
    return {name: values[kept] for name, values in columns.items()}


def _joined(first: Columns, second: Columns) -> Columns:
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}
