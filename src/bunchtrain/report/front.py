"""The page's part on the students that a campaign compares: what each knows against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bunchtrain import pareto


class Published(NamedTuple):
    """A published core: look-up tables after placement, and what its authors say of it."""

    name: str
    lut: int
    told: str


#: Dense networks 16-64-32-32-5 with pruning or few bits through hls4ml (arXiv:2006.10159, on a VU9P), and a graph
#: network of 128 constituents (arXiv:2508.15468, on a VU13P). Written down from memory and from what others quote: the
#: papers' own tables could not be opened where this was written.
PUBLISHED = (
    Published("hls4ml, mixed bits", 9149, "72.3 %, 55 ns"),
    Published("hls4ml, pruned", 17577, "74.8 %, 70 ns"),
    Published("hls4ml, 6 bits", 39782, "74.8 %, 55 ns"),
    Published("JEDI-linear, 128 constituents", 98000, "80.9 %, 82 ns"),
)


def on_front(candidates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the candidates that none beats in both AUC and look-up tables, cheapest first."""
    done = [one for one in candidates if one["status"] == "done"]
    return [done[place] for place in pareto.front(_point(one["resources"], one["auc"]) for one in done)]


def rows(candidates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the table, cheapest first, with what failed in the end."""
    best = {one["candidate"] for one in on_front(candidates)}
    done = sorted((one for one in candidates if one["status"] == "done"), key=lambda one: one["resources"]["lut"])
    failed = [{"name": one["candidate"], "error": one["error"]} for one in candidates if one["status"] != "done"]
    return [{**_row(one), "front": one["candidate"] in best} for one in done] + failed


def _row(one: dict[str, Any]) -> dict[str, Any]:
    areas, resources = one["auc"], one["resources"]
    return {
        "name": one["candidate"],
        "error": "",
        "auc": f"{areas['quantised_student']:.4f}",
        "loss": f"{areas['float_student'] - areas['quantised_student']:+.4f}",
        "lut": f"{resources['lut']:,}",
        "estimated": f"{one['estimate']['lut']:,}",
        "ff": f"{resources['ff']:,}",
        "dsp": resources["dsp"],
        "stages": one["stages"],
    }


def text(candidates: Sequence[dict[str, Any]], searched: dict[str, Any] | None = None) -> str:
    """Return what was looked for, and how well the costs were known before the syntheses."""
    done = [one for one in candidates if one["status"] == "done"]
    if not done:
        return "None of them became a circuit."
    sought = (
        f"DeepHyper proposed {searched['trials']} students, of which {searched['front']} are beaten by no other in AUC "
        f"and estimated cost; {searched['finalists']} of these were synthesised. It chose by validation jets, which "
        "give the small points; all else is judged by test jets. "
        if searched
        else ""
    )
    errors = {}
    for name in ("lut", "ff"):
        pairs = [(one["estimate"][name], one["resources"][name]) for one in done if one["resources"][name]]
        errors[name] = sum(abs(guess / real - 1) for guess, real in pairs) / len(pairs) if pairs else 0.0
    slowest = max(one["estimate"]["seconds"] for one in done)
    return (
        f"{sought}{len(done)} of {len(candidates)} students were synthesised by {done[0]['resources']['tool']}. The "
        f"estimate made before, in at most {slowest:.1f} s, was off by {errors['lut']:.0%} in look-up tables and by "
        f"{errors['ff']:.0%} in flip-flops, in the mean."
    )


def drawn(
    candidates: Sequence[dict[str, Any]], synthesis: dict[str, Any], searched: dict[str, Any] | None = None
) -> str:
    """Return AUC against look-up tables, with the front, the campaign's own core and the published ones, as SVG."""
    from bunchtrain.report import figures

    points = [_point(one["resources"], one["auc"]) for one in candidates if one["status"] == "done"]
    line = [_point(one["resources"], one["auc"]) for one in on_front(candidates)]
    estimated = [(lut, area) for lut, area in searched["estimated"]] if searched else []
    return figures.front(points, line, _point(synthesis["resources"], synthesis["auc"]), PUBLISHED, estimated)


def _point(resources: dict[str, Any], areas: dict[str, float]) -> tuple[int, float]:
    return resources["lut"], areas["quantised_student"]
