"""The search for students: what each knows against its estimated cost; the front is synthesised in the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bunchtrain import pareto, provenance
from bunchtrain.config.candidates import own_value, varied
from bunchtrain.config.specs import SearchSpec, SynthesizeSpec, as_text, of_student
from bunchtrain.config.synthesize import Search
from bunchtrain.errors import BunchtrainError, TrainingError
from bunchtrain.files import exclusive, read_json, sha256, write_json, write_text
from bunchtrain.scan import evaluation, places, process, results, search
from bunchtrain.scan.evaluation import Asked
from bunchtrain.scan.journal import Journal, Trial
from bunchtrain.scan.places import ALL, Where
from bunchtrain.scan.slots import Need, Slot, Slots
from bunchtrain.scan.space import Values

FIGURES = "figures.json"
FRONT = "front.json"
TABLE = "results.csv"


class Students(NamedTuple):
    """Students with the values of a campaign's space, taught by its tagger.

    Two objectives: the AUC of the quantised student on the validation split, and less look-up tables by the estimate,
    on a scale of powers of ten.
    """

    spec: SearchSpec
    dataset: Path
    model: Path

    @property
    def sources(self) -> list[Path]:
        """The files that all students follow from."""
        return [self.dataset, self.model / "model.safetensors", self.model / "model.json"]

    @property
    def settings(self) -> Search:
        """The campaign's section."""
        return self.spec.settings

    @property
    def seed(self) -> int:
        """The core's."""
        return self.spec.core.seed

    def own(self) -> Values:
        """Return the campaign's own student."""
        return {name: own_value(self.spec.core.settings.student, name) for name in self.settings.space}

    def core(self, values: Values) -> SynthesizeSpec:
        """Return what a core with the student of some values would be asked for."""
        student = varied(self.spec.core.settings.student, values, "--spec", "synthesize.search.space")
        return of_student(self.spec.core, student, "--spec")

    def steps(self, asked: Asked, slot: Slot) -> list[list[str]]:
        """Return the training of a student, with the estimate of its cost."""
        return [slot.command([*self.synthesis(asked.values, asked.folder), "--estimate"])]

    def synthesis(self, values: Values, folder: Path) -> list[str]:
        """Return the training and the synthesis of a student."""
        command = [sys.executable, "-m", "bunchtrain", "candidate", "--spec", as_text(self.core(values))]
        return [*command, "--dataset", str(self.dataset), "--model", str(self.model), "--out", str(folder)]

    def result(self, folder: Path) -> tuple[list[float] | str, dict[str, Any]]:
        """Return both objectives, and what they were made of."""
        found = read_json(folder / FIGURES)
        if found["status"] != "done":
            return "F_no_circuit", {"error": found["error"]}
        area, lut = found["auc"]["quantised_student"], found["estimate"]["lut"]
        return [area, -math.log10(lut + 1)], {"auc": area, "lut": lut}

    def told(self, facts: Mapping[str, Any]) -> str:
        """Return AUC and look-up tables."""
        return f"AUC {facts['auc']:.4f}, {facts['lut']} LUT estimated"


def propose(spec: SearchSpec, dataset: Path, model: Path, out: Path, where: Where = ALL) -> None:
    """Write `results.csv` and `front.json` into `out`; `journal.jsonl` there lets a killed search go on.

    Raises
    ------
    TrainingError
        If no student became a circuit, or no synthesis ended well.
    """
    students = Students(spec, dataset, model)
    with places.opened("search", spec.settings, Need(), where) as slots:
        if slots is not None:
            _propose(students, out, slots)


def _propose(students: Students, out: Path, slots: Slots) -> None:
    spec, inputs = students.spec, students.sources
    with exclusive(out / ".lock"):
        journal = Journal(out / "journal.jsonl", search.mark(spec, inputs))
        search.Search(students, journal, out, "search", places=slots).run()
        trials = results.ended(spec.settings, journal, out)
        best = front(trials)
        figures = _all_synthesised(students, out, spread(best, spec.settings.finalists))
        done = sum(one["status"] == "done" for one in figures)
        failed = sum(trial.failed for trial in trials)
        counts = {"trials": len(trials), "failed": failed, "front": len(best), "finalists": done}
        points = [[trial.facts["lut"], trial.facts["auc"]] for trial in trials if not trial.failed]
        write_text(out / TABLE, results.table(spec.settings, trials, ["auc", "lut"]))
        write_json(out / FRONT, {**counts, "estimated": points, "students": figures})
        written = [out / TABLE, out / FRONT]
        provenance.record(written, stage="search", spec=spec.model_dump(mode="json"), inputs=inputs, facts=counts)


def _all_synthesised(students: Students, out: Path, chosen: Sequence[Trial]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(students.settings.parallel) as pool:
        try:
            figures = list(pool.map(partial(_synthesised, students, out), chosen))
        except BaseException:
            process.end_all()  # the pool would wait for them
            raise
    if all(one["status"] != "done" for one in figures):
        raise TrainingError(
            "no student of the front could be synthesised",
            file=out / "finalists",
            found=figures[-1]["error"],
            mend="mend what its log says; the next run tries again",
        )
    return figures


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in AUC and estimated cost, cheapest first."""
    done = [trial for trial in trials if not trial.failed]
    return [done[place] for place in pareto.front((trial.facts["lut"], trial.facts["auc"]) for trial in done)]


def spread(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Return at most so many of the trials of a front, evenly from the cheapest to the best."""
    if len(trials) <= most:
        return list(trials)
    if most == 1:
        return [trials[-1]]
    return [trials[round(place * (len(trials) - 1) / (most - 1))] for place in range(most)]


def _synthesised(students: Students, out: Path, trial: Trial) -> dict[str, Any]:
    """Return the figures of a trial's student from a real synthesis; one that is there already is not made again."""
    folder = out / "finalists" / f"search-{trial.number:04d}"
    if not _is_there(folder / FIGURES, students, trial):
        print(f"[search] synthesis of evaluation {trial.number + 1}", flush=True)
        log = folder / evaluation.LOG
        log.unlink(missing_ok=True)
        if reason := process.evaluate(students.synthesis(trial.values, folder), log, students.settings.timeout):
            told = f"its synthesis failed: {process.last_error(log) or reason}"
            return {"candidate": folder.name, "status": "failed", "error": told, "found": reason}
    found: dict[str, Any] = read_json(folder / FIGURES)
    return found


def _is_there(figures: Path, students: Students, trial: Trial) -> bool:
    """Return whether figures have been made of this student, by this tagger, from these jets."""
    try:
        record = provenance.read(figures)
        sources = sorted(source["sha256"] for source in record["inputs"])
        wanted = students.core(trial.values).model_dump(mode="json")
        return (
            record["spec"] == wanted
            and sources == sorted(sha256(path) for path in students.sources)
            and not provenance.altered(figures)
        )
    except (BunchtrainError, KeyError, TypeError, OSError):  # of a run that was killed, or of something else
        return False
