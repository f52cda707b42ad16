"""Events that are none: told with their line, never a traceback."""

import json

import pytest

from bunchtrain.course import events, failures, status
from bunchtrain.errors import InputError

RUN = {"event": "run", "time": 1e9, "host": "h"}
PLAN = {"event": "plan", "time": 1e9, "jobs": {"convert": 1}}
START = {"event": "start", "time": 1e9, "job": 1, "rule": "convert", "output": ["x"], "log": ["l"], "wildcards": {}}
ERROR = {"event": "error", "time": 1e9, "job": 1, "log": [], "message": "m"}


def noted(tmp_path, *entries):
    path = tmp_path / events.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in entries))
    return tmp_path


@pytest.mark.parametrize(
    "damaged",
    [
        RUN | {"time": float("nan")},
        RUN | {"time": 1e30},
        RUN | {"time": -1e18},
        RUN | {"time": True},
        RUN | {"host": 3},
        PLAN | {"jobs": {"convert": "3"}},
        PLAN | {"jobs": {"convert": None}},
        PLAN | {"jobs": {"convert": 3.5}},
        PLAN | {"jobs": []},
        START | {"wildcards": []},
        START | {"wildcards": None},
        START | {"log": [1]},
        START | {"log": ["\ud800"]},
        RUN | {"arguments": ["\x1b"]},
        RUN | {"arguments": [1]},
        START | {"resources": {"mem_mb": "8"}},
        START | {"resources": []},
        START | {"output": [[1]]},
        ERROR | {"message": None},
        ERROR | {"log": None},
        [1],
        3,
    ],
)
def test_what_is_no_event_is_told_with_its_line(tmp_path, damaged):
    results = noted(tmp_path, RUN, PLAN, START, damaged)
    for show in (status.show, failures.show):
        with pytest.raises(InputError, match="line 4 is no event"):
            show(results, tmp_path / "campaign.yaml")


def test_brackets_without_end_and_markup_are_no_harm(tmp_path, capsys):
    results = noted(tmp_path, RUN | {"host": "[/x]"}, PLAN, START | {"rule": "[red]"}, "[" * 200_000)
    assert status.show(results, tmp_path / "campaign.yaml") == 0
    assert "[/x]" in capsys.readouterr().out


@pytest.mark.parametrize("show", [status.show, failures.show])
@pytest.mark.parametrize("lines", [[], ["garbage"], ["\x00\ufffd"], [START]])
def test_no_run_is_told_as_none(tmp_path, show, lines):
    with pytest.raises(InputError, match="no run of the campaign is known") as caught:
        show(noted(tmp_path, *lines), tmp_path / "campaign.yaml")
    assert caught.value.exit_code == 2 and "campaign run" in caught.value.details["mend"]


def test_a_run_with_nothing_to_do_hides_no_failure(tmp_path, capsys):
    results = noted(tmp_path, RUN, PLAN, START, ERROR, RUN)
    assert status.show(results, tmp_path / "c.yaml") == failures.show(results, tmp_path / "c.yaml") == 1


def test_a_log_steers_no_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l").write_text("\x1b[31merror: \x1b[0mbig \x1b]0;title\x07\n")
    failures.show(noted(tmp_path, RUN, PLAN, START, ERROR), tmp_path / "c.yaml")
    said = capsys.readouterr().out
    assert "error: big" in said and "\x1b" not in said and "\x07" not in said and "[31m" not in said
