"""A group of ROOT files into one HDF5 file and its manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
from pydantic import BaseModel, ValidationError

from bunchtrain import registry, store
from bunchtrain.config.explain import explain
from bunchtrain.config.inputs import is_remote
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import physical, shared
from bunchtrain.convert.arrays import tidy
from bunchtrain.convert.pipeline import Pipeline
from bunchtrain.convert.rootfile import check_header, digest_of
from bunchtrain.convert.sanity import Sanity
from bunchtrain.errors import BunchtrainError, CampaignError, InputError, MissingDependency
from bunchtrain.events.layout import check
from bunchtrain.events.writer import EventWriter
from bunchtrain.files import as_json, atomic, disk_errors, read_json
from bunchtrain.progress import track
from bunchtrain.provenance import record

#: Opens an input file under its format.
Opened = Callable[[Path | str], Any]


def convert(
    spec: ConvertSpec, inputs: Sequence[str | Path], out: Path, manifest: Path, *, part: tuple[int, int] = (1, 1)
) -> None:
    """Convert ROOT files into the HDF5 file `out` under the event contract and list them in the JSON file `manifest`.

    With `on_bad_file: quarantine` a bad file is left out as a whole and listed with the reason; when all are bad, `out`
    holds no rows.

    Parameters
    ----------
    spec : ConvertSpec
        What is done.
    inputs : sequence of path or str
        The files of this job; an address (`root://...`) as a string.
    out, manifest : path
        What is written.
    part : (int, int)
        Which of how many ranges of entries of each file.

    Raises
    ------
    InputError
        If a file is bad and `on_bad_file` is `fail`.
    CampaignError
        If the format or its options are not known, or a formula names a column that the format does not give.
    BunchtrainError
        If the disk is full; nothing is left of the output.
    """
    source_format, config = _format(spec.format)
    pipeline = Pipeline(spec, source_format.layout(config))
    files = [path if is_remote(str(path)) else Path(path) for path in inputs]
    with disk_errors(out), shared.place(spec, files, part) as place:
        taken = shared.take(place, files, out, manifest) if place else None
        if taken is None:
            opened = partial(source_format.opened, config=config)
            whole = _make(spec, opened, pipeline, files, out, manifest, part)
            if place and whole:
                shared.keep(place, files, out, manifest)
        _record(spec, out, manifest, part, taken)


def _make(
    spec: ConvertSpec,
    opened: Opened,
    pipeline: Pipeline,
    files: Sequence[Path | str],
    out: Path,
    manifest: Path,
    part: tuple[int, int],
) -> bool:
    """Convert the files; return whether none of them was left out."""
    rows, columns = pipeline.layout
    with atomic(manifest) as listing, atomic(out) as temporary, EventWriter(out.parent, columns, rows) as writer:
        group = Group(spec, opened, pipeline, writer, part)
        for path in track(files, len(files), f"convert {spec.sample}"):
            group.add(path)
        writer.finish(temporary, group.attributes())
        check(temporary)
        listing.write_text(as_json(group.manifest()), encoding="utf-8")
    quarantined = len(files) - len(group.sources)
    _tell(spec, f"{len(writer)} {rows} of {len(group.sources)} files; {quarantined} in quarantine")
    return not quarantined


def _record(
    spec: ConvertSpec, out: Path, manifest: Path, part: tuple[int, int], taken: Mapping[str, Any] | None
) -> None:
    """Record a conversion made, or `taken` from the store, as its files tell it."""
    facts = read_json(manifest)
    with h5py.File(out) as file:
        sources = json.loads(file.attrs["source_files"])
    known = {row["path"]: row["sha256"] for row in facts["inputs"] if row["sha256"]}
    present = [row["path"] for row in facts["inputs"] if row["path"] in known or Path(row["path"]).is_file()]
    read = {source["path"]: {key: source[key] for key in ("tree", "entries")} for source in sources}
    about = spec.model_dump(mode="json") | {"part": list(part)}
    if taken:
        facts["taken"] = {key: taken[key] for key in store.TOLD}
    record([out, manifest], stage="convert", spec=about, inputs=present, facts=facts, digests=known, about=read)


def parse_part(text: str) -> tuple[int, int]:
    """Return number and total of a part such as `2/5`.

    Raises
    ------
    CampaignError
        If it is none.
    """
    number, _, total = text.partition("/")
    if not (number.isdigit() and total.isdigit() and 1 <= int(number) <= int(total)):
        raise CampaignError("a part is a number of a total", key="--part", found=text, expected="e.g. 2/5, at most 5/5")
    return int(number), int(total)


def _format(section: Mapping[str, Any]) -> tuple[Any, BaseModel]:
    """Return the module of a format and its options."""
    options = dict(section)
    kind = options.pop("kind", "ntuple")
    module = registry.load("convert.formats", kind, "convert.format.kind")
    try:
        return module, module.Config.model_validate(options)
    except ValidationError as error:
        raise explain(error, "--spec", module.Config, "convert.format") from None


def _tell(spec: ConvertSpec, text: str) -> None:
    print(f"[convert] {spec.sample}: {text}", flush=True)


class Group:
    """The files of one job, added one by one.

    Attributes
    ----------
    rows : list of dict
        One row of the manifest for each file.
    sources : list of dict
        What the output says of the files it holds; a jet's `file_id` is a place in this list.
    """

    def __init__(
        self,
        spec: ConvertSpec,
        opened: Opened,
        pipeline: Pipeline,
        writer: EventWriter,
        part: tuple[int, int],
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sources: list[dict[str, Any]] = []
        self._generators: list[dict[str, Any]] = []
        self._digests: dict[str, Path | str] = {}
        self._spec, self._opened, self._pipeline, self._writer, self._part = spec, opened, pipeline, writer, part

    def add(self, path: Path | str) -> None:
        """Append the rows of one file, or none of them.

        Raises
        ------
        InputError
            If the file is bad and bad files are not to be left out.
        """
        before, start = self._writer.mark(), time.monotonic()
        row: dict[str, Any] = {"path": str(path), "sha256": None, "tree": None, "entries": None, "jets": 0}
        try:
            self._read(path, row)
        except (MissingDependency, CampaignError):
            raise
        except BunchtrainError as error:
            if self._spec.on_bad_file != "quarantine":
                raise
            self._writer.rollback(before)
            self.rows.append({**row, "jets": 0, "status": "quarantined", "reason": _one_line(error)})
            _tell(self._spec, f"{path} goes into quarantine: {_one_line(error)}")
        else:
            self.rows.append({**row, "status": "ok", "reason": None})
            kind = self._pipeline.layout.rows
            _tell(self._spec, f"{path}: {row['jets']} {kind} in {time.monotonic() - start:.1f} s")
            for warning in row["warnings"]:
                _tell(self._spec, f"{path}: {warning}")

    def _read(self, path: Path | str, row: dict[str, Any]) -> None:
        row["sha256"] = digest = digest_of(path)
        if isinstance(path, Path):
            check_header(path)
        if digest in self._digests:
            mend = "list each file once"
            raise InputError("two input files have the same content", file=path, found=self._digests[digest], mend=mend)
        with self._opened(path) as source:
            number, of = self._part
            start, stop = source.entries * (number - 1) // of, source.entries * number // of
            row["bytes"] = path.stat().st_size // of if isinstance(path, Path) else None
            row |= {"tree": source.tree, "entries": stop - start, "skipped": source.skipped}
            row |= self._copy(source, path, digest, start, stop)
            generator = source.generator
        self._digests[digest] = path
        self._generators.append(generator)
        kept = ("path", "sha256", "tree", "jets", "sum_of_weights")
        self.sources.append({**{key: row[key] for key in kept}, "entries": [start, stop]})

    def _copy(self, source: Any, path: Path | str, digest: str, start: int, stop: int) -> dict[str, Any]:
        """Append all rows of an open file and return what was kept and left out."""
        layout = self._pipeline.layout
        sanity = Sanity(layout.rows, layout.columns)
        found: dict[str, Any] = {"jets": 0, "sum_of_weights": 0.0, "dropped_jets": 0, "dropped_constituents": 0}
        read = 0
        for batch in source.batches(self._spec.step_size, start, stop):
            read += batch.read
            step = tidy(batch, layout.rows, run=int(digest[:15], 16))
            physical.check(step, path, layout.columns)
            step = self._pipeline(step, len(self.sources), path)
            physical.check_variations(step, path, layout.columns)
            sanity.add(step.events)
            self._writer.append(step.events, source=path)
            counts = {"jets": len(step.entries), "sum_of_weights": batch.sum_of_weights, **step.left_out}
            found |= {name: found.get(name, 0) + count for name, count in counts.items()}
        if read != stop - start:
            raise InputError("a tree ends early", file=path, key=source.tree, found=read, expected=stop - start)
        warnings = sanity.warnings()
        if read and not found["jets"]:
            left_out = {name: count for name, count in found.items() if name.startswith(("cut_", "dropped_", "unlab"))}
            warnings.append(f"nothing is left of {read} entries: {left_out}")
        return {**found, "columns": sanity.table(), "warnings": warnings}

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the HDF5 file."""
        return {
            "sample": self._spec.sample,
            "classes": json.dumps(self._spec.classes),
            "source_files": json.dumps(self.sources),
            "tree": json.dumps(sorted({source["tree"] for source in self.sources})),
            "sum_of_weights": sum(source["sum_of_weights"] for source in self.sources),
            "generator": json.dumps(self._generators),
            "tools": json.dumps(shared.tools()),
        }

    def manifest(self) -> dict[str, Any]:
        """Return the content of the manifest."""
        spec = self._spec
        return {
            "sample": spec.sample,
            "class": " ".join(spec.classes[number] for number in sorted(spec.numbers)),
            "format": spec.format["kind"],
            "rows": self._pipeline.layout.rows,
            "jets": len(self._writer),
            "quarantined": [row["path"] for row in self.rows if row["status"] == "quarantined"],
            "inputs": self.rows,
        }


def _one_line(error: BunchtrainError) -> str:
    """Return an error as one line for a table."""
    details = ", ".join(f"{name}: {value}" for name, value in error.details.items() if name != "file")
    return f"{error.problem} ({details})" if details else error.problem
