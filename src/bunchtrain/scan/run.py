"""The scan of networks and trainings: a table, the best values and the front come out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bunchtrain import provenance
from bunchtrain.config.specs import ScanSpec
from bunchtrain.files import exclusive, write_json, write_text
from bunchtrain.scan import places, results, search, usage
from bunchtrain.scan.earlier import earlier
from bunchtrain.scan.front import front
from bunchtrain.scan.importance import importance
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.objective import Trainings
from bunchtrain.scan.places import ALL, Where
from bunchtrain.scan.slots import Slots

TABLE, BEST, FRONT = "results.csv", "best.json", "front.json"

#: Columns of the table beside the objectives.
_FACTS = ("validation_loss", "validation_auc", "rank_seconds", "epochs", "stopped_at", "seed", "slot", "node")


def scan(spec: ScanSpec, dataset: Path, scaler: Path, out: Path, where: Where = ALL) -> None:
    """Write `results.csv`, `front.json` and `best.json` into `out`; `journal.jsonl` there lets a killed scan go on.

    A rank that evaluates for another scan's rank 0 writes nothing.

    Raises
    ------
    TrainingError
        If no evaluation has ended well, or none keeps to the limits; table and front are written all the same.
    """
    trainings = Trainings(spec, dataset, scaler)
    if not spec.settings.trials:
        _scan(trainings, out, None)
        return
    with places.opened("scan", spec.settings, trainings.need, where) as slots:
        if slots is not None:
            _scan(trainings, out, slots)


def _scan(trainings: Trainings, out: Path, slots: Slots | None) -> None:
    spec, inputs = trainings.spec, trainings.sources
    with exclusive(out / ".lock"):
        journal = Journal(out / "journal.jsonl", search.mark(spec, inputs))
        if slots is not None:
            known = earlier(spec.settings)
            search.Search(trainings, journal, out, "scan", known, places=slots).run()
        trials = results.ended(spec.settings, journal, out)
        _write(trainings, trials, usage.utilisation(journal, time.time()), out)


def _write(trainings: Trainings, trials: Sequence[Trial], busy: float | None, out: Path) -> None:
    settings = trainings.settings
    names = settings.objectives
    columns = list(dict.fromkeys(["objective", *names, *_FACTS] if len(names) == 1 else [*names, *_FACTS]))
    write_text(out / TABLE, results.table(settings, trials, columns))
    matters = importance(settings, trials, trainings.own(), trainings.seed)
    write_json(out / FRONT, {**front(settings, trials), "importance": matters, "busy": busy})
    for stale in (out / BEST, provenance.record_path(out / BEST)):  # none stands that is not this table's
        stale.unlink(missing_ok=True)
    best = results.best(settings, trials)
    facts = {
        "trial": best.number if best else None,
        "objective": best.result if best else None,
        "name": settings.objective,
        "figures": {name: best.facts[name] for name in names} if best else {},
    }
    write_json(out / BEST, {"values": best.values if best else {}, **facts})
    provenance.record(
        [out / TABLE, out / BEST, out / FRONT],
        stage="scan",
        spec=trainings.spec.model_dump(mode="json"),
        inputs=trainings.sources,
        facts=facts,
    )
