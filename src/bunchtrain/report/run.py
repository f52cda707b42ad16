"""The campaign's page: read what the stages left, draw, and fill one self-contained HTML file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import h5py

from bunchtrain import provenance
from bunchtrain.config.specs import ReportSpec
from bunchtrain.discrimination import parts, quotable, told
from bunchtrain.events.splits import SPLITS
from bunchtrain.files import read_json, write_text
from bunchtrain.report import certainty, columns, fpga, front
from bunchtrain.rounding import alone, rounded

STAGES = ("simulate", "convert", "prepare", "scan", "train", "evaluate", "synthesize", "report")

#: What the chain ends in, stage by stage.
ENDS = ("prepare/dataset.h5", "scan/best.json", "train/seed0/model.safetensors", "evaluate/metrics.json")
ENDS_WITH_CORE = ("synthesize/core.zip",)


def report(
    spec: ReportSpec,
    results: Path,
    manifests: list[Path],
    histories: list[Path],
    out: Path,
    candidates: Sequence[Path] = (),
    searched: Path | None = None,
    panels: Sequence[Path] = (),
) -> None:
    """Write the page of the campaign in `results` to `out`.

    Parameters
    ----------
    spec : ReportSpec
    results : path
        Folder of the campaign's results.
    manifests, histories : list of path
        What convert and train left of the groups and seeds that belong to the campaign: the folder may hold older ones.
    out : path
        The HTML file.
    candidates : sequence of path
        What became of the students that the campaign compares.
    searched : path, optional
        What the search for students found.
    panels : sequence of path
        JSON files whose `panels` are shown after those of the evaluation.

    Raises
    ------
    InputError
        If a stage has not run.
    """
    inputs = _Inputs(results, manifests, histories, spec.core, candidates, searched, panels)
    write_text(out, _render({**_header(spec, inputs), **_figures(inputs), **_tables(inputs)}))
    provenance.record([out], stage="report", spec=spec.model_dump(mode="json"), inputs=inputs.paths)
    print(f"[report] {out}", flush=True)


class _Inputs:
    """What the stages left in the folder of results."""

    def __init__(
        self,
        results: Path,
        manifests: list[Path],
        histories: list[Path],
        core: bool,
        candidates: Sequence[Path],
        searched: Path | None,
        panels: Sequence[Path],
    ) -> None:
        self.results = results
        self.summary = read_json(results / "prepare/summary.json")
        self.metrics = read_json(results / "evaluate/metrics.json")
        further = [one for path in panels for one in read_json(path)["panels"]]
        self.of_classes = self.metrics.get("answers", "classes") == "classes"
        self.panels = {"panels": self.metrics["panels"], "trust": self.metrics["trust"] + further}
        self.best = read_json(results / "scan/best.json")
        self.front = read_json(results / "scan/front.json")
        self.synthesis = read_json(results / "synthesize/report.json") if core else None
        self.searched = read_json(searched) if searched else None
        self.candidates = [read_json(path) for path in candidates] + (self.searched or {"students": []})["students"]
        self.history = read_json(histories[0])
        self.sources = [entry for path in manifests for entry in read_json(path)["inputs"]]
        with (results / "scan/results.csv").open(encoding="utf-8", newline="") as stream:
            self.scan = list(csv.DictReader(stream))
        fixed = "prepare/summary.json scan/results.csv scan/best.json scan/front.json evaluate/metrics.json"
        self.paths = [*(results / name for name in fixed.split()), results / "evaluate/predictions.h5"]
        self.paths += [*histories, *manifests, *candidates, *panels]
        self.paths += [searched] if searched else []
        self.ends = ENDS + ENDS_WITH_CORE if core else ENDS
        self.paths += [results / "synthesize/report.json", results / "synthesize/core.zip"] if core else []


def _render(values: dict[str, Any]) -> str:
    import jinja2

    template = resources.files("bunchtrain.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(values)


def _header(spec: ReportSpec, inputs: _Inputs) -> dict[str, Any]:
    metrics = inputs.metrics
    jets = sum(sum(row.values()) for row in inputs.summary["jets"].values())
    rows = metrics.get("rows", "jets")
    common = {
        "title": spec.title,
        "stages": [name for name in STAGES if spec.core or name != "synthesize"],
        "of_classes": inputs.of_classes,
        "items": metrics["items"],
        "rows": rows,
        "row": rows.removesuffix("s"),
        "results": str(inputs.results),
        "cards": _cards(inputs),
        "version": metadata.version("bunchtrain"),
        "commit": provenance.commit(),
        "versions": ", ".join(f"{name} {version}" for name, version in provenance.tool_versions().items()),
    }
    if metrics.get("answers") == "response":
        told = "a surrogate that draws what follows from their parameters, and how like the truth that is."
        return {**common, "summary": f"{jets:,} {rows}, {told}"}
    if not inputs.of_classes:
        hidden = ", ".join(metrics["hidden"])
        told = f"a network that learned them without labels, and how far {hidden} stand out, which it never saw."
        return {**common, "summary": f"{jets:,} {rows} of {_classes(spec.classes)}, {told}"}
    signal, background = metrics["signal"], metrics["background"]
    apart = f"{signal} from {background}" + ("" if metrics["items"] == rows else f" {metrics['items']}")
    made = "its uncertainty, and an FPGA core" if spec.core else "and its uncertainty"
    return {
        **common,
        "summary": f"{jets:,} {rows} of {_classes(spec.classes)}, a network that tells {apart}, {made}.",
        "apart": apart,
        "signal": signal,
        "background": background,
        "classes": metrics["classes"],
        "passes": metrics["passes"],
        "score_told": metrics["told"]["score"],
        "spread_told": _spread(metrics["spread"]),
    }


def _spread(quantiles: dict[str, list[float]]) -> str:
    """Return the medians of the spreads of right and wrong answers in words."""
    medians = [f"of {name} answers {alone(found[2], 2)}" for name, found in quantiles.items() if found]
    return f"Median {', '.join(medians)}."


def _classes(names: Sequence[str]) -> str:
    return f"{len(names)} classes ({', '.join(names)})" if len(names) > 1 else f"one class ({names[0]})"


def _cards(inputs: _Inputs) -> list[dict[str, str]]:
    """Return the tiles: first the figures that the task itself puts at the top."""
    metrics = inputs.metrics
    headlines = [one for found in inputs.panels.values() for panel in found for one in panel["headlines"]]
    if not inputs.of_classes:
        return [_measured(**one) for one in headlines]
    area, ece = metrics["auc"], metrics["calibration"]
    beside = "".join(f"{row['name']}: {row['auc']['value']:.3f}" for row in metrics["baselines"][:1])
    return [
        *(_measured(**one) for one in headlines),
        _measured("AUC", area["value"], area["error"], note=beside),
        _rejection(metrics),
        _measured("calibration error", 100 * ece["ece"], 100 * ece["ece_error"], "%", "0 is perfect"),
        *(_card(**card) for card in (fpga.cards(inputs.synthesis) if inputs.synthesis else ())),
    ]


def _rejection(metrics: dict[str, Any]) -> dict[str, str]:
    """Return the tile of a working point at which enough background passes; else it says why there is no error."""
    row = quotable(metrics["working_points"])
    value, error = parts(row)
    why = f"; {row['background_passing']} of {row['background_total']} pass" if row["error"] is None else ""
    limit = "68 % lower limit, " if row["lower_limit"] else ""
    note = f"{limit}at {100 * row['efficiency']:.0f} % {_signal(metrics)} efficiency{why}"
    return _card(f"{metrics['background']} rejection", value, f"± {error}" if error else "", note)


def _signal(metrics: dict[str, Any]) -> str:
    """Return the signal, with a word for what it is a class of where that is not the rows."""
    items = metrics["items"]
    return str(metrics["signal"]) if items == metrics["rows"] else f"{metrics['signal']}-{items.removesuffix('s')}"


def _measured(name: str, value: float, error: float | None, unit: str = "", note: str = "") -> dict[str, str]:
    """Return the tile of a number, rounded with its error."""
    told, its = rounded(value, error)
    return _card(name, told, f"± {its} {unit}".strip() if its else unit, note)


def _card(name: str, value: str, unit: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "unit": unit, "note": note}


def _figures(inputs: _Inputs) -> dict[str, Any]:
    from bunchtrain.report import figures, scans

    metrics = inputs.metrics
    return {
        **(_of_classes(inputs) if inputs.of_classes else {}),
        "training": figures.training(inputs.history["rows"], inputs.history["best_epoch"]),
        "scan_figures": scans.drawn(inputs.scan, inputs.front, inputs.best["trial"]),
        "ladder": figures.ladder(fpga.ladder(metrics, inputs.synthesis)) if inputs.synthesis else "",
        "front": front.drawn(inputs.candidates, inputs.synthesis, inputs.searched)
        if inputs.candidates and inputs.synthesis
        else "",
        **{name: [_drawn(panel) for panel in found] for name, found in inputs.panels.items()},
        "core_panels": [_drawn(asdict(panel)) for panel in certainty.panels(inputs.synthesis)],
    }


def _of_classes(inputs: _Inputs) -> dict[str, str]:
    """Return the figures of a network that tells classes apart."""
    from bunchtrain.report import figures

    metrics = inputs.metrics
    with h5py.File(inputs.results / "evaluate/predictions.h5") as file:
        score, labels, spread = file["score"][:], file["label"][:], file["spread"][:]
        right = file["mean"][:].argmax(1) == labels
    return {
        "roc": figures.roc(metrics),
        "scores": figures.scores(score, labels, metrics),
        "reliability": figures.reliability(metrics),
        "retention": figures.retention(metrics),
        "spread": figures.spread(spread, right, metrics["items"]),
    }


def _drawn(panel: dict[str, Any]) -> dict[str, Any]:
    """Return a panel with its drawings, each with its caption."""
    from bunchtrain.report import figures

    drawn = [(figures.plot(plot), plot["caption"]) for plot in panel["plots"]]
    return {**panel, "drawn": drawn + [(figures.bars(one), one["caption"]) for one in panel.get("bars", [])]}


def _tables(inputs: _Inputs) -> dict[str, Any]:
    quarantined = [entry for entry in inputs.sources if entry["status"] != "ok"]
    audit = inputs.summary["audit"]
    told_apart = {}
    if inputs.of_classes:
        told_apart = {
            "baselines": [row["name"] for row in inputs.metrics["baselines"]],
            "working_points": _working_points(inputs.metrics),
            "confusion": _confusion(inputs.metrics),
        }
    return {
        **told_apart,
        **_scan(inputs),
        "training_text": f"Loss: {inputs.metrics['told']['loss']}. "
        + _training_text(inputs.history, inputs.summary.get("rows", "jets")),
        "fpga": fpga.section(inputs.synthesis) if inputs.synthesis else None,
        "candidates": front.rows(inputs.candidates),
        "candidates_text": front.text(inputs.candidates, inputs.searched),
        "quarantined": quarantined,
        "warnings": columns.warnings(inputs.sources),
        "columns": columns.rows(inputs.sources),
        "samples": _samples(inputs.summary),
        "splits": SPLITS,
        "samples_text": _samples_text(audit, inputs.summary.get("rows", "jets")),
        "sources": inputs.sources,
        "records": _records(inputs.results, inputs.ends),
    }


def _samples_text(audit: dict[str, Any], rows: str) -> str:
    if rows != "jets":
        return f"{audit['events']:,} {rows}; an audit found none on two sides of the split."
    return (
        f"{audit['jets']:,} jets of {audit['events']:,} events. All jets of an event are on the same side of the "
        "split; an audit found no event and no jet on two sides."
    )


def _working_points(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    rows = zip(metrics["working_points"], *(one["working_points"] for one in metrics["baselines"]), strict=True)
    return [
        {
            "efficiency": f"{100 * network['efficiency']:.0f} %",
            "rejections": [*map(told, (network, *baselines))],
            "passing": f"{network['background_passing']} of {network['background_total']}",
        }
        for network, *baselines in rows
    ]


def _confusion(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, counts in zip(metrics["classes"], metrics["confusion"], strict=True):
        total = sum(counts)  # of event weights, which may be tiny, or negative
        rows.append({"name": name, "cells": [f"{100 * count / total:.0f} %" if total > 0 else "-" for count in counts]})
    return rows


def _scan(inputs: _Inputs) -> dict[str, Any]:
    from bunchtrain.report import scans

    dimensions = scans.hyperparameters(inputs.scan)
    names = [one["name"] for one in inputs.front["objectives"]]
    figures = ["validation_loss", *(["validation_auc"] if inputs.of_classes else [])]
    shown = list(dict.fromkeys([*names, *figures]))
    rows = [
        {
            "number": int(row["trial"]) + 1,
            "status": row["status"],
            "figures": [_short(row[name]) for name in shown],
            "seconds": f"{float(row['seconds']):.0f}",
            "point": [_short(row[name]) for name in dimensions],
            "best": int(row["trial"]) == inputs.best["trial"],
        }
        for row in inputs.scan
    ]
    return {
        "scan_rows": rows,
        "scan_names": [name.replace("_", " ") for name in shown],
        "dimensions": dimensions,
        "scan_text": scans.text(inputs.scan, inputs.front),
        "scan_failures": scans.failures(inputs.scan),
    }


def _short(text: str) -> str:
    """Return a number of a table with four digits, anything else as it is."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def _training_text(history: dict[str, Any], kind: str) -> str:
    rows = history["rows"]
    epochs = f"{len(rows)} epochs on {history['ranks']} rank(s); "
    kept = f"the weights of epoch {history['best_epoch']} were kept."
    measured = [row for row in rows if "jets_per_second" in row]  # not an epoch that was resumed after its last step
    if not measured:
        return epochs + kept
    names = ("jets_per_second", "waiting_for_data", "communication", "padding")
    speed, waiting, ranks, padding = (sum(row[name] for row in measured) / len(measured) for name in names)
    return (
        f"{epochs}{speed:,.0f} {kind} per second in the mean, {waiting:.1%} of the time in waiting for data, "
        f"{ranks:.1%} for other ranks; {padding:.0%} of what was computed was padding; {kept}"
    )


def _samples(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "counts": [f"{summary['jets'][split][name]:,}" for split in SPLITS],
            "weight": f"{summary['class_weights'][number]:.3f}",
        }
        for number, name in enumerate(summary["classes"])
    ]


def _records(results: Path, ends: Sequence[str]) -> list[dict[str, str]]:
    """Return the records of what the chain ends in."""
    rows = []
    for name in ends:
        record = provenance.read(results / name)
        rows.append(
            {
                "path": name,
                "stage": record["stage"],
                "version": json.dumps(record["spec"].get("version")),
                "made": record["made"],
                "sha256": record["output"]["sha256"],
            }
        )
    return rows
