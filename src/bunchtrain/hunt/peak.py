"""The mass of what was found: a peak of known shape above the background, fitted over the whole spectrum.

M: bins, P: parameters, R: signal events of the template.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from bunchtrain.hunt.spectrum import Floats, Spectra, design, log_likelihood
from bunchtrain.hunt.windows import Window

#: Width (in the logarithm) by which the template's events are smeared, so that its bins are smooth in the mass.
_SMEAR = 0.01

#: Masses that are tried, in units of the window's centre, and how many.
_TRIED, _MASSES = (0.88, 1.18), 121

#: Steps of a fit at most.
_STEPS = 60


@dataclass(frozen=True)
class Template:
    """How the dijet mass of a resonance lies about its true mass.

    Attributes
    ----------
    ratio_R : float64 [R]
        Dijet masses over the true mass.
    """

    ratio_R: Floats

    @property
    def resolution(self) -> float:
        """Half the width of the central 68 %, relative."""
        low, high = np.quantile(self.ratio_R, [0.16, 0.84])
        return float(high - low) / 2

    @property
    def scale(self) -> float:
        """The median: jets lose a little."""
        return float(np.median(self.ratio_R))

    @functools.cached_property
    def _below(self) -> tuple[Floats, Floats]:
        """Logarithms of ratios, and the share of the events below each."""
        logs = np.log(self.ratio_R)
        grid = np.arange(logs.min() - 5 * _SMEAR, logs.max() + 5 * _SMEAR, _SMEAR / 4)
        return grid, ndtr((grid[:, None] - logs) / _SMEAR).mean(1)

    def shares(self, mass: float, edges: Floats) -> Floats:
        """Return the share of the events of a resonance of this mass (GeV) in each bin, [M]."""
        return np.asarray(np.diff(np.interp(np.log(edges / mass), *self._below)))


@dataclass(frozen=True)
class Peak:
    """A fitted peak.

    Attributes
    ----------
    mass, error : float
        Of the resonance, corrected for what jets lose; GeV.
    signal : float
        Events, over all masses.
    background_M, total_M : float64 [M]
    """

    mass: float
    error: float
    signal: float
    background_M: Floats
    total_M: Floats


def found(spectra: Spectra, window: Window, template: Template, parameters: int) -> Peak:
    """Fit mass and yield of a peak, and the background below it.

    Parameters
    ----------
    spectra : Spectra
        One spectrum.
    window : Window
        In and around which the mass is sought.
    template : Template
    parameters : int
        Of the background's function.
    """
    counts_M, columns = spectra.counts_SM[0], np.linalg.qr(design(spectra)[:, :parameters])[0]
    masses = np.linspace(*_TRIED, _MASSES) * window.centre / template.scale
    tried = [_fitted(counts_M, columns, np.diff(spectra.edges), template.shares(one, spectra.edges)) for one in masses]
    logs = np.array([log_likelihood(counts_M, total) for _, _, total in tried])
    best = int(logs.argmax())
    mass, error = _parabola(masses, logs, best)
    signal, background_M, total_M = tried[best]
    return Peak(mass, error, signal, background_M, total_M)


def _parabola(masses: Floats, logs: Floats, best: int) -> tuple[float, float]:
    """Return the mass of largest likelihood, and half the range in which ln L is at most 1/2 below it."""
    above = np.flatnonzero(logs >= logs[best] - 0.5)
    step = masses[1] - masses[0]
    error = max(float(masses[above[-1]] - masses[above[0]] + step) / 2, float(step))
    low, high = max(best - 3, 0), min(best + 4, len(masses))
    curve = np.polyfit(masses[low:high] - masses[best], logs[low:high], 2)
    shift = -curve[1] / (2 * curve[0]) if curve[0] < 0 else 0.0
    return float(masses[best] + np.clip(shift, -3 * step, 3 * step)), error


def _fitted(counts_M: Floats, columns_MP: Floats, widths_M: Floats, shares_M: Floats) -> tuple[float, Floats, Floats]:
    """Return yield, background and sum for one mass, by Fisher's scoring; the yield is not below zero."""
    offset = np.log(widths_M)
    theta = np.linalg.lstsq(columns_MP, np.log(counts_M + 0.5) - offset, rcond=None)[0]
    signal = 0.0

    def rates(theta: Floats, signal: float) -> tuple[Floats, Floats]:
        background = np.exp(np.clip(columns_MP @ theta + offset, -60, 40))
        return background, background + signal * shares_M

    background, total = rates(theta, signal)
    value, size = log_likelihood(counts_M, total), 1.0
    for _ in range(_STEPS):
        slopes = np.concatenate([background[:, None] * columns_MP, shares_M[:, None]], 1)
        information = (slopes / total[:, None]).T @ slopes + 1e-6 * np.eye(slopes.shape[1])
        step = np.linalg.solve(information, slopes.T @ (counts_M / total - 1))
        moved, more = theta + size * step[:-1], max(signal + size * step[-1], 0.0)
        tried = rates(moved, more)
        gained = log_likelihood(counts_M, tried[1]) - value
        if gained < 0:
            size /= 4
            if size < 1e-6:
                break
            continue
        theta, signal, (background, total), value, size = moved, more, tried, value + gained, min(1.0, 2 * size)
        if gained < 1e-7:
            break
    return float(signal), background, total
