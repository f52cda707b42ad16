"""The command line: one verb per stage; a stage's code is imported when its verb runs."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bunchtrain import campaign_cli
from bunchtrain.errors import BunchtrainError
from bunchtrain.files import disk_problem
from bunchtrain.options import (
    Cores,
    DatasetPath,
    ModelPath,
    Out,
    ScalerPath,
    SpecText,
    Status,
    Threads,
    Unfamiliar,
    Workers,
)
from bunchtrain.parallel import LAUNCHER, launched_ranks

app = typer.Typer(
    name="bunchtrain",
    help="Simulation samples in, trained and uncertainty-qualified networks out, FPGA IP cores at the end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CHAIN = "The chain"
LOOK = "Looking at things"


@app.command(rich_help_panel=CHAIN)
def simulate(spec: SpecText, out: Annotated[Path, typer.Option("--out", help="ROOT file to write")]) -> None:
    """Generate one ROOT file, of jets or of hits in a tracking detector, with Pythia 8 and FastJet."""
    from bunchtrain.config.specs import SimulateSpec, parse_spec
    from bunchtrain.simulate import run

    run.simulate(parse_spec(SimulateSpec, spec), out)


@app.command(rich_help_panel=CHAIN)
def convert(
    spec: SpecText,
    files: Annotated[list[str], typer.Argument(help="ROOT files, also root:// addresses")],
    out: Annotated[Path, typer.Option("--out", help="HDF5 file to write")],
    manifest: Annotated[Path, typer.Option("--manifest", help="JSON file to write: what became of every input")],
    part: Annotated[str, typer.Option("--part", help="range of each file's entries: 2/5 is the second fifth")] = "1/1",
) -> None:
    """Convert ROOT files into one HDF5 file under the event contract."""
    from bunchtrain.config.specs import ConvertSpec, parse_spec
    from bunchtrain.convert import run

    run.convert(parse_spec(ConvertSpec, spec), files, out, manifest, part=run.parse_part(part))


@app.command(rich_help_panel=CHAIN)
def prepare(
    spec: SpecText,
    shards: Annotated[list[Path], typer.Argument(help="HDF5 shards, also 0000..0124.h5")],
    out: Out,
    threads: Threads = 1,
) -> None:
    """Split by event, fit the scaler, weigh the classes, and join the shards in one index."""
    from bunchtrain.config import ranges
    from bunchtrain.config.specs import PrepareSpec, parse_spec
    from bunchtrain.prepare import run

    run.prepare(parse_spec(PrepareSpec, spec), ranges.files(shards), out, threads=threads)


@app.command(rich_help_panel=CHAIN)
def index(
    spec: SpecText, shards: Annotated[list[Path], typer.Argument(help="HDF5 shards, also 0000..0124.h5")], out: Out
) -> None:
    """Join shards that stand beside the training in one index: all of their rows are for testing."""
    from bunchtrain.config import ranges
    from bunchtrain.config.specs import IndexSpec, parse_spec
    from bunchtrain.prepare import beside

    beside.index(parse_spec(IndexSpec, spec), ranges.files(shards), out)


@app.command(rich_help_panel=CHAIN)
def scan(
    spec: SpecText,
    dataset: DatasetPath,
    scaler: ScalerPath,
    out: Out,
    workers: Workers = "auto",
    cores: Cores = None,
    status: Status = None,
) -> None:
    """Scan the hyperparameters with DeepHyper; every evaluation is a training of its own."""
    from bunchtrain.config.specs import ScanSpec, parse_spec
    from bunchtrain.scan import places, run

    run.scan(parse_spec(ScanSpec, spec), dataset, scaler, out, places.where(workers, cores))


@app.command(rich_help_panel=CHAIN)
def train(
    spec: SpecText,
    dataset: DatasetPath,
    scaler: ScalerPath,
    out: Out,
    best: Annotated[Path | None, typer.Option("--best", help="best.json of the stage scan")] = None,
    threads: Threads = 1,
    launcher: Annotated[
        str | None, typer.Option("--launcher", help='start the ranks, and lost ones again: "mpirun --bind-to none"')
    ] = None,
    ranks: Annotated[int | None, typer.Option("--ranks", min=1, help="ranks to start, else train.ranks")] = None,
) -> None:
    """Train one network, on the ranks that mpirun, srun, horovodrun or torchrun started, or on one."""
    from bunchtrain.config.specs import TrainSpec, parse_spec

    parsed = parse_spec(TrainSpec, spec)
    if launcher is None:
        from bunchtrain.train import run

        run.train(parsed, dataset, scaler, out, best=best, threads=threads)
        return
    from bunchtrain.train import launch  # which does without torch

    command = [sys.executable, "-m", "bunchtrain", "train", "--spec", spec, "--dataset", str(dataset)]
    command += ["--scaler", str(scaler), "--out", str(out), "--threads", str(threads)]
    command += ["--best", str(best)] if best else []
    settings = parsed.settings
    started = ranks or settings.ranks
    launch.check_ranks(settings, started)
    raise typer.Exit(launch.supervise(launcher, started, command, out, settings.restarts))


@app.command(rich_help_panel=CHAIN)
def evaluate(
    spec: SpecText,
    trainings: Annotated[list[Path], typer.Argument(help="folders of trained networks, one per seed")],
    dataset: DatasetPath,
    out: Out,
    threads: Threads = 1,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="folder of a network to compare with")] = None,
    unfamiliar: Unfamiliar = None,
) -> None:
    """Judge trained networks on the test split: accuracy, MC dropout and what it is worth beside other ways."""
    from bunchtrain.config.inputs import named
    from bunchtrain.config.specs import EvaluateSpec, parse_spec
    from bunchtrain.evaluate import run

    asked, others = parse_spec(EvaluateSpec, spec), named(unfamiliar or ())
    run.evaluate(asked, dataset, trainings, out, baseline=baseline, unfamiliar=others, threads=threads)


@app.command(rich_help_panel=CHAIN)
def assess(spec: SpecText, model: ModelPath, dataset: DatasetPath, out: Out, threads: Threads = 1) -> None:
    """Judge one training on the validation split, as a scan chooses among trainings."""
    from bunchtrain.config.specs import EvaluateSpec, parse_spec
    from bunchtrain.evaluate import assess as judge

    judge.assess(parse_spec(EvaluateSpec, spec), dataset, model, out, threads=threads)


@app.command(rich_help_panel=CHAIN)
def vary(spec: SpecText, model: ModelPath, dataset: DatasetPath, out: Out, threads: Threads = 1) -> None:
    """Judge a trained network on the test split as one systematic variation has it."""
    from bunchtrain.config.specs import VarySpec, parse_spec
    from bunchtrain.evaluate import vary as judge

    judge.vary(parse_spec(VarySpec, spec), dataset, model, out, threads=threads)


@app.command(rich_help_panel=CHAIN)
def systematics(
    spec: SpecText,
    variations: Annotated[list[Path], typer.Argument(help="folders of the variations")],
    nominal: Annotated[Path, typer.Option("--nominal", help="folder of the evaluation")],
    out: Annotated[Path, typer.Option("--out", help="JSON file to write")],
) -> None:
    """Join the systematic variations: envelope, ranking, and whether the predicted uncertainty covers them."""
    from bunchtrain.config.specs import SystematicsSpec, parse_spec
    from bunchtrain.evaluate import systematics as join

    join.systematics(parse_spec(SystematicsSpec, spec), nominal, variations, out)


@app.command(rich_help_panel=CHAIN)
def synthesize(
    spec: SpecText,
    model: ModelPath,
    dataset: DatasetPath,
    out: Out,
    best: Annotated[Path | None, typer.Option("--best", help="best.json of a scan of the student's keys")] = None,
    unfamiliar: Unfamiliar = None,
) -> None:
    """Distil a compact student, quantise it, and make an FPGA IP core of it, proven bit for bit."""
    from bunchtrain.config.inputs import named
    from bunchtrain.config.specs import SynthesizeSpec, parse_spec
    from bunchtrain.synth import run, tools

    tools.end_in_order()
    run.synthesize(parse_spec(SynthesizeSpec, spec), dataset, model, out, named(unfamiliar or ()), best=best)


@app.command(rich_help_panel=CHAIN)
def candidate(
    spec: SpecText,
    model: ModelPath,
    dataset: DatasetPath,
    out: Out,
    estimate: Annotated[bool, typer.Option("--estimate", help="estimate the cost instead of a synthesis")] = False,
) -> None:
    """Train and synthesise one of the students that a campaign compares."""
    from bunchtrain.config.specs import SynthesizeSpec, parse_spec
    from bunchtrain.synth import tools
    from bunchtrain.synth.candidate import measure

    tools.end_in_order()
    measure(parse_spec(SynthesizeSpec, spec), dataset, model, out, estimate=estimate)


@app.command(rich_help_panel=CHAIN)
def search(
    spec: SpecText,
    model: ModelPath,
    dataset: DatasetPath,
    out: Out,
    workers: Workers = "auto",
    cores: Cores = None,
) -> None:
    """Let DeepHyper propose students that know much and cost little, and synthesise the best."""
    from bunchtrain.config.specs import SearchSpec, parse_spec
    from bunchtrain.scan.places import where
    from bunchtrain.scan.students import propose

    propose(parse_spec(SearchSpec, spec), dataset, model, out, where(workers, cores))


@app.command(rich_help_panel=CHAIN)
def report(
    spec: SpecText,
    results: Annotated[Path, typer.Option("--results", help="folder of the campaign's results")],
    manifests: Annotated[
        list[Path], typer.Option("--manifest", help="manifest of a conversion, also 0000..0124.json; may be repeated")
    ],
    histories: Annotated[list[Path], typer.Option("--history", help="history.json of a training; may be repeated")],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write")],
    candidates: Annotated[
        list[Path] | None, typer.Option("--candidate", help="figures.json of a candidate; may be repeated")
    ] = None,
    searched: Annotated[Path | None, typer.Option("--search", help="front.json of a search for students")] = None,
    panels: Annotated[
        list[Path] | None, typer.Option("--panels", help="JSON file with further panels; may be repeated")
    ] = None,
) -> None:
    """Write the campaign's page: one HTML file that needs no network."""
    from bunchtrain.config import ranges
    from bunchtrain.config.specs import ReportSpec, parse_spec
    from bunchtrain.report import run

    shown = candidates or [], searched, panels or []
    run.report(parse_spec(ReportSpec, spec), results, ranges.files(manifests), histories, out, *shown)


@app.command(rich_help_panel=LOOK)
def check(file: Annotated[Path, typer.Argument(help="campaign file")] = Path("config/config.yaml")) -> None:
    """Check a campaign file and say what its stages will read."""
    from bunchtrain.campaign import describe

    describe(file)


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
def inspect(
    file: Annotated[str, typer.Argument(help="ROOT or HDF5 file, also a root:// address")],
    write: Annotated[Path | None, typer.Option("--write", help="YAML file for the mapping, in place of here")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file of --write if it exists")] = False,
    everything: Annotated[bool, typer.Option("--all", help="list all branches of large trees")] = False,
) -> None:
    """Show what a file holds, guess its format, and make a mapping to start from."""
    from bunchtrain.convert import inspect as look

    raise typer.Exit(look.inspect(file, write, force, everything))


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
def doctor() -> None:
    """Say what is installed, what is missing, and the command that mends it."""
    from bunchtrain.doctor import examine

    raise typer.Exit(examine())


app.add_typer(campaign_cli.app, name="campaign", rich_help_panel=CHAIN)


def main() -> None:
    """Run a verb; print a problem that the user can mend without a traceback."""
    try:
        app()
    except BunchtrainError as error:
        _tell(error)
        _leave(error.exit_code)
    except Exception as error:
        if (problem := disk_problem(error)) is not None:
            _tell(problem)
            _leave(problem.exit_code)
        if launched_ranks() == 1:
            raise
        traceback.print_exc()
        _leave(1)


def _tell(error: BunchtrainError) -> None:
    head, _, rest = str(error).partition("\n")
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    console.print(f"error: {head}", style="bold red")
    if rest:
        console.print(rest)


def _leave(status: int) -> None:
    """Exit; a rank of several leaves at once, so that the launcher ends the others, which wait for it."""
    sys.stderr.flush()
    if launched_ranks() > 1:
        os._exit(status)
    sys.exit(status)
