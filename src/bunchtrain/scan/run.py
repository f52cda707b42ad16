"""The scan of networks and trainings: a table and the best values come out."""

from __future__ import annotations

from pathlib import Path

from bunchtrain import provenance
from bunchtrain.config.specs import ScanSpec
from bunchtrain.files import exclusive, write_json, write_text
from bunchtrain.scan import places, search
from bunchtrain.scan.journal import Journal
from bunchtrain.scan.objective import Trainings
from bunchtrain.scan.places import ALL, Where
from bunchtrain.scan.slots import Slots


def scan(spec: ScanSpec, dataset: Path, scaler: Path, out: Path, where: Where = ALL) -> None:
    """Write `results.csv` and `best.json` into `out`; `journal.jsonl` there lets a killed scan go on.

    A rank that evaluates for another scan's rank 0 writes nothing.

    Raises
    ------
    TrainingError
        If no evaluation has ended well.
    """
    trainings = Trainings(spec, dataset, scaler)
    if not spec.settings.trials:
        _scan(trainings, out, None)
        return
    with places.opened("scan", spec.settings, trainings.need, where) as slots:
        if slots is not None:
            _scan(trainings, out, slots)


def _scan(trainings: Trainings, out: Path, slots: Slots | None) -> None:
    spec, inputs = trainings.spec, [trainings.dataset, trainings.scaler]
    with exclusive(out / ".lock"):
        journal = Journal(out / "journal.jsonl", search.mark(spec, inputs))
        if slots is not None:
            search.Search(trainings, journal, out, "scan", places=slots).run()
        _write(spec, journal, out, inputs)


def _write(spec: ScanSpec, journal: Journal, out: Path, inputs: list[Path]) -> None:
    trials = search.ended(spec.settings, journal, out)
    good = [(trial.result, trial) for trial in trials if isinstance(trial.result, float)]
    best = max(good, key=lambda pair: pair[0])[1] if good else None
    facts = {
        "trial": best.number if best else None,
        "objective": best.result if best else None,
        "name": spec.settings.objective,
    }
    columns = ["objective", "validation_loss", "validation_auc"]
    write_text(out / "results.csv", search.table(spec.settings, trials, columns))
    write_json(out / "best.json", {"values": best.values if best else {}, **facts})
    provenance.record(
        [out / "results.csv", out / "best.json"],
        stage="scan",
        spec=spec.model_dump(mode="json"),
        inputs=inputs,
        facts=facts,
    )
