"""Events to jets: visible particles, anti-kt clustering, and the match to the decay a jet holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bunchtrain.config.simulate import Simulate
from bunchtrain.errors import MissingDependency
from bunchtrain.simulate.flavour import distances, flavours, origins
from bunchtrain.simulate.tracks import find_tracks

if TYPE_CHECKING:
    from bunchtrain.simulate.generator import Generator, Process
    from bunchtrain.simulate.pileup import Pileup
    from bunchtrain.simulate.tracker import Tracker

_NEUTRINOS = (12, 14, 16)
_W = 24

#: Jets kept of one event.
LEADING = 2


class Jets(NamedTuple):
    """Jets, in the order of their events, leading jet first. All are awkward arrays or numpy arrays of length N.

    `event` is the place of the event in its batch; `parts` has the fields px, py, pz, energy (GeV), id and vertex, by
    falling pt; `vertex` is 0 for those of the hard process, and counts the collisions of the pile-up from 1.
    `flavour` is 5, 4 or 0 and `tracks` has the fields of `tracks.FIELDS`; None where nobody asked.
    `pair` has the columns of `dijets.COLUMNS` where the rows are pairs.
    """

    event: Any
    weight: Any
    pt: Any
    eta: Any
    phi: Any
    mass: Any
    parts: Any
    flavour: Any = None
    tracks: Any = None
    pair: Any = None

    def take(self, count: int) -> Jets:
        """Return the first `count` jets."""
        return Jets(*(None if column is None else column[:count] for column in self))


def find_jets(
    events: Any,
    settings: Simulate,
    process: Process,
    pileup: Pileup | None = None,
    tracker: Tracker | None = None,
) -> Jets:
    """Return the jets of a batch of events that pass the selection.

    Parameters
    ----------
    events : awkward array
        A batch from `Generator.batch`.
    settings : Simulate
        Radius (rad), window in pt (GeV) and eta.
    process : Process
        What a jet must hold: all the quarks that one of the particles `origins` decays to, each within `radius` of its
        axis; and the flavour.
    pileup : Pileup, optional
        What else collides in each event.
    tracker : Tracker, optional
        What sees their tracks.
    """
    import awkward as ak

    visible = visible_particles(events.prt, settings)
    if pileup is not None:
        visible = ak.concatenate([visible, pileup.draw(len(events))], axis=1)
    jets, members = cluster(visible, settings.radius, settings.pt_min)
    flavour = None if process.flavour is None and tracker is None else flavours(jets, events.prt)
    keep = _selected(jets, events.prt, settings, process, flavour)
    more = {} if flavour is None else {"flavour": ak.to_numpy(ak.flatten(flavour[keep]))}
    if tracker is not None:
        more["tracks"] = find_tracks(tracker, visible, jets, keep)
    chosen, members = jets[keep], members[keep]
    event = np.repeat(np.arange(len(events)), ak.to_numpy(ak.num(chosen.pt)))
    weights = ak.to_numpy(events.info.weights[:, 0])
    parts = ak.flatten(pick(visible, members), axis=1)
    flat = {name: ak.to_numpy(ak.flatten(chosen[name])) for name in ("pt", "eta", "phi", "mass")}
    return Jets(event=event, weight=weights[event], parts=falling(parts), **flat, **more)


def _selected(jets: Any, particles: Any, settings: Simulate, process: Process, flavour: Any) -> Any:
    """Return which jets lie in the window, and hold what the process asks for."""
    keep = (jets.pt >= settings.pt_min) & (jets.pt < settings.pt_max) & (abs(jets.eta) < settings.eta_max)
    if process.origins:
        keep = keep & _contains(jets, _decay_partons(particles, process.origins), settings.radius)
    return keep if process.flavour is None else keep & (flavour == process.flavour)


def visible_particles(particles: Any, settings: Simulate) -> Any:
    """Return the stable particles that are no neutrinos and have some pt: px, py, pz, energy, id, vertex.

    For tracks they have the place where they are made too, x, y, z (mm), and their `origin`.
    """
    import awkward as ak

    pt = np.hypot(particles.p.px, particles.p.py)
    seen = (particles.status > 0) & (pt > settings.constituent_pt_min)
    for neutrino in _NEUTRINOS:
        seen = seen & (abs(particles.id) != neutrino)
    chosen = particles[seen]
    columns = {"px": chosen.p.px, "py": chosen.p.py, "pz": chosen.p.pz, "energy": chosen.p.e}
    columns |= {"id": chosen.id, "vertex": ak.zeros_like(chosen.id)}
    if settings.tracks is not None:
        places = {"x": chosen.vProd.px, "y": chosen.vProd.py, "z": chosen.vProd.pz}
        columns |= {name: ak.fill_none(place, 0.0) for name, place in places.items()}
        columns["origin"] = origins(particles)[seen]
    return ak.zip(columns)


def cluster(visible: Any, radius: float, pt_min: float) -> tuple[Any, Any]:
    """Return the leading jets of each event with pt, eta, phi, mass, and their constituents' places in `visible`."""
    import awkward as ak

    fastjet = load_fastjet()
    momenta = ak.zip({"px": visible.px, "py": visible.py, "pz": visible.pz, "E": visible.energy})
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(ak.with_name(momenta, "Momentum4D"), definition)
    jets = sequence.inclusive_jets(min_pt=pt_min)
    members = sequence.constituent_index(min_pt=pt_min)
    pt = np.hypot(jets.px, jets.py)
    mass = np.sqrt(np.maximum(jets.E**2 - pt**2 - jets.pz**2, 0))
    found = ak.zip({"pt": pt, "eta": np.arcsinh(jets.pz / pt), "phi": np.arctan2(jets.py, jets.px), "mass": mass})
    order = ak.argsort(pt, ascending=False, stable=True)[:, :LEADING]
    return found[order], members[order]


def load_fastjet() -> Any:
    """Return the package, quiet."""
    try:
        import fastjet
        from fastjet import _swig
    except ImportError:
        raise MissingDependency("fastjet", needed_by="simulate", mend="pip install 'bunchtrain[simulate]'") from None
    _swig.ClusterSequence.set_fastjet_banner_stream(None)
    return fastjet


def _decay_partons(particles: Any, ids: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return the partons that the particles with one of the ids decay to: b, q, q' of a top; q, q', q' of a W or Z.

    A particle is taken at its last copy, after its recoils in the shower; the W of a top is followed in the same way.
    """
    import awkward as ak

    candidates = ak.local_index(particles.id)[_is_any(particles.id, ids)]
    chosen = candidates[particles.id[particles.daughter1[candidates]] != particles.id[candidates]]
    first, second = particles.daughter1[chosen], particles.daughter2[chosen]
    leads = abs(particles.id[first]) == _W
    boson = ak.where(leads, first, second)
    through_w = abs(particles.id[boson]) == _W
    boson = _last_copy(particles, boson)
    return (
        particles.p[ak.where(through_w, ak.where(leads, second, first), first)],
        particles.p[ak.where(through_w, particles.daughter1[boson], second)],
        particles.p[ak.where(through_w, particles.daughter2[boson], second)],
    )


def _last_copy(particles: Any, places: Any) -> Any:
    """Follow particles through the copies of themselves that a shower leaves in the record."""
    import awkward as ak

    while True:
        onward = particles.daughter1[places]
        copied = particles.id[onward] == particles.id[places]
        if not ak.any(copied):
            return places
        places = ak.where(copied, onward, places)


def _is_any(ids: Any, wanted: tuple[int, ...]) -> Any:
    found = abs(ids) == wanted[0]
    for number in wanted[1:]:
        found = found | (abs(ids) == number)
    return found


def _contains(jets: Any, partons: tuple[Any, ...], radius: float) -> Any:
    """Return for each jet whether all partons of one decay lie within `radius` of its axis in eta and phi."""
    import awkward as ak

    near = [distances(jets, parton) < radius for parton in partons]
    return ak.any(near[0] & near[1] & near[2], axis=-1)


def pick(visible: Any, members: Any) -> Any:
    """Return the constituents of each jet of each event: event, jet, constituent."""
    import awkward as ak

    sizes = ak.num(members, axis=2)
    flat = ak.flatten(members, axis=2)
    parts = ak.flatten(visible[flat])
    per_jet = ak.unflatten(parts, ak.flatten(sizes))
    return ak.unflatten(per_jet, ak.num(sizes))


def falling(parts: Any) -> Any:
    """Return the constituents of each jet by falling pt, as single precision."""
    import awkward as ak

    order = ak.argsort(np.hypot(parts.px, parts.py), ascending=False, stable=True)
    parts = parts[order]
    kinds: dict[str, Any] = dict.fromkeys(("px", "py", "pz", "energy"), np.float32)
    kinds |= {"id": np.int32, "vertex": np.int32}
    return ak.zip({name: ak.values_astype(parts[name], kind) for name, kind in kinds.items()})


def charged(parts: Any, generator: Generator) -> Any:
    """Return constituents with their electric charges."""
    import awkward as ak

    charges = generator.charges(ak.to_numpy(ak.flatten(parts.id)))
    return ak.with_field(parts, ak.unflatten(charges, ak.num(parts)), "charge")
