"""Names that a shell, a format or a path could take for something else: handled, or refused, never executed."""

import pytest

from bunchtrain.files import read_json
from minicampaign import Campaign, lay_out

ODD = {
    "space": "a b",
    "single quote": "a'b",
    "double quote": 'a"b',
    "semicolon": "a;touch pwned;b",
    "command": "a$(touch pwned)b",
    "backticks": "a`touch pwned`b",
    "pipe": "a|touch pwned&b>c<d",
    "Unicode": "é日本",
    "dash": "-rf",
    "glob": "a*b?[c]",
    "percent": "a%sb#c",
    "variable": "a$HOME~b",
}

#: Snakemake writes names into the script of a batch job as Python does, not as a shell wants them.
REFUSED = [
    "a'b$(touch pwned)",
    "a'`touch pwned`",
    "a'b\";touch pwned;",
    "a\\b",
    "a\ntouch pwned\nb",
    "a\tb",
    "a\x1b[31mb",
    "a\u202eb",
    b"a\xffb".decode(errors="surrogateescape"),
]


@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_odd_names_of_folder_campaign_and_files_are_safe(tmp_path, samples, odd):
    folder = tmp_path / odd
    folder.mkdir()
    campaign = lay_out(folder, samples[:1])
    name = f"data/{odd}/{odd}.root"
    (folder / "data/top").rename(folder / "data" / odd)
    (folder / "data" / odd / "a.root").rename(folder / name)
    values = campaign.values
    values["samples"]["top"]["files"] = [name]
    campaign.write(values)
    (folder / "campaign.yaml").rename(folder / f"{odd}.yaml")
    done = campaign.drive("--", "results/convert/top/0000.h5", file=f"./{odd}.yaml")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert read_json(folder / "results/convert/top/0000.json")["inputs"][0]["path"] == name
    assert {path.name for path in folder.iterdir()} == {f"{odd}.yaml", "data", "results", ".snakemake"}
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("name", [*REFUSED, "{sample}", "a{b", "a}b"])
def test_names_that_do_not_come_through_snakemake_are_refused(fresh, name):
    (fresh.folder / "data/top/a.root").rename(fresh.folder / f"data/top/{name}.root")
    done = fresh.drive("-n")
    assert done.returncode == 2 and "a file's name cannot be used" in done.stderr
    said = done.stderr
    assert all(word in said for word in ("campaign.yaml", "samples.top.files", "rename", ascii(name)[1:-1]))
    assert "Traceback" not in said and not list(fresh.folder.parent.rglob("pwned"))


@pytest.mark.parametrize("odd", REFUSED[2:5])
@pytest.mark.parametrize(
    ("of", "driver"), [("folder", "campaign run"), ("folder", "snakemake"), ("campaign", "campaign run")]
)
def test_names_that_no_batch_job_comes_through_are_refused(fresh, odd, of, driver):
    """Snakemake quotes the paths of folder and campaign as Python does, not as a shell does."""
    if of == "folder":
        fresh = Campaign(fresh.folder.rename(fresh.folder.parent / odd))
    else:
        (fresh.folder / "campaign.yaml").rename(fresh.folder / f"{odd}.yaml")
    file = "campaign.yaml" if of == "folder" else f"{odd}.yaml"
    if driver == "snakemake":
        done = fresh.run("-n")
    else:
        done = fresh.drive("-n", file=file)
        assert done.returncode == 2 and "Traceback" not in done.stderr
    said = done.stdout + done.stderr
    assert done.returncode and "no batch job would come through" in said and "rename it" in said
    assert not list(fresh.folder.parent.rglob("pwned"))


def test_files_above_the_folder_are_read_and_nothing_is_written_there(tmp_path, samples):
    above = lay_out(tmp_path, samples[:1])
    (tmp_path / "campaign").mkdir()
    campaign = Campaign(tmp_path / "campaign")
    values = above.values
    values["samples"]["top"]["files"] = ["../data/top/*.root"]
    campaign.write(values)
    (tmp_path / "campaign.yaml").unlink()
    before = sorted(path for path in tmp_path.rglob("*") if campaign.folder not in path.parents)
    done = campaign.drive("--", "results/convert/top/0000.h5")
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path for path in tmp_path.rglob("*") if campaign.folder not in path.parents) == before


@pytest.mark.parametrize("output", ["../up", "/tmp/away", "a/../../b", "a b", "$(touch pwned)", "a;b", "a\nb", "é", ""])
def test_an_output_outside_the_folder_or_of_an_odd_name_is_refused(fresh, output):
    fresh.write({**fresh.values, "output": output})
    done = fresh.drive()
    assert done.returncode == 2 and "output" in done.stderr and "Traceback" not in done.stderr
    assert not list(fresh.folder.parent.rglob("pwned")) and not (fresh.folder / "results").exists()
