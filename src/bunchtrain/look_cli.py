"""The verbs that look at things: campaigns, files, results, this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bunchtrain.options import Threads
from bunchtrain.parallel import LAUNCHER
from bunchtrain.sample import Outside

app = typer.Typer()

PANEL = "Looking at things"


@app.command(rich_help_panel=PANEL)
def check(file: Annotated[Path, typer.Argument(help="campaign file")] = Path("config/config.yaml")) -> None:
    """Check a campaign file and say what its stages will read."""
    from bunchtrain.campaign import describe

    describe(file)


@app.command(rich_help_panel=PANEL)
def unblind(
    file: Annotated[Path, typer.Argument(help="campaign file")],
    box: Annotated[str | None, typer.Option("--box", help="one of the campaign's boxes; else all")] = None,
) -> None:
    """Open black boxes, once what was found in them stands: what was hidden beside what was found."""
    from bunchtrain.unblind import run

    run.unblind(file, box)


@app.command(rich_help_panel=PANEL)
def sample(
    model: Annotated[Path, typer.Argument(help="folder of a trained surrogate")],
    parameters: Annotated[Path, typer.Option("--parameters", help="HDF5 file with a data set for each parameter")],
    out: Annotated[Path, typer.Option("--out", help="HDF5 file to write")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="what is drawn follows from it")] = 0,
    outside: Annotated[Outside, typer.Option("--outside", help="rows outside of what was learned")] = Outside.REFUSE,
    threads: Threads = 1,
) -> None:
    """Draw quantities for parameters with a trained surrogate, such as showers for particles."""
    from bunchtrain.sample import run

    rows = run.sample(model, parameters, out, seed=seed, outside=outside, threads=threads)
    print(f"[sample] {rows} rows in {out}")


@app.command(rich_help_panel=PANEL)
def onnx(
    model: Annotated[Path, typer.Argument(help="folder of a trained surrogate")],
    out: Annotated[Path, typer.Option("--out", help="ONNX file to write")],
) -> None:
    """Write a trained surrogate as an ONNX graph, checked against torch."""
    from bunchtrain.sample.onnx import export as write

    print(f"[onnx] {out}: differs from torch by {write(model, out):.1e} of the largest number at most")


@app.command(rich_help_panel=PANEL)
def export(
    source: Annotated[Path, typer.Argument(help="dataset.h5 of the stage prepare, or a shard of convert")],
    out: Annotated[Path, typer.Option("--out", help="HDF5 file to write")],
    collection: Annotated[str, typer.Option("--collection", help="what the tracks are")] = "constituents",
    width: Annotated[int, typer.Option("--width", help="tracks per jet")] = 40,
    name: Annotated[str, typer.Option("--name", help="name of the dataset of tracks")] = "tracks",
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test alone")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="a column of the tracks; may be repeated")
    ] = None,
) -> None:
    """Write jets and tracks in the padded, structured layout that flavour-tagging tools read."""
    from bunchtrain.events.export import export as write

    jets = write(source, out, collection=collection, width=width, name=name, split=split, columns=column or ())
    print(f"[export] {jets} jets, {width} {collection} each, in {out}")


@app.command(rich_help_panel=PANEL)
def inspect(
    file: Annotated[str, typer.Argument(help="ROOT or HDF5 file, also a root:// address")],
    write: Annotated[Path | None, typer.Option("--write", help="YAML file for the mapping, in place of here")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file of --write if it exists")] = False,
    everything: Annotated[bool, typer.Option("--all", help="list all branches of large trees")] = False,
) -> None:
    """Show what a file holds, guess its format, and make a mapping to start from."""
    from bunchtrain.convert import inspect as look

    raise typer.Exit(look.inspect(file, write, force, everything))


@app.command(rich_help_panel=PANEL)
def scaling(
    file: Annotated[Path, typer.Argument(help="campaign file; its stage prepare has run")] = Path("config/config.yaml"),
    out: Annotated[Path | None, typer.Option("--out", help="folder, else scaling among the campaign's results")] = None,
    ranks: Annotated[str, typer.Option("--ranks", help="ranks to probe")] = "1,2",
    batch_sizes: Annotated[
        str | None, typer.Option("--batch-sizes", help="jets a step to probe, else the campaign's, half and twice it")
    ] = None,
    launcher: Annotated[str, typer.Option("--launcher", help="starts the ranks: mpirun ..., srun ...")] = LAUNCHER,
    threads: Threads = 1,
    steps: Annotated[int, typer.Option("--steps", min=5, help="steps that are measured in a probe")] = 40,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="times that each probe runs")] = 2,
    ranks_per_node: Annotated[
        int | None, typer.Option("--ranks-per-node", min=1, help="ranks that fill a node, else its cores / threads")
    ] = None,
    predict: Annotated[int, typer.Option("--predict", min=1, max=65536, help="ranks up to which is predicted")] = 64,
    deadline: Annotated[float | None, typer.Option("--deadline", min=0, help="hours for the whole training")] = None,
    budget: Annotated[float | None, typer.Option("--budget", min=0, help="core hours for the whole training")] = None,
) -> None:
    """Measure short trainings on a few ranks, predict more ranks, and say how many to take."""
    from bunchtrain.campaign import scaling as measure
    from bunchtrain.scaling import request

    asked = request.Request(
        ranks=request.numbers(ranks, "--ranks"),
        batches=request.numbers(batch_sizes, "--batch-sizes") if batch_sizes else (),
        launcher=launcher,
        threads=threads,
        steps=steps,
        repeats=repeats,
        per_node=ranks_per_node or max(1, len(os.sched_getaffinity(0)) // threads),
        cores=request.available_cores(),
        most=predict,
        deadline=deadline,
        budget=budget,
    )
    measure(file, out, asked)


@app.command(rich_help_panel=PANEL)
def provenance(
    path: Annotated[Path, typer.Argument(help="any output of a campaign; with --down also an input")],
    down: Annotated[bool, typer.Option("--down/--up", help="what was made of it, or what it was made from")] = False,
    folder: Annotated[
        list[Path] | None, typer.Option("--in", help="where to look, else the file's campaign; may be repeated")
    ] = None,
    by_content: Annotated[bool, typer.Option("--by-content", help="know the file by what is in it")] = False,
    form: Annotated[str, typer.Option("--format", help="text, json, or prov: W3C PROV-JSON")] = "text",
) -> None:
    """Show what an output was made from, or what was made of a file, and whether anything has changed since."""
    from bunchtrain.origin.show import show
    from bunchtrain.origin.ways import Question

    raise typer.Exit(show(Question(path, down, tuple(folder or ()), by_content), form))


@app.command(rich_help_panel=PANEL)
def verify(
    file: Annotated[Path, typer.Argument(help="core.zip that synthesize made, or what campaign archive made")],
) -> None:
    """Prove an FPGA core again from the files inside: network, C++ and RTL, on every vector; it runs their code.

    Of a campaign's archive all digests, records and metadata are checked; nothing is run.
    """
    from bunchtrain.origin import unpacked

    if unpacked.is_crate(file):
        unpacked.verify(file)
    else:
        from bunchtrain.synth import tools
        from bunchtrain.synth.reprove import reprove

        tools.end_in_order()
        reprove(file)
    typer.echo("[verify] PASS")


@app.command(rich_help_panel=PANEL)
def doctor() -> None:
    """Say what is installed, what is missing, and the command that mends it."""
    from bunchtrain.doctor import examine

    raise typer.Exit(examine())
