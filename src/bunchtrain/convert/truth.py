"""Truth of a jet: which generator particles lie near its axis.

Three columns per jet, all by ΔR = √(Δη² + Δφ²) < radius to the jet axis, with η the pseudorapidity:

truth_flavour
    5 if a weakly decaying b hadron above `hadron_pt_min` belongs to the jet, else 4 for a c hadron, else 15 for a
    tau, else 0 (light). A particle belongs to one jet only: the closest within the radius, of equally close ones the
    first. This is the exclusive hadron cone labelling of flavour tagging (ATLAS, Eur. Phys. J. C 79 (2019) 970,
    arXiv:1907.05120, section 3: pT above 5 GeV, ΔR below 0.3).
truth_origin
    6, 25, 23 or 24: the heaviest top, Higgs, Z or W above `parton_pt_min` within the radius, else 0. The last copy of
    each alone, where the file tells copies apart. It may lie near several jets, and then counts for each. With large
    jets, take a larger radius in the campaign: 0.6 to 0.75 times their R is usual.
truth_parton
    Signed PDG code of the quark (d, u, s, c, b) or gluon with the largest pt within the radius, of all that the file
    has, before or after showering; 0 for none. It may count for several jets.

Codes follow the Monte Carlo numbering of the Particle Data Group (Review of Particle Physics, section 45): mesons have
three digits of quark content after the excitation, baryons four. The weakly decaying hadrons are those in the ground
state that no strong or electromagnetic decay can leave.

A file without generator particles has no truth: flavour and origin are then `UNKNOWN`, and nothing passes for light.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.convert import Truth
from bunchtrain.convert.cones import Pairs, within
from bunchtrain.convert.eventwise import Items
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Columns

#: Stands for flavour and origin where a file does not tell.
UNKNOWN = -1

COLUMNS = {
    "truth_flavour": Column(
        "truth_flavour", "i4", "1", "5 b hadron, 4 c hadron, 15 tau within the radius, 0 none of them, -1 not known"
    ),
    "truth_origin": Column(
        "truth_origin", "i4", "1", "heaviest of 6 top, 25 Higgs, 23 Z, 24 W within the radius, 0 none, -1 not known"
    ),
    "truth_parton": Column(
        "truth_parton", "i4", "1", "PDG code of the hardest quark or gluon within the radius, 0 none or not known"
    ),
}

#: From light to heavy.
_BOSONS_AND_TOP = (24, 23, 25, 6)

_PARTONS = (1, 2, 3, 4, 5, 21)
_TAU = 15

#: Ground states that decay weakly: mesons, baryons, baryons with two or three heavy quarks.
_B_HADRONS = (511, 521, 531, 541, 5122, 5132, 5232, 5332, 5142, 5242, 5342, 5442, 5512, 5522, 5532, 5542, 5554)
_C_HADRONS = (411, 421, 431, 4122, 4132, 4232, 4332, 4412, 4422, 4432, 4444)


def layout(names: Iterable[str], source: str = "") -> dict[str, Column]:
    """Return the truth columns that a format gives, by dataset; `source` says where they come from."""
    return {
        f"jets/{name}": Column(one.name, one.dtype, one.units, one.description, source)
        for name, one in COLUMNS.items()
        if name in names
    }


def flavour_of(pdg: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return 5 for weakly decaying b hadrons, 4 for c hadrons, 15 for taus, 0 for all else; shape as `pdg`."""
    code = np.abs(pdg)
    found = np.where(np.isin(code, _B_HADRONS), 5, np.where(np.isin(code, _C_HADRONS), 4, 0))
    return np.where(code == _TAU, _TAU, found).astype(np.int32)


def last_copies(pdg: NDArray[np.integer], child: NDArray[np.integer], parent: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which particles have no child with the same PDG code, shape [m].

    Parameters
    ----------
    pdg : int [m]
        Codes.
    child, parent : int [relations]
        Places of a particle and of one of its mothers; places count through all events of the step.
    """
    last = np.ones(len(pdg), bool)
    last[parent[pdg[child] == pdg[parent]]] = False
    return last


def unknown(jets: int) -> dict[str, NDArray[np.int32]]:
    """Return the columns of jets from a file that knows nothing of the generator, each of shape [jets]."""
    values = {"truth_flavour": UNKNOWN, "truth_origin": UNKNOWN, "truth_parton": 0}
    return {name: np.full(jets, value, np.int32) for name, value in values.items()}


def match(jets: Items, particles: Items, truth: Truth) -> Columns:
    """Return truth_flavour, truth_origin and truth_parton of each jet, int32 [n].

    Take those that the particles support: without partons in the file, truth_parton says nothing.

    Parameters
    ----------
    jets : Items
        With eta and phi (rad), lists by event.
    particles : Items
        Of the same events, with pdg, pt (GeV), eta, phi (rad) and, where known, `last`: bool, whether the particle is
        the last of its copies in the record. What has no pt counts for nothing.
    truth : Truth
        Radius and thresholds.
    """
    code = np.abs(particles["pdg"])
    flavour = flavour_of(particles["pdg"])
    last = particles["last"].astype(bool) if "last" in particles else np.ones(len(code), bool)
    heavy = (flavour > 0) & (particles["pt"] > truth.hadron_pt_min)
    massive = np.isin(code, _BOSONS_AND_TOP) & last & (particles["pt"] > truth.parton_pt_min)
    parton = np.isin(code, _PARTONS) & (particles["pt"] > 0)
    kept = heavy | massive | parton
    chosen = particles.keep(kept)
    pairs = within(jets, chosen, truth.radius)
    return {
        "truth_flavour": _flavours(len(jets), pairs, np.where(heavy, flavour, 0)[kept]),
        "truth_origin": _origins(len(jets), pairs, np.where(massive, code, 0)[kept]),
        "truth_parton": _partons(len(jets), pairs, chosen, parton[kept]),
    }


def heaviest(origins: Iterable[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Return the heaviest of several origins of each jet, int32 [n]."""
    several = np.stack([*origins])
    found = np.zeros(several.shape[1], np.int32)
    for one in _BOSONS_AND_TOP:
        found[(several == one).any(axis=0)] = one
    return found


def _flavours(jets: int, pairs: Pairs, flavour: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the heaviest flavour among the particles that belong to each jet."""
    own = pairs.take(flavour[pairs.item] > 0).closest()
    found = np.zeros(jets, np.int32)
    for one in (_TAU, 4, 5):
        found[own.jet[flavour[own.item] == one]] = one
    return found


def _origins(jets: int, pairs: Pairs, code: NDArray[np.integer]) -> NDArray[np.int32]:
    found = np.zeros(jets, np.int32)
    for one in _BOSONS_AND_TOP:
        found[pairs.jet[code[pairs.item] == one]] = one
    return found


def _partons(jets: int, pairs: Pairs, particles: Items, parton: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the code of each jet's hardest parton; of equally hard ones the first in the record."""
    own = pairs.take(parton[pairs.item])
    order = np.lexsort((own.item, -particles["pt"][own.item].astype(np.float64), own.jet))
    jet, item = own.jet[order], own.item[order]
    first = np.concatenate([np.ones(min(len(jet), 1), bool), jet[1:] != jet[:-1]])
    found = np.zeros(jets, np.int32)
    found[jet[first]] = particles["pdg"][item[first]]
    return found
