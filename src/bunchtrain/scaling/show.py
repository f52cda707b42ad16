"""What was found of the scaling, as text for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print probes, predictions and the advice."""
    console.print(_probes(result))
    console.print(_predictions(result))
    for line in notes(result):
        console.print(line, soft_wrap=True, highlight=False)


def _probes(result: Mapping[str, Any]) -> Table:
    table = Table("ranks", "jets a step", "compute ms", "input ms", "communication ms", "jets/s", "model off by")
    if not all(row["used"] for row in result["probes"]):
        table.add_column("")
    for row in result["probes"]:
        predicted = row["predicted_step"]
        off = f"{predicted['value'] / row['step'] - 1:+.1%}" if predicted else "-"
        parts = [f"{1e3 * row['seconds'][part]:.2f}" for part in ("compute", "input", "communication")]
        notes = [] if row["used"] else ["too few cores: left out"]
        table.add_row(str(row["ranks"]), str(row["batch"]), *parts, f"{row['jets_per_second']:.0f}", off, *notes)
    return table


def _predictions(result: Mapping[str, Any]) -> Table:
    title = f"predicted: {result['batch']} jets a step, {result['epochs']} epochs at most"
    table = Table("ranks", "jets/s", "68 % band", "efficiency", "hours", "core hours", "beyond probes", title=title)
    for row in result["predictions"]:
        speed, beyond = row["jets_per_second"], row["beyond_probes"]
        table.add_row(
            str(row["ranks"]),
            f"{speed['value']:.0f}",
            f"{speed['low']:.0f} to {speed['high']:.0f}",
            f"{row['efficiency']:.0%}",
            f"{row['hours']['value']:.3g}",
            f"{row['core_hours']:.3g}",
            f"{beyond:.3g} x" if beyond > 1 else "",
        )
    return table


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what to know of the prediction, and the advice."""
    lines = []
    if left := result["left_out_in_turn"]:
        off = f"off by {left['median']:.1%} in the median, {left['worst']:.1%} at worst"
        lines.append(f"Each probe predicted from the others: {off}.")
    for part, terms in result["undetermined"].items():
        if terms:
            lines.append(f"Of {part}, the probes leave open how much goes with {', '.join(terms)}: the band covers it.")
    if result["largest_measured"] == 1:
        lines.append("No probe has more than one rank: communication is not known, nothing is predicted beyond 1.")
    elif result["largest_measured"] < result["asked"]["most_ranks"]:
        lines.append(
            f"Beyond {result['largest_measured']} ranks the table extrapolates; a network between nodes was measured "
            "only if the probes ran over it."
        )
    advice = result["advice"]
    taken = "no number of ranks will do" if advice["ranks"] is None else f"take {advice['ranks']} rank(s)"
    return [*lines, f"Advice: {taken}: {advice['why']}."]
