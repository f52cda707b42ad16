"""The verbs of `bunchtrain campaign`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bunchtrain.options import Orphans

app = typer.Typer(help="Run a campaign from here; keep and compare what it came to.", no_args_is_help=True)

CampaignFile = Annotated[Path, typer.Argument(help="campaign file")]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    file: CampaignFile = Path("config/config.yaml"),
    orphans: Annotated[Orphans, typer.Option("--orphans", help="Slurm jobs that a killed run left")] = Orphans.WAIT,
) -> None:
    """Run a campaign through Snakemake; what follows the file goes to Snakemake as it is.

    A run that was killed is taken up where it stopped: its lock is removed once no other run holds this folder, and its
    jobs in Slurm have ended.
    """
    from bunchtrain.campaign import drive

    drive(file, context.args, cancel=orphans is Orphans.CANCEL)


@app.command()
def plan(
    file: CampaignFile = Path("config/config.yaml"),
    like: Annotated[
        Path | None, typer.Option("--like", help="output of another campaign, for stages that this one has not run")
    ] = None,
    cores: Annotated[int | None, typer.Option("--cores", min=1, help="cores for all jobs, else this machine's")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="in place of cores: jobs at once")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
) -> None:
    """Show what a campaign has still to do, and estimate time, memory and disk from what earlier jobs took."""
    from bunchtrain.campaign import outlook

    outlook(file, like, cores or len(os.sched_getaffinity(0)), jobs, as_json)


@app.command()
def status(
    file: CampaignFile = Path("config/config.yaml"),
    follow: Annotated[bool, typer.Option("--follow", "-f", help="until the run ends, anew at each change")] = False,
) -> None:
    """Show what a campaign's run has done, does, and has to do; the exit status is 1 if jobs have failed."""
    from bunchtrain.campaign import results
    from bunchtrain.course.status import show

    raise typer.Exit(show(results(file), file, follow=follow))


@app.command()
def failures(file: CampaignFile = Path("config/config.yaml")) -> None:
    """Show why jobs of a campaign's last run have failed, by cause, with the ends of their logs."""
    from bunchtrain.campaign import results
    from bunchtrain.course.failures import show

    raise typer.Exit(show(results(file), file))


@app.command()
def page(
    files: Annotated[list[Path] | None, typer.Argument(help="campaign files; config/config.yaml if none")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="write the page as it is now into this HTML file")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="serve it, live: what is done without --out")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="to serve it at; 0 takes a free one")] = 0,
    host: Annotated[str, typer.Option("--host", help="address; other than this machine's own it needs a token")] = (
        "127.0.0.1"
    ),
    token: Annotated[bool, typer.Option("--token", help="demand a token of this machine's users too")] = False,
) -> None:
    """Show campaigns in a browser: progress, failures, curves of trainings and scan; read only, for this machine."""
    from bunchtrain.page.run import show

    live = serve or out is None
    show(files or [Path("config/config.yaml")], out, live=live, host=host, port=port, guarded=token)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def rerun(
    context: typer.Context,
    file: CampaignFile = Path("config/config.yaml"),
    *,
    stage: Annotated[str, typer.Option("--stage", help="rule whose jobs are run again, e.g. convert")],
    where: Annotated[
        list[str] | None, typer.Option("--where", help="only jobs like this, e.g. sample=top; may be repeated")
    ] = None,
) -> None:
    """Run jobs of a stage again, and what depends on them; what follows goes to Snakemake as it is."""
    from bunchtrain.campaign import drive, made_anew

    drive(file, context.args, again=made_anew(file, stage, where or []))


@app.command()
def archive(
    file: CampaignFile = Path("config/config.yaml"),
    out: Annotated[Path, typer.Option("--out", help="zip file to write")] = Path("campaign.crate.zip"),
    everything: Annotated[bool, typer.Option("--all", help="data sets too: ROOT and HDF5 files")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="what is there, of a campaign not run to its end")] = False,
    licence: Annotated[str | None, typer.Option("--license", help="address of the licence of the results")] = None,
) -> None:
    """Pack a finished campaign's results with where they came from into one RO-Crate; `bunchtrain verify` checks it."""
    from bunchtrain.origin.archive import archive as pack

    pack(file, out, everything=everything, partial=partial, licence=licence)


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(help="campaign file, output folder, or archive")],
    other: Annotated[Path, typer.Argument(help="another")],
    as_json: Annotated[bool, typer.Option("--json", help="print the differences as JSON")] = False,
) -> None:
    """Show what two campaigns differ in: settings, inputs, versions, figures; the exit status is 1 if they do."""
    from bunchtrain.origin.difference import show

    raise typer.Exit(show(one, other, as_json=as_json))
