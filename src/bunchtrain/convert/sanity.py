"""A look at every column on its way: range, mean, and what no detector would write.

What cannot be is refused (`physical`); what is unlikely is told, in the manifest and in the report. Memory does not
grow with the file, but for one hash per event, of which at most `MOST_EVENTS` are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunchtrain.convert.arrays import kinematics
from bunchtrain.convert.formula import delta_phi
from bunchtrain.events.layout import Column
from bunchtrain.events.ragged import Events
from bunchtrain.events.splits import event_hash

#: Events of a file that are compared with one another.
MOST_EVENTS = 20_000_000

#: Mean transverse momenta of jets in GeV that any experiment writes.
_USUAL_PT = (1.0, 7000.0)

#: Share of the jets from which a disagreement is no accident.
_MANY = 0.5


@dataclass
class Summary:
    """What is told of one column."""

    values: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    total: float = 0.0
    zeros: int = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add finite values."""
        if len(values) == 0:
            return
        self.values += len(values)
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self.total += float(np.sum(values, dtype=np.float64))
        self.zeros += len(values) - int(np.count_nonzero(values))

    def row(self, column: Column) -> dict[str, Any]:
        """Return a row of the table."""
        some = self.values > 0
        return {
            "units": column.units,
            "values": self.values,
            "lowest": self.lowest if some else None,
            "mean": self.total / self.values if some else None,
            "highest": self.highest if some else None,
            "zeros": self.zeros,
        }


class Sanity:
    """Looks at what is converted, step by step.

    Parameters
    ----------
    rows : str
        What the rows are, see `events.layout.ROWS`.
    layout : dict
        Columns by dataset.
    """

    def __init__(self, rows: str, layout: dict[str, Column]) -> None:
        self._rows, self._layout = rows, layout
        self._summaries = {name: Summary() for name in layout if not name.endswith(("/label", "/file_id"))}
        self._jets = 0
        self._off = {"pt": 0, "eta": 0, "phi": 0}
        self._blocks: list[NDArray[np.uint64]] = []
        self._looked_at = 0

    def add(self, events: Events) -> None:
        """Look at the rows of one step."""
        for name, summary in self._summaries.items():
            summary.add(events.columns[name])
        self._add_events(events)
        # Without a branch of its own a jet's pt is that sum.
        if self._rows == "jets" and self._layout["jets/pt"].source and len(events.counts["constituents"]):
            self._compare(events)

    def _add_events(self, events: Events) -> None:
        rows = events.of(self._rows)
        hashes = event_hash("", rows["run_number"], rows["event_number"])
        first = np.concatenate([np.ones(min(len(hashes), 1), bool), hashes[1:] != hashes[:-1]])
        if self._blocks and len(hashes) and self._blocks[-1][-1] == hashes[0]:
            first[0] = False
        hashes = hashes[first][: MOST_EVENTS - self._looked_at]
        if len(hashes):
            self._blocks.append(hashes)
            self._looked_at += len(hashes)

    def _compare(self, events: Events) -> None:
        """Count the jets that disagree with the sum of their constituents."""
        counts = events.counts["constituents"]
        filled = counts > 0
        sums = kinematics(events.of("constituents"), counts[filled])
        jets = {name: events.columns[f"jets/{name}"][filled].astype(np.float64) for name in ("pt", "eta", "phi")}
        ratio = jets["pt"] / np.maximum(sums["pt"], 1e-9)
        self._jets += len(ratio)
        self._off["pt"] += int(np.sum((ratio > 3) | (ratio < 1 / 3)))
        self._off["eta"] += int(np.sum(np.abs(jets["eta"] - sums["eta"]) > 0.5))
        self._off["phi"] += int(np.sum(np.abs(delta_phi(jets["phi"], sums["phi"])) > 0.5))

    def repeated(self) -> int:
        """Return how many events come back after others have come."""
        if not self._blocks:
            return 0
        hashes = np.sort(np.concatenate(self._blocks))
        return int(np.sum(hashes[1:] == hashes[:-1]))

    def table(self) -> dict[str, dict[str, Any]]:
        """Return what is told of each column, by dataset."""
        return {name: summary.row(self._layout[name]) for name, summary in self._summaries.items()}

    def warnings(self) -> list[str]:
        """Return what looks wrong, in words."""
        found = [*self._of_columns()]
        if self._rows == "jets":
            found += [*self._of_jets()]
        if repeated := self.repeated():
            found.append(
                f"{repeated} of {self._looked_at} events come back after others have come: events that stand in the "
                "sample twice, jets that are not ordered by event, or event numbers that start again"
            )
        return found

    def _of_columns(self) -> list[str]:
        found = []
        for name, one in self._summaries.items():
            if self._layout[name].units == "rad" and one.values and max(-one.lowest, one.highest) > 2 * np.pi:
                limits = f"from {one.lowest:.3g} to {one.highest:.3g} rad"
                found.append(f"{name} goes {limits}: is it in degrees, or another branch?")
            if name.endswith("/weight") and one.values and one.zeros == one.values:
                found.append(f"{name} is 0 everywhere: is it the right branch?")
        return found

    def _of_jets(self) -> list[str]:
        found = []
        pt = self._summaries["jets/pt"]
        mean = pt.total / pt.values if pt.values else 0.0
        if pt.values and not _USUAL_PT[0] <= mean <= _USUAL_PT[1]:
            found.append(f"the mean jets/pt is {mean:.4g} GeV: is the unit right (convert.format.units)?")
        for name, count in self._off.items():
            if count > _MANY * self._jets:
                how = "by more than a factor 3" if name == "pt" else "by more than 0.5"
                found.append(
                    f"jets/{name} differs {how} from the sum of the constituents in {count} of {self._jets} jets: "
                    "is it another branch, or another unit?"
                )
        return found
