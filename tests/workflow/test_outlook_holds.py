"""What a campaign is said to take, and what it then takes."""

import csv
import json
import subprocess
import sys

from conftest import ROOT

AGAIN = {"evaluate": "evaluate.tsv", "report": "report.tsv"}


def foreseen(campaign, *words):
    campaign.environment["PYTHONPATH"] = str(ROOT / "src")
    command = [sys.executable, "-m", "bunchtrain", "campaign", "plan", "campaign.yaml", "--json", *words]
    done = subprocess.run(
        command, cwd=campaign.folder, env=campaign.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    return facts, {row["rule"]: row for row in facts["rules"]}


def test_the_estimate_is_what_the_jobs_then_take(copy):
    assert foreseen(copy)[0]["jobs"] == 0
    values = copy.values
    values["evaluate"]["bootstrap"] = 21
    copy.write(values)
    facts, rules = foreseen(copy, "--cores", "2")
    assert {rule: row["jobs"] for rule, row in rules.items()} == dict.fromkeys(AGAIN, 1) and facts["jobs"] == 2
    assert all(row["earlier_jobs"] == 1 and row["basis"] == "results" for row in rules.values())
    assert not (copy.folder / ".snakemake/locks").exists() or not any((copy.folder / ".snakemake/locks").iterdir())
    done = copy.run()
    assert done.returncode == 0, done.stderr[-3000:]
    took = {}
    for rule, name in AGAIN.items():
        with (copy.folder / "results/benchmarks" / name).open() as stream:
            took[rule] = next(csv.DictReader(stream, delimiter="\t"))
    for rule, row in rules.items():  # a machine that does other things beside it is up to three times as slow
        assert 1 / 3 < float(took[rule]["s"]) / row["seconds_a_job"]["median"] < 3, rule
        assert 0.7 < float(took[rule]["max_rss"]) / row["memory_mb"] < 1.4, rule
    written = sum(
        (copy.folder / "results/evaluate" / name).stat().st_size for name in ("metrics.json", "predictions.h5")
    )
    assert abs(rules["evaluate"]["disk_bytes"]["median"] / written - 1) < 0.05
    wall = sum(row["seconds_a_job"]["median"] for row in rules.values())
    assert abs(facts["wall_seconds"]["median"] / wall - 1) < 1e-6  # one waits for the other


def test_another_campaign_tells_what_this_one_has_not_run(finished, fresh):
    nothing, unknown = foreseen(fresh)
    assert nothing["core_hours"] is None and set(nothing["unknown"]) == set(unknown) >= {"simulate", "train"}
    facts, rules = foreseen(fresh, "--like", str(finished.folder / "results"), "--jobs", "2")
    assert facts["unknown"] == [] and facts["core_hours"]["median"] > 0 and facts["at_once"] == 2
    assert rules["convert"]["jobs"] == 3 and rules["convert"]["earlier_jobs"] == 3
    made = [path for path in (finished.folder / "results/convert").glob("*/*.h5")]
    size = sum(path.stat().st_size + path.with_suffix(".json").stat().st_size for path in made)
    assert 0.5 < rules["convert"]["disk_bytes"]["median"] / size < 2
