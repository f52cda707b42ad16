"""The page's part on what the FPGA core says of its own certainty, from the synthesis report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bunchtrain.panels import Curve, Panel, Plot
from bunchtrain.rounding import alone, together

_NAMES = {
    "teacher": "network, {passes} passes",
    "float_student": "student, floating point",
    "quantised_student": "student, quantised",
    "c_simulation": "C simulation",
    "rtl": "RTL",
}


def panels(synthesis: dict[str, Any] | None) -> list[Panel]:
    """Return the table of certainty through quantisation, and what a student with a spread learnt of the posterior."""
    if synthesis is None or "certainty" not in synthesis:
        return []
    posterior = synthesis.get("posterior")
    return [_through(synthesis["certainty"]), *([_posterior(posterior)] if posterior else [])]


def _through(certainty: dict[str, Any]) -> Panel:
    conformal = certainty["conformal"]
    low, high = conformal["expected"]
    samples = list(certainty["rows"][0]["unfamiliar"])
    by = {"spread": "the spread that it answers", "entropy": "the entropy of its class answers"}
    text = (
        "What each step to the circuit says of its certainty, on the test jets; classes count the same. Sets of "
        f"classes hold the true one in {conformal['promised']:.0%} of the jets by a threshold that "
        f"{conformal['validation_jets']:,} validation jets give to the quantised network: where the promise is kept, "
        f"95 % of samples of this size lie between {low:.1%} and {high:.1%}. Errors found: AUROC of wrong answers "
        f"against right ones by {by[certainty['uncertainty']]}."
    )
    text += " Unfamiliar jets found: AUROC of each sample against the test jets by the same." if samples else ""
    columns = ["", "AUC", "calibration error", "NLL", "coverage", "classes in a set", "errors found", *samples]
    return Panel("Certainty through quantisation", text, columns, [_row(row) for row in certainty["rows"]])


def _row(row: dict[str, Any]) -> list[str]:
    return [
        _NAMES[row["name"]],
        f"{row['auc']:.4f}",
        f"{together(100 * row['ece'], 100 * row['ece_error'])} %",
        f"{row['nll']:.4f}",
        f"{row['coverage']:.1%}",
        f"{row['set_size']:.2f}",
        _told(row["error_detection"]),
        *(_told(area) for area in row["unfamiliar"].values()),
    ]


def _told(number: float | None) -> str:
    return "-" if number is None else alone(number)


def _posterior(posterior: dict[str, Any]) -> Panel:
    rows = posterior["rows"]
    text = (
        f"The student answers in one pass what the network says in {posterior['passes']} with dropout on: their mean, "
        "and how far they are apart, as log2 of the mutual information between answer and weights. Gain: mean "
        "accuracy over all shares kept, the most certain first, less that of all jets. Deviation: mean absolute one, "
        "in powers of two. Share of the gain: of the network's; above: over the accuracy of all the network's answers, "
        "so that a student pays for the answers that it gets wrong."
    )
    columns = [*("", "accuracy", "gain", "errors found", "correlation", "deviation"), "share of the gain", "above"]
    curves = [_curve(_name(row, posterior), row["retention"], row is rows[0]) for row in rows]
    caption = "Accuracy of the jets that are kept, the most certain first, each by its own spread."
    plot = Plot("share of jets kept", "accuracy", curves, caption)
    return Panel("The posterior in one pass", text, columns, [_agreement(row, posterior) for row in rows], [plot])


def _name(row: dict[str, Any], posterior: dict[str, Any]) -> str:
    return _NAMES[row["name"]].format(**posterior)


def _agreement(row: dict[str, Any], posterior: dict[str, Any]) -> list[str]:
    beside = [row.get(name) for name in ("error_detection", "correlation", "deviation", "of_gain", "of_area")]
    return [_name(row, posterior), f"{row['accuracy']:.1%}", alone(row["gain"]), *map(_told, beside)]


def _curve(name: str, rows: Sequence[dict[str, float]], dashed: bool) -> Curve:
    return Curve(name, [row["kept"] for row in rows], [row["accuracy"] for row in rows], dashed=dashed)
