"""What a campaign asks of the rows of any format: derived columns, labels, selections, systematic variations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.config.convert import Derived, DerivedColumns
from bunchtrain.config.expression import names, parse
from bunchtrain.config.specs import ConvertSpec
from bunchtrain.convert.arrays import Tidy
from bunchtrain.convert.formats.base import Layout, check_new
from bunchtrain.convert.formula import Scope
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.events.layout import SYSTEMATICS, Column, axis
from bunchtrain.events.ragged import row_of

#: Columns that no variation changes.
_IDENTITY = ("label", "file_id", "run_number", "event_number")


class Pipeline:
    """The steps between a format and the HDF5 file.

    Parameters
    ----------
    spec : ConvertSpec
        Its `columns` and `labels` say what is done.
    layout : Layout
        What the format reads.

    Attributes
    ----------
    layout : Layout
        What is written: the format's columns, derived ones and variations.

    Raises
    ------
    CampaignError
        If the campaign names a column or an axis that the format does not give.
    """

    def __init__(self, spec: ConvertSpec, layout: Layout) -> None:
        self._rows, self._label, self._labels = layout.rows, spec.label, spec.labels
        self._settings = spec.columns
        axes = list(dict.fromkeys(axis(name) for name in layout.columns))
        self._derived = _ordered(self._settings.derive)
        derived = {
            name: Column(name.rpartition("/")[2], one.dtype, one.units, one.description, one.formula)
            for name, one in self._derived
        }
        columns = {**layout.columns, **derived}
        for name in derived:
            _known(axis(name), axes, f"convert.derive.{axis(name)}")
            check_new(name, layout.rows, "convert.derive")
        for where in self._settings.select:
            _known(where, axes, f"convert.select.{where}")
        self.layout = Layout(layout.rows, {**columns, **self._varied(columns)})

    def _varied(self, columns: dict[str, Column]) -> dict[str, Column]:
        found = {}
        for variation, axes in self._settings.systematics.items():
            for where, formulas in axes.items():
                for name, formula in formulas.items():
                    key, nominal = f"convert.systematics.{variation}.{where}", f"{where}/{name}"
                    _known(nominal, columns, key)
                    if name in _IDENTITY:
                        raise CampaignError("a variation cannot change what a row is", key=key, found=name)
                    text = f"{columns[nominal].description}, variation {variation}"
                    varied = replace(columns[nominal], description=text, source=formula)
                    found[f"{SYSTEMATICS}/{variation}/{nominal}"] = varied
        return found

    def __call__(self, step: Tidy, file_id: int, path: Path | str) -> Tidy:
        """Return the rows that are kept, with all columns of the layout.

        Raises
        ------
        InputError
            If a derived value is not finite and nothing stands for it.
        """
        rows = self._rows
        for name, one in self._derived:
            values = Scope(step.events, rows, axis(name), f"convert.derive.{name}")(one.formula)
            if one.missing is not None:
                values = np.where(np.isfinite(values), values, one.missing)
            self._check(values, step, name, one.formula, path)
            step = step._replace(events=step.events.joined({name: values}))
        step = self._labelled(step, file_id)
        for where, formula in self._settings.select.items():
            if where != rows:
                kept = _condition(Scope(step.events, rows, where, f"convert.select.{where}"), formula)
                step = step.keep(where, kept, f"cut_{where}")
        if rows in self._settings.select:
            scope = Scope(step.events, rows, rows, f"convert.select.{rows}")
            kept = _condition(scope, self._settings.select[rows])
            step = step.take(kept, f"cut_{rows}")
        if rows == "jets" and "constituents" in self._settings.select:
            step = step.take(step.events.counts["constituents"] > 0, "cut_jets")
        return step._replace(events=step.events.joined(self._variations(step, path)))

    def _labelled(self, step: Tidy, file_id: int) -> Tidy:
        """Add label and file; rows that no label fits are left out."""
        length = len(step.entries)
        label = np.full(length, -1 if self._label is None else self._label, np.int32)
        scope = Scope(step.events, self._rows, self._rows, "labels")
        for number, formula in self._labels:
            label[(label < 0) & _condition(scope, formula)] = number
        columns = {f"{self._rows}/label": label, f"{self._rows}/file_id": np.full(length, file_id, np.int32)}
        step = step._replace(events=step.events.joined(columns))
        return step.take(label >= 0, "unlabelled") if self._labels else step

    def _variations(self, step: Tidy, path: Path | str) -> dict[str, NDArray[Any]]:
        found = {}
        for variation, axes in self._settings.systematics.items():
            for where, formulas in axes.items():
                for name, formula in formulas.items():
                    dataset = f"{SYSTEMATICS}/{variation}/{where}/{name}"
                    found[dataset] = Scope(step.events, self._rows, where, dataset)(formula)
                    self._check(found[dataset], step, dataset, formula, path)
        return found

    def _check(self, values: NDArray[Any], step: Tidy, dataset: str, formula: str, path: Path | str) -> None:
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        counts = step.events.counts.get(axis(dataset))
        raise InputError(
            "a computed value is not a finite number",
            file=path,
            key=dataset,
            found=f"{values[place]} in entry {step.entries[row_of(place, counts)]}, from {formula}",
            mend="give `missing`, the number that stands for it, or cut these rows before",
        )


def _condition(scope: Scope, formula: str) -> NDArray[np.bool_]:
    """Return where a formula holds; one that gives numbers is refused, as NaN would count as true."""
    found = scope(formula)
    if found.dtype.kind != "b":
        expected = "a condition, e.g. pt > 30 or charge != 0"
        raise InputError("a formula is no condition", key=scope.key, found=formula, expected=expected)
    return found


def _ordered(derive: DerivedColumns) -> list[tuple[str, Derived]]:
    """Return the derived columns by dataset, each after those that its formula names.

    Raises
    ------
    CampaignError
        If columns need each other.
    """
    waiting = {f"{where}/{name}": one for where, columns in derive.items() for name, one in columns.items()}
    ready: list[tuple[str, Derived]] = []
    while waiting:
        free = [name for name, one in waiting.items() if not _needs(name, one) & (waiting.keys() - {name})]
        if not free:
            found, mend = ", ".join(waiting), "take one of them out of the other's formula"
            raise CampaignError("derived columns need each other", key="convert.derive", found=found, mend=mend)
        ready += [(name, waiting.pop(name)) for name in free]
    return ready


def _needs(dataset: str, one: Derived) -> set[str]:
    """Return what a derived column's formula names, as datasets."""
    found = {name if "." in name else f"{axis(dataset)}.{name}" for name in names(parse(one.formula))}
    return {name.replace(".", "/") for name in found}


def _known(name: str, known: Iterable[str], key: str) -> None:
    if name not in known:
        raise CampaignError("the format gives no such columns", key=key, found=name, choices=known)
