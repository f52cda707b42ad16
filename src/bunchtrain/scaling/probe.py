"""A probe: a real training of a few steps, in processes of its own, and what its steps took."""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bunchtrain.config.specs import TrainSpec, as_text
from bunchtrain.errors import TrainingError
from bunchtrain.files import fingerprint, read_json, write_json, write_text
from bunchtrain.scaling import VERSION

#: Steps at the start of a training that are left out: first allocations, compilation, cold caches.
WARM_UP = 10

#: The parts of a step, as they are measured on rank 0.
PARTS = ("compute", "input", "communication")


class Setting(NamedTuple):
    """What a probe varies."""

    ranks: int
    batch: int

    @property
    def jets(self) -> float:
        """Jets of a step on one rank."""
        return self.batch / self.ranks

    def __str__(self) -> str:
        return f"r{self.ranks}-b{self.batch}"


class Runner(NamedTuple):
    """What all probes share.

    Parameters
    ----------
    spec : TrainSpec
        The training whose scaling is asked for.
    dataset, scaler : path
        What `prepare` wrote.
    jets, validation : int
        Jets of its splits.
    launcher : str
        Starts the ranks, e.g. `mpirun --bind-to none`.
    threads, steps : int
        CPU threads of a rank; steps that are measured.
    digest : str
        Of the dataset: another one makes probes stale.
    """

    spec: TrainSpec
    dataset: Path
    scaler: Path
    jets: int
    validation: int
    launcher: str
    threads: int
    steps: int
    digest: str

    def training(self, setting: Setting) -> TrainSpec:
        """Return the short training of a probe: the campaign's own, with every step noted and nothing scheduled."""
        steps = min(WARM_UP + self.steps, self.jets // setting.batch)
        changed = {
            "ranks": setting.ranks,
            "batch_size": setting.batch,
            "accumulation": min(self.spec.settings.accumulation, max(1, setting.batch // setting.ranks)),
            "steps_per_epoch": steps,
            "epochs": -(-(WARM_UP + self.steps) // steps),
            "patience": WARM_UP + self.steps,
            "schedule": "constant",
            "reference_batch": None,
            "warmup_epochs": 0.0,
            "max_jets": None,
            "validate_fraction": min(1.0, 1024 * setting.ranks / self.validation),
            "log_every": 1,
            "tensorboard": False,
            "checkpoint_minutes": 1e6,
            "keep": 1,
            "restarts": 0,
        }
        return self.spec.model_copy(update={"settings": self.spec.settings.model_copy(update=changed)})

    def run(self, setting: Setting, folder: Path) -> dict[str, Any]:
        """Return what a probe found, from `folder` where it has run before.

        Raises
        ------
        TrainingError
            If its training fails.
        """
        spec = self.training(setting)
        about = {"version": VERSION, "spec": spec.model_dump(mode="json"), "dataset": self.digest}
        identity = fingerprint({**about, "launcher": self.launcher, "threads": self.threads})
        kept = folder / "probe.json"
        found = read_json(kept) if kept.exists() else None
        if isinstance(found, dict) and found.get("fingerprint") == identity:
            return found
        if folder.exists():  # a probe that was killed would go on from its checkpoint, and measure the rest alone
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        write_text(folder / "spec.json", as_text(spec))
        started = time.perf_counter()
        self._train(setting, folder)
        wall = time.perf_counter() - started
        found = {**measured(folder, spec.settings.steps_per_epoch or 0, wall), "fingerprint": identity}
        write_json(kept, found)
        return found

    def _train(self, setting: Setting, folder: Path) -> None:
        command = [sys.executable, "-m", "bunchtrain", "train", "--spec", str(folder / "spec.json")]
        command += ["--dataset", str(self.dataset), "--scaler", str(self.scaler), "--out", str(folder)]
        command += ["--threads", str(self.threads), "--launcher", self.launcher, "--ranks", str(setting.ranks)]
        log = folder / "train.log"
        with log.open("wb") as stream:
            # The training ends with this process, whatever ends it.
            done = subprocess.run(
                ["setpriv", "--pdeathsig", "TERM", "--", *command], stdout=stream, stderr=stream, check=False
            )
        if done.returncode:
            lines = log.read_text(errors="replace").strip().splitlines()
            told = next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "nothing")
            raise TrainingError(
                "a probe of the scaling failed",
                file=log,
                key=f"{setting.ranks} rank(s), {setting.batch} jets a step",
                found=f"exit status {done.returncode}: {told.removeprefix('error: ')}",
                mend="look into the file; leave this setting out with --ranks and --batch-sizes",
            )


def measured(folder: Path, steps: int, wall: float) -> dict[str, Any]:
    """Return what a training took: lists of seconds by part of its steps, and the seconds around them.

    Parameters
    ----------
    folder : path
        Of the training.
    steps : int
        Of an epoch.
    wall : float
        Seconds of the whole process.
    """
    with (folder / "steps.csv").open(encoding="utf-8", newline="") as stream:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    settings = read_json(folder / "model.json")["training"]["settings"]
    seconds = [settings["batch_size"] / row["jets_per_second"] for row in rows]
    shares = [(row["waiting_for_data"], row["communication"]) for row in rows]
    parts = [(t * (1 - wait - talk), t * wait, t * talk) for t, (wait, talk) in zip(seconds, shares, strict=True)]
    validating = [row["validation_seconds"] for row in read_json(folder / "history.json")["rows"]]
    used = parts[min(WARM_UP, len(parts) // 2) :]
    return {
        **{part: list(values) for part, values in zip(PARTS, zip(*used, strict=True), strict=True)},
        "validation": statistics.median(validating),
        "start": max(wall - sum(seconds) - sum(validating), 0.0),
    }


def settings_of(ranks: Sequence[int], batches: Sequence[int]) -> list[Setting]:
    """Return the settings to probe; a step needs a jet for each rank."""
    return [Setting(n, batch) for n in sorted(set(ranks)) for batch in sorted(set(batches)) if batch >= n]
