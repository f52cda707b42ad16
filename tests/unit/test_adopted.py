"""Outputs that outlived their driver: Snakemake is told of them if nothing has changed, else they are made again."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bunchtrain import adopted, provenance

SNAKEFILE = """
rule all:
    input: "out/b.txt"
rule a:
    input: "in.txt"
    output: "out/a.txt"
    params: number=config.get("number", 1)
    shell: "cp {input} {output}"
rule b:
    input: "out/a.txt"
    output: "out/b.txt"
    shell: "cp {input} {output}"
"""


def snakemake(*words):
    command = [sys.executable, "-m", "snakemake", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def unknown(name):
    return None


def planned(*words):
    said = snakemake("--cores", "1", "-n", *words)
    return [name for name in "ab" if f"rule {name}:" in said.stdout + said.stderr]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which a job has made out/a.txt, and no driver has seen its end."""
    folder = tmp_path_factory.mktemp("orphaned")
    with contextlib.chdir(folder):
        Path("Snakefile").write_text(SNAKEFILE)
        Path("in.txt").write_text("one")
        snakemake("--cores", "1", "out/a.txt")
        shutil.rmtree(".snakemake/metadata")
        provenance.record(["out/a.txt"], stage="a", spec={}, inputs=["in.txt"])
        assert planned("--config", "number=2") == ["b"]  # what this is about
    return folder


@pytest.fixture
def orphaned(folder, tmp_path, monkeypatch):
    """Snakemake, in a copy of that folder."""
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return [sys.executable, "-m", "snakemake"]


def test_snakemake_is_told_of_an_output_and_reruns_it_after_a_change(orphaned, capsys):
    adopted.adopt(orphaned, Path(".snakemake"), 0, same=True, told=unknown)
    assert "1 output(s) were finished after their driver was killed" in capsys.readouterr().out
    assert planned() == ["b"] and planned("--config", "number=2") == ["a", "b"]
    assert Path("out/a.txt").read_text() == "one"
    adopted.adopt(orphaned, Path(".snakemake"), 0, same=False, told=unknown)
    assert capsys.readouterr().out == "" and Path("out/a.txt").exists()


@pytest.mark.parametrize("change", ["campaign", "input", "output", "no record"])
def test_an_output_is_made_again_after_a_change(orphaned, capsys, change):
    if change in ("input", "output"):
        Path({"input": "in.txt", "output": "out/a.txt"}[change]).write_text("two")
    if change == "no record":
        provenance.record_path("out/a.txt").unlink()
    adopted.adopt(orphaned, Path(".snakemake"), 0, same=change != "campaign", told=unknown)
    assert "made again" in capsys.readouterr().out and not Path("out/a.txt").exists()


@pytest.fixture
def remade(orphaned):
    """The same, where an earlier run has left its note, or an attempt that failed has."""
    snakemake("--cores", "1", "--forcerun", "a", "--", "out/a.txt")
    assert len([path for path in Path(".snakemake/metadata").rglob("*") if path.is_file()]) == 1
    Path("out/a.txt").write_text("one")  # by a job that no driver has seen the end of
    return orphaned


def test_the_note_of_an_earlier_run_speaks_for_no_later_file(remade, capsys):
    adopted.adopt(remade, Path(".snakemake"), 0, same=False, told=unknown)
    assert "made again" in capsys.readouterr().out and not Path("out/a.txt").exists()


def test_an_output_with_an_older_note_is_taken_if_nothing_has_changed(remade, capsys):
    adopted.adopt(remade, Path(".snakemake"), 0, same=True, told=lambda name: {"out/a.txt": {}}.get(name))
    assert "1 output(s) were finished" in capsys.readouterr().out and Path("out/a.txt").read_text() == "one"
    adopted.adopt(remade, Path(".snakemake"), 0, same=False, told=unknown)
    assert capsys.readouterr().out == ""


def test_an_output_whose_record_says_another_spec_is_made_again_whatever_its_note(orphaned, capsys):
    adopted.adopt(orphaned, Path(".snakemake"), 0, same=True, told=unknown)
    capsys.readouterr()
    for spec in ({"number": 2}, {}):  # the second is what the record holds, but the file is gone by then
        adopted.adopt(orphaned, Path(".snakemake"), 0, same=True, told=lambda name, spec=spec: spec)
        assert ("made again" in capsys.readouterr().out) == bool(spec) and not Path("out/a.txt").exists()


def test_a_workflow_that_cannot_be_read_changes_nothing(orphaned):
    Path("Snakefile").write_text("rule a: output: 3")
    adopted.adopt(orphaned, Path(".snakemake"), 0, same=False, told=unknown)
    assert Path("out/a.txt").exists()


def test_what_was_there_before_the_driver_is_left_alone(orphaned, capsys):
    adopted.adopt(orphaned, Path(".snakemake"), Path("out/a.txt").stat().st_mtime + 1, same=False, told=unknown)
    assert capsys.readouterr().out == "" and Path("out/a.txt").exists()
