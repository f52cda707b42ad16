"""The command line: one verb per stage; a stage's code is imported when its verb runs."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bunchtrain import campaign_cli, look_cli
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
from bunchtrain.parallel import launched_ranks

app = typer.Typer(
    name="bunchtrain",
    help="Simulation samples in, trained and uncertainty-qualified networks out, FPGA IP cores at the end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CHAIN = "The chain"


@app.command(rich_help_panel=CHAIN)
def simulate(spec: SpecText, out: Annotated[Path, typer.Option("--out", help="ROOT file to write")]) -> None:
    """Generate one ROOT file: jets or hits in a tracking detector, by Pythia 8 and FastJet, or calorimeter showers."""
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
def sensitivity(
    spec: SpecText,
    dataset: DatasetPath,
    out: Annotated[Path, typer.Option("--out", help="JSON file to write")],
    threads: Threads = 1,
) -> None:
    """Learn from labelled samples what a hunt can find: resolution, what cuts gain, what it finds in nothing."""
    from bunchtrain.config.specs import SensitivitySpec, parse_spec
    from bunchtrain.hunt import classify
    from bunchtrain.hunt import sensitivity as stage

    with classify.threads(threads):
        stage.sensitivity(parse_spec(SensitivitySpec, spec), dataset, out)


@app.command(rich_help_panel=CHAIN)
def hunt(
    spec: SpecText,
    dataset: DatasetPath,
    sensitivity: Annotated[Path, typer.Option("--sensitivity", help="JSON file that `sensitivity` wrote")],
    out: Out,
    threads: Threads = 1,
) -> None:
    """Search a black box for a resonance: classifiers without labels in windows of the mass, and a bump hunt."""
    from bunchtrain.config.specs import HuntSpec, parse_spec
    from bunchtrain.hunt import classify, run

    with classify.threads(threads):
        run.hunt(parse_spec(HuntSpec, spec), dataset, sensitivity, out)


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
def trigger(
    model: ModelPath,
    dataset: DatasetPath,
    out: Out,
    unfamiliar: Unfamiliar = None,
    bits: Annotated[int, typer.Option(min=3, max=16, help="width of inputs, weights and activations")] = 8,
    clock_ns: Annotated[float, typer.Option(min=0.5, max=100, help="period that pipeline stages are made for")] = 5.0,
) -> None:
    """Make a circuit of an autoencoder's clipped divergence: an anomaly score for a trigger, proven bit for bit."""
    from bunchtrain.config.inputs import named
    from bunchtrain.synth import tools
    from bunchtrain.synth import trigger as circuit

    tools.end_in_order()
    circuit.trigger(dataset, model, out, named(unfamiliar or ()), bits=bits, clock_ns=clock_ns)


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


app.add_typer(campaign_cli.app, name="campaign", rich_help_panel=CHAIN)
app.add_typer(look_cli.app)


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
