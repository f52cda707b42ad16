"""One shard of one sample: jets, hits, showers or probes of a field, a ROOT file and its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bunchtrain import store
from bunchtrain.config.samples import BOX, NUMBERS, OF_EVENTS, OF_PAIRS, OF_PROBES, OF_SHOWERS, rows_of
from bunchtrain.config.specs import SimulateSpec
from bunchtrain.errors import CampaignError, MissingDependency
from bunchtrain.files import atomic, disk_errors
from bunchtrain.progress import track
from bunchtrain.provenance import record, versions_of
from bunchtrain.simulate import boxes, collisions, field, showers
from bunchtrain.simulate.dijets import find_dijets
from bunchtrain.simulate.generator import PROCESSES, Generator, most_apart, pythia_seed, run_number, steering
from bunchtrain.simulate.jets import Jets, charged, find_jets
from bunchtrain.simulate.pileup import Pileup
from bunchtrain.simulate.rootfile import jet_file
from bunchtrain.simulate.tracker import Tracker

#: With less than one jet in so many events, the settings are taken for a mistake.
_HOPELESS = 500

#: Most events in memory at a time.
_BATCH = 250

#: Seconds between two lines of progress.
_QUIET = 10.0


def simulate(spec: SimulateSpec, out: Path) -> None:
    """Generate jets, events, showers or probes of one shard into the ROOT file `out`, with a record beside it.

    The same spec gives the same bytes.

    Raises
    ------
    CampaignError
        If Pythia cannot start, or makes no jets inside the window.
    MissingDependency
        If Pythia, FastJet or uproot is not installed.
    BunchtrainError
        If the file cannot be written.
    """
    _check(spec)
    asked = spec.model_dump(mode="json")
    with disk_errors(out), store.place("simulate", {"spec": asked, "tools": _tools(spec)}) as place:
        taken = place.take({"events.root": out}) if place else None
        if taken is None:
            with atomic(out) as temporary:
                made = _filler(spec)(spec, temporary)
            if place:
                place.keep({"events.root": out}, facts=made)
        else:
            made = {**taken["facts"], "taken": {key: taken[key] for key in store.TOLD}}
        record([out], stage="simulate", spec=asked, facts=made)


def _filler(spec: SimulateSpec) -> Callable[[SimulateSpec, Path], dict[str, Any]]:
    if spec.process == BOX:
        return boxes.fill
    if spec.process in OF_SHOWERS:
        return showers.fill
    if spec.process in OF_PROBES:
        return field.fill
    return collisions.fill if spec.process in OF_EVENTS else _fill


def _tools(spec: SimulateSpec) -> dict[str, str]:
    """Return the versions of the packages that shape a shard."""
    if spec.process in OF_SHOWERS | OF_PROBES:
        return versions_of("bunchtrain", "numpy", "uproot")
    return versions_of("awkward", "bunchtrain", "fastjet", "numpy", "pythia8mc", "uproot")


def _check(spec: SimulateSpec) -> None:
    if spec.jets < 1:
        rows = rows_of(spec.process)
        problem = f"a shard needs at least one {rows[:-1]}"
        raise CampaignError(problem, key=f"generate.{NUMBERS[rows]}", found=spec.jets)
    if not 0 <= spec.shard < 1 << 20:
        raise CampaignError(
            "the number of a shard is out of range", key="shard", found=spec.shard, expected="0 to 1048575"
        )
    try:
        import uproot  # noqa: F401
    except ImportError:
        raise MissingDependency("uproot", needed_by="simulate", mend="pip install 'bunchtrain[simulate]'") from None


def _fill(spec: SimulateSpec, path: Path) -> dict[str, Any]:
    """Write the jets to `path` and return the metadata."""
    seed = pythia_seed(spec)
    apart = most_apart(spec.process, spec.settings)
    generator = Generator(spec, seed, steering(spec.process, spec.settings, seed), apart)
    pileup = Pileup(spec) if spec.settings.pileup > 0 else None
    normalisation = {"events": 0, "sum_of_weights": 0.0}
    tracks = spec.settings.tracks
    tracker = Tracker(spec, generator.charges) if tracks else None
    flavour = PROCESSES[spec.process].flavour is not None
    with jet_file(path, run_number(spec), flavour, tracks, spec.process in OF_PAIRS) as file:
        batches = _enough(spec, generator, pileup, tracker, normalisation)
        for jets in track(batches, spec.jets, f"simulate {spec.sample}", lambda jets: len(jets.event)):
            file.write(jets)
        metadata = {**_about(spec), **generator.facts(), **normalisation}
        file.describe(metadata)
    return metadata


def _about(spec: SimulateSpec) -> dict[str, Any]:
    import fastjet

    return {
        "fastjet_version": fastjet.__version__,
        "process": spec.process,
        "sample": spec.sample,
        "shard": spec.shard,
        "run_number": run_number(spec),
        "jets": spec.jets,
        "settings": spec.settings.model_dump(mode="json"),
    }


def _enough(
    spec: SimulateSpec,
    generator: Generator,
    pileup: Pileup | None,
    tracker: Tracker | None,
    normalisation: dict[str, Any],
) -> Iterator[Jets]:
    """Yield batches of jets until there are exactly `spec.jets`.

    `normalisation` counts the events looked at, up to the one that gave the last jet, and adds their weights.
    """
    found, start, told = 0, time.monotonic(), time.monotonic()
    while found < spec.jets:
        batch = generator.batch(_next_size(spec.jets - found, found, generator.tried))
        weights = np.asarray(batch.info.weights[:, 0])
        if spec.process in OF_PAIRS:
            jets = find_dijets(batch, spec.settings, pileup)
        else:
            jets = find_jets(batch, spec.settings, PROCESSES[spec.process], pileup, tracker)
        jets = jets.take(spec.jets - found)
        found += len(jets.event)
        looked_at = len(weights) if found < spec.jets else int(jets.event[-1]) + 1
        if len(jets.event):
            yield jets._replace(event=jets.event + normalisation["events"], parts=charged(jets.parts, generator))
        normalisation["events"] += looked_at
        normalisation["sum_of_weights"] += float(weights[:looked_at].sum())
        if generator.tried >= _HOPELESS * (found + 3):
            raise _hopeless(spec, generator, found)
        if time.monotonic() - told > _QUIET:
            told = time.monotonic()
            _tell(spec, f"{found} of {spec.jets} jets after {told - start:.0f} s")
    _tell(spec, f"{found} jets from {normalisation['events']} events in {time.monotonic() - start:.1f} s")


def _next_size(missing: int, found: int, tried: int) -> int:
    """Return how many events to make next: what the missing jets should take, within the bound of memory."""
    jets_per_event = (found + 5) / (tried + 10)
    return min(_BATCH, int(missing / jets_per_event) + 8)


def _tell(spec: SimulateSpec, text: str) -> None:
    print(f"[simulate] {spec.sample} shard {spec.shard} ({spec.process}): {text}", flush=True)


def _hopeless(spec: SimulateSpec, generator: Generator, found: int) -> CampaignError:
    settings = spec.settings
    return CampaignError(
        "the generator makes hardly any jets inside the window",
        key="simulate",
        found=f"{found} jets in {generator.tried} events of process {spec.process}",
        expected=f"pt {settings.pt_min} to {settings.pt_max} GeV, |eta| below {settings.eta_max}, R {settings.radius}",
        mend="widen pt_min to pt_max, or eta_max; a boosted top or W/Z fits in a jet from pt of about 2 m / radius",
    )
