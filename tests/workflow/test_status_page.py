"""The status page of a campaign that runs: read again and again while its files are written."""

import subprocess
import sys
import time
from pathlib import Path

from bunchtrain.page.state import Watched
from minicampaign import ROOT


def test_a_campaign_that_runs_is_followed_to_its_end(fresh, monkeypatch):
    monkeypatch.chdir(fresh.folder)
    values = fresh.values
    values["train"] |= {"epochs": 12, "patience": 12}
    fresh.write(values)
    environment = {**fresh.environment, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "bunchtrain", "campaign", "run", "campaign.yaml", "--cores", "2"]
    command += ["--", "results/train/seed0/model.safetensors"]
    watched, seen = Watched([Path("campaign.yaml")]), []
    assert watched.state()["campaigns"][0]["course"] is None
    with Path("output").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    while process.poll() is None:
        seen.append(watched.state()["campaigns"][0])
        time.sleep(0.1)
    assert process.returncode == 0, Path("output").read_text()[-3000:]
    last = watched.state()["campaigns"][0]
    assert [one["problems"] for one in [*seen, last] if one["problems"]] == []
    courses = [one["course"] for one in seen if one["course"]]
    assert "runs" in {course["state"] for course in courses} <= {"begins", "runs", "ended"}
    done = [course["done"] for course in courses]
    assert done == sorted(done) and last["course"]["state"] == "ended" and last["course"]["done"] == 8
    assert {job["rule"] for course in courses for job in course["jobs"]} >= {"simulate", "convert", "scan", "train"}
    # Evaluations and epochs arrived one after another.
    ended = [one["scan"]["ended"] for one in seen if one["scan"]]
    assert ended == sorted(ended) and len(set(ended)) > 1 and any(one["scan"]["running"] for one in seen if one["scan"])
    going = [training for one in seen for training in one["trainings"]["shown"] if not training["done"]]
    epochs = [len(training["curves"]["epoch"]) for training in going]
    assert epochs == sorted(epochs) and len(set(epochs)) > 2
    (training,) = last["trainings"]["shown"]
    assert training["done"] and training["curves"]["epoch"] == list(range(1, 13))
