"""What a campaign will take: earlier jobs are found, figures follow from them, and what is unknown is said to be."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunchtrain import campaign
from bunchtrain.course.forecast import Range, earlier, forecast, spread
from bunchtrain.course.outlook import amount, outlook, show, time
from bunchtrain.course.planned import Planned, span
from bunchtrain.errors import InputError

OUTPUT = Path("results")


def benchmark(folder, name, seconds, memory="100.0"):
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{memory}\n")


def conversion(sample, group, **about):
    names = tuple(f"results/convert/{sample}/{group}.{kind}" for kind in ("h5", "json"))
    told = f"results/benchmarks/convert/{sample}-{group}.tsv"
    return Planned("convert", {"sample": sample, "group": group}, (f"{sample}{group}.root",), names, told, **about)


def converted(folder, sample, group, seconds, read, written=1000):
    benchmark(folder, f"convert/{sample}-{group}.tsv", seconds)
    (folder / f"convert/{sample}").mkdir(parents=True, exist_ok=True)
    (folder / f"convert/{sample}/{group}.h5").write_bytes(b"x" * written)
    (folder / f"convert/{sample}/{group}.json").write_text(json.dumps({"inputs": [{"bytes": read}]}))


TRAINING = Planned("train", {"number": "0"}, (), ("results/train/seed0/model",), "results/benchmarks/train/seed0.tsv")
REPORT = Planned("report", {}, (), ("results/report.html",), "results/benchmarks/report.tsv")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tsv"))


def test_earlier_jobs_of_a_rule_are_known_by_the_names_of_their_benchmarks(tmp_path):
    converted(tmp_path, "qcd", "0000", 2.0, 500)
    converted(tmp_path, "unfamiliar/odd-one", "0012", 4.0, None)
    for name, seconds in (("train/seed3.tsv", 7), ("train/baseline.tsv", 9), ("report.tsv", 1), ("scan.tsv", 3)):
        benchmark(tmp_path, name, seconds, memory="NA")
    benchmark(tmp_path, "train/seed4.tsv", "-")  # killed before it could be told
    first, second = earlier(conversion("top", "0003"), OUTPUT, tmp_path, names(tmp_path))
    size = (tmp_path / "convert/qcd/0000.json").stat().st_size
    assert first == (2.0, 100.0, 1000 + size, 500) and second[0] == 4.0 and second.read is None
    assert earlier(TRAINING, OUTPUT, tmp_path, names(tmp_path)) == [(7.0, None, None, None)]
    assert [one.seconds for one in earlier(REPORT, OUTPUT, tmp_path, names(tmp_path))] == [1.0]
    assert earlier(Planned("all"), OUTPUT, tmp_path, names(tmp_path)) == []


@pytest.mark.parametrize(("source", "variation"), [("tune", "tune_up"), ("a", "a"), ("systematics", "s")])
def test_wildcards_with_equal_letters_are_told_apart(tmp_path, source, variation):
    told = f"results/benchmarks/systematics/{source}/{variation}.tsv"
    made = f"results/systematics/{source}/{variation}/metrics.json"
    job = Planned("vary", {"source": source, "variation": variation}, (), (made,), told)
    benchmark(tmp_path, "systematics/scale/down.tsv", 3)
    benchmark(tmp_path, "systematics.tsv", 1)
    (tmp_path / "systematics/scale/down").mkdir(parents=True)
    (tmp_path / "systematics/scale/down/metrics.json").write_text("12345")
    assert earlier(job, OUTPUT, tmp_path, names(tmp_path)) == [(3.0, 100.0, 5, None)]


def test_conversions_go_by_bytes_of_input_and_other_jobs_by_their_number(tmp_path):
    for number, (seconds, read) in enumerate([(1.0, 100), (4.0, 200), (3.0, 100)]):  # 10, 20 and 30 ms a byte
        converted(tmp_path, "qcd", f"000{number}", seconds, read, written=10 * read)
    benchmark(tmp_path, "train/seed0.tsv", 50, memory="2000")
    jobs = [conversion("top", "0000"), conversion("top", "0001"), dataclasses.replace(TRAINING, threads=4)]
    sizes = {"0000": 1000.0, "0001": 3000.0}
    found, seconds = forecast(jobs, OUTPUT, [tmp_path], lambda job: sizes.get(job.wildcards.get("group", "")))
    convert, train = found
    assert convert.scaled and convert.earlier == 3 and convert.basis == tmp_path
    assert convert.core_seconds == pytest.approx((60.0, 80.0, 100.0)) and convert.seconds == pytest.approx((30, 40, 50))
    assert [one and one.median for one in seconds] == pytest.approx([20.0, 60.0, 50.0])
    assert train.core_seconds == (200.0, 200.0, 200.0) and train.memory == 2000 and train.disk is None
    unsized = forecast(jobs, OUTPUT, [tmp_path], lambda job: None)[0][0]
    assert not unsized.scaled and unsized.core_seconds == pytest.approx((4.0, 6.0, 7.0))


def test_a_stage_is_known_from_its_own_campaign_first_and_else_from_the_other(tmp_path):
    benchmark(tmp_path / "own", "report.tsv", 1)
    benchmark(tmp_path / "other", "report.tsv", 9)
    benchmark(tmp_path / "other", "train/seed0.tsv", 9)
    found, _ = forecast([REPORT, TRAINING], OUTPUT, [tmp_path / "own", tmp_path / "other"], lambda job: None)
    assert [(one.basis.name, one.seconds.median) for one in found] == [("own", 1.0), ("other", 9.0)]


def test_what_is_not_known_is_said_and_makes_no_sum(tmp_path, capsys):
    benchmark(tmp_path, "report.tsv", 3600)
    facts = outlook([TRAINING, REPORT], OUTPUT, [tmp_path], lambda job: None, cores=2)
    assert facts["unknown"] == ["train"] and facts["core_hours"] is facts["wall_seconds"] is facts["disk_bytes"] is None
    assert facts["core_hours_of_known"]["median"] == 1.0
    show(facts, as_json=True)
    assert json.loads(capsys.readouterr().out) == facts
    show(facts, as_json=False)
    said = capsys.readouterr().out
    assert "core-hours: unknown; disk: unknown" in said and "nothing" in said
    assert "no job of train has run yet; core-hours without them: 1" in said
    facts = outlook([TRAINING], OUTPUT, [tmp_path], lambda job: None, cores=2)
    assert facts["core_hours_of_known"] is None
    show(facts, as_json=False)
    assert "core-hours without them: unknown" in capsys.readouterr().out
    show(outlook([], OUTPUT, [tmp_path], lambda job: None, cores=2), as_json=False)
    assert "nothing is to be done" in capsys.readouterr().out


def test_a_folder_without_times_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[2]
    with pytest.raises(InputError) as caught:
        campaign.outlook(root / "config/config.yaml", tmp_path / "none", 2, None, False)
    assert caught.value.details["key"] == "--like" and "benchmarks" in caught.value.details["expected"]


def chain():
    """Four jobs beside each other, one of them on two cores, and one that waits for all."""
    first = [Planned("a", output=(f"a{number}",), threads=1 + (number == 3)) for number in range(4)]
    return [*first, Planned("b", input=("a0", "a1", "a2", "a3"), output=("b",))]


def test_jobs_take_as_long_as_their_room_allows():
    jobs, seconds = chain(), [10.0, 10.0, 10.0, 10.0, 5.0]
    assert span(jobs, seconds, 1, None) == 45  # a job that asks for more cores than there are gets what there is
    assert span(jobs, seconds, 2, None) == 35
    assert span(jobs, seconds, 5, None) == 15
    assert span(jobs, seconds, 5, 2) == 25
    assert span([], [], 1, None) == 0


@given(seconds=st.lists(st.floats(0, 100), min_size=5, max_size=5), cores=st.integers(1, 8))
def test_a_span_is_between_the_longest_chain_and_one_after_the_other(seconds, cores):
    taken = span(chain(), seconds, cores, None)
    longest, work = max(seconds[:4]) + seconds[4], sum(seconds) + seconds[3]
    assert max(longest, (work - seconds[3]) / cores) - 1e-6 <= taken <= sum(seconds) + 1e-6


def test_figures_are_said_as_one_says_them():
    assert [amount(count) for count in (5, 1500, 999_600, 2.5e9, 3e12)] == ["5 B", "1.5 kB", "1 MB", "2.5 GB", "3 TB"]
    assert [time(seconds) for seconds in (1.23, 50, 600, 7200)] == ["1.2 s", "50 s", "10 min", "2.0 h"]
    assert spread([]) is None and spread([2.0]) == (2, 2, 2) and spread([1, 2, 3, 4, 5]) == Range(2, 3, 4)
