"""The campaign in miniature, for tests that run campaigns: its files laid out, its commands, its results."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SAMPLES = ("data/top/a.root", "data/top/b.root", "data/top/c.root")


@dataclass
class Campaign:
    """A folder with a campaign in it."""

    folder: Path
    snakefile: Path = ROOT / "Snakefile"
    environment: dict = field(
        default_factory=lambda: {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    )

    def __post_init__(self):
        self.environment.pop("PYTHONPATH", None)

    @property
    def values(self) -> dict:
        return yaml.safe_load((self.folder / "campaign.yaml").read_text())

    def write(self, values: dict) -> None:
        (self.folder / "campaign.yaml").write_text(yaml.safe_dump(values))

    def command(self, *arguments: str) -> list[str]:
        start = [sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile), "--configfile", "campaign.yaml"]
        return [*start, "--cores", "2", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return self._done(self.command(*arguments))

    def drive(self, *arguments: str, file: str = "campaign.yaml") -> subprocess.CompletedProcess:
        """Run it as its users do, in place of Snakemake itself; here, unless a profile says where."""
        here = [] if "--profile" in arguments else ["--cores", "2"]
        return self.bunchtrain("campaign", "run", file, *here, *arguments)

    def bunchtrain(self, *words: str) -> subprocess.CompletedProcess:
        return self._done([sys.executable, "-m", "bunchtrain", *words])

    def _done(self, command: list[str]) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def jobs(self, *arguments: str) -> dict[str, int]:
        """What a dry run would do: rule to number of jobs, the target rule left out."""
        done = self.run("--dry-run", *arguments)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        if "Nothing to be done" in text:
            return {}
        table = text.split("Job stats:")[1].split("total")[0]
        return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.M) if name != "all"}

    def read(self, name: str) -> bytes:
        return (self.folder / "results" / name).read_bytes()


def simulated(path: Path, seed: int, jets: int = 280, process: str = "top") -> Path:
    """Make one ROOT file with the real generator."""
    from bunchtrain.config.specs import SimulateSpec
    from bunchtrain.simulate.run import simulate

    spec = SimulateSpec(version=1, sample=process, process=process, shard=seed, jets=jets, seed=seed, settings={})
    simulate(spec, path)
    return path


def lay_out(folder: Path, samples: list[Path]) -> Campaign:
    shutil.copy(ROOT / "tests/workflow/mini.yaml", folder / "campaign.yaml")
    for name, source in zip(SAMPLES, samples, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    return Campaign(folder)
