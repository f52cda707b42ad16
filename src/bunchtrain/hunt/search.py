"""One hunt: windows, classifiers, cuts, spectra, local and global significance, and the mass of what was found.

N: events, F: features, W: windows, C: cuts, M: bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.hunt import Hunt
from bunchtrain.hunt import classify, peak
from bunchtrain.hunt.peak import Peak, Template
from bunchtrain.hunt.significance import Global, Tests, overall, tested
from bunchtrain.hunt.spectrum import Floats, Spectra
from bunchtrain.hunt.windows import Window, bins, windows


@dataclass(frozen=True)
class Events:
    """What a hunt sees: no labels.

    Attributes
    ----------
    mass : float64 [N]
        Of the pairs of jets, GeV.
    features : float64 [N, F]
    energy : float
        Of the collisions, GeV.
    """

    mass: Floats
    features: Floats
    energy: float

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Events:
        """Return some of them."""
        return Events(self.mass[which], self.features[which], self.energy)


@dataclass(frozen=True)
class Hunted:
    """What a hunt found.

    Attributes
    ----------
    tests : Tests
        Windows and cuts.
    scores : float64 [W, N]
        Of the classifiers of each window.
    fold : int64 [N]
    best : tuple of int
        Window and cut of the largest excess.
    overall : Global or None
        What it is worth among all of them.
    peak : Peak or None
    """

    tests: Tests
    scores: Floats
    fold: NDArray[np.int64]
    overall: Global | None = None
    peak: Peak | None = None

    @property
    def best(self) -> tuple[int, int]:
        """Window and cut of the largest excess."""
        return self.tests.best

    @property
    def window(self) -> Window:
        """The window of the largest excess."""
        return self.tests.windows[self.best[0]]

    @property
    def spectrum(self) -> Spectra:
        """The spectrum of the largest excess."""
        window, cut = self.best
        return Spectra(self.tests.counts_WCM[window, cut][None], self.tests.edges, self.tests.energy)

    def kept(self, settings: Hunt, window: int, cut: int) -> NDArray[np.bool_]:
        """Return which events a cut keeps."""
        if cut == 0:
            return np.ones(len(self.fold), bool)
        return classify.kept(self.scores[window], self.fold, settings.cuts[cut - 1])


def scan(events: Events, settings: Hunt, seed: int) -> Hunted:
    """Train in every window and count what the cuts keep, without pseudo-experiments."""
    edges = bins(settings)
    outside = (events.mass < edges[0]) | (events.mass >= edges[-1])
    ranges = windows(settings, events.mass[~outside])
    fold = classify.folds(len(events.mass), settings, seed)
    searched = np.where(outside, np.nan, events.mass)  # no neighbour has what lies outside
    scores = np.array([classify.scores(events.features, searched, fold, one, settings, seed) for one in ranges])
    counts = [
        [_histogram(events.mass, edges, classify.kept(row, fold, cut)) for cut in settings.cuts] for row in scores
    ]
    whole = _histogram(events.mass, edges, np.ones(len(events.mass), bool))
    tests = tested(ranges, edges, events.energy, np.array([[whole, *rows] for rows in counts]))
    return Hunted(tests, scores, fold)


def hunt(events: Events, settings: Hunt, template: Template, seed: int) -> Hunted:
    """Return what a hunt finds, with its global significance and mass."""
    found = scan(events, settings, seed)
    worth = overall(found.tests, settings.pseudo_experiments, classify.seed_of("pseudo", seed))
    window, cut = found.best
    parameters = int(found.tests.excess[window].parameters_S[cut])
    mass = peak.found(found.spectrum, found.window, template, parameters)
    return Hunted(found.tests, found.scores, found.fold, worth, mass)


def _histogram(mass_N: Floats, edges: Floats, which: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.histogram(mass_N[which], edges)[0].astype(float))
