"""The files of a campaign's samples, cut into groups: one job of conversion for each.

It looks at names and sizes alone: nothing is opened while the DAG is parsed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bunchtrain.config.convert import Convert, size_in_bytes
from bunchtrain.config.inputs import is_remote, matching
from bunchtrain.errors import CampaignError

#: Bytes of file names in one command: the kernel takes 128 KiB as one argument, and the shell's script is one.
COMMAND = 100_000


class Group(NamedTuple):
    """The files of one job of conversion: all of them, or range `number` of `parts` of one file's entries."""

    files: list[str]
    number: int = 1
    parts: int = 1


def cut(files: Sequence[str], settings: Convert, *, made: bool = False) -> list[Group]:
    """Cut the files of a sample into groups, a job each; a huge file into several jobs, unless the campaign makes it.

    By count, not by size: a file whose content changes then reruns its own group alone.
    """
    parts = {file: 1 if made else _parts(file, settings.split_above) for file in files}
    whole, size = [file for file in files if parts[file] == 1], settings.files_per_job
    groups = [Group(whole[start : start + size]) for start in range(0, len(whole), size)]
    return groups + [Group([f], n, parts[f]) for f in files if parts[f] > 1 for n in range(1, parts[f] + 1)]


def _parts(file: str, above: str | None) -> int:
    """Return by how many jobs a file is converted."""
    if above is None or is_remote(file):
        return 1
    with contextlib.suppress(OSError):  # what cannot be looked at is reported when it is read
        return -(-Path(file).stat().st_size // size_in_bytes(above)) or 1
    return 1


def found(patterns: Sequence[str], key: str, campaign: str | Path) -> list[str]:
    """Return the files that patterns name, each once.

    Raises
    ------
    CampaignError
        If a pattern names none.
    """
    files: dict[str, None] = {}
    for pattern in patterns:
        expected = f"at least one file, looked for from {Path.cwd()}"
        try:
            matches = matching(pattern)
        except ValueError as error:
            problem, expected = "an entry names no files", f"{expected} ({error})"
            raise CampaignError(problem, file=campaign, key=key, found=repr(pattern), expected=expected) from None
        if not matches:
            mend = "`~` is not expanded: write the folder" if pattern.startswith("~") else None
            if Path(pattern).is_dir():
                mend = "the folder itself holds no *.root; for all below it add /**/*.root"
            raise CampaignError("no file matches", file=campaign, key=key, found=pattern, expected=expected, mend=mend)
        files |= dict.fromkeys(matches)
    if odd := next((file for file in files if not comes_through(file) or {"{", "}"}.intersection(file)), None):
        mend = "rename the file or its folder, or make a link of another name"
        expected = f"{_PLAIN}; nor {{ or }}"
        raise CampaignError(
            "a file's name cannot be used", file=campaign, key=key, found=ascii(odd), expected=expected, mend=mend
        )
    return list(files)


_PLAIN = "no backslash, no character that is not printed, no ' beside \" or $ or `"


def comes_through(name: str) -> bool:
    """Return whether a name reaches a batch job as it is.

    Snakemake writes names into the job's script as Python writes them: `'` makes the quotes double, in which `$(...)`
    runs, and backslashes come twice.
    """
    written = repr(name)
    try:
        return shlex.split(written) == [name] and not (written[0] == '"' and {"$", "`"}.intersection(name))
    except ValueError:
        return False


def check_place(campaign: str | Path) -> None:
    """Refuse names of this folder and of a campaign's file that do not reach a batch job as they are.

    Raises
    ------
    CampaignError
        Naming the path.
    """
    for path in (str(Path(campaign).absolute()), str(Path.cwd())):
        if not comes_through(path):
            problem = "no batch job would come through the name of a folder or campaign"
            raise CampaignError(
                problem, file=ascii(str(campaign)), found=ascii(path), expected=_PLAIN, mend="rename it"
            )


def check_length(files: Sequence[str], what: str, settings: Convert, campaign: str | Path) -> None:
    """Refuse files that are too many for one command.

    Raises
    ------
    CampaignError
        Saying how long their names are.
    """
    length = len(os.fsencode(shlex.join(files)))
    if length > COMMAND:
        raise CampaignError(
            f"{what} are too many for one command",
            file=campaign,
            key="convert.files_per_job",
            found=f"{len(files)} names of {length} bytes in all",
            expected=f"at most {COMMAND} bytes",
            mend=f"lower convert.files_per_job, now {settings.files_per_job}, or shorten the paths",
        )
