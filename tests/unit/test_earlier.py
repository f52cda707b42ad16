"""What a scan learns from tables of earlier ones before it has results of its own."""

import pytest

from bunchtrain.config.scan import Scan
from bunchtrain.errors import InputError
from bunchtrain.scan.earlier import earlier
from bunchtrain.scan.space import Space
from bunchtrain.scan.suggest import suggest

SPACE = {
    "model.hidden": {"low": 4, "high": 64},
    "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.schedule": {"choices": ["cosine", "plateau"]},
    "train.plateau_factor": {"low": 0.1, "high": 0.9, "when": {"train.schedule": "plateau"}},
}
OWN = {"model.hidden": 8, "train.learning_rate": 1e-3, "train.schedule": "cosine", "train.plateau_factor": 0.5}
HEAD = "trial,status,validation_loss,validation_auc," + ",".join(SPACE)


def scan(*tables, **settings) -> Scan:
    names = [str(table) for table in tables]
    return Scan.model_validate({"trials": 20, "initial": 8, "space": SPACE, "warm_start": names, **settings})


def table(path, *rows, head=HEAD):
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_only_the_order_of_results_counts(tmp_path):
    rows = "0,ok,0.9,0.5,8,0.001,cosine,", "1,F_nan,,,9,0.1,plateau,0.3", "2,ok,0.2,0.6,16,0.01,plateau,0.4"
    one = table(tmp_path / "one.csv", *rows, "3,ok,0.5,0.7,99,0.01,cosine,")  # the last lies outside the space
    other = table(tmp_path / "other.csv", "0,ok,2000,0.5,4,0.001,cosine,", "1,stopped,1999,0.6,5,0.001,cosine,")
    first = {"model.hidden": 8, "train.learning_rate": 0.001, "train.schedule": "cosine"}
    found = earlier(scan(one, other))
    assert found[0] == (first, 0.0) and found[1][1] == "F_nan" and found[2][1] == 1.0
    assert found[2][0]["train.plateau_factor"] == 0.4 and len(found) == 5
    assert [result for _, result in found[3:]] == [0.0, 1.0]
    several = earlier(scan(one, objective=["validation_loss", "validation_auc"]))
    assert several[0][1] == [0.0, 0.0] and several[2][1] == [1.0, 0.5]


def test_the_first_suggestions_follow_from_earlier_scans(tmp_path):
    """Where small losses stood beside wide networks, the first suggestions are wider than without that knowledge."""
    rows = [f"{n},ok,{1 / n},0.5,{n},0.001,cosine," for n in range(4, 65, 2)]
    known = earlier(scan(table(tmp_path / "t.csv", *rows)))
    space = Space(scan(), OWN)
    knowing, without = (
        [suggest(space, number, [], 3, str(tmp_path), told)["model.hidden"] for number in range(1, 7)]
        for told in (known, ())
    )
    assert sum(knowing) / 6 > 45 > sum(without) / 6


@pytest.mark.parametrize(
    ("head", "rows", "words"),
    [
        (HEAD.replace("model.hidden", "model.hiden"), ["0,ok,1,1,8,0.1,cosine,"], "model.hiden"),
        (HEAD.replace("validation_loss", "loss"), ["0,ok,1,1,8,0.1,cosine,"], "validation_loss"),
        (HEAD, ["0,ok,much,1,8,0.1,cosine,"], "much"),
        (HEAD, ["0,ok,1,1,wide,0.1,cosine,"], "wide"),
    ],
)
def test_tables_that_cannot_be_learnt_from_are_refused(tmp_path, head, rows, words):
    with pytest.raises(InputError, match="earlier scan") as caught:
        earlier(scan(table(tmp_path / "bad.csv", *rows, head=head)))
    assert words in str(caught.value) and "bad.csv" in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        earlier(scan(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("0,ok,nan,0.5,8,0.001,cosine,", "not finite"),
        ("0,ok,-inf,0.5,8,0.001,cosine,", "not finite"),
        ("0,hello,0.4,0.5,8,0.001,cosine,", "'hello'"),
        ("0,ok,0.4", "cells"),
        ("1", "cells"),
        ("0,ok,0.4,0.5,8,0.001,cosine,,,,", "cells"),
        ("0,ok,0.4,0.5,,,,", "no values"),
        ("0,ok,0.4,0.5,inf,0.001,cosine,", "infinity"),
    ],
)
def test_damaged_rows_are_refused(tmp_path, row, told):
    with pytest.raises(InputError, match="damaged") as caught:
        earlier(scan(table(tmp_path / "t.csv", "0,ok,0.9,0.5,8,0.001,cosine,", row)))
    assert told in caught.value.details["found"]


def test_equal_results_have_equal_ranks(tmp_path):
    rows = [f"{n},ok,{loss},0.5,{8 + n},0.001,cosine," for n, loss in enumerate((0.5, 0.4, 0.4))]
    assert [result for _, result in earlier(scan(table(tmp_path / "t.csv", *rows)))] == [0.0, 0.75, 0.75]
