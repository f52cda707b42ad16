"""Electromagnetic showers in a homogeneous medium, as Grindhammer and Peters parametrise them: hep-ex/0001020, A.1.

The energy of an electron's shower is spread over depth t (in radiation lengths) as a gamma distribution, over the
distance r from its axis (in Molière radii) as two components of one form, and evenly in azimuth. ln T and ln α of the
gamma distribution, T being the depth of the maximum, fluctuate together from shower to shower; energy comes in spots,
whose number makes the fluctuations of the radial profile.

The constants are those of the appendix, as two codes have them: `GVFlashHomoShowerTuning.hh` and
`GFlashHomoShowerParameterisation.cc` of Geant4 (source/parameterisations/gflash, tag geant4-08-01; the chapter on
Gflash of Geant4's Physics Reference Manual is about it), and `EMECALShowerParametrization.h` of the fast simulation of
CMS (cms-sw/cmssw). They agree but in one: the slope of k4 in ln E is 0.0412 in Geant4 and 0.0421 in CMS's. Taken is
0.0421, which `GflashEMShowerProfile.cc` of CMS has as well: it seems that Geant4 has two digits swapped. That other
file has 2.623 for the 2.632 of both, and means of its own for ln T and ln α.

n: showers, t: steps of depth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: α below which the profile has no maximum; a fluctuation does not go beyond.
_LEAST_ALPHA = 1.05

#: Mean depth at which a photon converts to a pair.
CONVERSION = 9 / 7


class Medium(NamedTuple):
    """What a shower grows in: radiation length and Molière radius (mm), critical energy (GeV), atomic number."""

    radiation_length: float
    moliere_radius: float
    critical_energy: float
    atomic_number: float


class Profile(NamedTuple):
    """The longitudinal profiles of showers, each [n]: depth of the maximum, α, and the depth that τ = 1 stands for."""

    maximum: Array
    alpha: Array
    scale: Array


def longitudinal(energy: Array, medium: Medium, random: np.random.Generator) -> Profile:
    """Draw the profiles of electrons of `energy` (GeV), [n]."""
    ln_y = np.log(energy / medium.critical_energy)
    maximum = np.log(ln_y - 0.812)
    alpha = np.log(0.81 + (0.458 + 2.26 / medium.atomic_number) * ln_y)
    correlation = 0.705 - 0.023 * ln_y
    first, second = random.standard_normal((2, len(energy)))
    together, apart = np.sqrt((1 + correlation) / 2) * first, np.sqrt((1 - correlation) / 2) * second
    drawn_maximum = np.exp(maximum + (together + apart) / (-1.4 + 1.26 * ln_y))
    drawn_alpha = np.maximum(np.exp(alpha + (together - apart) / (-0.58 + 0.86 * ln_y)), _LEAST_ALPHA)
    # τ is t over the mean depth of this shower, times what makes it t / T in an average one.
    mean = drawn_maximum * drawn_alpha / (drawn_alpha - 1)
    return Profile(drawn_maximum, drawn_alpha, mean * (1 - np.exp(-alpha)))


def shares(maximum: Array, alpha: Array, depths: Array) -> Array:
    """Return the shares of gamma distributions in steps of equal length with the middles `depths`, [n, t].

    They add up to 1 over the steps, which therefore have to reach to where nothing is left.
    """
    t = depths[None, :] / maximum[:, None]
    logarithm = (alpha[:, None] - 1) * (np.log(t) - t + 1)  # 0 at the maximum
    density: Array = np.exp(logarithm)
    density /= density.sum(axis=1, keepdims=True)
    return density


def number_of_spots(energy: Array, atomic_number: float) -> NDArray[np.int64]:
    """Return how many spots showers have, [n]."""
    number: Array = np.rint(93 * np.log(atomic_number) * energy**0.876)
    return number.astype(np.int64)


def spots(profile: Profile, energy: Array, atomic_number: float, depths: Array) -> NDArray[np.int64]:
    """Return how many spots showers have in steps with the middles `depths`, [n, t]: at least one in each."""
    maximum = profile.maximum * (0.698 + 0.00212 * atomic_number)
    alpha = np.maximum(profile.alpha * (0.639 + 0.00334 * atomic_number), _LEAST_ALPHA)
    number = number_of_spots(energy, atomic_number)
    reached = np.rint(np.cumsum(shares(maximum, alpha, depths), axis=1) * number[:, None]).astype(np.int64)
    return np.maximum(np.diff(reached, axis=1, prepend=0), 1)


def radial(tau: Array, energy: Array, atomic_number: float) -> tuple[Array, Array, Array]:
    """Return radius of the core, radius of the tail (in Molière radii), and the core's share at depths τ, [n, t]."""
    ln_e, z = np.log(energy)[:, None], atomic_number
    core = 0.0251 + 0.00319 * ln_e + (0.1162 - 0.000381 * z) * tau
    from_k2 = tau - 0.645
    tail = (0.659 - 0.00309 * z) * (np.exp(-2.59 * from_k2) + np.exp((0.3585 + 0.0421 * ln_e) * from_k2))
    argument = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * ln_e)
    share = (2.632 - 0.00094 * z) * np.exp(argument - np.exp(argument))
    return core, tail, np.clip(share, 0, 1)


def radii(core: Array, tail: Array, share: Array, random: np.random.Generator) -> Array:
    """Draw distances from the axis, in units of `core` and `tail`, for spots with these parameters, all [s].

    Both components are f(r) = 2 r R² / (r² + R²)², of which a share v lies below r = R √(v / (1 - v)).
    """
    which, inside = random.random((2, len(core)))
    drawn: Array = np.where(which < share, core, tail) * np.sqrt(inside / (1 - inside))
    return drawn
