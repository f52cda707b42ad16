"""The commands of the pages for users, in their order, on the miniature campaign."""

import shutil

from conftest import SAMPLES
from walked import steps, walk


def test_the_first_campaign(copy):
    """Its results are there, as after `make demo`; what would make them all again is shown alone."""
    shutil.copy(copy.folder / "campaign.yaml", copy.folder / "mine.yaml")
    mine = copy.folder / "mine.yaml"
    mine.write_text(mine.read_text().replace("kind: gnn", "kind: gmn"))
    instead = [
        ("make demo", "bunchtrain campaign run campaign.yaml --cores 2"),
        ("results/top-tagging", "results"),
        ("config/config.yaml", "campaign.yaml"),
        ("--stage convert --where sample=top --cores 2", "--stage convert --where sample=top --cores 2 -n"),
    ]
    said = walk("first-campaign.md", copy.folder, copy.environment, instead)
    assert "Nothing to be done" in said["make demo"]
    (rerun,) = (text for command, text in said.items() if "rerun" in command)
    assert "convert" in rerun and "prepare" in rerun


def test_bring_your_own_samples(fresh):
    values = fresh.values
    values["scan"]["trials"] = 0
    values["train"]["epochs"] = 1
    del values["synthesize"]
    fresh.write(values)
    said = walk("samples.md", fresh.folder, fresh.environment)
    assert (
        len(said) == 5 and (fresh.folder / "mapping.yaml").exists() and (fresh.folder / "results/report.html").exists()
    )


def test_when_it_fails(copy):
    whole = (copy.folder / SAMPLES[1]).read_bytes()
    (copy.folder / SAMPLES[1]).write_bytes(whole[: len(whole) // 2])
    for name in ("convert", "prepare"):
        shutil.rmtree(copy.folder / "results" / name)

    def mend():
        (copy.folder / SAMPLES[1]).write_bytes(whole)

    said = walk("when-it-fails.md", copy.folder, copy.environment, before={"--cores 2 -n": mend})
    assert len(said) == len(set(steps("when-it-fails.md")))
    assert SAMPLES[1] in said["bunchtrain campaign failures campaign.yaml   # ends with 1"]
