"""The state of campaigns as plain data: what the page shows, whatever draws it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from bunchtrain.config.campaign import Campaign, load_campaign
from bunchtrain.course.events import Run, command
from bunchtrain.course.status import driven
from bunchtrain.errors import BunchtrainError
from bunchtrain.page import jobs, scans, trainings

Part = TypeVar("Part")

#: What a file may raise that is not what it should be.
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, OSError)


class Watched:
    """Campaigns, and what was read of them before.

    Parameters
    ----------
    files : sequence of path
        Campaign files, relative to the folder they are run in, which is this one.

    Raises
    ------
    CampaignError
        If one is missing, or does not describe a campaign.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._campaigns = [(file, load_campaign(file)) for file in files]
        self._courses = [jobs.Course(Path(campaign.output)) for _, campaign in self._campaigns]

    @property
    def title(self) -> str:
        """The campaigns' names."""
        return ", ".join(campaign.name for _, campaign in self._campaigns)

    def state(self, now: float | None = None) -> dict[str, Any]:
        """Return all that a page shows, JSON-like: no NaN, no infinity."""
        now = time.time() if now is None else now
        known = zip(self._campaigns, self._courses, strict=True)
        return {
            "made": now,
            "folder": str(Path.cwd()),
            "version": metadata.version("bunchtrain"),
            "campaigns": [_finite(_campaign(file, one, course, now)) for (file, one), course in known],
        }


def _campaign(file: Path, settings: Campaign, course: jobs.Course, now: float) -> dict[str, Any]:
    """Return one campaign; what cannot be read is told among its problems."""
    results, problems = Path(settings.output), list[str]()
    runs: list[Run] = _tried(problems, course.runs, [])
    alive = driven(results)
    scanning = alive and bool(runs) and any(job.running for job in runs[-1].of("scan"))
    report = results / "report.html"
    return {
        "name": settings.name,
        "file": str(file),
        "output": settings.output,
        "report": str(report) if report.exists() else None,
        "again": command(file, runs),
        "settings": _settings(settings),
        "course": _tried(problems, lambda: course.told(runs, now, alive=alive), None),
        "trainings": _tried(problems, lambda: trainings.told(results, settings.train.epochs), {"shown": []}),
        "scan": _tried(problems, lambda: scans.told(results, settings.scan, now, going=scanning), None),
        "problems": problems,
    }


def _tried(problems: list[str], read: Callable[[], Part], otherwise: Part) -> Part:
    """Return what is read, or say why it cannot be and return something else."""
    try:
        return read()
    except BunchtrainError as error:
        problems.append(str(error))
    except _DAMAGED as error:
        problems.append(f"a file of the campaign's results is not what it should be: {error!r}"[:400])
    return otherwise


def _settings(campaign: Campaign) -> list[list[str]]:
    """Return the settings in short: name and value."""
    train, scan = campaign.train, campaign.scan
    seeds = "1 seed" if train.seeds == 1 else f"{train.seeds} seeds"
    looked_for = ", ".join(scan.objectives).replace("_", " ")
    return [
        ["task", campaign.task.kind.replace("_", " ")],
        ["classes", ", ".join(campaign.classes)],
        ["samples", ", ".join(campaign.samples)],
        ["network", campaign.model.kind.replace("_", " ")],
        ["training", f"at most {train.epochs} epochs on {train.ranks} rank(s), {seeds}"],
        ["scan", f"{scan.trials} evaluations for {looked_for}" if scan.trials else "none"],
    ]


def _finite(value: Any) -> Any:
    """Return JSON-like data with numbers of five digits, and None for what is no number."""
    if isinstance(value, float):
        rounded = value if 1e8 < value < 1e11 else float(f"{value:.5g}")  # times of day are whole
        return rounded if math.isfinite(rounded) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value
