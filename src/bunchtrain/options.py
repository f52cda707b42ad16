"""Options that several verbs of the command line have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

SpecText = Annotated[str, typer.Option("--spec", help="what the stage reads of the campaign: JSON, or a file of it")]
Out = Annotated[Path, typer.Option("--out", help="folder of the outputs")]
ModelPath = Annotated[Path, typer.Option("--model", help="folder of the trained network")]
DatasetPath = Annotated[Path, typer.Option("--dataset", help="dataset.h5 of the stage prepare")]
ScalerPath = Annotated[Path, typer.Option("--scaler", help="scaler.json of the stage prepare")]
Unfamiliar = Annotated[
    list[str] | None,
    typer.Option(help="NAME=INDEX: jets that no network has learnt from; may be repeated"),
]
Workers = Annotated[
    str,
    typer.Option(
        help="where evaluations run: here, on the ranks of an mpirun (mpi), or auto: these, else on all nodes of the "
        "Slurm job, else here"
    ),
]
Cores = Annotated[
    int | None, typer.Option("--cores", min=1, help="cores of this machine for all evaluations, else all it may use")
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=1024, help="CPU threads of each process")]


def _tell_status(folder: Path | None) -> None:
    if folder is not None:
        from bunchtrain.scan.status import told

        typer.echo(told(folder))
        raise typer.Exit


Status = Annotated[
    Path | None,
    typer.Option("--status", is_eager=True, callback=_tell_status, help="say what the scan in a folder has done"),
]


class Orphans(StrEnum):
    """What becomes of Slurm jobs that a killed run left."""

    WAIT = "wait"
    CANCEL = "cancel"
