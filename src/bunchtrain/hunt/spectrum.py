"""A smooth falling spectrum, fitted beside a window; what the window holds beyond it.

The background is the usual function of dijet masses, p0 (1 - x)^p1 x^-(p2 + p3 ln x) with x = mass / collision energy.
Its logarithm is linear in the parameters: the fit by Poisson likelihood has one maximum, and many spectra are fitted at
once.

S: spectra, M: bins of the mass, P: parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from bunchtrain.config.hunt import bins

Floats = NDArray[np.float64]

#: With fewer entries beside the window than these the function has 3, or 2, of its parameters: p3 = 0, p1 = 0.
ENOUGH = {4: 2000, 3: 100}

#: Steps of a fit at most, and the change of ln L that ends it.
_STEPS, _SMALL = 60, 1e-9

#: Weight that keeps a parameter finite of which the entries say nothing, as that of so many entries.
_RIDGE = 1e-3


class Spectra(NamedTuple):
    """Binned masses.

    Attributes
    ----------
    counts_SM : float64 [S, M]
    edges : float64 [M + 1]
        GeV.
    energy : float
        Of the collisions, GeV.
    """

    counts_SM: Floats
    edges: Floats
    energy: float

    @property
    def centres(self) -> Floats:
        """The geometric centres of the bins."""
        found: Floats = np.sqrt(self.edges[1:] * self.edges[:-1])
        return found

    def inside(self, low: float, high: float) -> NDArray[np.bool_]:
        """Return which bins lie in a window."""
        found: NDArray[np.bool_] = (self.centres >= low) & (self.centres < high)
        return found


@dataclass(frozen=True)
class Excess:
    """What a window holds, spectrum by spectrum.

    Attributes
    ----------
    observed_S, expected_S, error_S : float64 [S]
        Entries in the window, those of the background by the fit beside it, and its error.
    z_S : float64 [S]
        Significance by the profile likelihood ratio, below zero where entries are missing.
    background_SM : float64 [S, M]
        The fit.
    parameters_S : int64 [S]
        How many the function has.
    fitted_SP : float64 [S, 4]
        The coefficients of ln(1 - x) and so on, as in `design`; zero where not fitted.
    """

    observed_S: Floats
    expected_S: Floats
    error_S: Floats
    z_S: Floats
    background_SM: Floats
    parameters_S: NDArray[np.int64]
    fitted_SP: Floats

    @property
    def p_S(self) -> Floats:
        """The local p-values, one-sided."""
        return np.asarray(stats.norm.sf(self.z_S))


def edges(low: float, high: float, width: float) -> Floats:
    """Return edges of bins from `low` to `high` (GeV), even in the logarithm and about `width` wide in it."""
    return np.geomspace(low, high, 1 + bins(low, high, width))


def design(spectra: Spectra) -> Floats:
    """Return the columns 1, ln x, ln(1 - x), ln² x in the bins, [M, 4]: in the order in which they are taken."""
    x_M = spectra.centres / spectra.energy
    return np.stack([np.ones_like(x_M), np.log(x_M), np.log1p(-x_M), np.log(x_M) ** 2], 1)


def excess(spectra: Spectra, window: NDArray[np.bool_]) -> Excess:
    """Fit beside a window and compare with what it holds.

    The window counts as one bin. Its significance is sqrt(2 ln L(any yield) / L(background alone)), the background's
    parameters free in both: their uncertainty is in it.
    """
    counts_SM = spectra.counts_SM
    number = counts_SM[:, ~window].sum(1)
    parameters_S = np.where(number >= ENOUGH[4], 4, np.where(number >= ENOUGH[3], 3, 2))
    expected_S, error_S, z_S = (np.zeros(len(counts_SM)) for _ in range(3))
    background_SM, fitted_SP = np.zeros_like(counts_SM), np.zeros((len(counts_SM), 4))
    for count in np.unique(parameters_S):
        here = parameters_S == count
        found = _excess(counts_SM[here], design(spectra)[:, :count], np.diff(spectra.edges), window)
        expected_S[here], error_S[here], z_S[here], background_SM[here], fitted_SP[here, :count] = found
    observed_S = counts_SM[:, window].sum(1)
    return Excess(observed_S, expected_S, error_S, z_S, background_SM, parameters_S, fitted_SP)


def _excess(
    counts_SM: Floats, columns_MP: Floats, widths_M: Floats, window: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return expected, error, z, background and coefficients of spectra with one number of parameters."""
    basis_MP, turn_PP = np.linalg.qr(columns_MP)
    beside, hidden = _Model(basis_MP, widths_M, ~window, None), _Model(basis_MP, widths_M, ~window, window)
    start = beside.start(counts_SM)
    free_SP, free_S = beside.fit(counts_SM, start)
    _, null_S = hidden.fit(counts_SM, free_SP)
    background_SM = beside.rates(free_SP)
    observed_S, expected_S = counts_SM[:, window].sum(1), background_SM[:, window].sum(1)
    gradient_SP = background_SM[:, window] @ basis_MP[window]
    covariance = np.linalg.inv(beside.information(background_SM))
    error_S = np.sqrt(np.einsum("sp,spq,sq->s", gradient_SP, covariance, gradient_SP))
    saturated_S = _log_poisson(observed_S, np.maximum(observed_S, 1e-300))
    ratio_S = np.maximum(2 * (free_S + saturated_S - null_S), 0)
    z_S = np.sign(observed_S - expected_S) * np.sqrt(ratio_S)
    return expected_S, error_S, z_S, background_SM, np.linalg.solve(turn_PP, free_SP.T).T


def _log_poisson(counts: Floats, rates: Floats) -> Floats:
    """Return ln of the Poisson probabilities, less ln(n!)."""
    return np.asarray(np.where(counts > 0, counts * np.log(np.maximum(rates, 1e-300)), 0) - rates)


class _Model:
    """Rates exp(basis · θ) x width in the bins `beside`, and in a window that counts as one bin, if there is one."""

    def __init__(
        self, basis_MP: Floats, widths_M: Floats, beside: NDArray[np.bool_], window: NDArray[np.bool_] | None
    ) -> None:
        self.basis, self.offset = basis_MP, np.log(widths_M)
        self.beside, self.window = beside, window

    def start(self, counts_SM: Floats) -> Floats:
        """Return parameters of a straight fit to the logarithms of the counts."""
        basis, logs = self.basis[self.beside], np.log(counts_SM[:, self.beside] + 0.5) - self.offset[self.beside]
        return np.asarray(np.linalg.lstsq(basis, logs.T, rcond=None)[0].T)

    def rates(self, theta_SP: Floats) -> Floats:
        """Return the rates in all bins."""
        return np.asarray(np.exp(np.clip(theta_SP @ self.basis.T + self.offset, -60, 40)))

    def information(self, rates_SM: Floats) -> Floats:
        """Return the expected second derivatives of -ln L, [S, P, P]."""
        basis = self.basis[self.beside]
        found = np.einsum("sm,mp,mq->spq", rates_SM[:, self.beside], basis, basis)
        if self.window is not None:
            gradient_SP = rates_SM[:, self.window] @ self.basis[self.window]
            total_S = np.maximum(rates_SM[:, self.window].sum(1), 1e-12)
            found += np.einsum("sp,sq->spq", gradient_SP, gradient_SP) / total_S[:, None, None]
        return np.asarray(found + _RIDGE * np.eye(self.basis.shape[1]))

    def _log_likelihood(self, counts_SM: Floats, rates_SM: Floats) -> Floats:
        found = _log_poisson(counts_SM[:, self.beside], rates_SM[:, self.beside]).sum(1)
        if self.window is not None:
            found += _log_poisson(counts_SM[:, self.window].sum(1), rates_SM[:, self.window].sum(1))
        return np.asarray(found)

    def _gradient(self, counts_SM: Floats, rates_SM: Floats) -> Floats:
        found = (counts_SM - rates_SM)[:, self.beside] @ self.basis[self.beside]
        if self.window is not None:
            gradient_SP = rates_SM[:, self.window] @ self.basis[self.window]
            counted, total = counts_SM[:, self.window].sum(1), np.maximum(rates_SM[:, self.window].sum(1), 1e-12)
            found = found + (counted / total - 1)[:, None] * gradient_SP
        return np.asarray(found)

    def fit(self, counts_SM: Floats, theta_SP: Floats) -> tuple[Floats, Floats]:
        """Return the parameters of largest likelihood, [S, P], and its logarithm, by Fisher's scoring."""
        rates = self.rates(theta_SP)
        best = self._log_likelihood(counts_SM, rates)
        size = np.ones(len(theta_SP))
        for _ in range(_STEPS):
            step = np.linalg.solve(self.information(rates), self._gradient(counts_SM, rates)[..., None])[..., 0]
            tried = theta_SP + size[:, None] * step
            tried_rates = self.rates(tried)
            value = self._log_likelihood(counts_SM, tried_rates)
            better = value >= best
            gained = np.where(better, value - best, np.inf)
            theta_SP, best = np.where(better[:, None], tried, theta_SP), np.where(better, value, best)
            rates = np.where(better[:, None], tried_rates, rates)
            size = np.where(better, np.minimum(1, 2 * size), size / 4)
            if ((gained < _SMALL) | (size < 1e-6)).all():
                break
        return theta_SP, best


def goodness(counts_M: Floats, rates_M: Floats, parameters: int) -> tuple[float, int, float]:
    """Return χ² by the likelihood ratio, its degrees of freedom, and its p-value.

    See Baker and Cousins, doi:10.1016/0167-5087(84)90016-4. Neighbouring bins are joined until 5 entries are expected.
    """
    counts, rates = _joined(counts_M, rates_M)
    chi = 2 * float(np.sum(_log_poisson(counts, np.maximum(counts, 1e-300)) - _log_poisson(counts, rates)))
    degrees = max(len(counts) - parameters, 1)
    return chi, degrees, float(stats.chi2.sf(chi, degrees))


def _joined(counts_M: Floats, rates_M: Floats, least: float = 5.0) -> tuple[Floats, Floats]:
    group, total = np.zeros(len(rates_M), int), 0.0
    for place, rate in enumerate(rates_M):
        group[place:] += total >= least and float(rates_M[place:].sum()) >= least
        total = (0.0 if place and group[place] != group[place - 1] else total) + float(rate)
    return np.bincount(group, counts_M).astype(float), np.bincount(group, rates_M).astype(float)


def log_likelihood(counts_M: Floats, rates_M: Floats) -> float:
    """Return ln of the Poisson likelihood."""
    return float(np.sum(_log_poisson(counts_M, rates_M) - gammaln(counts_M + 1)))
