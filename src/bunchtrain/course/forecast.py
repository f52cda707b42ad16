"""What jobs to come will take, by what earlier ones of their rules took; nothing is said where nothing is known."""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bunchtrain.course.planned import Planned
from bunchtrain.errors import BunchtrainError
from bunchtrain.files import read_json

#: Where a campaign keeps times and memory of its jobs.
BENCHMARKS = "benchmarks"

#: Whose time and output go with the size of the input.
SCALED = ("convert",)


class Earlier(NamedTuple):
    """What a job took: seconds, MB of memory at most, bytes it wrote; bytes it read, where that was noted."""

    seconds: float
    memory: float | None
    written: int | None
    read: int | None


class Range(NamedTuple):
    """A figure: the median, and the quartiles around it where several jobs are known."""

    low: float
    median: float
    high: float

    def times(self, factor: float) -> Range:
        """Return it so many times."""
        return Range(self.low * factor, self.median * factor, self.high * factor)


def spread(values: Sequence[float]) -> Range | None:
    """Return median and quartiles; None of nothing."""
    if not values:
        return None
    if len(values) == 1:
        return Range(values[0], values[0], values[0])
    return Range(*statistics.quantiles(values, n=4, method="inclusive"))


class Estimate(NamedTuple):
    """What the jobs of a rule will take.

    Attributes
    ----------
    rule : str
        Its name.
    jobs : int
        How many are to come.
    earlier : int
        How many jobs it rests on.
    basis : path or None
        Folder of the results they belong to.
    scaled : bool
        Whether it goes by bytes of input.
    seconds : Range or None
        Of a job, in the mean of those to come.
    core_seconds : Range or None
        Of all: time, times the cores that a job holds.
    memory : float or None
        MB, the most that one took.
    disk : Range or None
        Bytes of all outputs.
    """

    rule: str
    jobs: int
    earlier: int = 0
    basis: Path | None = None
    scaled: bool = False
    seconds: Range | None = None
    core_seconds: Range | None = None
    memory: float | None = None
    disk: Range | None = None


def forecast(
    jobs: Sequence[Planned], output: Path, folders: Sequence[Path], size: Callable[[Planned], float | None]
) -> tuple[list[Estimate], list[Range | None]]:
    """Return what each rule's jobs will take, and how long each job.

    Parameters
    ----------
    jobs : sequence of Planned
        What is to come.
    output : path
        The campaign's results.
    folders : sequence of path
        Results to learn from; for each rule the first that has any.
    size : callable
        Gives the bytes that a job reads, or None.
    """
    names = {folder: _names(folder) for folder in folders}
    found: list[Estimate] = []
    seconds: dict[int, Range | None] = {}
    for rule in dict.fromkeys(job.rule for job in jobs):
        mine = [job for job in jobs if job.rule == rule]
        known: list[Earlier] = []
        basis = None
        for folder in folders:
            if not known and (known := earlier(mine[0], output, folder, names[folder])):
                basis = folder
        estimate, each = _estimate(rule, mine, known, basis, size)
        found.append(estimate)
        seconds |= dict(zip(map(id, mine), each, strict=True))
    return found, [seconds[id(job)] for job in jobs]


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in (folder / BENCHMARKS).rglob("*.tsv"))


def _estimate(
    rule: str,
    jobs: Sequence[Planned],
    known: Sequence[Earlier],
    basis: Path | None,
    size: Callable[[Planned], float | None],
) -> tuple[Estimate, list[Range | None]]:
    """Return the estimate for a rule, and how long each of its jobs takes."""
    amounts: list[float] = [1.0] * len(jobs)
    units: list[float] = [1.0] * len(known)
    sizes = [size(job) for job in jobs] if rule in SCALED else []
    scaled = bool(sizes and known) and all(sizes) and all(one.read for one in known)
    if scaled:
        amounts, units = [float(one or 0) for one in sizes], [float(one.read or 0) for one in known]
    rate = spread([one.seconds / unit for one, unit in zip(known, units, strict=True)])
    wrote = [one.written / unit for one, unit in zip(known, units, strict=True) if one.written is not None]
    disk = spread(wrote)
    cores = [amount * job.threads for amount, job in zip(amounts, jobs, strict=True)]
    told = Estimate(
        rule,
        len(jobs),
        len(known),
        basis,
        scaled,
        rate and rate.times(statistics.fmean(amounts)),
        rate and rate.times(sum(cores)),
        max((one.memory for one in known if one.memory is not None), default=None),
        disk and disk.times(sum(amounts)),
    )
    return told, [rate and rate.times(amount) for amount in amounts]


def earlier(job: Planned, output: Path, folder: Path, names: Sequence[str]) -> list[Earlier]:
    """Return what jobs of the same rule took, as a folder of results has it.

    Parameters
    ----------
    job : Planned
        One job of the rule: the others' files are called like its own.
    output : path
        Its campaign's results.
    folder : path
        Results to learn from.
    names : sequence of str
        Benchmarks in that folder.
    """
    if job.benchmark is None or not (named := _below(job.benchmark, output)):
        return []
    pattern = re.compile(_template(named, job.wildcards, re.escape, lambda name: f"(?P<{name}>.+)"))
    outputs = [_below(path, output) or path for path in job.output]
    templates = [_template(path, job.wildcards, _doubled, lambda name: f"{{{name}}}") for path in outputs]
    found = []
    for name in names:
        matched = pattern.fullmatch(name)
        cost = _cost(folder / name) if matched else None
        if matched and cost:
            files = [folder / template.format(**matched.groupdict()) for template in templates]
            written = sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else None
            found.append(Earlier(*cost, written, _read(files) if job.rule in SCALED else None))
    return found


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _below(path: str, output: Path) -> str | None:
    """Return a path as it is called below a campaign's results; None where it is not there."""
    found = Path(path)
    return found.relative_to(output).as_posix() if found.is_relative_to(output) else None


def _template(path: str, wildcards: Mapping[str, str], plain: Callable[[str], str], mark: Callable[[str], str]) -> str:
    """Return a path with something else in the places of its wildcards' values."""
    places: list[tuple[int, int, str]] = []
    for name, value in sorted(wildcards.items(), key=lambda item: -len(item[1])):
        free = [place for place in _places(path, value) if all(place[1] <= a or b <= place[0] for a, b, _ in places)]
        if free:
            places.append((*free[0], name))
    text, end = "", 0
    for first, last, name in sorted(places):
        text, end = text + plain(path[end:first]) + mark(name), last
    return text + plain(path[end:])


def _places(path: str, value: str) -> list[tuple[int, int]]:
    """Return where a value stands, the likeliest first: as a word of its own, at a word's end, anywhere; the last."""
    text = re.escape(value)
    likely = (rf"(?<!\w){text}(?!\w)", rf"{text}(?!\w)", text)
    return [found.span() for pattern in likely for found in reversed(list(re.finditer(pattern, path)))]


def _cost(benchmark: Path) -> tuple[float, float | None] | None:
    """Return seconds and MB of a job; None where its benchmark says nothing."""
    try:
        with benchmark.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        seconds = float(rows[-1]["s"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    try:
        return seconds, float(rows[-1]["max_rss"])
    except (ValueError, KeyError, TypeError):  # too short to be looked at
        return seconds, None


def _read(files: Sequence[Path]) -> int | None:
    """Return the bytes that a conversion has read, by its manifest; None where it was not noted."""
    for file in files:
        if file.suffix == ".json":
            try:
                sizes = [row["bytes"] for row in read_json(file)["inputs"]]
            except (BunchtrainError, OSError, KeyError, TypeError):
                return None
            return sum(sizes) if all(isinstance(size, int) for size in sizes) else None
    return None
