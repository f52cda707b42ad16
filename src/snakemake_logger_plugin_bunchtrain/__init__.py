"""Snakemake's events of a run as lines of JSON: what `bunchtrain campaign status` reads.

Snakemake finds this package by its name. It stands beside bunchtrain and imports nothing of it.
"""

# No annotations of the future here: Snakemake makes options of the settings' types.
import json
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import LogRecord
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

#: What the Slurm plugin says of a job; it is no event.
_SUBMITTED = re.compile(r"Job (\d+) has been submitted with SLURM jobid \d+")


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options of the command line."""

    file: str = field(default="", metadata={"help": "file that the events are added to", "required": True})
    arguments: str = field(default="", metadata={"help": "what was asked of Snakemake, as JSON, to be written down"})
    planned: bool = field(default=False, metadata={"help": "of a dry run add the jobs that would run"})


class LogHandler(LogHandlerBase):
    """Adds a line for each event that says what became of a job."""

    def __post_init__(self) -> None:
        """Begin."""
        self._file = Path(self.settings.file)
        self._dry = self.common_settings.dryrun
        self._works = self.settings.planned or not self._dry
        self._begun = False

    def emit(self, record: LogRecord) -> None:
        """Write an event down; a run goes on where that cannot be done."""
        entry = planned(record) if self._dry else told(record)
        if entry is None or not self._works:
            return
        if entry["event"] == "run":
            self._begun = True
            if self.settings.arguments:
                entry["arguments"] = json.loads(self.settings.arguments)
        self._write({"time": record.created, **entry})

    def close(self) -> None:
        """Write down that the run has ended by itself: one that is killed does not come here."""
        if self._begun and self._works and not self._dry:
            self._write({"time": time.time(), "event": "over"})
        self._begun = False  # it may be called again
        super().close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as stream:
                # A run that was killed may have left half a line.
                stream.write(f"\n{line}\n" if entry["event"] == "run" and stream.tell() else f"{line}\n")
        except OSError as error:
            print(f"no more events are written to {self._file}: {error}", flush=True)
            self._works = False

    @property
    def writes_to_stream(self) -> bool:
        """Not to the terminal."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """Not to a file that Snakemake should name."""
        return False

    @property
    def has_filter(self) -> bool:
        """Events are chosen here, whatever the terminal shows."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Lines are made here."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False


def told(record: LogRecord) -> dict[str, Any] | None:
    """Return the line for a record; None for what is left out."""
    values = vars(record)
    event = values.get("event")
    if event == LogEvent.WORKFLOW_STARTED:
        return {"event": "run", "host": platform.node()}
    if event == LogEvent.RUN_INFO:
        return {"event": "plan", "jobs": {str(name): count for name, count in values["stats"].items()}}
    if event == LogEvent.JOB_INFO:
        granted = {name: values["resources"].get(name) for name in ("mem_mb", "runtime")}
        granted = {name: amount for name, amount in granted.items() if isinstance(amount, int)}
        return {"event": "start", **_job(values), "wildcards": dict(values["wildcards"]), "resources": granted}
    if event == LogEvent.JOB_FINISHED:
        return {"event": "end", "job": values["job_id"]}
    if event == LogEvent.JOB_ERROR:
        return {"event": "error", **_job(values), "message": str(values.get("rule_msg") or "")}
    if submitted := _SUBMITTED.match(record.getMessage()):
        return {"event": "submitted", "job": int(submitted[1])}
    return None


def planned(record: LogRecord) -> dict[str, Any] | None:
    """Return the line for a job of a dry run; None for other records."""
    values = vars(record)
    if values.get("event") != LogEvent.JOB_INFO:
        return None
    benchmark = str(values["benchmark"]) if values["benchmark"] else None
    about = {"wildcards": dict(values["wildcards"]), "threads": values["threads"], "benchmark": benchmark}
    return {"event": "planned", **_job(values), "input": [str(one) for one in values["input"]], **about}


def _job(values: Mapping[str, Any]) -> dict[str, Any]:
    names = {"job": values["jobid"], "rule": values["rule_name"]}
    return {**names, "output": [str(one) for one in values["output"]], "log": [str(one) for one in values["log"]]}
