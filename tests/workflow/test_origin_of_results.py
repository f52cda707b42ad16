"""A campaign in miniature from its ROOT files to the core and back: traced, tampered with, archived, compared."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

from bunchtrain import provenance
from conftest import ROOT

pytestmark = [pytest.mark.mpi, pytest.mark.fpga]


def bunchtrain(campaign, *words, status=0):
    command = [sys.executable, "-m", "bunchtrain", *words]
    done = subprocess.run(
        command, cwd=campaign.folder, env=campaign.environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_from_root_to_core_and_back(copy):
    up = bunchtrain(copy, "provenance", "results/synthesize/core.zip")
    assert re.search(r"data/top/a\.root .*entries 0 to 280 of jets", up) and "every file is what its record says" in up
    down = bunchtrain(copy, "provenance", "--down", "data/top/a.root")
    assert "results/synthesize/core.zip" in down and "results/convert/qcd" not in down
    told = json.loads(bunchtrain(copy, "provenance", "results/report.html", "--format", "prov"))
    labels = {row["prov:label"] for row in told["activity"].values()}
    assert labels >= {"simulate", "convert", "prepare", "scan", "train", "evaluate", "synthesize", "report"}


def test_tampering_is_noticed_from_the_end(copy):
    shard = copy.folder / "results/convert/top/0000.h5"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    told = bunchtrain(copy, "provenance", "results/report.html", status=1)
    assert "results/convert/top/0000.h5: changed since" in told
    shard.write_bytes(whole)
    record = provenance.record_path(shard)
    entry = json.loads(record.read_text())
    entry["spec"]["step_size"] = "1 MB"
    record.write_text(json.dumps(entry))
    told = bunchtrain(copy, "provenance", "results/synthesize/core.zip", status=1)
    assert "results/convert/top/0000.h5.prov.json: edited" in told
    record.write_text(json.dumps({**entry, "seal": provenance.seal(entry)}))
    told = bunchtrain(copy, "provenance", "results/synthesize/core.zip", status=1)
    assert "0000.h5.prov.json: not the record of the file that results/prepare/dataset.h5 was made from" in told


def test_the_commands_of_the_page(copy):
    old = copy.folder / "old"
    old.mkdir()
    shutil.copy(copy.folder / "data/top/a.root", old / "renamed.root")
    shutil.copy(copy.folder / "results/synthesize/core.zip", old / "core.zip")
    bunchtrain(copy, "campaign", "archive", "campaign.yaml", "--out", "old/campaign.crate.zip")
    page = (ROOT / "docs/provenance.md").read_text()
    commands = re.findall(r"^\$ bunchtrain (.+)$", page, re.MULTILINE)
    assert len(commands) == 9
    for command in commands:
        bunchtrain(copy, *shlex.split(command))
    assert (copy.folder / "campaign.crate.zip").read_bytes() == (old / "campaign.crate.zip").read_bytes()


def test_an_archive_that_was_tampered_with_is_refused(copy):
    bunchtrain(copy, "campaign", "archive", "campaign.yaml", "--all")
    path = copy.folder / "campaign.crate.zip"
    assert bunchtrain(copy, "verify", path.name).endswith("PASS\n")
    with zipfile.ZipFile(path) as crate:
        files = {name: crate.read(name) for name in crate.namelist()}
    assert "results/prepare/dataset.h5" in files
    files["results/evaluate/metrics.json"] = files["results/evaluate/metrics.json"].replace(b"0.", b"1.", 1)
    with zipfile.ZipFile(path, "w") as crate:
        for name, content in files.items():
            crate.writestr(name, content)
    told = bunchtrain(copy, "verify", path.name, status=2)
    assert "results/evaluate/metrics.json" in told and "Traceback" not in told


def test_campaigns_are_compared(copy, finished):
    assert "no difference" in bunchtrain(copy, "campaign", "diff", str(finished.folder / "results"), "results")
    copy.write({**copy.values, "evaluate": {"passes": 9, "bootstrap": 20}})
    told = bunchtrain(copy, "campaign", "archive", "campaign.yaml", status=2)
    assert "says otherwise than what was run" in told
    done = copy.run("evaluate")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = bunchtrain(
        copy, "campaign", "diff", str(finished.folder / "campaign.yaml"), "campaign.yaml", "--json", status=1
    )
    found = json.loads(told)
    assert found["settings"] == [{"key": "evaluate.passes", "one": 8, "other": 9}]
    assert found["inputs"] == found["versions"] == found["tools"] == []
    assert any(row["key"] == "evaluate.auc.value" for row in found["figures"])
    told = bunchtrain(copy, "provenance", "results/report.html", status=1)  # made before
    assert "results/evaluate/metrics.json: changed since" in told
    told = bunchtrain(copy, "campaign", "archive", "campaign.yaml", status=2)
    assert yaml.safe_load((copy.folder / "campaign.yaml").read_text())["evaluate"]["passes"] == 9
    assert "not what their records say" in told
