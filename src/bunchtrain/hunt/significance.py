"""From local to global: what the largest excess of many windows and cuts is worth (the look-elsewhere effect).

W: windows, C: cuts, the first of which keeps all; M: bins, T: pseudo-experiments, S: spectra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bunchtrain.hunt.spectrum import Excess, Floats, Spectra, excess
from bunchtrain.hunt.windows import Window

#: With fewer pseudo-experiments beyond what is observed, the p-value follows from the effective number of trials.
_FEWEST = 10

#: Share of the pseudo-experiments, those with the smallest p-values, by which trials are counted.
_TAIL = 0.1

#: Pseudo-experiments at a time.
_CHUNK = 250


class Tests(NamedTuple):
    """Spectra of all windows and cuts, and what each window holds.

    Attributes
    ----------
    counts_WCM : float64 [W, C, M]
    excess : list of Excess
        Of each window; its spectra are the cuts.
    """

    windows: list[Window]
    edges: Floats
    energy: float
    counts_WCM: Floats
    excess: list[Excess]

    @property
    def z_WC(self) -> Floats:
        """The local significances."""
        return np.array([one.z_S for one in self.excess])

    @property
    def best(self) -> tuple[int, int]:
        """Window and cut of the largest."""
        window, cut = np.unravel_index(int(self.z_WC.argmax()), self.z_WC.shape)
        return int(window), int(cut)


def tested(windows: Sequence[Window], edges: Floats, energy: float, counts_WCM: Floats) -> Tests:
    """Return what each window holds after each cut."""
    found = [_excess(counts, edges, energy, one) for counts, one in zip(counts_WCM, windows, strict=True)]
    return Tests(list(windows), edges, energy, counts_WCM, found)


def _excess(counts_SM: Floats, edges: Floats, energy: float, window: Window) -> Excess:
    spectra = Spectra(counts_SM, edges, energy)
    return excess(spectra, spectra.inside(window.low, window.high))


@dataclass(frozen=True)
class Global:
    """What the largest excess is worth among all windows and cuts.

    Attributes
    ----------
    p, z : float
        Global p-value and significance.
    error : float
        Binomial error of `p`; 0 where it is extrapolated.
    extrapolated : bool
        Whether fewer than 10 pseudo-experiments go as far, so that `p` is that of so many independent trials.
    trials : float
        As many independent trials give as many small p-values as the pseudo-experiments have.
    largest : float64 [T]
        Their largest significances.
    """

    p: float
    z: float
    error: float
    extrapolated: bool
    trials: float
    largest: Floats


def overall(tests: Tests, pseudo_experiments: int, seed: int) -> Global:
    """Return the global p-value of the largest excess, from pseudo-experiments of background alone.

    The spectrum before cuts is that of a fit without a window; each cut keeps the share of it that the fits beside the
    window say. Cuts are nested, windows share the spectrum before cuts, and are taken to select by themselves: in truth
    neighbours select in part the same, and the p-value is a little too large rather than too small.
    """
    random, z = np.random.default_rng(seed), float(tests.z_WC.max())
    none = np.zeros(tests.counts_WCM.shape[-1], bool)
    whole = excess(Spectra(tests.counts_WCM[:1, 0], tests.edges, tests.energy), none).background_SM[0]
    largest = [
        _largest(tests, whole, min(_CHUNK, pseudo_experiments - done), random)
        for done in range(0, pseudo_experiments, _CHUNK)
    ]
    return judged(z, np.concatenate(largest))


def judged(z: float, largest_T: Floats) -> Global:
    """Return the global p-value of a local significance, given the largest ones of pseudo-experiments."""
    beyond, number = int(np.sum(largest_T >= z)), len(largest_T)
    small = np.sort(-np.log1p(-stats.norm.sf(largest_T)))  # exponential, with the number of trials as its rate
    tail = max(2, round(_TAIL * number))
    trials = float(tail / (small[:tail].sum() + (number - tail) * small[tail - 1]))
    if beyond >= _FEWEST:
        p = beyond / number
        return Global(p, float(stats.norm.isf(p)), float(np.sqrt(p * (1 - p) / number)), False, trials, largest_T)
    p = float(-np.expm1(trials * np.log1p(-stats.norm.sf(z))))
    return Global(p, float(stats.norm.isf(p)), 0.0, True, trials, largest_T)


def _largest(tests: Tests, whole_M: Floats, number: int, random: np.random.Generator) -> Floats:
    """Return the largest significance of each of some pseudo-experiments."""
    all_TM = random.poisson(whole_M, (number, len(whole_M)))
    found = np.full(number, -np.inf)
    before = np.maximum(whole_M, 1e-12)
    for window, one in zip(tests.windows, tests.excess, strict=True):
        left_TM, last = all_TM, before
        for cut in range(tests.counts_WCM.shape[1]):
            rates_M = np.minimum(one.background_SM[cut], last) if cut else last
            left_TM = random.binomial(left_TM, rates_M / last) if cut else left_TM
            last = np.maximum(rates_M, 1e-12)
            found = np.maximum(found, _excess(left_TM.astype(float), tests.edges, tests.energy, window).z_S)
    return found


def pulls(counts_M: Floats, rates_M: Floats) -> NDArray[np.float64]:
    """Return by how many standard deviations each bin is off."""
    return np.asarray((counts_M - rates_M) / np.sqrt(np.maximum(rates_M, 1.0)))
