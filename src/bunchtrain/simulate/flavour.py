"""Truth of heavy flavour: what decayed weakly upstream of each particle, and the flavour of jets.

Codes follow the Monte Carlo numbering of the Particle Data Group (Review of Particle Physics, section 45).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Ground states that decay weakly: mesons, baryons, those with two or three heavy quarks.
B_HADRONS = (511, 521, 531, 541, 5122, 5132, 5232, 5332, 5142, 5242, 5342, 5442, 5512, 5522, 5532, 5542, 5554)
C_HADRONS = (411, 421, 431, 4122, 4132, 4232, 4332, 4412, 4422, 4432, 4444)
#: Strange ones that decay in a tracker.
_STRANGE = (310, 3122, 3112, 3222, 3312, 3322, 3334)
_TAU = 15

#: Where tracks come from, as in GN1 (ATL-PHYS-PUB-2022-027): `track_origin`.
PILEUP, FAKE, PRIMARY, FROM_B, FROM_BC, FROM_C, OTHER = range(7)

#: Hadron-based labels: lowest pt of a hadron (GeV), largest ΔR to its jet (ATLAS, arXiv:1907.05120, section 3).
HADRON_PT, HADRON_RADIUS = 5.0, 0.3

_BEAUTY, _CHARM = 5, 4


def origins(particles: Any) -> Any:
    """Return where each particle of each event comes from: 2 to 6, by the nearest weak decay upstream.

    What a K_S or a Λ decays to is 6, also if that was made in the decay of a b hadron; a tau hands on what it comes
    from, and is a secondary decay where it comes from no heavy hadron.
    """
    import awkward as ak

    counts = ak.to_numpy(ak.num(particles.id))
    first = np.repeat(np.cumsum(counts) - counts, counts)
    mother = first + ak.to_numpy(ak.flatten(particles.mother1))
    code = np.abs(ak.to_numpy(ak.flatten(particles.id)))
    # What is made at the primary vertex has nothing above it that flew. Not by hadrons alone: some decay to partons,
    # and hadrons are made of these.
    time = ak.to_numpy(ak.flatten(ak.fill_none(particles.vProd.e, 0.0)))
    return ak.unflatten(_downstream(code, np.where(time > 0, mother, -1)), counts)


def _downstream(code: NDArray[Any], mother: NDArray[Any]) -> NDArray[np.int8]:
    """Return the origin of each particle by its absolute code and the place of its mother, -1 for none."""
    left = _left_by(code)
    found = np.full(len(code), PRIMARY, np.int8)
    tau = np.zeros(len(code), bool)
    open_, places = np.arange(len(code)), mother.copy()
    while len(open_ := open_[places[open_] >= 0]):
        above = places[open_]
        here, now = left[above], found[open_]
        tau[open_] |= code[above] == _TAU
        # The nearest decay counts; beyond one of a c hadron only a b hadron does.
        found[open_] = np.where(now == PRIMARY, here, np.where((now == FROM_C) & (here == FROM_B), FROM_BC, now))
        places[open_] = mother[above]
    return np.where(tau & (found == PRIMARY), OTHER, found).astype(np.int8)


def _left_by(code: NDArray[Any]) -> NDArray[np.int8]:
    """Return the origin of what particles decay to."""
    kinds = [np.isin(code, B_HADRONS), np.isin(code, C_HADRONS), np.isin(code, _STRANGE)]
    return np.select(kinds, [FROM_B, FROM_C, OTHER], PRIMARY).astype(np.int8)


def flavours(jets: Any, particles: Any) -> Any:
    """Return 5 for jets with a b hadron, else 4 for those with a c hadron, else 0: event, jet.

    A hadron counts for one jet alone, the closest of those within the radius.
    """
    import awkward as ak

    code = abs(particles.id)
    found = ak.zeros_like(ak.values_astype(jets.pt, np.int32))
    for flavour, hadrons in ((_CHARM, C_HADRONS), (_BEAUTY, B_HADRONS)):
        # Not ak.all of isin: awkward has none.
        weak = ak.unflatten(np.isin(ak.to_numpy(ak.flatten(code)), hadrons), ak.num(code))
        momentum = particles.p[weak]
        momentum = momentum[np.hypot(momentum.px, momentum.py) > HADRON_PT]
        has = ak.any(nearest(jets, momentum, HADRON_RADIUS), axis=-1)
        found = ak.where(has, flavour, found)
    return found


def nearest(jets: Any, momentum: Any, radius: float) -> Any:
    """Return whether each jet of an event is the one closest to each momentum, and within `radius`."""
    import awkward as ak

    distance = distances(jets, momentum)
    closest = ak.min(distance, axis=1)
    _, closest = ak.broadcast_arrays(distance, closest[:, np.newaxis])
    return (distance < radius) & (distance == closest)


def distances(jets: Any, momentum: Any) -> Any:
    """Return ΔR of each jet of an event to each of the event's momenta: event, jet, momentum."""
    import awkward as ak

    eta = np.arcsinh(momentum.pz / np.hypot(momentum.px, momentum.py))
    phi = np.arctan2(momentum.py, momentum.px)
    jet_eta, other_eta = ak.unzip(ak.cartesian([jets.eta, eta], nested=True))
    jet_phi, other_phi = ak.unzip(ak.cartesian([jets.phi, phi], nested=True))
    turn = (jet_phi - other_phi + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(jet_eta - other_eta, turn)
