"""The search of one box: what stands in its files, and no label, goes in; a claim, or none, comes out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bunchtrain import provenance
from bunchtrain.config.specs import HuntSpec
from bunchtrain.errors import InputError
from bunchtrain.files import atomic, disk_errors, read_json, write_json
from bunchtrain.hunt import classify, data, shown
from bunchtrain.hunt.peak import Peak, Template
from bunchtrain.hunt.search import Hunted
from bunchtrain.hunt.search import hunt as searched
from bunchtrain.hunt.significance import Global
from bunchtrain.hunt.spectrum import goodness

RESULT, SCORES = "result.json", "scores.h5"

#: Ratios of masses without which there is no template.
_FEWEST = 2


def hunt(spec: HuntSpec, dataset: Path, sensitivity: Path, out: Path) -> None:
    """Search a box and write `result.json` and `scores.h5` into the folder `out`.

    Parameters
    ----------
    spec : HuntSpec
    dataset : path
        The index of the box.
    sensitivity : path
        What `sensitivity` wrote: how a resonance's mass is measured.
    out : path
        Folder.

    Raises
    ------
    InputError
        If there are too few events, or one is no number.
    """
    index = data.opened(dataset)
    events = data.events(index, spec.settings, spec.energy)
    template = _template(sensitivity)
    found = searched(events, spec.settings, template, classify.seed_of("box", spec.seed, spec.box))
    result = told(found, spec, template)
    result["panels"] = shown.of_box(result, spec.settings)
    kept_N = found.kept(spec.settings, *found.best)
    with disk_errors(out / RESULT):
        _write_scores(
            out / SCORES, index.column("run_number"), index.column("event_number"), events.mass, kept_N, found
        )
        write_json(out / RESULT, result)
        provenance.record(
            [out / RESULT, out / SCORES],
            stage="hunt",
            spec=spec.model_dump(mode="json"),
            inputs=[dataset, sensitivity],
        )
    print(f"[hunt] {spec.box}: {shown.verdict(result)}", flush=True)


def _template(path: Path) -> Template:
    """Return how masses are measured: a list of dijet masses over the true mass."""
    read = read_json(path)
    found = read.get("template") if isinstance(read, dict) else None
    if not isinstance(found, list) or len(found) < _FEWEST or not all(map(_is_ratio, found)):
        raise InputError(
            "a file says nothing of how masses are measured",
            file=path,
            key="template",
            expected=f"{_FEWEST} ratios of masses or more",
            mend="name what `bunchtrain sensitivity` wrote",
        )
    return Template(np.array(found, np.float64))


def _is_ratio(value: object) -> bool:
    return isinstance(value, float | int) and math.isfinite(value) and value > 0


def told(found: Hunted, spec: HuntSpec, template: Template) -> dict[str, Any]:
    """Return what was found as the result's file tells it."""
    (window, cut), worth, peak = found.best, found.overall, found.peak
    assert isinstance(worth, Global) and isinstance(peak, Peak)
    one, spectrum = found.tests.excess[window], found.spectrum
    return {
        "box": spec.box,
        "version": spec.version,
        "events": len(found.fold),
        "tests": _tests(found, spec),
        "best": _best(found, spec),
        "local": {"z": float(one.z_S[cut]), "p": float(one.p_S[cut])},
        "global": {
            "z": worth.z,
            "p": worth.p,
            "error": worth.error,
            "extrapolated": worth.extrapolated,
            "trials": worth.trials,
            "pseudo_experiments": spec.settings.pseudo_experiments,
        },
        "claimed": worth.z >= spec.settings.claim,
        "found": {
            "mass": peak.mass,
            "error": peak.error,
            "resolution": template.resolution * peak.mass,
            "signal": peak.signal,
        },
        "spectrum": {
            "edges": spectrum.edges.tolist(),
            "counts": spectrum.counts_SM[0].tolist(),
            "background": one.background_SM[cut].tolist(),
            "with_peak": peak.total_M.tolist(),
        },
    }


def _best(found: Hunted, spec: HuntSpec) -> dict[str, Any]:
    """Return the largest excess, and how well the spectrum is fitted beside it."""
    window, cut = found.best
    one, beside = found.tests.excess[window], ~found.spectrum.inside(found.window.low, found.window.high)
    parameters = int(one.parameters_S[cut])
    chi, degrees, fits = goodness(found.spectrum.counts_SM[0][beside], one.background_SM[cut][beside], parameters)
    return {
        "window": [found.window.low, found.window.high],
        "number": window,
        "cut": _cuts(spec)[cut],
        "observed": float(one.observed_S[cut]),
        "expected": float(one.expected_S[cut]),
        "error": float(one.error_S[cut]),
        "before": {"observed": float(one.observed_S[0]), "expected": float(one.expected_S[0])},
        "goodness": {"chi2": chi, "degrees": degrees, "p": fits},
        "parameters": parameters,
    }


def _cuts(spec: HuntSpec) -> list[float]:
    """Return the shares that are kept, the first of which is all."""
    return [1.0, *spec.settings.cuts]


def _tests(found: Hunted, spec: HuntSpec) -> list[dict[str, Any]]:
    return [
        {
            "window": [window.low, window.high],
            "cut": cut,
            "observed": float(one.observed_S[place]),
            "expected": float(one.expected_S[place]),
            "error": float(one.error_S[place]),
            "z": float(one.z_S[place]),
            "p": float(one.p_S[place]),
        }
        for window, one in zip(found.tests.windows, found.tests.excess, strict=True)
        for place, cut in enumerate(_cuts(spec))
    ]


def _write_scores(path: Path, run: Any, event: Any, mass: Any, kept_N: Any, found: Hunted) -> None:
    """Keep how the classifiers of each window rank each event in its fold, and whether the best cut kept it."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file["run_number"], file["event_number"], file["mass"] = run, event, mass
        file["rank"] = np.array([classify.ranks(row, found.fold) for row in found.scores], np.float32)
        file["kept"] = kept_N
        file["window"] = np.array([[one.low, one.high] for one in found.tests.windows])
