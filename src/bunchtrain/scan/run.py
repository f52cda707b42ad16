"""The scan of networks and trainings: a table and the best values come out."""

from __future__ import annotations

from pathlib import Path

from bunchtrain import provenance
from bunchtrain.config.specs import ScanSpec
from bunchtrain.files import exclusive, write_json, write_text
from bunchtrain.scan import search
from bunchtrain.scan.journal import Journal
from bunchtrain.scan.objective import Trainings


def scan(spec: ScanSpec, dataset: Path, scaler: Path, out: Path) -> None:
    """Write `results.csv` and `best.json` into `out`; `journal.jsonl` there lets a killed scan go on.

    Raises
    ------
    TrainingError
        If no evaluation has ended well.
    """
    with exclusive(out / ".lock"):
        journal = Journal(out / "journal.jsonl", search.mark(spec, [dataset, scaler]))
        if spec.settings.trials:
            search.Search(Trainings(spec, dataset, scaler), journal, out, "scan").run()
        _write(spec, journal, out, [dataset, scaler])


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
