"""Tracker hits: a tree with one entry per event and lists of places, with layer, module and particle where known."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bunchtrain.config.base import Section
from bunchtrain.config.convert import Branch, MappedColumns, only_axes
from bunchtrain.convert import rootfile, rowwise
from bunchtrain.convert.extras import extra_columns
from bunchtrain.convert.formats.base import Batch, Layout
from bunchtrain.convert.formats.base import layout as base_layout
from bunchtrain.convert.mapping import MappedTable, Wanted
from bunchtrain.convert.table import Table

#: What the rows are: see `formats.base`.
ROWS = "events"


class Config(Section):
    """Which branch holds what; every branch may also be a formula of branches."""

    tree: str = Field("events", description="name of the tree, one entry per event")
    x: str = Field("hit_x", description="places of the hits along x, one list per event")
    y: str = Field("hit_y", description="along y")
    z: str = Field("hit_z", description="along the beam")
    units: Literal["mm", "cm", "m", "um"] = Field("mm", description="of x, y and z; columns are taken as they are")
    columns: Annotated[MappedColumns, only_axes("events", "hits", "particles")] = Field(
        default_factory=dict,
        description="more columns, also of the true particles: `{hits: {layer: {branch: hit_layer, dtype: i4}}}`",
    )
    run: Branch = Field(None, description="run; null: each file counts as a run")
    event: Branch = Field("event_number", description="event; null: each entry counts as an event")
    weight: Branch = Field(None, description="event weight; null: 1")


_TO_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}


class Hits:
    """An open file of hits; see `formats.base.Source`."""

    def __init__(self, file: Any, path: Path, config: Config) -> None:
        self.tree, self.generator, self.skipped = config.tree, dict[str, Any](), list[str]()
        table = Table(file, path, config.tree, f"{rowwise.KEY}.tree")
        self.entries = table.entries
        self._mapped = MappedTable(table, "events", _wanted(config))
        rowwise.check_whole(table, config)

    def batches(self, step_size: str, start: int, stop: int) -> Iterator[Batch]:
        """Yield the events of the entries `start` to `stop`, a step at a time."""
        for first, read, events in self._mapped.steps(step_size, start, stop):
            yield rowwise.batch(first, read, events, ROWS)


def _wanted(config: Config) -> dict[str, Wanted]:
    factor = _TO_MM[config.units]
    places = {name: Wanted(getattr(config, name), f"{rowwise.KEY}.{name}", factor) for name in ("x", "y", "z")}
    return {f"hits/{name}": one for name, one in places.items()} | rowwise.wanted(config, ROWS)


@contextlib.contextmanager
def opened(path: Path, config: Config) -> Iterator[Hits]:
    """Open a file of hits.

    Raises
    ------
    InputError
        If the file cannot be read, or its tree or branches are not those of `config`.
    """
    with rootfile.opened(path) as file:
        yield Hits(file, path, config)


def layout(config: Config) -> Layout:
    """Return the columns and the branches they come from."""
    sources = {f"hits/{name}": getattr(config, name) for name in ("x", "y", "z")}
    return base_layout(ROWS, sources | rowwise.sources(config, ROWS), extra_columns(config.columns))


_X = re.compile(r"(?i)(.*(?:hits?|sp|spacepoints?|meas\w*|clusters?)[_.]?(?:global_?)?)(x)$")
_ALSO = {
    "layer": "layer",
    "layer_id": "layer",
    "module": "module",
    "module_id": "module",
    "volume": "volume",
    "volume_id": "volume",
    "particle": "particle",
    "particle_id": "particle",
    "time": "time",
    "t": "time",
    "energy": "energy",
    "edep": "energy",
}

#: Columns of the true particles, with their units, and those that are whole numbers.
_TRUTH = {"px": "GeV", "py": "GeV", "pz": "GeV", "vx": "mm", "vy": "mm", "vz": "mm"}
_WHOLE = ("charge", "id", "hits")


def guess(tables: Mapping[str, list[str]]) -> float:
    """Return how sure it is that a file is of this kind, from 0 to 1."""
    found = [_named(branches) for branches in tables.values()]
    return max((0.0 if one is None else 0.9 if one == ("hit_", "x") else 0.7 for one in found), default=0.0)


def options(tables: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options to start from."""
    for tree, branches in tables.items():
        if (found := _named(branches)) is None:
            continue
        prefix, letter = found
        names = {one: prefix + (one.upper() if letter.isupper() else one) for one in ("x", "y", "z")}
        also = {name: column for name in branches if (column := _ALSO.get(name.removeprefix(prefix).lower()))}
        also = {name: column for name, column in also.items() if name.startswith(prefix)}
        columns = {
            column: {"branch": name} if column in ("time", "energy") else {"branch": name, "dtype": "i8"}
            for name, column in also.items()
        }
        event = next((name for name in branches if re.match(r"(?i)event(_?(number|id|nr))?$", name)), None)
        more = {"hits": columns} if columns else {}
        if particles := _particles(branches):
            more["particles"] = particles
        numbers = {name: name for name in ("weight",) if name in branches}
        numbers |= {"run": "run_number"} if "run_number" in branches else {}
        return {"tree": tree, **names, "event": event, **numbers, **({"columns": more} if more else {})}
    return {}


def _particles(branches: list[str]) -> dict[str, dict[str, str]]:
    """Return the columns of the true particles, where the branches have the generator's names."""
    known = {name.removeprefix("particle_"): name for name in branches if name.startswith("particle_")}
    found = {name: {"branch": known[name], "units": unit} for name, unit in _TRUTH.items() if name in known}
    whole = {name: {"branch": known[name], "dtype": "i4"} for name in _WHOLE if name in known}
    return found | whole


def _named(branches: list[str]) -> tuple[str, str] | None:
    """Return how the branches with places begin, and their x."""
    known, found = set(branches), []
    for name in branches:
        if match := _X.match(name):
            prefix, letter = match.groups()
            others = ("y", "z") if letter == "x" else ("Y", "Z")
            if all(prefix + one in known for one in others):
                found.append((prefix, letter))
    return min(found, key=lambda one: len(one[0]), default=None)  # counters of lists begin with one letter more
