"""The bootstrap, as far as it can be looked at without building an environment."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bash(script, *arguments, **options):
    return subprocess.run(
        ["bash", script, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.fixture
def checkout(tmp_path):
    """A checkout with an environment folder that claims to be ready, and a PATH with next to nothing on it."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "envs", root / "envs", symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "dirname", "sha256sum", "cut", "sed", "flock", "mkdir", "rm", "id"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python3.11").symlink_to(sys.executable)
    return root, tools


def test_missing_packages_are_named_where_they_cannot_be_installed(checkout):
    root, tools = checkout
    done = bash(root / "envs/bootstrap.sh", env={"PATH": str(tools), "HOME": str(root)})
    assert done.returncode == 1
    assert all(name in done.stderr for name in ("build-essential", "cmake", "openmpi-bin", "libopenmpi-dev", "yosys"))
    assert not (root / ".venv").exists()


def test_another_python_is_refused_with_the_mend(checkout):
    root, tools = checkout
    (tools / "python3.11").unlink()
    done = bash(root / "envs/bootstrap.sh", env={"PATH": str(tools), "HOME": str(root)})
    assert done.returncode == 1 and "Python 3.11 is needed" in done.stderr


def test_rerunning_here_is_a_no_op():
    done = bash(ROOT / "envs/bootstrap.sh")
    assert done.returncode == 0 and done.stdout == "[env] ready\n"


def test_the_lock_pins_everything_with_hashes():
    lock = (ROOT / "envs/requirements.lock").read_text()
    entries = [line for line in lock.splitlines() if line and line[0].isalnum()]
    assert len(entries) > 100 and all("==" in line for line in entries)
    assert lock.count("--hash=sha256:") >= len(entries) and not any(line.startswith("torch==") for line in entries)


def test_every_stage_has_its_conda_environment():
    for rule in (ROOT / "workflow/rules").glob("*.smk"):
        for line in rule.read_text().splitlines():
            if "envs/" in line and line.strip().startswith('"'):
                assert (rule.parent / line.strip().strip('",')).resolve().exists()
