"""The curves of a campaign's trainings, also of those that go on: from their histories and checkpoints."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from bunchtrain.files import read_json
from bunchtrain.train import folders

#: Trainings whose curves are shown, points of a curve, and bytes of a checkpoint's header at most.
SHOWN, POINTS, HEADER = 8, 120, 100_000_000

CURVES = ("train_loss", "validation_loss")

#: A further one, of those that tell classes apart.
AREA = "validation_auc"


def told(results: Path, epochs: int) -> dict[str, Any]:
    """Return the trainings of a campaign, `shown`, and how many more there are.

    A training that goes on is read from the header of its newest checkpoint: each epoch ends with one.

    Parameters
    ----------
    results : path
        The campaign's results.
    epochs : int
        That a training has at most.
    """
    found = sorted((path for path in (results / "train").glob("*") if path.is_dir()), key=_order)
    known = [(folder, rows) for folder in found if (rows := _rows(folder)) is not None]
    shown = [{"name": folder.name, "epochs": epochs, **rows} for folder, rows in known[:SHOWN]]
    return {"shown": shown, "more": len(known) - len(shown)}


def _order(folder: Path) -> tuple[Any, ...]:
    """Sort seed10 after seed9."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", folder.name)[:3])


def _rows(folder: Path) -> dict[str, Any] | None:
    """Return what is known of a training; None if it has not begun."""
    if (folder / "history.json").exists():
        history = read_json(folder / "history.json")
        return {"done": True, "best": _whole(history["best_epoch"]), **_curves(history["rows"])}
    progress, step = _checkpoint(folder), _last_step(folder / "steps.csv")
    if progress is None and step is None:
        return None
    rows = [] if progress is None else progress["history"]
    best = _whole(progress["best_epoch"]) + 1 if progress else 0
    return {"done": False, "best": best or None, "step": step, **_curves(rows)}


def _curves(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the last row's numbers, and curves of no more than `POINTS` points with the last among them."""
    names = CURVES + ((AREA,) if all(AREA in row for row in rows) else ())
    numbers = [{"epoch": _whole(row["epoch"]), **{name: float(row[name]) for name in names}} for row in rows]
    every = -(-len(numbers) // POINTS) or 1
    kept = [row for place, row in enumerate(numbers) if place % every == 0 or place == len(numbers) - 1]
    return {
        "last": numbers[-1] if numbers else None,
        "curves": {name: [row[name] for row in kept] for name in ("epoch", *names)},
    }


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no epoch")
    return value


def _checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the progress in the newest checkpoint's header; None without one, or if it goes away meanwhile."""
    found = [path for one in folders.folders(folder) for path in folders.files(one)]
    for path in sorted(found, key=lambda path: path.name, reverse=True):
        try:
            with path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header = json.loads(stream.read(length)) if length < HEADER else {}
        except FileNotFoundError:
            continue
        progress: dict[str, Any] = json.loads(header["__metadata__"]["header"])["progress"]
        return progress
    return None


def _last_step(path: Path) -> dict[str, float] | None:
    """Return the last whole row of a training's steps."""
    try:
        with path.open("rb") as stream:
            names = stream.readline().decode().strip().split(",")
            stream.seek(max(stream.tell(), path.stat().st_size - 2000))
            lines = stream.read().decode(errors="replace").split("\n")[:-1]  # what follows is being written
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    for cells in reversed(list(csv.reader(lines))):
        if len(cells) == len(names):
            row = dict(zip(names, cells, strict=True))
            return {name: float(row[name]) for name in ("step", "epoch", "loss", "jets_per_second") if name in row}
    return None
