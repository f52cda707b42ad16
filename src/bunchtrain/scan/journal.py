"""The journal of a scan: a line for every start and every end, fsynced; the only truth about what was evaluated."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bunchtrain.errors import InputError


@dataclass
class Trial:
    """One evaluation."""

    number: int
    values: dict[str, Any]
    started: float
    result: float | list[float] | str | None = None
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it has a result."""
        return self.result is not None

    @property
    def failed(self) -> bool:
        """Whether its result is a reason instead of a number."""
        return isinstance(self.result, str)


class Journal:
    """Reads what happened and appends what happens."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.trials: dict[int, Trial] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self._replay(fingerprint):
            path.replace(path.with_name(f"{path.stem}-{time.time_ns()}{path.suffix}"))
            self.trials = {}
        if not path.exists():
            self._append({"event": "scan", "fingerprint": fingerprint})

    def _replay(self, fingerprint: str) -> bool:
        """Read the file; return whether it belongs to this scan."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        whole, newline, torn = text.rpartition("\n")
        if torn:  # the last line of a killed scan may be torn: cut it off
            with self.path.open("r+b") as stream:
                stream.truncate(len((whole + newline).encode()))
        lines = whole.splitlines()
        try:
            entries = [json.loads(line) for line in lines]
            if not entries or entries[0].get("fingerprint") != fingerprint:
                return False
            for entry in entries[1:]:
                self._apply(entry)
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
            mend = "remove the file to start the scan anew"
            raise InputError("the journal of a scan is damaged", file=self.path, found=repr(error), mend=mend) from None
        return True

    def _apply(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "start":
            self.trials[entry["trial"]] = Trial(entry["trial"], entry["values"], entry["time"])
        else:
            trial = self.trials[entry["trial"]]
            trial.result, trial.seconds, trial.facts = entry["result"], entry["seconds"], entry["facts"]

    def _append(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def start(self, number: int, values: dict[str, Any]) -> Trial:
        """Note that an evaluation starts."""
        entry = {"event": "start", "trial": number, "values": values, "time": time.time()}
        self._append(entry)
        self._apply(entry)
        return self.trials[number]

    def end(self, number: int, result: float | list[float] | str, seconds: float, facts: dict[str, Any]) -> None:
        """Note the result of an evaluation: a number or several, or a reason that starts with `F_`."""
        entry = {"event": "end", "trial": number, "result": result, "seconds": seconds, "facts": facts}
        self._append(entry)
        self._apply(entry)
