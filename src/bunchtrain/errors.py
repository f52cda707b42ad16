"""Errors for the person who reads them: which file, which key, what was found, what was expected, the mend."""

from __future__ import annotations

import difflib
import itertools
import shlex
from collections.abc import Iterable, Sequence


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest in spelling to `word`, or None when nothing is close."""
    matches = difflib.get_close_matches(str(word), [str(c) for c in choices], n=1, cutoff=0.5)
    return matches[0] if matches else None


def typed(*words: object) -> str:
    """Return a command as one types it in a shell, with quotes where a word needs them."""
    return shlex.join(map(str, words))


#: Details that are names, and so one line.
_NAMES = ("file", "key")


def plain(text: str, *, one_line: bool = False) -> str:
    """Return a text with what cannot be printed as Python writes it: names and contents of files may hold anything."""
    kept = "\t" if one_line else "\t\n"
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in text)


class BunchtrainError(Exception):
    """A problem the user can mend; the command line prints it without a traceback and exits with 2.

    Parameters
    ----------
    problem : str
        One sentence.
    file, key : str, optional
        Where it is.
    found, expected : object, optional
        What stands there and what should.
    choices : iterable of str, optional
        The allowed values; the nearest to `found` is offered.
    mend : str, optional
        What to do about it.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        file: object = None,
        key: str | None = None,
        found: object = None,
        expected: object = None,
        choices: Iterable[str] | None = None,
        mend: str | None = None,
    ) -> None:
        options = sorted(str(c) for c in choices) if choices is not None else None
        match = nearest(str(found), options) if options and found is not None else None
        if options and expected is None:
            expected = "one of " + ", ".join(options) if len(options) <= 24 else f"one of {len(options)} names"
        rows = {
            "file": file,
            "key": key,
            "found": found,
            "expected": expected,
            "nearest": match,
            "mend": mend,
        }
        self.problem = problem
        self.details = {name: str(value) for name, value in rows.items() if value is not None}
        super().__init__(problem)

    def __str__(self) -> str:
        """Return the problem with one indented line per detail; what would steer a terminal is escaped."""
        rows = [f"  {name:<9}{plain(value, one_line=name in _NAMES)}" for name, value in self.details.items()]
        return "\n".join([plain(self.problem), *rows])


class CampaignError(BunchtrainError):
    """A campaign file says something that cannot be done."""


class InputError(BunchtrainError):
    """An input file is missing, broken, or not what it should be."""


class ContractError(BunchtrainError):
    """An HDF5 file does not keep the event contract."""


class MissingDependency(BunchtrainError):
    """An optional package or tool is not installed."""

    def __init__(self, name: str, *, needed_by: str, mend: str) -> None:
        super().__init__(f"{needed_by} needs {name}, which is not installed", mend=mend)


class TrainingError(BunchtrainError):
    """A training cannot go on."""


class NonFiniteLoss(TrainingError):
    """The loss became NaN or infinite."""

    exit_code = 86


class SynthesisError(BunchtrainError):
    """A network cannot become an IP core, or the core does not compute what the network computes."""


class Requeue(BunchtrainError):
    """The run was asked to stop and has saved its state; run it again to go on."""

    exit_code = 85


def last_told(lines: Sequence[str]) -> list[str]:
    """Return the last error that a log tells, as the command line prints it, with its details; or nothing."""
    begins = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if not begins:
        return []
    head, *rest = lines[begins[-1] :]
    return [head, *itertools.takewhile(lambda line: line.startswith("  "), rest)]
