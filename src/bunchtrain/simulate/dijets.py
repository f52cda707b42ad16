"""Events to pairs of jets: a row is the pair of leading jets, in the columns of the heavier one.

N: pairs.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.dijets import Dijets
from bunchtrain.config.simulate import Simulate
from bunchtrain.simulate.jets import LEADING, Jets, cluster, falling, load_fastjet, pick, visible_particles

if TYPE_CHECKING:
    from bunchtrain.simulate.pileup import Pileup

#: What is told of one jet: N-subjettiness ratios (arXiv:1011.2268) on axes of exclusive kt subjets, and constituents.
_SHAPES = ("tau21", "tau32", "multiplicity")

#: Branches of a pair; `second` is the lighter jet. Masses and pt in GeV.
COLUMNS = (
    "dijet_mass",
    "dijet_delta_eta",
    *(f"jet_{name}" for name in _SHAPES),
    "second_pt",
    "second_mass",
    *(f"second_{name}" for name in _SHAPES),
)

#: Jets below this part of `pt_min` are not made: the second one balances the first, less what is radiated.
_SOFTEST = 0.2

#: Subjets at most; a jet with no more constituents has ratios of zero.
_MOST = 3


def find_dijets(events: Any, settings: Simulate, pileup: Pileup | None = None) -> Jets:
    """Return the pairs of leading jets of a batch of events that pass the selection of `settings.dijets`.

    Parameters
    ----------
    events : awkward array
        A batch from `Generator.batch`.
    settings : Simulate
        Radius (rad), largest eta of both jets, and `dijets`.
    pileup : Pileup, optional
        What else collides in each event.
    """
    import awkward as ak

    pairs = settings.dijets or Dijets()
    visible = visible_particles(events.prt, settings)
    if pileup is not None:
        visible = ak.concatenate([visible, pileup.draw(len(events))], axis=1)
    jets, members = cluster(visible, settings.radius, _SOFTEST * pairs.pt_min)
    two = ak.num(jets.pt) == LEADING
    event = np.flatnonzero(ak.to_numpy(two))
    jets, members, visible = jets[two], members[two], visible[two]
    columns = {name: ak.to_numpy(jets[name]).reshape(-1, LEADING) for name in ("pt", "eta", "phi", "mass")}
    keep = _selected(columns, settings.eta_max, pairs)
    event, members, visible = event[keep], members[keep], visible[keep]
    columns = {name: values[keep] for name, values in columns.items()}
    heavier = columns["mass"].argmax(1) if len(event) else np.zeros(0, np.int64)
    parts = ak.flatten(pick(visible, members), axis=1)
    first, second = (parts[LEADING * np.arange(len(event)) + place] for place in (heavier, 1 - heavier))
    own, other = (
        {name: one[np.arange(len(event)), place] for name, one in columns.items()} for place in (heavier, 1 - heavier)
    )
    pair = {"dijet_mass": _mass(columns), "dijet_delta_eta": np.abs(np.diff(columns["eta"], axis=1))[:, 0]}
    pair |= {f"jet_{name}": values for name, values in _shapes(first, settings.radius).items()}
    pair |= {f"second_{name}": other[name] for name in ("pt", "mass")}
    pair |= {f"second_{name}": values for name, values in _shapes(second, settings.radius).items()}
    weight = ak.to_numpy(events.info.weights[:, 0])[event]
    return Jets(event=event, weight=weight, parts=falling(first), pair=ak.zip(pair), **own)


def _mass(jets: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mass of pairs of jets, whose columns are of shape [N, 2]."""
    pt, eta, phi, mass = (jets[name] for name in ("pt", "eta", "phi", "mass"))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    square = energy.sum(1) ** 2 - px.sum(1) ** 2 - py.sum(1) ** 2 - pz.sum(1) ** 2
    found: NDArray[np.float64] = np.sqrt(np.maximum(square, 0))
    return found


def _selected(jets: dict[str, NDArray[np.float64]], eta_max: float, pairs: Dijets) -> NDArray[np.bool_]:
    mass, eta = _mass(jets), jets["eta"]
    keep = (np.abs(eta) < eta_max).all(1) & (np.abs(np.diff(eta, axis=1))[:, 0] < pairs.delta_eta_max)
    kept: NDArray[np.bool_] = keep & (jets["pt"].max(1) >= pairs.pt_min) & (mass >= pairs.mass_min)
    return kept & (mass < pairs.mass_max)


def _shapes(parts: Any, radius: float) -> dict[str, NDArray[np.float64]]:
    """Return the `_SHAPES` of jets by their constituents."""
    import awkward as ak

    many = ak.to_numpy(ak.num(parts.px))
    tau = np.zeros((_MOST + 1, len(parts)))
    enough = many > _MOST
    if enough.any():
        tau[1:, enough] = _subjettiness(parts[enough], radius)
    ratios = {
        f"tau{n}{n - 1}": np.divide(tau[n], tau[n - 1], np.zeros(len(parts)), where=tau[n - 1] > 0) for n in (2, 3)
    }
    return {**ratios, "multiplicity": many.astype(np.float64)}


def _subjettiness(parts: Any, radius: float) -> NDArray[np.float64]:
    """Return the N-subjettiness, N from 1 to `_MOST`, of jets with more constituents than that: shape [_MOST, N]."""
    import awkward as ak

    fastjet = load_fastjet()
    momenta = ak.zip({"px": parts.px, "py": parts.py, "pz": parts.pz, "E": parts.energy})
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, radius)
    sequence = fastjet.ClusterSequence(ak.with_name(momenta, "Momentum4D"), definition)
    pt, eta, phi = _polar(parts)
    scale, found = ak.sum(pt, axis=1) * radius, []
    for number in range(1, _MOST + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FastJet's module warns of every algorithm, kt too
            axes = sequence.exclusive_jets(n_jets=number)
        _, axis_eta, axis_phi = _polar(axes)
        nearest = None
        for one in range(number):
            turn = (phi - axis_phi[:, one] + np.pi) % (2 * np.pi) - np.pi
            distance = np.hypot(eta - axis_eta[:, one], turn)
            nearest = distance if nearest is None else np.minimum(nearest, distance)
        found.append(ak.to_numpy(ak.sum(pt * nearest, axis=1) / scale))
    return np.array(found)


def _polar(momenta: Any) -> tuple[Any, Any, Any]:
    """Return pt, eta and phi."""
    pt = np.hypot(momenta.px, momenta.py)
    return pt, np.arcsinh(momenta.pz / pt), np.arctan2(momenta.py, momenta.px)
