"""The course of a campaign's runs: events that a real Snakemake writes, status, failures, what a rerun asks for."""

import fcntl
import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bunchtrain import campaign
from bunchtrain.course import again, events, failures, status
from bunchtrain.course.events import FILE, LOCK, Run, read
from bunchtrain.errors import InputError
from snakemake_logger_plugin_bunchtrain import told

ROOT = Path(__file__).parents[2]

#: What the run was asked for, as it is written down with it.
ASKED = ["--profile", "slurm/my site", "--keep-going", "--", "bad"]

SNAKEFILE = """
rule all:
    input: "good/a", "good/b", "bad"
rule good:
    output: "good/{name}"
    log: "log/{name}"
    shell: "touch {output}"
rule bad:
    output: "bad"
    log: "log/bad"
    retries: 1
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt
    shell: "echo 'error: no luck' > {log}; echo '  mend     wait' >> {log}; exit 3"
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder in which Snakemake has run one good rule and a bad one, and its exit status."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", "--logger", "bunchtrain"]
    command += ["--logger-bunchtrain-file", FILE, f"--logger-bunchtrain-arguments={json.dumps(ASKED)}"]
    done = subprocess.run([*command, "-n"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not (folder / FILE).exists(), done.stderr  # a dry run is no run
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return folder


def test_a_run_of_snakemake_is_told_by_its_events(ran):
    (run,) = read(ran, ran / "campaign.yaml")
    assert run.arguments == ASKED
    assert run.planned == {"good": 2, "bad": 1} and sorted(run.rules) == ["bad", "good"]
    assert [job.wildcards for job in run.of("good")] in ([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}])
    assert all(job.ended is not None and job.seconds >= 0 and not job.failed for job in run.of("good"))
    (bad,) = run.of("bad")
    assert bad.resources["mem_mb"] == 200  # of the second attempt
    assert bad.failed and bad.failures == 2 and not bad.running and bad.output == ["bad"]
    found = {stage.rule: stage for stage in status.stages([run])}
    assert found["good"][1:5] == (2, 2, 0, 0) and found["bad"][1:5] == (1, 0, 0, 1)
    assert status.show(ran, ran / "campaign.yaml") == 1


def test_a_run_that_ended_by_itself_is_told_from_one_that_was_killed(ran, tmp_path, capsys):
    (run,) = read(ran, ran / "campaign.yaml")
    assert run.over is True and (ran / FILE).read_text().count('"over"') == 1
    status.show(ran, Path("c"))
    said = " ".join(capsys.readouterr().out.split())
    assert "it ended after" in said and "1 failed: see bunchtrain campaign failures" in said and "Slurm" not in said
    asked = {**RUN, "arguments": []}
    submitted = {"time": 102.0, "event": "submitted", "job": 1}
    over = {"time": 110.0, "event": "over"}
    for lines, ending, slurm in (
        ([asked, PLAN, start(1, "convert", 101.0)], "its driver was killed", False),
        ([asked, PLAN, start(1, "convert", 101.0), submitted], "its driver was killed", True),
        ([asked, PLAN, start(1, "convert", 101.0), submitted, over], "it ended after 10 s, before the rest", False),
        ([asked, PLAN, start(1, "convert", 101.0), submitted, asked, over], "a later run ended without a job", False),
        ([RUN, PLAN, start(1, "convert", 101.0)], "no driver runs", False),  # events of before
    ):
        written(tmp_path, *lines)
        status.show(tmp_path, Path("c"))
        said = " ".join(capsys.readouterr().out.split())
        assert ending in said and ("Slurm" in said) == slurm, said


def test_what_the_plugin_for_slurm_says_of_a_job_is_an_event():
    said = "Job 12 has been submitted with SLURM jobid 3456 (log: .snakemake/slurm_logs/x.log)."
    record = logging.makeLogRecord({"msg": said, "levelno": logging.INFO})
    assert told(record) == {"event": "submitted", "job": 12}
    assert told(logging.makeLogRecord({"msg": f"rule says: {said}"})) is None


def test_failures_are_told_by_cause_with_the_end_of_the_log(ran, capsys):
    (run,) = read(ran, ran / "campaign.yaml")
    (failure,) = failures.failures(run.jobs.values(), ran)
    assert failure.cause == "no luck" and failure.lines == ["error: no luck", "  mend     wait"]
    assert failures.show(ran, ran / "my campaign.yaml") == 1
    told = capsys.readouterr().out
    assert "bad: 1 job" in told and "after 2 tries" in told
    assert "campaign.yaml' --profile 'slurm/my site' --keep-going -- bad\n" in told and "--cores" not in told


def test_the_command_that_runs_a_campaign_again_runs_it_where_it_ran(ran, tmp_path):
    assert events.again(ran, Path("c.yaml")) == "bunchtrain campaign run c.yaml --profile 'slurm/my site'"
    assert events.again(tmp_path, Path("my c.yaml")) == "bunchtrain campaign run 'my c.yaml' --cores 2"
    for words, kept in [
        (["--until", "train", "--cores=4"], "--cores=4"),
        (["-j8", "-k", "-e", "slurm"], "-j8 -e slurm"),
        (["-k", "--", "--cores"], "--cores 2"),
    ]:
        written(tmp_path, {**RUN, "arguments": words})
        assert events.again(tmp_path, Path("c")) == f"bunchtrain campaign run c {kept}"
        (run,) = read(tmp_path, tmp_path)
        assert events.command(Path("c"), [run]) == shlex.join(["bunchtrain", "campaign", "run", "c", *words])
    error = {"time": 102.0, "event": "error", "job": 1, "rule": "convert", "output": ["1"], "log": []}
    written(tmp_path, RUN, PLAN, start(1, "convert", 101.0), {**error, "message": "SLURM status is: 'FAILED'."})
    assert events.command(Path("c"), read(tmp_path, tmp_path)).endswith(" c --profile slurm/SITE")


def test_a_rerun_asks_for_the_files_of_a_stage_or_of_some_of_its_jobs(ran):
    assert sorted(again.outputs(ran, ran, "good", [])) == ["good/a", "good/b"]
    assert again.outputs(ran, ran, "good", ["name=b"]) == ["good/b"]
    for stage, where, key, nearest in (
        ("goood", [], "--stage", "good"),
        ("good", ["name=bb"], "--where", "name=b"),
        ("good", ["nam=b"], "--where", "name=..."),
        ("good", ["b"], "--where", None),
    ):
        with pytest.raises(InputError) as caught:
            again.outputs(ran, ran, stage, where)
        assert caught.value.details["key"] == key and caught.value.details.get("nearest") == nearest


def written(folder, *lines):
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))


def test_what_is_made_anew_stands_apart_from_targets_that_follow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump({**values, "output": "results"}))
    monkeypatch.setattr(campaign.os, "execv", lambda _, words: ran.append(words))
    ran: list[list[str]] = []
    campaign.drive(Path("campaign.yaml"), ["-n", "--", "results/report.html"], again=["a.h5", "b.h5"])
    (words,) = ran
    place = words.index("--forcerun")
    assert words[place : place + 4] == ["--forcerun", "a.h5", "b.h5", "--logger"]
    assert words[-3:] == ["-n", "--", "results/report.html"]
    assert f"--logger-bunchtrain-arguments={json.dumps(words[-3:])}" in words


RUN = {"time": 100.0, "event": "run", "host": "here"}
PLAN = {"time": 100.0, "event": "plan", "jobs": {"convert": 4, "train": 1, "total": 5}}


def start(job, rule, time):
    return {"time": time, "event": "start", "job": job, "rule": rule, "output": [f"{job}"], "log": [], "wildcards": {}}


def test_the_time_left_follows_from_times_and_from_how_many_run_at_once(tmp_path):
    ends = [{"time": 110.0, "event": "end", "job": 1}, {"time": 110.0, "event": "end", "job": 2}]
    starts = [start(1, "convert", 100.0), start(2, "convert", 100.0), start(3, "convert", 110.0)]
    written(tmp_path, RUN, PLAN, *starts[:2], *ends, starts[2])
    (run,) = read(tmp_path, tmp_path)
    found = status.stages([run])
    assert run.at_once == 2 and [stage.pending for stage in found] == [1, 1]
    assert status.left(run, found, 114.0) is None  # no training has ended yet
    before = Run(0.0, "here", last=0.0)
    for entry in (start(9, "train", 0.0), {"time": 30.0, "event": "end", "job": 9}):
        before.apply(entry)
    # 6 s of the third conversion, 10 s of the fourth, 30 s of the training as it was before, two at a time.
    assert status.left(run, status.stages([before, run]), 114.0) == pytest.approx((6 + 10 + 30) / 2)


def test_a_run_is_followed_into_a_pipe_by_a_line_for_each_change(tmp_path):
    written(tmp_path, RUN, PLAN, start(1, "convert", 101.0))
    code = "import pathlib, sys; from bunchtrain.course.status import show; p = pathlib.Path(sys.argv[1])"
    command = [sys.executable, "-c", f"{code}; sys.exit(show(p, p / 'c.yaml', follow=True))", str(tmp_path)]
    with (tmp_path / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a driver is at work
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout.readline().endswith(" convert 0/4 (1 running); train 0/1\n")
            with (tmp_path / FILE).open("a") as events_file:
                events_file.write(json.dumps({"time": 102.0, "event": "end", "job": 1}) + "\n")
            assert following.stdout.readline().endswith(" convert 1/4; train 0/1\n")
            fcntl.flock(lock, fcntl.LOCK_UN)
            rest = following.stdout.read()
    assert "1 of 5 jobs done" in rest and "stage" in rest and following.returncode == 0


def test_half_lines_are_left_out_and_other_files_refused(tmp_path):
    written(tmp_path, RUN, '{"time": 101, "eve', "\n", {**RUN, "time": 200.0}, PLAN, '{"event": "st')
    runs = read(tmp_path, tmp_path)
    assert [run.started for run in runs] == [100.0, 200.0] and runs[1].planned == {"convert": 4, "train": 1}
    written(tmp_path, {"other": 1})
    with pytest.raises(InputError, match="line 1 is no event") as caught:
        read(tmp_path, tmp_path)
    assert "remove the file" in caught.value.details["mend"]
    with pytest.raises(InputError, match="has not been run here") as caught:
        read(tmp_path / "elsewhere", tmp_path / "c.yaml")
    assert "campaign run" in caught.value.details["mend"]


def test_what_was_short_is_told_with_what_gives_more(tmp_path, capsys):
    error = {"time": 102.0, "event": "error", "job": 1, "rule": "convert", "output": ["1"], "log": []}
    for said, resources, lines in [
        (
            "OUT_OF_MEMORY",
            {"mem_mb": 8000, "runtime": 60},
            ["had 8000 MB of memory", "set-resources: {", "mem_mb: 16000}}"],
        ),
        ("TIMEOUT", {"mem_mb": 8000, "runtime": 60}, ["had 60 min of time", "{convert: {runtime: 120}}"]),
        ("OUT_OF_MEMORY", {}, ["twice the memory", "{convert: {mem_mb: ...}}"]),
    ]:
        begun = {**start(1, "convert", 101.0), "resources": resources}
        written(tmp_path, RUN, PLAN, begun, {**error, "message": f"SLURM status is: '{said}'."})
        assert failures.show(tmp_path, Path("c")) == 1
        told = capsys.readouterr().out
        assert all(line in told for line in lines), told
    begun = {**start(1, "convert", 101.0), "resources": {"mem_mb": 8000}}
    written(tmp_path, RUN, PLAN, begun, {**error, "message": "SLURM status is: 'NODE_FAIL'."})
    failures.show(tmp_path, Path("c"))
    assert "8000" not in capsys.readouterr().out


@pytest.mark.parametrize(("said", "meaning"), [("OUT_OF_MEMORY", "out of memory"), ("TIMEOUT", "over its time limit")])
def test_what_slurm_says_of_an_end_is_the_cause(tmp_path, said, meaning):
    error = {"time": 102.0, "event": "error", "job": 1, "rule": "convert", "output": ["1"], "log": []}
    written(tmp_path, RUN, PLAN, start(1, "convert", 101.0), {**error, "message": f"SLURM status is: '{said}'."})
    (run,) = read(tmp_path, tmp_path)
    (failure,) = failures.failures(run.jobs.values(), tmp_path)
    assert failure.cause == meaning and failure.lines == []
    run.apply(start(1, "convert", 103.0))
    run.apply({"time": 104.0, "event": "end", "job": 1})
    assert failures.failures(run.jobs.values(), tmp_path) == [] and run.jobs[1].failures == 1
