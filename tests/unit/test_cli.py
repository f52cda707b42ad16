"""The command line: help, near misses, errors without tracebacks, exit statuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cores
from bunchtrain.config.specs import as_text
from bunchtrain.dag import STAGES
from toys import train_spec

ROOT = Path(__file__).parents[2]


def bunchtrain(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "bunchtrain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


def test_help_lists_every_stage():
    text = bunchtrain("--help").stdout
    assert all(stage in text for stage in [*STAGES, "check", "doctor", "provenance", "campaign"])


def test_a_misspelt_verb_names_the_nearest():
    done = bunchtrain("trian")
    assert done.returncode == 2 and "train" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{}", ["missing", "version"]),
        ("{broken", ["neither JSON nor YAML"]),
        ("[1]", ["cannot be read"]),
        ("no-such-file.json", ["cannot be read", "no-such-file.json"]),
        (as_text(train_spec()).replace('"seed":1', '"sead":1'), ["sead", "seed"]),
    ],
)
def test_a_bad_spec_is_explained(spec, words, tmp_path):
    done = bunchtrain("train", "--spec", spec, "--dataset", "d", "--scaler", "s", "--out", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_a_missing_input_is_explained(tmp_path):
    done = bunchtrain(
        "train",
        "--spec",
        as_text(train_spec()),
        "--dataset",
        tmp_path / "d.h5",
        "--scaler",
        "s",
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 2 and "d.h5" in done.stderr and "Traceback" not in done.stderr


def test_check_prints_the_samples_of_a_campaign():
    done = bunchtrain("check", "config/config.yaml")
    assert done.returncode == 0 and "generated: top" in done.stdout


def test_check_refuses_a_bad_campaign(tmp_path):
    (tmp_path / "c.yaml").write_text("name: x\nsampels: {}\n")
    done = bunchtrain("check", tmp_path / "c.yaml")
    assert done.returncode == 2 and "c.yaml" in done.stderr


def test_doctor_finds_everything_the_demo_needs():
    done = bunchtrain("doctor")
    assert done.returncode == 0, done.stdout
    assert "horovod" in done.stdout and "yosys" in done.stdout


def test_provenance_of_a_file_without_record(tmp_path):
    (tmp_path / "x").touch()
    done = bunchtrain("provenance", tmp_path / "x")
    assert done.returncode == 2 and "no provenance record" in done.stderr


def test_provenance_shows_the_tree_and_notices_a_change(tmp_path):
    from bunchtrain import provenance

    source, output = tmp_path / "a.root", tmp_path / "b.h5"
    source.write_text("a")
    output.write_text("b")
    provenance.record([output], stage="convert", spec={"version": 1}, inputs=[source])
    done = bunchtrain("provenance", output)
    assert done.returncode == 0 and "a.root" in done.stdout and "convert v1" in done.stdout
    output.write_text("tampered")
    done = bunchtrain("provenance", output)
    assert done.returncode == 1 and "changed since" in done.stdout


@pytest.mark.mpi
def test_one_rank_that_fails_ends_the_others(toy, tmp_path):
    """Rank 1 cannot read its data; rank 0 must not wait for it for ever."""
    code = (
        "import os, sys\n"
        "if os.environ['OMPI_COMM_WORLD_RANK'] == '1': sys.argv[sys.argv.index('--dataset') + 1] = 'gone.h5'\n"
        "from bunchtrain.cli import main\nmain()"
    )
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,vader,tcp", "-n", "2"]
    command = [*launcher, sys.executable, "-c", code, "train", "--spec", as_text(train_spec(ranks=2))]
    command += ["--dataset", str(toy[0]), "--scaler", str(toy[1]), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "gone.h5" in done.stderr
    assert not (tmp_path / "model.safetensors").exists()


def test_the_schema_names_every_kind():
    kinds = json.loads((ROOT / "config/schema.json").read_text())["x-kinds"]
    assert "gnn" in kinds["model"] and "ntuple" in kinds["convert.format"]


FULL = """
import os, sys, unittest.mock
from bunchtrain.cli import main
import bunchtrain.files
def full(handle): raise OSError(28, "No space left on device")
os.fsync = full
main()
"""


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_full_disk_is_explained_and_leaves_nothing(toy, tmp_path, verb):
    from toys import prepare_spec

    out = ["--out", str(tmp_path / "out")]
    if verb == "train":
        rest = ["--spec", as_text(train_spec(epochs=1)), "--dataset", str(toy[0]), "--scaler", str(toy[1]), *out]
    else:
        shards = sorted((toy[0].parents[1] / "shards").glob("*.h5"))
        rest = ["--spec", as_text(prepare_spec()), *out, "--", *map(str, shards)]
    done = subprocess.run(
        [sys.executable, "-c", FULL, verb, *rest], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and "disk is full" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.name != ".lock"] == []


def test_a_read_only_folder_is_explained(tmp_path):
    """Root may write anywhere, so the folder's place is taken by a file."""
    (tmp_path / ".snakemake").write_text("")
    done = bunchtrain("campaign", "run", ROOT / "config/config.yaml", cwd=tmp_path)
    assert done.returncode == 2 and ".snakemake" in done.stderr and "Traceback" not in done.stderr


def test_an_unfamiliar_sample_without_a_name_is_explained(tmp_path):
    folders = ["--model", "m", "--dataset", "d.h5", "--out", tmp_path / "out"]
    done = bunchtrain("synthesize", "--spec", as_text(cores.spec()), *folders, "--unfamiliar", "d.h5")
    assert done.returncode == 2 and "NAME=INDEX" in done.stderr and "Traceback" not in done.stderr
