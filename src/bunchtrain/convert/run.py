"""A group of ROOT files into one HDF5 file and its manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from bunchtrain import registry
from bunchtrain.config.explain import explain
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert import physical
from bunchtrain.convert.arrays import Tidy, tidy
from bunchtrain.convert.rootfile import check_header
from bunchtrain.errors import BunchtrainError, InputError, MissingDependency
from bunchtrain.events.layout import check
from bunchtrain.events.writer import EventWriter
from bunchtrain.files import atomic, disk_errors, sha256, write_json
from bunchtrain.progress import track
from bunchtrain.provenance import record, tool_versions

_TOOLS = ("awkward", "bunchtrain", "h5py", "numpy", "python", "uproot")


def convert(spec: ConvertSpec, inputs: list[Path], out: Path, manifest: Path) -> None:
    """Convert ROOT files into the HDF5 file `out` under the event contract and list them in the JSON file `manifest`.

    With `on_bad_file: quarantine` a bad file is left out as a whole and listed with the reason; when all are bad, `out`
    holds no jets.

    Raises
    ------
    InputError
        If a file is bad and `on_bad_file` is `fail`.
    CampaignError
        If the format or its options are not known.
    BunchtrainError
        If the disk is full; nothing is left of the output.
    """
    source_format, config = _format(spec.format)
    with disk_errors(out):
        with atomic(manifest) as listing, atomic(out) as temporary, EventWriter(out.parent) as writer:
            group = Group(spec, source_format, config, writer)
            for path in track(inputs, len(inputs), f"convert {spec.sample}"):
                group.add(path)
            writer.finish(temporary, group.attributes(), source_format.source_branches(config))
            check(temporary)
            write_json(listing, group.manifest())
        _tell(
            spec, f"{writer.jets} jets of {len(group.sources)} files; {len(inputs) - len(group.sources)} in quarantine"
        )
        present = [path for path in inputs if path.is_file()]
        about = spec.model_dump(mode="json")
        record([out, manifest], stage="convert", spec=about, inputs=present, facts=group.manifest())


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

    def __init__(self, spec: ConvertSpec, source_format: Any, config: BaseModel, writer: EventWriter) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sources: list[dict[str, Any]] = []
        self._generators: list[dict[str, Any]] = []
        self._digests: dict[str, Path] = {}
        self._spec = spec
        self._format = source_format
        self._config = config
        self._writer = writer

    def add(self, path: Path) -> None:
        """Append the jets of one file, or none of them.

        Raises
        ------
        InputError
            If the file is bad and bad files are not to be left out.
        """
        before, start = self._writer.mark(), time.monotonic()
        row: dict[str, Any] = {"path": str(path), "sha256": None, "tree": None, "entries": None, "jets": 0}
        try:
            self._read(path, row)
        except MissingDependency:
            raise
        except BunchtrainError as error:
            if self._spec.on_bad_file != "quarantine":
                raise
            self._writer.rollback(before)
            self.rows.append({**row, "jets": 0, "status": "quarantined", "reason": _one_line(error)})
            _tell(self._spec, f"{path} goes into quarantine: {_one_line(error)}")
        else:
            self.rows.append({**row, "status": "ok", "reason": None})
            _tell(self._spec, f"{path}: {row['jets']} jets in {time.monotonic() - start:.1f} s")

    def _read(self, path: Path, row: dict[str, Any]) -> None:
        row["sha256"] = digest = _digest(path)
        check_header(path)
        if digest in self._digests:
            mend = "list each file once"
            raise InputError("two input files have the same content", file=path, found=self._digests[digest], mend=mend)
        with self._format.opened(path, self._config) as source:
            row |= {"tree": source.tree, "entries": source.entries}
            row |= self._copy(source, path, digest)
            generator = source.generator
        self._digests[digest] = path
        self._generators.append(generator)
        kept = ("path", "sha256", "tree", "jets", "sum_of_weights")
        self.sources.append({**{key: row[key] for key in kept}, "entries": [0, row["entries"]]})

    def _copy(self, source: Any, path: Path, digest: str) -> dict[str, Any]:
        """Append all jets of an open file and return what was kept and left out."""
        run = int(digest[:15], 16)
        sums = {"jets": 0, "sum_of_weights": 0.0, "dropped_jets": 0, "dropped_constituents": 0}
        read, branches = 0, self._format.source_branches(self._config)
        for batch in source.batches(self._spec.step_size):
            read += len(batch.counts)
            step = tidy(batch, run)
            physical.check(step, path, branches)
            self._append(step, path)
            sums["jets"] += len(step.counts)
            for name in ("sum_of_weights", "dropped_jets", "dropped_constituents"):
                sums[name] += getattr(step, name)
        if read != source.entries:
            raise InputError("a tree ends early", file=path, key=source.tree, found=read, expected=source.entries)
        return sums

    def _append(self, step: Tidy, path: Path) -> None:
        constant = {"label": self._spec.label, "file_id": len(self.sources)}
        jets = step.jets | {name: np.full(len(step.counts), value, np.int32) for name, value in constant.items()}
        self._writer.append(jets, step.constituents, step.counts, source=path)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the HDF5 file."""
        return {
            "sample": self._spec.sample,
            "classes": json.dumps(self._spec.classes),
            "source_files": json.dumps(self.sources),
            "tree": json.dumps(sorted({source["tree"] for source in self.sources})),
            "sum_of_weights": sum(source["sum_of_weights"] for source in self.sources),
            "generator": json.dumps(self._generators),
            "tools": json.dumps({name: version for name, version in tool_versions().items() if name in _TOOLS}),
        }

    def manifest(self) -> dict[str, Any]:
        """Return the content of the manifest."""
        spec = self._spec
        return {
            "sample": spec.sample,
            "class": spec.classes[spec.label],
            "format": spec.format["kind"],
            "jets": self._writer.jets,
            "quarantined": [row["path"] for row in self.rows if row["status"] == "quarantined"],
            "inputs": self.rows,
        }


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except FileNotFoundError:
        raise InputError("an input file is missing", file=path, mend="check the sample's `files`") from None
    except OSError as error:
        raise InputError("an input file cannot be read", file=path, found=error.strerror) from None


def _one_line(error: BunchtrainError) -> str:
    """Return an error as one line for a table."""
    details = ", ".join(f"{name}: {value}" for name, value in error.details.items() if name != "file")
    return f"{error.problem} ({details})" if details else error.problem
