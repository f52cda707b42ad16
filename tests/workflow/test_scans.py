"""Scans of several objectives in the chain."""

import csv
import io
import json

import pytest

#: Of an evaluation on the cheap side of the campaign's own.
CHEAP = {"student.weight_bits": 3}


@pytest.mark.fpga
def test_the_student_that_a_scan_found_becomes_the_core(copy):
    values = copy.values
    values["scan"] |= {
        "trials": 2,
        "objective": ["lut", "student_auc", "rejection"],
        "limits": {"student_auc": 0.3},
        "start": [CHEAP],
    }
    values["scan"]["space"] |= {"student.weight_bits": {"low": 3, "high": 6}}
    copy.write(values)
    assert copy.jobs() == {"scan": 1, "train": 1, "evaluate": 1, "synthesize": 1, "report": 1}
    done = copy.run()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    rows = list(csv.DictReader(io.StringIO(copy.read("scan/results.csv").decode())))
    best, front = (json.loads(copy.read(f"scan/{name}.json")) for name in ("best", "front"))
    assert [row["status"] for row in rows] == ["ok", "ok"] and int(rows[1]["lut"]) < int(rows[0]["lut"])
    assert best["trial"] == 1 and best["values"]["student.weight_bits"] == 3
    assert [one["name"] for one in front["objectives"]] == ["lut", "student_auc", "rejection"]
    assert json.loads(copy.read("synthesize/student.json"))["weight_bits"] == 3
    card = json.loads(copy.read("train/seed0/model.json"))
    assert card["model"]["hidden"] == best["values"]["model.hidden"] and "weight_bits" not in card["model"]
    record = json.loads(copy.read("synthesize/core.zip.prov.json"))
    assert any(one["path"].endswith("scan/best.json") for one in record["inputs"])
    assert copy.jobs() == {}


def test_a_scan_that_varies_no_student_leaves_the_core_alone(copy):
    """Its best values are no input of the synthesis; the training between them is."""
    text = copy.run("--dry-run", "--forcerun", "synthesize").stdout
    (rule,) = [part for part in text.split("\n\n") if "synthesize a compact student" in part]
    assert "best.json" not in rule
