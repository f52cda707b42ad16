"""The journal of a search: a synced line for every suggestion, start and end; the only truth about what happened."""

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
    """One evaluation.

    `knew` says on how many of the search's results, in the order of their ends, its suggestion rests; None: on those
    that a repeatable search waits for.
    """

    number: int
    values: dict[str, Any]
    knew: int | None = None
    started: float = 0.0
    slot: int | None = None
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


class History:
    """What a journal says: runs of the search, evaluations, and the order in which they ended."""

    def __init__(self) -> None:
        self.fingerprint: str | None = None
        self.runs: list[dict[str, Any]] = []
        self.trials: dict[int, Trial] = {}
        self.ends: list[int] = []

    def apply(self, entry: dict[str, Any]) -> None:
        """Take in a line."""
        event = entry["event"]
        if event == "search":
            self.fingerprint = entry["fingerprint"]
        elif event == "run":
            self.runs.append(entry)
        elif event == "ask":
            if entry["trial"] != len(self.trials):
                raise KeyError(f"evaluation {entry['trial']} after {len(self.trials)}")
            self.trials[entry["trial"]] = Trial(entry["trial"], entry["values"], entry["knew"])
        elif event == "start":
            trial = self.trials[entry["trial"]]
            trial.started, trial.slot = entry["time"], entry["slot"]
        elif event == "end":
            trial = self.trials[entry["trial"]]
            trial.result, trial.seconds, trial.facts = entry["result"], entry["seconds"], entry["facts"]
            self.ends.append(trial.number)
        else:
            raise KeyError(event)


def read(path: Path) -> tuple[History, int]:
    """Read a journal, also one that is being written; return what it says and the bytes of its whole lines.

    Raises
    ------
    InputError
        If it is damaged; a torn last line, as a kill leaves it, is none.
    """
    history = History()
    whole, newline, _ = path.read_bytes().rpartition(b"\n")
    try:
        for line in whole.decode().splitlines():
            history.apply(json.loads(line))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        mend = "remove the file to start the scan anew"
        raise InputError("the journal of a scan is damaged", file=path, found=repr(error), mend=mend) from None
    return history, len(whole + newline)


class Journal(History):
    """Goes on from what happened, and notes what happens.

    Parameters
    ----------
    path : path
        The file. The journal of another search is put aside.
    fingerprint : str
        Of all that a search must share with one that it continues.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        super().__init__()
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            history, whole = read(path)
            if history.fingerprint == fingerprint:
                vars(self).update(vars(history))
                os.truncate(path, whole)  # the last line of a killed scan may be torn: cut it off
            else:
                path.replace(path.with_name(f"{path.stem}-{time.time_ns()}{path.suffix}"))
        if not path.exists():
            self._note({"event": "search", "fingerprint": fingerprint})

    def _note(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.apply(entry)

    def run(self, **facts: Any) -> None:
        """Note that a process takes the search up."""
        self._note({"event": "run", "time": time.time(), **facts})

    def ask(self, number: int, values: dict[str, Any], knew: int | None = None) -> None:
        """Note a suggestion."""
        self._note({"event": "ask", "trial": number, "values": values, "knew": knew})

    def start(self, number: int, slot: int | None) -> None:
        """Note that an evaluation starts; without a slot nothing is computed for it."""
        self._note({"event": "start", "trial": number, "slot": slot, "time": time.time()})

    def end(self, number: int, result: float | list[float] | str, seconds: float, facts: dict[str, Any]) -> None:
        """Note the result of an evaluation: a number or several, or a reason that starts with `F_`."""
        self._note({"event": "end", "trial": number, "result": result, "seconds": seconds, "facts": facts})
