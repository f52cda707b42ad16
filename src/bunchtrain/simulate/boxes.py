"""A shard of a black box: pairs of jets of QCD, among which a resonance hides, or none.

Whether there is one, its masses and its rate follow from the campaign's seed and the box's name. Nothing in the file
tells but the sealed answer: whatever the answer is, signal is simulated, and as many events are written.
"""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain import sealing
from bunchtrain.config.dijets import HIDDEN, WINDOW, Dijets
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.errors import CampaignError
from bunchtrain.simulate.dijets import find_dijets
from bunchtrain.simulate.generator import Generator, most_apart, run_number, steering
from bunchtrain.simulate.jets import Jets, charged
from bunchtrain.simulate.rootfile import jet_file

#: Ranges that are drawn from, beside the resonance's mass: the heavier daughter's in units of the resonance's, the
#: lighter's in units of the heavier, and S / sqrt(B) in the resonance's window.
HEAVIER, LIGHTER, STRENGTH = (0.12, 0.22), (0.4, 1.0), (2.0, 3.0)

#: Events made at a time.
_BATCH = 250

#: Characters of an answer beside its list of events.
_ROOM = 1000

#: Seconds between two lines of progress.
_QUIET = 10.0

#: With less than one pair in so many events, the settings are taken for a mistake.
_HOPELESS = 500


class Hidden(NamedTuple):
    """What a box hides; of an empty one all but `present` is what it would have been."""

    present: bool
    mass: float
    daughters: tuple[float, float]
    strength: float


def hidden(seed: int, name: str, pairs: Dijets) -> Hidden:
    """Return what the box `name` of a campaign hides."""
    random = _random(seed, name, "hidden")
    mass = pairs.mass_min * random.uniform(*HIDDEN)
    heavier = mass * random.uniform(*HEAVIER)
    daughters = heavier, heavier * random.uniform(*LIGHTER)
    return Hidden(bool(random.random() < 0.5), mass, daughters, random.uniform(*STRENGTH))


def fill(spec: SimulateSpec, path: Path) -> dict[str, Any]:
    """Write the events of one shard of a box to `path` and return what may be known of them."""
    pairs = spec.settings.dijets or Dijets()
    answer = hidden(spec.seed, spec.sample, pairs)
    background = _events(spec, "dijets", pairs, spec.jets)
    decay = pairs.model_copy(update={"resonance": answer.mass, "daughters": list(answer.daughters)})
    signal = _events(spec, "dijet_resonance", decay, 20 + int(3.5 * np.sqrt(spec.jets)))  # enough for the strongest
    random = _random(spec.seed, spec.sample, f"mix {spec.shard}")
    chosen = _signal(answer, background, signal, spec.shards or 1, random)
    events, is_signal = _mixed(background, signal[chosen if answer.present else chosen[:0]], random)
    facts = {**_about(spec), "events": len(events), "sum_of_weights": float(len(events))}
    with jet_file(path, run_number(spec), pairs=True) as file:
        for start in range(0, len(events), _BATCH):
            file.write(_jets(events[start : start + _BATCH], start))
        file.describe(facts)
        file.add(sealing.OBJECT, _sealed(spec, answer, is_signal))
    print(f"[simulate] box {spec.sample} shard {spec.shard}: {len(events)} events", flush=True)
    return facts


def _random(seed: int, name: str, use: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"box:{seed}:{name}:{use}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _about(spec: SimulateSpec) -> dict[str, Any]:
    """Return what may be known: nothing that depends on the answer."""
    return {
        "generator": "Pythia",
        "process": spec.process,
        "sample": spec.sample,
        "shard": spec.shard,
        "run_number": run_number(spec),
        "jets": spec.jets,
        "settings": spec.settings.model_dump(mode="json"),
    }


def _events(spec: SimulateSpec, process: str, pairs: Dijets, count: int) -> Any:
    """Return so many pairs of jets of a process, as awkward records."""
    import awkward as ak

    settings = spec.settings.model_copy(update={"dijets": pairs})
    seed = 1 + int(_random(spec.seed, spec.sample, f"{process} {spec.shard}").integers(900_000_000))
    apart, found, made = most_apart(process, settings), [], 0
    generator = Generator(spec, seed, steering(process, settings, seed), apart)
    started = time.monotonic()
    while made < count:
        batch = generator.batch(_BATCH)
        jets = find_dijets(batch, settings)
        if len(jets.event):
            found.append(_records(jets, charged(jets.parts, generator)))
            made += len(jets.event)
        if generator.tried >= _HOPELESS * (made + 3):
            raise CampaignError(
                "the generator makes hardly any pairs of jets inside the window",
                key="simulate.dijets",
                found=f"{made} in {generator.tried} events",
                mend="lower pt_min, or widen mass_min to mass_max, delta_eta_max or eta_max",
            )
        if time.monotonic() - started > _QUIET and process == "dijets":
            started = time.monotonic()
            print(f"[simulate] box {spec.sample} shard {spec.shard}: {min(made, count)} of {count} events", flush=True)
    return ak.concatenate(found)[:count]


_FLAT = ("pt", "eta", "phi", "mass")


def _records(jets: Jets, parts: Any) -> Any:
    """Return jets as awkward records, which can be joined and reordered."""
    import awkward as ak

    columns = {name: np.asarray(getattr(jets, name)) for name in _FLAT}
    return ak.zip({**columns, "pair": jets.pair, "parts": parts}, depth_limit=1)


def _jets(records: Any, first: int) -> Jets:
    """Return records as jets, whose events count from `first`."""
    import awkward as ak

    number = np.arange(first, first + len(records))
    flat = {name: ak.to_numpy(records[name]) for name in _FLAT}
    return Jets(event=number, weight=np.ones(len(records)), parts=records.parts, pair=records.pair, **flat)


def _signal(
    answer: Hidden, background: Any, signal: Any, shards: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return which signal events a shard takes: its part of what makes S of S / sqrt(B) in the resonance's window."""
    low, high = (edge * answer.mass for edge in WINDOW)
    inside, beneath = (
        (np.asarray(one.pair.dijet_mass) >= low) & (np.asarray(one.pair.dijet_mass) < high)
        for one in (signal, background)
    )
    wanted = answer.strength * np.sqrt(shards * beneath.sum()) / shards
    places = np.flatnonzero(inside)
    number = min(int(np.floor(wanted + random.random())), len(places))
    return np.arange(places[number - 1] + 1 if number else 0)


def _mixed(background: Any, signal: Any, random: np.random.Generator) -> tuple[Any, NDArray[np.bool_]]:
    """Return the background with signal events in random places instead of its own, and which they are."""
    import awkward as ak

    is_signal = np.zeros(len(background), bool)
    is_signal[random.choice(len(background), len(signal), replace=False)] = True
    order = np.arange(len(background))
    order[is_signal] = len(background) + np.arange(len(signal))
    return ak.concatenate([background, signal])[order], is_signal


def _sealed(spec: SimulateSpec, answer: Hidden, is_signal: NDArray[np.bool_]) -> str:
    events = base64.b64encode(np.packbits(is_signal).tobytes()).decode()
    told = {"answer": answer._asdict(), "window": WINDOW, "shard": spec.shard, "signal": events}
    return sealing.closed(told, spec.seed, f"{spec.sample}/{spec.shard}", _ROOM + len(events))
