"""What a search has done so far, read from its journal while it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bunchtrain.errors import InputError, nearest
from bunchtrain.files import held
from bunchtrain.scan import usage
from bunchtrain.scan.journal import History, Trial, read
from bunchtrain.scan.results import finished
from bunchtrain.scan.search import readable

JOURNAL = "journal.jsonl"


def told(out: Path, now: float | None = None) -> str:
    """Return the state of the search in a folder, in a few lines.

    Raises
    ------
    InputError
        If no search was there.
    """
    path = out / JOURNAL
    if not path.exists():
        near = nearest(out.name, [one.name for one in out.parent.iterdir()]) if out.parent.is_dir() else None
        mend = f"did you mean {out.parent / near}?" if near else "name the folder that `scan` or `search` wrote into"
        raise InputError("no search has been here", file=path, mend=mend)
    history, _ = read(path)
    now, running = time.time() if now is None else now, held(out / ".lock")
    trials = sorted(history.trials.values(), key=lambda trial: trial.number)
    wanted = history.runs[-1]["trials"] if history.runs else len(trials)
    ended = [trial for trial in trials if trial.done and trial.number < wanted]
    going = [trial for trial in trials if not trial.done and trial.started] if running else []
    lines = [f"{out}: {'running' if running else 'not running'}"]
    lines.append(f"  ended    {len(ended)} of {wanted}{_reasons(ended)}")
    lines += [f"  running  evaluation {one.number + 1} for {_span(now - one.started)}: {_slot(one)}" for one in going]
    lines += _best(ended)
    lines += _time(history, ended, wanted, running=running, now=now)
    return "\n".join(lines)


def _reasons(ended: Sequence[Trial]) -> str:
    counts = Counter(str(trial.result) for trial in ended if trial.failed)
    return f", of which failed: {', '.join(f'{count} {reason}' for reason, count in counts.items())}" if counts else ""


def _slot(trial: Trial) -> str:
    return f"{readable(trial.values)}" + ("" if trial.slot is None else f"  (slot {trial.slot})")


def _best(ended: Sequence[Trial]) -> list[str]:
    """Return the best by the first objective."""
    good = [(_first(trial), trial) for trial in finished(ended)]
    if not good:
        return []
    value, trial = max(good, key=lambda pair: pair[0])
    return [f"  best     evaluation {trial.number + 1}, {value:.5g}: {readable(trial.values)}"]


def _first(trial: Trial) -> float:
    """Return the first objective of an evaluation that ended well; larger is better."""
    result = trial.result
    return float(result[0] if isinstance(result, list) else result)  # type: ignore[arg-type]


def _time(history: History, ended: Sequence[Trial], wanted: int, *, running: bool, now: float) -> list[str]:
    """Return how busy the slots were, and how long the rest will take."""
    until = now if running else max((span.end for span in usage.spans(history, 0.0)), default=0.0)
    share = usage.utilisation(history, until)
    lines = [] if share is None else [f"  slots    {history.runs[-1]['slots']}, busy {share:.0%} of the time"]
    computed = [trial.seconds for trial in ended if trial.slot is not None]
    if running and computed and wanted > len(ended):
        left = (wanted - len(ended)) * sum(computed) / len(computed) / history.runs[-1]["slots"]
        lines.append(f"  to go    about {_span(left)}")
    return lines


def _span(seconds: float) -> str:
    """Return a time in words: 40 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
