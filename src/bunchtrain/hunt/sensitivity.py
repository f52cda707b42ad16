"""What a hunt can do, from labelled samples: how masses are measured, what cuts gain, what is found in nothing.

N: events, F: features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bunchtrain import provenance
from bunchtrain.config.hunt import Hunt
from bunchtrain.config.specs import SensitivitySpec
from bunchtrain.discrimination import Scores, improvement
from bunchtrain.errors import InputError
from bunchtrain.files import disk_errors, write_json
from bunchtrain.hunt import classify, data, shown
from bunchtrain.hunt.peak import Template
from bunchtrain.hunt.search import Events, hunt
from bunchtrain.hunt.significance import Global
from bunchtrain.hunt.windows import Window, windows

#: The signal's mass is measured after a cut that keeps this share of the background: cuts of a hunt are as tight.
_CUT = 0.01

#: Events of the template at most, and those without which there is none.
_TEMPLATE, _FEWEST = 2000, 50

#: S / sqrt(B) in the window of the injected signal, for what classifiers without labels can do.
_STRENGTH = 2.5


def sensitivity(spec: SensitivitySpec, dataset: Path, out: Path) -> None:
    """Write what a hunt can do, from the labelled samples of a campaign, to the JSON file `out`.

    Raises
    ------
    InputError
        If there are too few events, or one is no number.
    """
    index, settings = data.opened(dataset), spec.settings
    labels = index.column("label")
    events = data.events(index, settings, spec.energy)
    numbers = [index.classes.index(name) for name in (spec.signal, spec.background)]
    signal, background = (events.take(labels == number) for number in numbers)
    if len(signal.mass) < _FEWEST:
        found, mend = len(signal.mass), "simulate more of it"
        raise InputError("there is too little signal to learn its mass from", file=dataset, found=found, mend=mend)
    window = nearest(windows(settings, background.mass), spec.mass * float(np.median(signal.mass / spec.mass)))
    _require_signal(signal, window, spec, dataset)
    result: dict[str, Any] = {"mass": spec.mass, "window": [window.low, window.high], "version": spec.version}
    result["features"] = _features(background, window, settings)
    result |= _expected(signal, background, window, spec)
    result["closure"] = _closure(background, result, spec)
    result["panels"] = shown.of_sensitivity(result, settings)
    with disk_errors(out):
        write_json(out, result)
        provenance.record([out], stage="sensitivity", spec=spec.model_dump(mode="json"), inputs=[dataset])
    print(f"[sensitivity] {out}: resolution {100 * result['resolution']:.1f} %", flush=True)


def _require_signal(signal: Events, window: Window, spec: SensitivitySpec, dataset: Path) -> None:
    """Refuse a labelled signal that lies beside all windows."""
    if (held := int(window.inside(signal.mass).sum())) < 2 * spec.settings.folds:
        low, high = np.quantile(signal.mass, [0.16, 0.84])
        raise InputError(
            "there is hardly any labelled signal in a window",
            file=dataset,
            key="hunt.low",
            found=f"{held} of {len(signal.mass)} events from {window.low:.0f} to {window.high:.0f} GeV, the window "
            f"nearest to {spec.mass:g} GeV; most have {spec.settings.mass} {low:.0f} to {high:.0f} GeV",
            mend="search where the signal is, hunt.low to hunt.high, or simulate more of it",
        )


def nearest(ranges: list[Window], mass: float) -> Window:
    """Return the window whose centre is nearest to a mass."""
    return min(ranges, key=lambda one: abs(np.log(one.centre / mass)))


def _expected(signal: Events, background: Events, window: Window, spec: SensitivitySpec) -> dict[str, Any]:
    """Return the template, and how much cuts with and without labels would improve the significance."""
    here, there = signal.take(window.inside(signal.mass)), background.take(window.inside(background.mass))
    both = np.concatenate([here.features, there.features])
    labels = np.arange(len(both)) < len(here.mass)
    fold = classify.folds(len(both), spec.settings, spec.seed)
    scores = classify.supervised(both, labels, fold, spec.settings, spec.seed)
    supervised = Scores(scores[labels], scores[~labels])
    ratio = _ratios(signal, background, spec) / spec.mass
    template = Template(ratio)
    return {
        "template": [round(float(one), 5) for one in ratio],
        "resolution": template.resolution,
        "scale": template.scale,
        "supervised": {"auc": supervised.auc(), "improvement": improvement(supervised)},
        "weak": {"strength": _STRENGTH, "improvement": improvement(_weak(signal, background, window, spec))},
    }


def _ratios(signal: Events, background: Events, spec: SensitivitySpec) -> NDArray[np.float64]:
    """Return dijet masses of signal that passes a cut with labels, in and out of its window."""
    both = np.concatenate([signal.features, background.features])
    labels = np.arange(len(both)) < len(signal.mass)
    scores = classify.supervised(both, labels, classify.folds(len(both), spec.settings, spec.seed), spec.settings, 0)
    passing = signal.mass[scores[labels] >= np.quantile(scores[~labels], 1 - _CUT)]
    chosen = passing if len(passing) >= _FEWEST else signal.mass
    return chosen[:_TEMPLATE]


def _weak(signal: Events, background: Events, window: Window, spec: SensitivitySpec) -> Scores:
    """Return scores inside the window of classifiers without labels, with a signal of known strength injected."""
    inside = np.flatnonzero(window.inside(signal.mass))
    number = min(round(_STRENGTH * np.sqrt(window.inside(background.mass).sum())), len(inside))
    count = inside[number - 1] + 1
    both = np.concatenate([signal.features[:count], background.features])
    mass = np.concatenate([signal.mass[:count], background.mass])
    labels = np.arange(len(mass)) < count
    order = np.random.default_rng(classify.seed_of("order", spec.seed)).permutation(len(mass))
    both, mass, labels = both[order], mass[order], labels[order]
    fold = classify.folds(len(mass), spec.settings, spec.seed)
    scores = classify.ranks(classify.scores(both, mass, fold, window, spec.settings, spec.seed), fold)
    here = window.inside(mass)
    return Scores(scores[here & labels], scores[here & ~labels])


def _features(background: Events, window: Window, settings: Hunt) -> list[dict[str, Any]]:
    """Return how each feature of the background depends on the dijet mass."""
    near = window.inside(background.mass) | window.below(background.mass) | window.above(background.mass)
    found = []
    for name, values in zip(settings.features, background.features.T, strict=True):
        if not np.ptp(values[near]) > 0:
            problem, mend = (
                "a feature is the same for all events",
                "take it out of hunt.features, or look at its column",
            )
            raise InputError(problem, key="hunt.features", found=f"{name}, {values[near][0]:g} for all", mend=mend)
        whole = float(stats.spearmanr(values, background.mass).statistic)
        beside = float(stats.spearmanr(values[near], background.mass[near]).statistic)
        told = f"{name} / {settings.mass}" if name in settings.scaled else name
        found.append({"name": told, "correlation": whole, "near": beside, "error": 1 / np.sqrt(near.sum())})
    return found


def _closure(background: Events, result: dict[str, Any], spec: SensitivitySpec) -> dict[str, Any]:
    """Return what the whole hunt finds in the labelled background, where there is nothing."""
    found = hunt(background, spec.settings, Template(np.array(result["template"])), spec.seed)
    worth = found.overall
    assert isinstance(worth, Global)
    return {
        "events": len(background.mass),
        "centres": [one.centre for one in found.tests.windows],
        "z": found.tests.z_WC.tolist(),
        "local": float(found.tests.z_WC.max()),
        "global": {"p": worth.p, "z": worth.z, "trials": worth.trials},
    }
