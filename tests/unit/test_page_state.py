"""What the status page shows, as data: counts, states, causes, curves; also of files that are written or damaged."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bunchtrain.cli import app
from bunchtrain.files import exclusive
from bunchtrain.page import document, jobs, scans, trainings
from bunchtrain.page.state import Watched
from bunchtrain.scan.journal import Trial
from invented import BEGUN, RULES, Invented, half_way

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(*made, now=BEGUN + 170):
    found = Watched([one.file for one in made]).state(now)["campaigns"]
    assert len(found) == len(made) and all(one["problems"] == [] for one in found)
    return found[0]


def driven(made):
    """Hold the lock that a driver would."""
    return exclusive(made.results / "logs/driver.lock")


def test_a_campaign_half_way_is_told_by_its_events(tmp_path):
    made = half_way(tmp_path)
    with driven(made):
        course = told(made)["course"]
    assert course["state"] == "runs" and course["host"] == "login1" and course["begun"] == BEGUN
    assert [course[name] for name in ("done", "running", "failed", "planned")] == [73, 2, 3, 86]
    assert [stage["rule"] for stage in course["stages"]] == list(RULES)
    convert = course["stages"][1]
    assert [convert[name] for name in ("done", "running", "failed", "pending", "seconds")] == [33, 2, 3, 2, 5.0]
    # 33 conversions from the start of the first to the end of the last; 4 are left.
    assert [convert["rate"], convert["left"]] == pytest.approx([33 / 38, 4 * 38 / 33], rel=1e-4)
    (failure,) = course["failures"]
    assert failure["rule"] == "convert" and failure["cause"] == "a ROOT file is truncated" and failure["count"] == 3
    assert failure["lines"][-1] == "  mend     fetch it again"
    assert [job["name"] for job in failure["jobs"]] == [f"sample=wz, group=000{number}" for number in range(3)]
    assert [job["started"] - BEGUN for job in course["jobs"]] == [160, 161] and course["more"] == 0
    assert course["jobs"][0]["lines"] == ["[convert] 3 of 8 files"]
    assert told(made)["course"]["state"] == "failed" and told(made)["course"]["jobs"] == []


def test_each_way_a_run_can_stand_has_its_word(tmp_path):
    made = Invented(tmp_path)
    assert told(made)["course"] is None
    made.begin({"convert": 2})
    made.done("convert", BEGUN, 3.0)
    job = made.start("convert", BEGUN + 1)
    with driven(made):
        assert told(made)["course"]["state"] == "runs"
    gone = told(made)["course"]
    assert gone["state"] == "gone" and gone["running"] == 0 and gone["left"] is None  # its driver was killed
    assert gone["stages"][0]["pending"] == 1
    made.fail(job, BEGUN + 4)
    assert told(made)["course"]["state"] == "failed"
    made.done("convert", BEGUN + 5, 3.0)
    assert told(made)["course"]["stages"][0]["planned"] == 3  # of which one attempt too many is not asked for
    made.begin({"report": 1}, BEGUN + 100)
    made.done("report", BEGUN + 100, 1.0)
    made.note("run", BEGUN + 200, host="login1")
    with driven(made):
        assert told(made)["course"]["state"] == "begins"
    course = told(made)["course"]  # that run had nothing to do
    assert course["state"] == "ended" and course["planned"] == 1
    assert [(one["rule"], one["planned"], one.get("earlier")) for one in course["stages"]] == [
        ("convert", 0, 2),
        ("report", 1, None),
    ]
    assert course["arrows"] == [["convert", "report"]]


@pytest.mark.parametrize("name", ["config.yaml", "campaigns/uncertainty-ftag.yaml"])
def test_stages_follow_one_another_as_in_the_workflow(name):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--rulegraph", "--configfile"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    graph = subprocess.check_output([*command, ROOT / "config" / name], text=True, env=environment)
    rules = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    edges = {(rules[a], rules[b]) for a, b in re.findall(r"(\d+) -> (\d+)", graph) if rules[b] != "all"}
    there = [rule for rule in jobs.AFTER if rule in rules.values()]
    assert set(there) == set(rules.values()) - {"all"}
    drawn = {(before, rule) for rule in there for before in jobs._before(rule, there)}
    assert drawn <= edges
    # Every other arrow of the workflow is a way along the drawn ones.
    for start, end in edges - drawn:
        reached, ahead = set(), [start]
        while ahead:
            one = ahead.pop()
            reached.add(one)
            ahead += [after for before, after in drawn if before == one]
        assert end in reached, (start, end)


def test_a_training_is_read_while_it_goes_on_and_at_its_end(tmp_path):
    made = Invented(tmp_path)
    made.history(9, "seed2", done=False)
    made.history(200, "seed10")
    found = told(made)["trainings"]
    assert [one["name"] for one in found["shown"]] == ["seed2", "seed10"]  # seed10 after seed2
    going, ended = found["shown"]
    assert not going["done"] and going["curves"]["epoch"] == list(range(1, 10)) and going["best"] == 9
    assert going["step"] == {"step": 470, "epoch": 10, "loss": 0.41, "jets_per_second": 821.5}  # not the torn row
    assert ended["done"] and ended["best"] == 198 and ended["last"]["epoch"] == 200
    assert len(ended["curves"]["epoch"]) <= trainings.POINTS + 1 and ended["curves"]["epoch"][-1] == 200
    made.write("train/seed3/checkpoints/.lock", "")
    assert len(told(made)["trainings"]["shown"]) == 2  # it has not come to an epoch
    for number in range(20, 30):
        made.history(2, f"seed{number}")
    found = told(made)["trainings"]
    assert len(found["shown"]) == trainings.SHOWN and found["more"] == 12 - trainings.SHOWN


def test_a_loss_that_is_no_number_is_a_gap(tmp_path):
    made = Invented(tmp_path)
    history = json.loads(made.history(3).read_text())
    history["rows"][1]["validation_loss"] = float("nan")
    made.write("train/seed0/history.json", json.dumps(history))
    (one,) = told(made)["trainings"]["shown"]
    assert one["curves"]["validation_loss"][1] is None and one["curves"]["validation_loss"][2] is not None


def test_a_training_that_tells_no_classes_apart_has_losses_and_no_area(tmp_path):
    made = Invented(tmp_path)
    rows = [{"epoch": epoch, "train_loss": 2.0, "validation_loss": 1.0, "validation_alive": 3.0} for epoch in (1, 2)]
    made.write("train/seed0/history.json", json.dumps({"rows": rows, "best_epoch": 2}))
    (one,) = told(made)["trainings"]["shown"]
    assert set(one["curves"]) == {"epoch", "train_loss", "validation_loss"} and one["last"]["validation_loss"] == 1.0


def test_a_scan_is_read_while_it_goes_on(tmp_path):
    made = Invented(tmp_path)
    journal = made.journal(46, wanted=80, going=4)
    with journal.open("a") as stream:
        stream.write('{"event": "end", "tri')  # being written
    with exclusive(made.results / "scan/.lock"):
        scan = told(made, now=BEGUN + 400)["scan"]
    assert scan["running"] and scan["ended"] == 46 and scan["wanted"] == 80 and scan["slots"] == 4
    assert scan["failed"] == [["ended with an error, see its log", 6]] and len(scan["points"]) == 40
    assert [one["number"] for one in scan["going"]] == [47, 48, 49, 50]
    assert [one["number"] for one in scan["latest"]] == list(range(46, 36, -1))
    assert scan["left"] == pytest.approx(34 * 20 / 4)
    lines = [json.loads(line) for line in journal.read_text().splitlines()[:-1]]
    ended = [(one["facts"], one["trial"] + 1) for one in lines if one["event"] == "end" and one["facts"]]
    loss, number = min((facts["validation_loss"], number) for facts, number in ended if number % 5)
    assert scan["best"]["number"] == number and scan["best"]["value"] == pytest.approx(loss, rel=1e-4)
    values = [value for _, value in scan["steps"]]
    assert values == sorted(values, reverse=True) and len(values) > 3 and not scan["larger"]
    still = told(made, now=BEGUN + 400)["scan"]
    assert not still["running"] and still["left"] is None and still["going"] == []


@settings(deadline=None)
@given(st.integers(1, 5000), st.randoms(use_true_random=False))
def test_thinned_evaluations_keep_the_lowest_and_the_highest(count, random):
    values = [random.random() for _ in range(count)]
    figures = [(Trial(number, {}), value) for number, value in enumerate(values)]
    kept = scans._thinned(figures)
    assert min(count, scans.POINTS / 2) <= len(kept) <= scans.POINTS + 1
    assert [trial.number for trial, _ in kept] == sorted({trial.number for trial, _ in kept})
    assert {min(values), max(values)} <= {value for _, value in kept}


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(tmp_path):
    made = half_way(tmp_path)
    made.write("scan/journal.jsonl", '{"event": "end", "trial": 7}\n')
    made.write("train/seed0/history.json", '{"rows": [{"train_loss": "<b>"}]}')
    (one,) = Watched([made.file]).state(BEGUN + 170)["campaigns"]
    assert one["course"]["done"] == 73 and one["scan"] is None and one["trainings"]["shown"] == []
    assert len(one["problems"]) == 2 and "the journal of a scan is damaged" in one["problems"][1]
    for line in ({"event": "start"}, {"event": "end", "time": "now"}, {"event": "start", "time": 1, "rule": 7}):
        made.write("logs/course.jsonl", f'{{"event": "run", "time": 1, "host": "x"}}\n{json.dumps(line)}\n')
        (one,) = Watched([made.file]).state()["campaigns"]
        assert one["course"] is None and "line 2 is no event of a run" in one["problems"][0]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def spoilt(value, way, junk):
    """Put junk in the place of some part of JSON-like data."""
    if not way or not isinstance(value, dict | list) or not value:
        return junk
    first, *rest = way
    if isinstance(value, dict):
        key = sorted(value)[first % len(value)]
        return {**value, key: spoilt(value[key], rest, junk)}
    return [spoilt(one, rest, junk) if place == first % len(value) else one for place, one in enumerate(value)]


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.lists(st.integers(0, 9), max_size=4), JUNK)
def test_whatever_stands_in_the_files_there_is_a_state(tmp_path_factory, event, trial, way, junk):
    folder = tmp_path_factory.mktemp("junk")
    made = half_way(folder, samples=10)
    made.journal(12, wanted=20, going=2)
    for name, place in (("logs/course.jsonl", event), ("scan/journal.jsonl", trial)):
        lines = [json.loads(line) for line in (made.results / name).read_text().splitlines()]
        lines[place % len(lines)] = spoilt(lines[place % len(lines)], way, junk)
        made.write(name, "".join(json.dumps(line) + "\n" for line in lines))
    history = json.loads(made.history(3).read_text())
    made.write("train/seed0/history.json", json.dumps(spoilt(history, way, junk)))
    with contextlib.chdir(folder), driven(made):
        text = document.text(Watched([made.file]).state())
    assert json.loads(text)["campaigns"][0]["name"] == "invented"


def test_events_that_come_later_are_added_and_a_new_file_is_read_anew(tmp_path):
    made = half_way(tmp_path)
    watched = Watched([made.file])
    count = lambda: watched.state(BEGUN + 170)["campaigns"][0]["course"]["done"]  # noqa: E731
    assert count() == 73
    made.done("convert", BEGUN + 165, 3.0)
    assert count() == 74
    path = made.results / "logs/course.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # as if the last line were being written
    with path.open("ab") as stream:
        stream.write(whole[-20:])
    assert count() == 74
    path.unlink()
    made.begin({"convert": 2})
    assert count() == 0


def test_a_log_outside_the_results_is_not_shown(tmp_path):
    (tmp_path / "secret").write_text("error: the key is a plum\n")
    made = Invented(tmp_path)
    made.begin({"convert": 3})
    (made.results / "logs/link.log").symlink_to(tmp_path / "secret")
    for log in (str(tmp_path / "secret"), "results/../secret", f"{made.output}/logs/link.log"):
        job = made.start("convert", BEGUN)
        made.note("error", BEGUN + 1, job=job, log=[log], message="")
        made.note("start", BEGUN, job=job + 10, rule="convert", output=[], log=[log], wildcards={})
    with driven(made):
        state = Watched([made.file]).state()
    assert state["campaigns"][0]["course"]["failed"] == 3 and len(state["campaigns"][0]["course"]["jobs"]) == 3
    assert "plum" not in json.dumps(state)


def test_the_state_inside_the_page_cannot_end_its_element_and_reads_back(tmp_path):
    made = half_way(tmp_path, samples=10)
    made.start("prepare", BEGUN + 1, log="\x1b[31m</script><!--\u2028\n", sample="</SCRIPT>\udcff")
    with driven(made):
        state = Watched([made.file]).state(BEGUN + 170)
    filled, policy = document.page("</title>{{state}}", state)
    assert filled.count("</script>") == 2 and "<title>&lt;/title&gt;{{state}}</title>" in filled
    (block,) = re.findall(r'id="state">(.*?)</script>', filled)
    assert "<" not in block and json.loads(block) == state and "\x1b" not in json.dumps(state) and block.isascii()
    assert "unsafe" not in policy and "default-src 'none'" in policy and "http" not in policy.replace("http-equiv", "")
    assert re.findall(r"(?:src|href)=[^ >]*", filled.partition("<script")[0]) == ['href="data:,"']


def test_a_large_campaign_is_quick_and_small(tmp_path):
    made = Invented(tmp_path)
    lines: list[str] = []
    made.note = lambda event, time, **facts: lines.append(json.dumps({"event": event, "time": time, **facts}))
    made.begin({"simulate": 5000, "convert": 5000, **dict.fromkeys(RULES[2:], 1)})
    for number in range(5000):
        made.done("simulate", BEGUN + number, 9.0, sample="top", shard=f"{number:04d}")
        if number < 2000:
            made.done("convert", BEGUN + number, 9.0, sample="top", group=f"{number:04d}")
        elif number < 2300:
            log = f"error: a ROOT file is truncated ({number % 50})\n"
            made.fail(made.start("convert", BEGUN + number, log=log, sample="top"), BEGUN + number + 5)
        else:
            made.start("convert", BEGUN + number, sample="top", group=f"{number:04d}")
    made.write("logs/course.jsonl", "\n".join(lines) + "\n")
    made.journal(2000, wanted=3000, going=4)
    for seed in range(12):
        made.history(200, f"seed{seed}")
    watched, spent = Watched([made.file]), []
    with driven(made):
        for _ in range(3):
            begun = time.process_time()
            text = document.text(watched.state(BEGUN + 6000))
            spent.append(time.process_time() - begun)
    assert len(text) < 100_000 and min(spent) < 0.5 and spent[0] < 2.5, spent
    course = json.loads(text)["campaigns"][0]["course"]
    assert (course["done"], course["failed"], course["running"], course["causes"]) == (7000, 300, 2700, 50)
    assert len(course["failures"]) == jobs.CAUSES and course["more"] == 2700 - jobs.OF_RULE


def test_the_command_writes_a_file(tmp_path):
    made = half_way(tmp_path, samples=10)
    done = CliRunner().invoke(app, ["campaign", "page", str(made.file), "--out", "pages/now.html"])
    assert done.exit_code == 0 and done.output == "[page] pages/now.html\n"
    assert "a ROOT file is truncated" in Path("pages/now.html").read_text()
    done = CliRunner().invoke(app, ["campaign", "page", "none.yaml", "--out", "x.html"])
    assert done.exit_code != 0 and "none.yaml" in str(done.exception.details["file"]) and not Path("x.html").exists()
