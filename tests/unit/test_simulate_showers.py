"""The process showers: its ROOT file, the same bytes again, the way to HDF5, and the settings."""

import json
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
import yaml
from pydantic import ValidationError

from bunchtrain import provenance
from bunchtrain.config.base import Kind
from bunchtrain.config.calorimeter import Calorimeter
from bunchtrain.config.campaign import checked_kind
from bunchtrain.config.samples import Generate, Sample
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import ConvertSpec, SimulateSpec, as_text
from bunchtrain.convert import VERSION as CONVERT
from bunchtrain.convert.inspect import inspect
from bunchtrain.convert.run import convert
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError
from bunchtrain.events.layout import check
from bunchtrain.simulate import VERSION
from bunchtrain.simulate.generator import run_number
from bunchtrain.simulate.run import simulate

COLUMNS = ["energy", "x", "y", "theta", "phi", "dead_material", "is_photon", "noise", "vertex", "stochastic_term"]


def spec(number=120, shard=0, seed=1, **calorimeter):
    values = {"sample": "particles", "process": "showers", "shard": shard, "jets": number, "seed": seed}
    return SimulateSpec(version=VERSION, **values, settings={"calorimeter": calorimeter})


def arrays(path):
    with uproot.open(path) as file:
        return file["showers"].arrays(library="np"), json.loads(str(file["metadata"]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of showers: its path, arrays and metadata."""
    path = tmp_path_factory.mktemp("showers") / "0000.root"
    simulate(spec(), path)
    return path, *arrays(path)


def test_the_file_holds_what_it_should(made):
    path, found, about = made
    assert found["cells"].shape == found["deposits"].shape == (120, 14, 6, 6)
    assert found["event"].tolist() == list(range(120)) and set(found["run_number"]) == {run_number(spec())}
    assert np.all(found["weight"] == 1) and about["sum_of_weights"] == about["events"] == 120
    assert about["settings"] == {"calorimeter": Calorimeter().model_dump(mode="json")}
    assert set(about["versions"]) == {"bunchtrain", "numpy", "uproot"} and provenance.read(path)["facts"] == about


def test_energy_is_conserved_in_the_file(made):
    """To float32: energy is the exponential of what stands there, as the format takes it."""
    _, found, about = made
    energy = np.exp(found["par"][:, 0].astype("f8"))
    total = found["deposits"].sum(axis=(1, 2, 3), dtype="f8") + found["lost"].sum(axis=1, dtype="f8")
    np.testing.assert_allclose(total, energy, rtol=1e-6)
    assert found["deposits"].min() >= 0 and found["lost"].min() >= 0
    assert about["deposited"] + about["lost"] == pytest.approx(energy.sum(), rel=1e-6)


def test_parameters_lie_between_their_ends(made):
    _, found, _ = made
    par, usual = dict(zip(COLUMNS, found["par"].T, strict=True)), Calorimeter()
    par |= {"energy": np.exp(par["energy"]), "x": 10 * par["x"], "y": 10 * par["y"]}
    for name in set(COLUMNS) - {"is_photon"}:
        low, high = getattr(usual, name)
        edge = 1e-6 * (high - low)
        assert low - edge <= par[name].min() < low + (high - low) / 4, name
        assert high + edge >= par[name].max() > high - (high - low) / 4, name
    assert set(par["is_photon"]) == {0, 1} and 0.3 < par["is_photon"].mean() < 0.7
    assert 0.35 < (par["energy"] < 10).mean() < 0.65  # even in the logarithm


def test_what_is_read_out_scatters_around_the_deposits(made):
    _, found, _ = made
    read, true = (found[name].sum(axis=(1, 2, 3), dtype="f8") for name in ("cells", "deposits"))
    width = np.sqrt(found["par"][:, 9] ** 2 * true + 504 * found["par"][:, 7] ** 2)
    pull = (read - true) / width
    assert abs(pull.mean()) < 0.4 and 0.8 < pull.std() < 1.2
    assert found["cells"].min() < 0


def test_the_same_spec_gives_the_same_bytes(tmp_path, made, capfd):
    simulate(spec(), tmp_path / "again.root")
    assert (tmp_path / "again.root").read_bytes() == made[0].read_bytes()
    assert all(line.startswith("[simulate] particles shard 0") for line in capfd.readouterr().out.splitlines())
    simulate(spec(shard=1), tmp_path / "other.root")
    other, _ = arrays(tmp_path / "other.root")
    assert not np.any(other["par"][:, 0] == made[1]["par"][:, 0])


def test_another_readout_leaves_the_showers_as_they_are(tmp_path, made):
    simulate(spec(noise=[0, 0], stochastic_term=[0, 0]), tmp_path / "a.root")
    found, _ = arrays(tmp_path / "a.root")
    np.testing.assert_array_equal(found["deposits"], made[1]["deposits"])
    np.testing.assert_array_equal(found["cells"], found["deposits"])


def converted(path, folder, section):
    checked = checked_kind(Kind.model_validate(section), "convert.formats", "convert.format")
    settings = {"label": 0, "classes": ["particle"], "step_size": "200 kB", "on_bad_file": "fail"}
    spec = ConvertSpec(version=CONVERT, sample="particles", format=checked, **settings)
    convert(spec, [path], folder / "a.h5", folder / "a.json")
    return folder / "a.h5"


def test_the_format_reads_it_with_its_defaults(tmp_path, made, capsys):
    path, found, about = made
    assert inspect(str(path), tmp_path / "m.yaml") == 0
    assert "Format: calorimeter" in capsys.readouterr().out
    section = yaml.safe_load((tmp_path / "m.yaml").read_text())["convert"]["format"]
    assert section == {"kind": "calorimeter"}
    out = converted(path, tmp_path, section)
    assert check(out) == 120
    with h5py.File(out) as file:
        assert json.loads(file.attrs["generator"]) == [about]
        assert file.attrs["rows"] == "showers" and set(COLUMNS) <= set(file["showers"])
        np.testing.assert_array_equal(np.diff(file["cells/offsets"][:]), 504)
        np.testing.assert_array_equal(file["cells/energy"][:], found["cells"].ravel())
        assert file["cells/layer"][:504].max() == 13 and file["cells/column"][:504].max() == 5
        np.testing.assert_allclose(file["showers/energy"][:], np.exp(found["par"][:, 0]), rtol=1e-6)
        np.testing.assert_allclose(file["showers/x"][:], 10 * found["par"][:, 1], rtol=1e-6)
        np.testing.assert_array_equal(file["showers/event_number"][:], found["event"])


def page():
    """The blocks of the page's section."""
    text = (Path(__file__).parents[2] / "docs" / "samples.md").read_text().partition("## Calorimeter showers")[2]
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)]


def test_deposits_and_what_was_lost_are_converted_as_the_page_says(tmp_path, made):
    path, found, _ = made
    out = converted(path, tmp_path, page()[3])
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["cells/energy"][:], found["deposits"].ravel())
        lost = [file[f"showers/lost_{name}"][:] for name in ("before", "behind")]
        np.testing.assert_array_equal(np.stack(lost, axis=1), found["lost"])
        total = file["cells/energy"][:].reshape(120, 504).sum(axis=1, dtype="f8") + lost[0] + lost[1]
        np.testing.assert_allclose(total, file["showers/energy"][:], rtol=1e-6)


def test_the_page_shows_sections_and_specs_that_are_some():
    sections, by_hand, mapping, _ = page()
    assert Sample.model_validate(sections["samples"]["particles"]).generate.rows_per_shard == 2000
    assert Simulate.model_validate(sections["simulate"]).calorimeter == Calorimeter()
    assert SimulateSpec.model_validate(by_hand) == spec(2000)
    assert ConvertSpec.model_validate(mapping).version == CONVERT


def test_neither_pythia_nor_fastjet_is_needed(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['pythia8mc'] = sys.modules['fastjet'] = None\n"
        "from bunchtrain.config.specs import SimulateSpec\n"
        "from bunchtrain.simulate.run import simulate\n"
        "from pathlib import Path\n"
        f"simulate(SimulateSpec.model_validate_json({as_text(spec(5))!r}), Path({str(tmp_path / 'a.root')!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert len(arrays(tmp_path / "a.root")[0]["event"]) == 5


def test_a_shard_without_showers_is_refused(tmp_path):
    with pytest.raises(CampaignError, match="at least one shower") as caught:
        simulate(spec(0), tmp_path / "x.root")
    assert caught.value.details["key"] == "generate.showers_per_shard"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": 0}, "greater than 0"),
        ({"cell_size": -1}, "greater than 0"),
        ({"atomic_number": 1}, "greater than or equal to 4"),
        ({"energy": [10, 1]}, "lowest and the highest"),
        ({"energy": [5]}, "lowest and the highest"),
        ({"energy": [0.005, 10]}, "critical energies"),
        ({"energy": [-1, 10]}, "critical energies"),
        ({"critical_energy": 200}, "critical energies"),
        ({"energy": [1, 2000]}, "too many spots"),
        ({"theta": [0, 1.5]}, "along the front face"),
        ({"theta": [-0.1, 0.1]}, "not below 0"),
        ({"dead_material": [0, 50]}, "no shower gets through"),
        ({"noise": [-0.01, 0.01]}, "not below 0"),
        ({"stochastic_term": [0, 3]}, "no energy is measured"),
        ({"x": [0, 46]}, "ends at 45 mm"),
        ({"y": [-46, 0]}, "ends at 45 mm"),
        ({"photons": 1.5}, "less than or equal to 1"),
        ({"hadrons": 0.5}, "hadrons"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        Calorimeter(**changes)


def campaign(process="showers", kind="calorimeter", **values):
    samples = {name: {"label": name, "generate": {"process": process}} for name in ("a", "b")}
    return {"name": "t", "output": "results/t", "samples": samples, "convert": {"format": {"kind": kind}}, **values}


@pytest.fixture
def planned(monkeypatch):
    """What plans a campaign, without a look at its task."""
    monkeypatch.setattr("bunchtrain.config.checks._check_rows", lambda *_: None)
    monkeypatch.setattr("bunchtrain.dag.Plan._check_task", lambda _: None)
    return lambda values: Plan(values, "c.yaml")


def test_a_campaign_says_the_calorimeter_to_showers_alone(planned):
    values = campaign(simulate={"calorimeter": {"layers": 10}, "pt_min": 100})
    told = json.loads(planned(values).spec("simulate", sample="a", shard="1"))
    assert told["jets"] == 2000 and told["settings"]["calorimeter"]["layers"] == 10
    assert Simulate.model_validate(told["settings"]) == Simulate(calorimeter=Calorimeter(layers=10))
    usual = json.loads(planned(campaign()).spec("simulate", sample="a", shard="0"))
    assert usual["settings"]["calorimeter"] == Calorimeter().model_dump(mode="json")
    with pytest.raises(CampaignError, match="no sample that it would change"):
        planned(campaign("qcd", "ntuple", simulate={"calorimeter": {}}))
    with pytest.raises(CampaignError, match="no sample that it would change"):
        planned(campaign(simulate={"barrel": {}}))
    jets = planned(campaign("qcd", "ntuple")).spec("simulate", sample="a", shard="1")
    assert "calorimeter" not in jets


@pytest.mark.parametrize(
    ("process", "kind", "fit"), [("showers", "ntuple", "calorimeter"), ("qcd", "calorimeter", "ntuple")]
)
def test_a_format_that_does_not_read_showers_is_refused(planned, process, kind, fit):
    with pytest.raises(CampaignError) as caught:
        planned(campaign(process, kind))
    assert caught.value.details["key"] == "samples.a.generate.process" and fit in caught.value.details["expected"]


def test_a_shard_takes_the_number_of_its_showers():
    assert Generate(process="showers", showers_per_shard=7).rows_per_shard == 7
    for idle in ("jets_per_shard", "events_per_shard"):
        with pytest.raises(ValidationError, match=f"takes `showers_per_shard`, not `{idle}`"):
            Generate(process="showers", **{idle: 9})
    with pytest.raises(ValidationError, match="takes `jets_per_shard`, not `showers_per_shard`"):
        Generate(process="top", showers_per_shard=9)
