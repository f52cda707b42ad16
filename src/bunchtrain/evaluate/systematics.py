"""What the variations come to: each compared with the nominal evaluation, and all of them together on the page.

K: draws, M: item, Q: figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bunchtrain import provenance
from bunchtrain.config.specs import SystematicsSpec
from bunchtrain.discrimination import quotable
from bunchtrain.errors import InputError
from bunchtrain.evaluate import closure, shiftpanels
from bunchtrain.evaluate.shifts import Floats, Judged, Shift, allowed, covered, draws, figures, shifts
from bunchtrain.evaluate.vary import METRICS, PREDICTIONS, read
from bunchtrain.events.chance import seeded
from bunchtrain.files import read_json, write_json
from bunchtrain.panels import Panel

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Nominal:
    """The nominal evaluation, and the working point at which it is quoted.

    Attributes
    ----------
    about : dict
        Its metrics.
    columns : dict
        Its predictions, see `vary.read`.
    judged : Judged
    efficiency, threshold : float
        Signal efficiency of the working point, and the threshold that gives it.
    values : float [Q]
    allowed : list of float
        How far the spread lets the efficiencies of signal and background move.
    """

    about: dict[str, Any]
    columns: Columns
    judged: Judged
    efficiency: float
    threshold: float
    values: Floats
    allowed: list[float]

    @classmethod
    def read(cls, folder: Path) -> Nominal:
        """Read the folder of an evaluation."""
        about = read_json(folder / METRICS)
        signal, background = (about["classes"].index(about[key]) for key in ("signal", "background"))
        columns = read(folder / PREDICTIONS)
        judged = Judged.of(columns, signal, background)
        efficiency = quotable(about["working_points"])["efficiency"]
        threshold = judged.scores().rejection(efficiency)["threshold"]
        values = figures(judged, efficiency, threshold)
        return cls(about, columns, judged, efficiency, threshold, values, allowed(judged, threshold))


class Varied(NamedTuple):
    """What `vary` left of one variation: its folder, metrics, and predictions; of one with nothing to judge none."""

    folder: Path
    about: dict[str, Any]
    columns: Columns

    @classmethod
    def read(cls, folder: Path) -> Varied:
        """Read a folder."""
        about = read_json(folder / METRICS)
        return cls(folder, about, {} if about["problem"] else read(folder / PREDICTIONS))


@dataclass(frozen=True)
class Compared:
    """One variation beside the nominal evaluation.

    Attributes
    ----------
    about : dict
        Its metrics: source, variation, kind, whether it is paired, and the problem where there is nothing to judge.
    judged : Judged or None
    shifts : dict
        Of `shifts.FIGURES`; empty where there is nothing to judge.
    covered : dict
        Share of items whose score moved by at most 1 and 2 of its spreads; empty where other items are judged.
    """

    about: dict[str, Any]
    judged: Judged | None
    shifts: dict[str, Shift]
    covered: dict[int, float]

    @property
    def name(self) -> str:
        """Source and variation."""
        return f"{self.about['source']} {self.about['variation']}"


def systematics(spec: SystematicsSpec, nominal: Path, variations: Sequence[Path], out: Path) -> None:
    """Write the JSON file `out`: shifts and errors of all variations, and panels for the page.

    Parameters
    ----------
    spec : SystematicsSpec
    nominal : path
        Folder of the evaluation.
    variations : sequence of path
        Folders of the variations.
    out : path

    Raises
    ------
    InputError
        If a file is missing, or a variation was judged by another task.
    """
    quoted = Nominal.read(nominal)
    read_ = [Varied.read(folder) for folder in variations]
    compared = compare(spec, quoted, read_)
    about = {"signal": quoted.about["signal"], "background": quoted.about["background"]}
    about |= {"efficiency": quoted.efficiency, "threshold": quoted.threshold}
    shown = [*shiftpanels.panels(quoted, compared), _tag_and_probe(spec, quoted, read_)]
    panels = [asdict(panel) for panel in shown if panel is not None]
    write_json(out, {**about, "variations": [_told(quoted, one) for one in compared], "panels": panels})
    folders = [nominal, *variations]
    inputs = [folder / name for folder in folders for name in (METRICS, PREDICTIONS)]
    provenance.record([out], stage="systematics", spec=spec.model_dump(mode="json"), inputs=inputs)
    bad = [one.name for one in compared if not one.shifts]
    print(f"[systematics] {len(compared)} variations, {len(bad)} with nothing to judge {', '.join(bad)}", flush=True)


def _tag_and_probe(spec: SystematicsSpec, nominal: Nominal, read_: Sequence[Varied]) -> Panel | None:
    """Return what a measurement in data makes of the variations of the nominal jets, where whole jets are judged."""
    if "event" not in nominal.columns:
        return None
    varied = {
        (str(one.about["source"]), str(one.about["variation"])): one.columns
        for one in read_
        if one.about["paired"] and one.columns
    }
    return closure.otherwise(nominal.columns, varied, nominal.judged.signal, nominal.threshold, spec.seed)


def compare(spec: SystematicsSpec, nominal: Nominal, read_: Sequence[Varied]) -> list[Compared]:
    """Return all variations beside the nominal evaluation."""
    judged = [_judged(nominal, one) if one.columns else None for one in read_]
    jets = 1 + max(int(one.jets_M.max(initial=0)) for one in (nominal.judged, *judged) if one is not None)
    point = nominal.efficiency, nominal.threshold, spec.bootstrap, jets
    nominal_KQ = draws(nominal.judged, *point, [spec.seed])
    found = []
    for about, one in zip((its.about for its in read_), judged, strict=True):
        if one is None:
            found.append(Compared(about, None, {}, {}))
            continue
        values = figures(one, nominal.efficiency, nominal.threshold)
        # The same draws of the same jets; of others, draws of their own.
        own_KQ = draws(one, *point, [spec.seed] if about["paired"] else _seeds(spec, about))
        moved = shifts(values, nominal.values, own_KQ, nominal_KQ)
        same = about["paired"] and one.alike(nominal.judged)
        inside = {widths: covered(nominal.judged, one, widths) for widths in (1, 2)} if same else {}
        found.append(Compared(about, one, moved, inside))
    return found


def _seeds(spec: SystematicsSpec, about: dict[str, Any]) -> list[int]:
    """Return where the draws of a variation start that has jets of its own, whichever others there are."""
    return [spec.seed, int(seeded(about["source"], about["variation"]))]


def _judged(nominal: Nominal, one: Varied) -> Judged:
    found = Judged.of(one.columns, nominal.judged.signal, nominal.judged.background)
    if not len(found.jets_M):
        problem, mend = "a variation says nothing of the classes that are judged", "run the evaluation again"
        raise InputError(problem, file=one.folder / PREDICTIONS, mend=mend)
    return found


def _told(nominal: Nominal, one: Compared) -> dict[str, Any]:
    """Return one variation in numbers, None where there is none."""
    moved = {name: {"value": _known(shift.value), "error": _known(shift.error)} for name, shift in one.shifts.items()}
    kept = ("source", "variation", "kind", "paired", "problem")
    allowed_ = dict(zip(("signal_efficiency", "background_efficiency"), nominal.allowed, strict=True))
    about: dict[str, Any] = {name: one.about[name] for name in kept}
    return about | {"shifts": moved, "covered": one.covered, "spread_allows": allowed_ if moved else {}}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
