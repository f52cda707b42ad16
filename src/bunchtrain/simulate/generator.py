"""Pythia 8: the hard processes, the seeds, and events in batches."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.dijets import Dijets
from bunchtrain.config.samples import OF_PAIRS
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.errors import CampaignError, MissingDependency

_HADRONIC = "1 2 3 4 5"
_HADRONIC_W = ("24:onMode = off", f"24:onIfAny = {_HADRONIC}")
_HADRONIC_Z = ("23:onMode = off", f"23:onIfAny = {_HADRONIC}")

#: Largest seed that Pythia takes.
_SEEDS = 900_000_000

#: The window in the hard process's pt, in units of the jets' window: jets migrate into theirs from a little outside.
_BELOW, _ABOVE = 0.9, 1.25

#: Likewise of pairs of jets: their mass, and their pt where the initial state's radiation turns them. Partons that are
#: farther apart in η than jets may be, and this more, are given up before they shower.
_BELOW_PAIR, _RECOILED, _TURNED = 0.95, 0.95, 0.3

#: Pythia's numbers of a heavy particle (the graviton of Randall and Sundrum), and of two new ones that it decays to.
_HEAVY_ID, _DAUGHTERS = 5100039, (9900101, 9900102)

#: Particles with a longer mean decay length c tau (mm) reach the detector and are left as they are.
_STABLE_MM = 10.0

#: With a tracker: K_S and strange baryons decay, charged pions and kaons, K_L and neutrons do not.
_STABLE_TO_TRACKERS_MM = 1000.0


@dataclass(frozen=True)
class Process:
    """A hard process: Pythia's switches, and what a jet must hold.

    That is the decay of one of the particles `origins` (absolute PDG ids), if any; and the flavour 5, 4 or 0, if any.
    """

    switches: tuple[str, ...]
    origins: tuple[int, ...] = ()
    flavour: int | None = None


_W = ("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", *_HADRONIC_W)
_Z = (
    "WeakBosonAndParton:qqbar2gmZg = on",
    "WeakBosonAndParton:qg2gmZq = on",
    "WeakZ0:gmZmode = 2",
    *_HADRONIC_Z,
)
_RESONANCE_MASS = 150.0
_HIGGS = ("HiggsSM:ffbar2HZ = on", "HiggsSM:ffbar2HW = on", "25:onMode = off", "25:onIfAny = 5")
_LIGHT = ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on", "HardQCD:qg2qg = on")
_QUARKS = ("HardQCD:qq2qq = on", "HardQCD:gg2qqbar = on", "HardQCD:qqbar2qqbarNew = on")
#: A heavy particle without charge and colour that protons make; to what it decays `_decay` says.
_HEAVY = ("ExtraDimensionsG*:gg2G* = on", "ExtraDimensionsG*:ffbar2G* = on")

PROCESSES = {
    "qcd": Process(("HardQCD:all = on",)),
    "quark": Process((*_QUARKS, "HardQCD:gg2ccbar = on", "HardQCD:qqbar2ccbar = on")),
    "gluon": Process(("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on")),
    "top": Process(("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_HADRONIC_W), (6,)),
    "w": Process(_W, (24,)),
    "z": Process(_Z, (23,)),
    "wz": Process((*_Z, *_W), (23, 24)),
    "higgs": Process(_HIGGS, (25,)),
    "resonance": Process(_Z, (23,)),
    "beauty": Process(("HardQCD:hardbbbar = on",), flavour=5),
    "charm": Process(("HardQCD:hardccbar = on",), flavour=4),
    "light": Process((*_LIGHT, *_QUARKS), flavour=0),
    "dijets": Process(("HardQCD:all = on",)),
    "dijet_resonance": Process(_HEAVY),
}


def _number(*parts: object, bits: int) -> int:
    digest = hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - bits)


def pythia_seed(spec: SimulateSpec) -> int:
    """Return the seed of one shard, in 1 to 900 000 000; the shards of one sample never share theirs."""
    return (_number("seed", spec.seed, spec.sample, bits=40) + spec.shard) % _SEEDS + 1


def pileup_seed(spec: SimulateSpec) -> int:
    """Return the seed of one shard's pile-up, in 1 to 900 000 000."""
    return _number("pileup", spec.seed, spec.sample, spec.shard, bits=40) % _SEEDS + 1


def tracks_seed(spec: SimulateSpec) -> int:
    """Return the seed of what one shard's tracker draws."""
    return _number("tracks", spec.seed, spec.sample, spec.shard, bits=40)


def detector_seed(spec: SimulateSpec) -> int:
    """Return the seed of one shard's detector, below 2^40."""
    return _number("detector", spec.seed, spec.sample, spec.shard, bits=40)


def run_number(spec: SimulateSpec) -> int:
    """Return the run number of one shard, below 2^60: a hash of seed and sample, then 20 bits of the shard."""
    return (_number("run", spec.seed, spec.sample, bits=40) << 20) + spec.shard


def steering(process: str, settings: Simulate, seed: int) -> list[str]:
    """Return the lines that set up Pythia for a hard process."""
    if process in OF_PAIRS:
        return _pair_steering(process, settings, seed)
    highest = min(_ABOVE * settings.pt_max, settings.collision_energy / 2)
    on_off = "on" if settings.multiparton_interactions else "off"
    return [
        *_common(settings, seed),
        f"PhaseSpace:pTHatMin = {_BELOW * settings.pt_min}",
        f"PhaseSpace:pTHatMax = {highest}",
        f"PartonLevel:MPI = {on_off}",
        *PROCESSES[process].switches,
        *(_resonance(settings.resonance_mass or _RESONANCE_MASS) if process == "resonance" else ()),
    ]


def _pair_steering(process: str, settings: Simulate, seed: int) -> list[str]:
    """Return the lines for pairs of jets: QCD's from a little below the lowest mass on, or a heavy particle's."""
    pairs = settings.dijets or Dijets()
    lines = [
        *_common(settings, seed),
        f"PartonLevel:MPI = {'on' if settings.multiparton_interactions else 'off'}",
        *PROCESSES[process].switches,
    ]
    if process == "dijets":
        lowest = _BELOW_PAIR * pairs.mass_min
        central = lowest / (2 * math.cosh(pairs.delta_eta_max / 2))  # pt of partons as far apart as jets may be
        lines.append(f"PhaseSpace:mHatMin = {lowest}")
        return [*lines, f"PhaseSpace:pTHatMin = {max(_BELOW * pairs.pt_min, _RECOILED * central)}"]
    return [*lines, *_narrow(_HEAVY_ID, pairs.resonance), *_decay(pairs)]


def _narrow(number: int, mass: float) -> list[str]:
    """Return the lines that give a particle a mass (GeV) and a small width."""
    width, low, high = mass / 200, 0.9 * mass, 1.1 * mass
    sizes = f"{number}:m0 = {mass}", f"{number}:mWidth = {width}", f"{number}:mMin = {low}", f"{number}:mMax = {high}"
    return [*sizes, f"{number}:doForceWidth = on"]


def _decay(pairs: Dijets) -> list[str]:
    """Return the lines of a decay to two new particles, and of theirs to any two quarks but top."""
    lines = []
    for number, name, mass in zip(_DAUGHTERS, ("B", "C"), pairs.daughters, strict=True):
        lines += [f"{number}:new = {name} {name} 1 0 0 {mass}", *_narrow(number, mass), f"{number}:isResonance = on"]
        lines.append(f"{number}:oneChannel = 1 0.2 100 1 -1")
        lines += [f"{number}:addChannel = 1 0.2 100 {quark} -{quark}" for quark in (2, 3, 4, 5)]
    return [*lines, f"{_HEAVY_ID}:oneChannel = 1 1.0 100 {_DAUGHTERS[0]} {_DAUGHTERS[1]}"]


def _resonance(mass: float) -> list[str]:
    """Return the lines that make of the Z a narrow particle of another mass (GeV), with its couplings to quarks."""
    return [f"23:m0 = {mass}", "23:mMin = 10", "23:mMax = -1", f"23:mWidth = {mass / 100}", "23:doForceWidth = on"]


def minimum_bias(settings: Simulate, seed: int) -> list[str]:
    """Return the lines that set up Pythia for any inelastic collision, diffraction included."""
    return [*_common(settings, seed), "SoftQCD:inelastic = on"]


def _common(settings: Simulate, seed: int) -> list[str]:
    strange = settings.tracks is not None and settings.tracks.decay_strange
    return [
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        f"Beams:eCM = {settings.collision_energy}",
        "ParticleDecays:limitTau0 = on",
        f"ParticleDecays:tau0Max = {_STABLE_TO_TRACKERS_MM if strange else _STABLE_MM}",
        f"Tune:pp = {settings.tune}",
    ]


def most_apart(process: str, settings: Simulate) -> float | None:
    """Return the largest |Δη| of partons that are worth a shower; None: any."""
    pairs = settings.dijets or Dijets()
    return pairs.delta_eta_max + _TURNED if process == "dijets" else None


def _veto(pythia8mc: Any, apart: float) -> Any:
    """Return what makes Pythia give up hard processes whose two partons are farther apart in η."""

    class Veto(pythia8mc.UserHooks):  # type: ignore[misc]
        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:
            return bool(abs(process[5].eta() - process[6].eta()) > apart)

    return Veto()


class Generator:
    """Pythia, set up for one shard.

    Parameters
    ----------
    spec : SimulateSpec
        What the shard is to hold.
    seed : int
        Pythia's.
    lines : list of str
        What sets it up.
    apart : float, optional
        Largest |Δη| of the two partons of the hard process; others are given up.
    """

    def __init__(self, spec: SimulateSpec, seed: int, lines: list[str], apart: float | None = None) -> None:
        try:
            import pythia8mc
        except ImportError:
            mend = "pip install 'bunchtrain[simulate]'"
            raise MissingDependency("pythia8mc", needed_by="simulate", mend=mend) from None
        self.seed = seed
        self.tried = 0
        self._pythia = pythia8mc.Pythia("", False)
        for line in lines:
            if not self._pythia.readString(line):
                raise CampaignError("Pythia refuses a setting", key="simulate", found=line)
        if apart is not None:
            self._veto = _veto(pythia8mc, apart)  # Pythia keeps no reference to it
            self._pythia.setUserHooksPtr(self._veto)
        if not self._pythia.init():
            raise CampaignError(
                "Pythia cannot start with these settings",
                key="simulate",
                found=f"process {spec.process}, {spec.settings}",
                mend="lower pt_min or raise collision_energy; some tunes, such as 11 and 17, need the library LHAPDF",
            )

    def batch(self, events: int) -> Any:
        """Return the next events as awkward records with the fields `prt` and `info`; about 0.1 MB an event.

        What Pythia gives up on is left out, so the batch may be a little shorter.
        """
        self.tried += events
        return self._pythia.nextBatch(events)

    def charges(self, ids: NDArray[np.int32]) -> NDArray[np.int8]:
        """Return the electric charges (e) of particles by PDG id: whole ones, as all that reaches a detector has."""
        different, places = np.unique(ids, return_inverse=True)
        known = [round(self._pythia.particleData.charge(int(one))) for one in different]
        return np.array(known, np.int8)[places]

    def facts(self) -> dict[str, Any]:
        """Return version, seed and the cross section (pb) as known after the events made so far."""
        info = self._pythia.infoPython()
        picobarn = 1e9
        return {
            "generator": "Pythia",
            "generator_version": f"{self._pythia.settings.parm('Pythia:versionNumber'):.3f}",
            "seed": self.seed,
            "cross_section_pb": info.sigmaGen() * picobarn,
            "cross_section_error_pb": info.sigmaErr() * picobarn,
            "phase_space_points_tried": int(info.nTried()),
            "events_generated": int(info.nAccepted()),
        }
