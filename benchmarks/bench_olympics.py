"""A blind search: the campaign's black boxes are made, searched, then opened; what was found beside what was hidden.

With BUNCHTRAIN_BENCH_FOLDER the campaign runs there, and what has been made is not made again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bunchtrain.files import read_json
from marks import Mark, conclude, table

CAMPAIGN = Path(__file__).parents[1] / "config/campaigns/olympics.yaml"
RESULTS = Path("results/olympics")


def run(folder: Path) -> None:
    """Make the boxes, search them, and open them."""
    for words in (
        ["campaign", "run", str(CAMPAIGN), "--cores", str(os.cpu_count()), "--until", "hunt"],
        ["unblind", str(CAMPAIGN)],
    ):
        with (folder / f"{words[0]}.log").open("w") as log:
            subprocess.run([sys.executable, "-m", "bunchtrain", *words], cwd=folder, stdout=log, stderr=log, check=True)


def told(folder: Path, name: str, one: dict[str, Any]) -> list[str]:
    """Return a row of the table."""
    result = read_json(folder / RESULTS / f"hunt/{name}/result.json")
    before, after = (one["found"][key] for key in ("before", "after"))
    fit = result["best"]["goodness"]
    row = [name, one["verdict"], f"{one['local_z']:.1f}", f"{one['global_z']:.1f}"]
    row += [f"{before['signal']} / {before['background']}", f"{after['signal']} / {after['background']}"]
    row.append(f"{fit['chi2']:.0f} / {fit['degrees']}")
    if not one["present"]:
        return [*row, "-", "-", "-", "-"]
    mass, largest = one["mass"], one["improvement"]["largest"]
    row += [
        f"{one['before']['strength']:.1f}",
        f"{one['true']['mass']:.0f}",
        f"{mass['found']:.0f} ± {mass['error']:.0f}",
    ]
    return [
        *row,
        f"{largest.get('achieved', 0):.1f} / {largest['expected_without']:.1f} / {largest['expected_with_labels']:.1f}",
    ]


def main() -> None:
    kept = os.environ.get("BUNCHTRAIN_BENCH_FOLDER")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(kept or temporary)
        run(folder)
        (boxes,) = read_json(folder / RESULTS / "unblinded.json").values()
        expected = read_json(folder / RESULTS / "hunt/sensitivity.json")
        rows = [told(folder, name, one) for name, one in boxes.items()]
    header = ["box", "verdict", "local σ", "global σ", "S / B", "after the cut", "χ² / dof"]
    table([*header, "S/√B hidden", "mass", "found", "improvement: achieved, expected, with labels"], rows)
    closure = expected["closure"]
    print(f"mass resolution {100 * expected['resolution']:.1f} %")
    print(f"signal-free sample: local {closure['local']:.1f} σ, global {closure['global']['z']:.1f} σ")
    table(
        ["feature", "correlation with the mass"],
        [[one["name"], f"{one['correlation']:+.3f}"] for one in expected["features"]],
    )
    full = [one for one in boxes.values() if one["present"]]
    empty = [one for one in boxes.values() if not one["present"]]
    away = max(abs(one["mass"]["away"]) / (expected["resolution"] * one["true"]["mass"]) for one in full)
    conclude(
        [
            Mark("boxes_with_a_resonance", len(full), 2),
            Mark("empty_boxes", len(empty), 2),
            Mark("least_local_significance", min(one["local_z"] for one in full), 5),
            Mark("mass_away_in_resolutions", away, 1, at_least=False),
            Mark(
                "largest_global_significance_of_empty_boxes", max(one["global_z"] for one in empty), 3, at_least=False
            ),
            Mark("global_significance_of_signal_free_sample", closure["global"]["z"], 3, at_least=False),
        ]
    )


if __name__ == "__main__":
    main()
