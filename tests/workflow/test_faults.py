"""Kills, bad inputs, odd names: a clear error or the same results, never a half file."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from bunchtrain.files import read_json
from conftest import SAMPLES

RESULTS = ("scan/best.json", "train/seed0/model.safetensors", "evaluate/metrics.json", "evaluate/predictions.h5")


def drive(campaign, *arguments):
    """Start a driver; what it says goes to a file, since its orphans may outlive it."""
    command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--cores", "2", *arguments]
    with (campaign.folder.parent / "output").open("w") as stream:
        return subprocess.Popen(
            command,
            cwd=campaign.folder,
            env=campaign.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def said(campaign):
    return (campaign.folder.parent / "output").read_text()


def wait_for(campaign, process, words):
    while words not in said(campaign):
        assert process.poll() is None, said(campaign)
        time.sleep(0.05)


def descendants(pid):
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,ppid"], capture_output=True, text=True, check=True
    ).stdout.split()[2:]
    parents = dict(zip(map(int, listed[::2]), map(int, listed[1::2]), strict=True))
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, its in parents.items() if its == parent]
        found += children
        waiting += children
    return found


def without_trainings(campaign):
    """Take away what stands behind the preparation, as if the campaign had come so far."""
    for name in ("scan", "train", "evaluate", "synthesize"):
        shutil.rmtree(campaign.folder / "results" / name)
    (campaign.folder / "results/report.html").unlink()


@pytest.mark.parametrize("victim", ["driver", "ranks", pytest.param("everything", marks=pytest.mark.slow)])
@pytest.mark.parametrize("moment", ["[scan] evaluation 1/2", "[train] epoch 2/4"])
def test_a_kill_and_a_second_run_end_in_the_same_results(finished, copy, moment, victim):
    without_trainings(copy)
    target = "results/evaluate/metrics.json"
    process = drive(copy, "--", target)
    wait_for(copy, process, moment)
    family = descendants(process.pid)
    assert family
    chosen = {"driver": [process.pid], "everything": [process.pid, *family], "ranks": []}[victim]
    for _ in range(200 if victim == "ranks" else 0):
        named = {pid: _arguments(pid) for pid in descendants(process.pid)}
        chosen = [
            pid
            for pid, text in named.items()
            if "bunchtrain train --spec" in text and "mpirun" not in text and "bash" not in text
        ]
        if chosen:
            break
        time.sleep(0.05)
    assert chosen
    for pid in chosen:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(300)
    again = drive(copy, "--", target)
    assert again.wait(600) == 0, said(copy)
    for name in RESULTS:
        assert copy.read(name) == finished.read(name), name


@pytest.mark.parametrize(
    "moment",
    [
        "[synthesize] training of the student",
        pytest.param("[evaluate]", marks=pytest.mark.slow),
        pytest.param("[prepare]", marks=pytest.mark.slow),
    ],
)
def test_a_driver_killed_in_other_stages_and_a_second_run_end_in_the_same_core(finished, copy, moment):
    """Its orphan may still be at work when the second run starts."""
    without_trainings(copy)
    shutil.rmtree(copy.folder / "results/prepare")
    process = drive(copy)
    wait_for(copy, process, moment)
    process.kill()
    process.wait(60)
    again = drive(copy)
    assert again.wait(900) == 0, said(copy)
    for name in (*RESULTS, "synthesize/core.zip"):
        assert copy.read(name) == finished.read(name), name


def test_files_that_left_the_campaign_leave_the_report(copy):
    (copy.folder / SAMPLES[2]).unlink()
    values = copy.values
    values["scan"]["trials"] = 0
    values["train"]["epochs"] = 1
    copy.write(values)
    done = copy.run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    page = copy.read("report.html").decode()
    assert SAMPLES[0] in page and SAMPLES[2] not in page


def _arguments(pid):
    return subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout


def test_two_drivers_in_one_folder_are_refused(copy):
    without_trainings(copy)
    first = drive(copy, "--", "results/evaluate/metrics.json")
    wait_for(copy, first, "[scan] evaluation 1/2")
    second = drive(copy)
    assert second.wait(120) == 2 and "another campaign runs in this folder" in said(copy)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(60)


BAD = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "not ROOT": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_input_is_named_and_leaves_nothing(fresh, kind):
    bad = fresh.folder / SAMPLES[1]
    BAD[kind](bad)
    done = fresh.run("results/convert/top/0000.h5")
    text = done.stdout + done.stderr
    assert done.returncode != 0 and SAMPLES[1] in text and "Traceback" not in text
    assert not any(path.suffix in (".h5", ".tmp") for path in (fresh.folder / "results").rglob("*"))


def test_quarantine_goes_on_and_the_report_lists_the_file(copy):
    BAD["truncated"](copy.folder / SAMPLES[1])
    values = copy.values
    values["convert"]["on_bad_file"] = "quarantine"
    values["scan"]["trials"] = 0
    copy.write(values)
    done = copy.run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifest = read_json(copy.folder / "results/convert/top/0000.json")
    assert [entry["status"] for entry in manifest["inputs"]] == ["ok", "quarantined"]
    page = copy.read("report.html").decode()
    assert "Files left out" in page and SAMPLES[1] in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["model"].update(kind="gmn"), ["campaign.yaml", "model.kind", "gmn", "gnn"]),
        (lambda v: v.update(trian={}), ["campaign.yaml", "trian", "train"]),
        (lambda v: v["train"].update(epochs=-3), ["campaign.yaml", "train.epochs", "-3"]),
        (lambda v: v["samples"].update({"$(touch pwned)": v["samples"].pop("qcd")}), ["campaign.yaml", "letters"]),
        (lambda v: v["convert"].update(format={"kind": "ntuple", "tree": "jet"}), ["jet", "jets", SAMPLES[0]]),
        (lambda v: v["samples"]["top"].update(files=["data/none/*.root"]), ["samples.top.files", "data/none"]),
    ],
)
def test_a_bad_campaign_is_explained(fresh, change, words):
    values = fresh.values
    change(values)
    fresh.write(values)
    done = fresh.run("results/convert/top/0000.h5") if "format" in values["convert"] else fresh.run()
    text = done.stdout + done.stderr
    assert done.returncode != 0 and all(word in text for word in words), text
    assert "Traceback" not in text and not (fresh.folder / "pwned").exists()


def test_the_working_folder_holds_what_was_put_there_and_the_results_alone(finished):
    assert {path.name for path in finished.folder.iterdir()} == {"campaign.yaml", "data", "results", ".snakemake"}
