"""Collisions as hits: the ROOT files, the same bytes again, and their way to HDF5 and to track candidates."""

import json
import re
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
import yaml

from bunchtrain import provenance
from bunchtrain.config.barrel import Barrel
from bunchtrain.config.base import Kind
from bunchtrain.config.campaign import checked_kind
from bunchtrain.config.samples import Sample
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import ConvertSpec, SimulateSpec
from bunchtrain.convert import VERSION as CONVERT
from bunchtrain.convert.inspect import inspect
from bunchtrain.convert.run import convert
from bunchtrain.errors import CampaignError
from bunchtrain.events.hitgraph import Windows, build, true_edges
from bunchtrain.events.layout import check
from bunchtrain.simulate import VERSION
from bunchtrain.simulate.generator import run_number
from bunchtrain.simulate.run import simulate
from bunchtrain.trackfinding import Sought, Truth, candidates, figures, joined


def spec(events=12, shard=0, seed=1, **settings):
    barrel = settings.pop("barrel", {})
    settings = {"barrel": barrel, **settings}
    values = {"sample": "minbias", "process": "collisions", "shard": shard, "jets": events, "seed": seed}
    return SimulateSpec(version=VERSION, **values, settings=settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of crowded events: its path, arrays and metadata."""
    path = tmp_path_factory.mktemp("collisions") / "0000.root"
    simulate(spec(pileup=6, pileup_pool=20), path)
    with uproot.open(path) as file:
        return path, file["events"].arrays(), json.loads(str(file["metadata"]))


def test_the_file_holds_what_it_should(made):
    path, events, about = made
    assert events.event_number.to_list() == list(range(12)) and set(events.run_number) == {run_number(spec())}
    assert about["events"] == 12 and about["sum_of_weights"] == pytest.approx(float(ak.sum(events.weight)))
    assert about["hits"] == ak.sum(events.nhit) and about["cross_section_pb"] > 5e10  # inelastic, 13 TeV
    assert about["settings"]["barrel"]["field"] == 2.0 and provenance.read(path)["facts"] == about
    radius = np.hypot(events.hit_x, events.hit_y)
    radii = np.array(Barrel().radii)[ak.to_numpy(ak.flatten(events.hit_layer))]
    np.testing.assert_allclose(ak.to_numpy(ak.flatten(radius)), radii, rtol=1e-6)


def test_particles_are_charged_and_have_the_hits_they_say(made):
    _, events, _ = made
    for event in events:
        owner = ak.to_numpy(event.hit_particle)
        assert owner.min() == -1 and owner.max() < len(event.particle_px)
        np.testing.assert_array_equal(
            np.bincount(owner[owner >= 0], minlength=len(event.particle_px)), event.particle_hits
        )
        noise = ak.to_numpy(event.hit_layer)[owner < 0]
        assert 20 < len(noise) < 90
    assert ak.all(events.particle_hits > 0) and ak.all(events.particle_hits <= 10)
    assert ak.all(np.abs(events.particle_charge) == 1)
    assert ak.all(np.hypot(events.particle_px, events.particle_py) > 0.099)
    assert set(np.unique(np.abs(ak.flatten(events.particle_id)))) >= {211, 321}


def test_hits_follow_the_particles(made):
    """The innermost hits of fast particles lie on the line from their vertex, but for bend and scattering."""
    _, events, _ = made
    seen = 0
    for event in events:
        first = ak.to_numpy((event.hit_layer == 0) & (event.hit_particle >= 0))
        of = ak.to_numpy(event.hit_particle)[first]
        true = {name: ak.to_numpy(event[f"particle_{name}"])[of] for name in ("px", "py", "pz", "vx", "vy", "vz")}
        pt = np.hypot(true["px"], true["py"])
        fast = (pt > 1) & (np.hypot(true["vx"], true["vy"]) < 0.1)
        slope = true["pz"] / pt
        z = true["vz"] + 32 * slope
        np.testing.assert_allclose(ak.to_numpy(event.hit_z)[first][fast], z[fast], atol=1.5)
        seen += fast.sum()
    assert seen > 30


def test_every_collision_lies_elsewhere_in_the_beam_spot(made):
    _, events, _ = made
    vertices = [len(np.unique(np.round(ak.to_numpy(event.particle_vz), 3))) for event in events]
    assert np.mean(vertices) > 4
    near = np.hypot(events.particle_vx, events.particle_vy) < 0.2
    assert ak.mean(near) > 0.9
    assert 20 < np.std(ak.to_numpy(ak.flatten(events.particle_vz[near]))) < 90


def test_the_same_spec_gives_the_same_bytes(tmp_path, made, capfd):
    simulate(spec(pileup=6, pileup_pool=20), tmp_path / "again.root")
    assert (tmp_path / "again.root").read_bytes() == made[0].read_bytes()
    assert all(line.startswith("[simulate] minbias shard") for line in capfd.readouterr().out.splitlines())


def test_the_page_shows_sections_and_specs_that_are_some():
    text = (Path(__file__).parents[2] / "docs" / "samples.md").read_text().partition("## Collisions in a tracking")[2]
    text = text.partition("\n## ")[0]
    sections, made, converted = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    assert Sample.model_validate(sections["samples"]["minbias"]).generate.rows_per_shard == 200
    assert Simulate.model_validate(sections["simulate"]).barrel == Barrel()
    assert SimulateSpec.model_validate(made).version == VERSION
    mapping = ConvertSpec.model_validate(converted)
    assert mapping.version == CONVERT
    assert set(checked_kind(Kind(**mapping.format), "convert.formats", "format")["columns"]) == {"hits", "particles"}


def test_events_may_have_no_hits(tmp_path):
    """A shard without pile-up, noise, and nearly without a detector."""
    path = tmp_path / "empty.root"
    simulate(spec(events=3, shard=1, barrel={"radii": [500], "half_length": 0.01, "noise_hits": 0}), path)
    with uproot.open(path) as file:
        events = file["events"].arrays()
    assert events.nhit.to_list() == events.nparticle.to_list() == [0, 0, 0]
    assert set(events.run_number) == {run_number(spec(shard=1))}


def test_a_shard_without_events_is_refused(tmp_path):
    with pytest.raises(CampaignError) as caught:
        simulate(spec(events=0), tmp_path / "x.root")
    assert caught.value.details["key"] == "generate.events_per_shard"


def test_the_file_is_known_again_and_converted_with_its_particles(tmp_path, made, capsys):
    path, events, _ = made
    assert inspect(str(path), tmp_path / "m.yaml") == 0
    assert "Format: hits" in capsys.readouterr().out
    section = yaml.safe_load((tmp_path / "m.yaml").read_text())["convert"]["format"]
    assert section["run"] == "run_number" and section["weight"] == "weight"
    settings = {"label": 0, "classes": ["collision"], "step_size": "20 kB", "on_bad_file": "fail"}
    checked = checked_kind(Kind.model_validate(section), "convert.formats", "convert.format")
    spec = ConvertSpec(version=CONVERT, sample="minbias", format=checked, **settings)
    convert(spec, [path], tmp_path / "a.h5", tmp_path / "a.json")
    assert check(tmp_path / "a.h5") == 12
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["rows"] == "events"
        for name in ("x", "y", "z", "layer", "particle"):
            np.testing.assert_array_equal(file[f"hits/{name}"][:], ak.flatten(events[f"hit_{name}"]))
        for name in ("px", "py", "pz", "charge", "vx", "vy", "vz", "id", "hits"):
            np.testing.assert_array_equal(file[f"particles/{name}"][:], ak.flatten(events[f"particle_{name}"]))
        np.testing.assert_array_equal(np.diff(file["particles/offsets"][:]), events.nparticle)
        np.testing.assert_array_equal(file["events/run_number"][:], events.run_number)
        assert file["particles/px"].attrs["units"] == "GeV" and file["particles/vx"].attrs["units"] == "mm"
        tracks = [tracks_of_perfect_scores(file, event) for event in range(12)]
    found = figures(*joined(tracks), Sought(min_hits=6, pt_min=0.6, eta_max=1.5))
    assert found["efficiency"].total > 20 and found["efficiency"].value > 0.97 and found["fake"].value == 0


def tracks_of_perfect_scores(file, event):
    """Return the candidates and the truth of an event of an HDF5 file."""
    items = {name: slice(*file[f"{name}/offsets"][event : event + 2]) for name in ("hits", "particles")}
    x, y, z, layer, particle = (file[f"hits/{name}"][items["hits"]] for name in ("x", "y", "z", "layer", "particle"))
    px, py, pz = (file[f"particles/{name}"][items["particles"]] for name in ("px", "py", "pz"))
    graph = build(x, y, z, layer, Windows())
    scores = true_edges(graph.edges, layer, particle).astype("f4")
    pt = np.hypot(px, py)
    return candidates(scores, graph.edges, len(x)), Truth(particle, pt, np.arcsinh(pz / pt))
