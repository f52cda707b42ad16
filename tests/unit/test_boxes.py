"""Black boxes: what they hide, that nothing tells it, and who may open them."""

import itertools
import json
import re

import numpy as np
import pytest
import uproot
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layers import PACKAGE

from bunchtrain import provenance, sealing
from bunchtrain.config.campaign import parse_campaign
from bunchtrain.config.dijets import WINDOW, Dijets
from bunchtrain.config.specs import SimulateSpec, as_text
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.files import read_json, write_json
from bunchtrain.hunt.run import SCORES
from bunchtrain.simulate import VERSION
from bunchtrain.simulate.boxes import hidden
from bunchtrain.simulate.run import simulate
from bunchtrain.unblind import answer
from bunchtrain.unblind import run as unblinding

SEED, EVENTS = 5, 200
CAMPAIGN = PACKAGE.parents[1] / "config/campaigns/olympics.yaml"


def spec(box, shard=0, seed=SEED):
    values = {"radius": 1.0, "eta_max": 2.5, "dijets": {"mass_min": 1300, "pt_min": 450}}
    return SimulateSpec(
        version=VERSION, sample=box, process="box", shard=shard, jets=EVENTS, seed=seed, shards=2, settings=values
    )


def named(present):
    """The first name of a box that hides something, or nothing."""
    pairs = Dijets(mass_min=1300)
    return next(f"box{n}" for n in itertools.count() if hidden(SEED, f"box{n}", pairs).present == present)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Both files of a box with a resonance, and of one without."""
    folder, found = tmp_path_factory.mktemp("boxes"), {}
    for present in (True, False):
        name = named(present)
        found[present] = [folder / f"{name}-{shard}.root" for shard in (0, 1)]
        for shard, path in enumerate(found[present]):
            simulate(spec(name, shard), path)
    return found


def test_half_of_the_boxes_hide_something_in_their_ranges():
    found = [hidden(seed, name, Dijets()) for seed in range(200) for name in ("a", "b")]
    assert 150 < sum(one.present for one in found) < 250
    assert len({one.mass for one in found}) == 400
    for one in found:
        assert 1.25 * 1400 <= one.mass <= 1.75 * 1400 and 2 <= one.strength <= 3
        assert one.daughters[1] <= one.daughters[0] <= 0.22 * one.mass
    present, mass = np.array([[one.present, one.mass] for one in found]).T
    assert abs(np.corrcoef(present, mass)[0, 1]) < 0.2


def test_the_answer_is_what_the_file_holds(boxes):
    told = answer.read(boxes[True], SEED, named(True))
    with uproot.open(boxes[True][0]) as one, uproot.open(boxes[True][1]) as two:
        mass = np.concatenate([file["jets"]["dijet_mass"].array(library="np") for file in (one, two)])
        event = np.concatenate([file["jets"]["event_number"].array(library="np") for file in (one, two)])
    inside = (mass >= told.window[0]) & (mass < told.window[1])
    background = (inside & ~told.signal).sum()
    wanted = told.strength * np.sqrt(background)
    assert told.present and len(told.signal) == 2 * EVENTS
    assert abs((inside & told.signal).sum() - wanted) < 2 + 0.3 * wanted
    assert np.array_equal(event, told.event) and set(told.event) == set(range(EVENTS))
    # At random places, and around their mass.
    places = np.flatnonzero(told.signal[:EVENTS])
    assert places.min() < EVENTS / 3 and places.max() > 2 * EVENTS / 3
    assert abs(np.median(mass[told.signal]) / told.mass - 1) < 0.1
    empty = answer.read(boxes[False], SEED, named(False))
    assert not empty.present and not empty.signal.any()


def test_nothing_beside_the_masses_tells_a_box_from_another(boxes):
    records, files = {}, {}
    for present, (path, _) in boxes.items():
        told = provenance.read(path)
        told = {key: told[key] for key in ("stage", "spec", "facts", "inputs")}
        records[present] = json.loads(re.sub(r"box\d+", "box", json.dumps(told)))
        records[present]["facts"].pop("run_number")
        with uproot.open(path) as file:
            metadata = json.loads(str(file["metadata"]))
            assert metadata == provenance.read(path)["facts"]
            tree = {key: branch.typename for key, branch in file["jets"].items()}
            columns = {key: file["jets"][key].array(library="np") for key in ("run_number", "event_number", "weight")}
            sealed = json.loads(str(file[sealing.OBJECT]))
        assert set(sealed) == {"answer", "digest", "mark"}
        assert len(set(columns["run_number"])) == 1 and set(columns["weight"]) == {1.0}
        assert np.array_equal(columns["event_number"], np.arange(EVENTS))
        files[present] = tree, len(sealed["answer"]), path.stat().st_size
    assert records[True] == records[False]
    assert files[True][:2] == files[False][:2]
    assert abs(files[True][2] / files[False][2] - 1) < 0.1  # of constituents, which fluctuate


def test_the_same_box_is_the_same_bytes(boxes, tmp_path):
    simulate(spec(named(True), 1), tmp_path / "again.root")
    assert (tmp_path / "again.root").read_bytes() == boxes[True][1].read_bytes()


def test_the_store_keeps_a_box_as_it_is(boxes, tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("BUNCHTRAIN_STORE", str(tmp_path / "store"))
    for name in ("kept.root", "taken.root"):
        simulate(spec(named(False)), tmp_path / name)
        assert (tmp_path / name).read_bytes() == boxes[False][0].read_bytes()
    (entry,) = (tmp_path / "store").rglob("entry.json")
    assert "present" not in entry.read_text() and "signal" not in entry.read_text()


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False)), st.integers(0, 2**31), st.text(max_size=8))
def test_what_is_sealed_is_opened_with_its_key_alone(told, seed, name):
    told.pop("salt", None)
    text = sealing.closed(told, seed, name, 2000)
    assert len(text) == len(sealing.closed({}, seed, name, 2000))
    assert sealing.opened(text, seed, name, "a.root") == told
    for other in ((seed + 1, name), (seed, f"{name}x")):
        with pytest.raises(InputError, match="does not open"):
            sealing.opened(text, *other, "a.root")


def test_a_broken_seal_is_told():
    sealed = json.loads(sealing.closed({"mass": 2000.0}, 1, "a/0", 100))
    flipped = ("0" if sealed["answer"][40] != "0" else "1").join((sealed["answer"][:40], sealed["answer"][41:]))
    for change in ({"answer": flipped}, {"digest": "0" * 64}, {"mark": "0" * 64}):
        with pytest.raises(InputError, match="does not open"):
            sealing.opened(json.dumps(sealed | change), 1, "a/0", "a.root")
    for text in ("", "{}", '{"answer": "zz", "mark": "", "digest": ""}', "[]"):
        with pytest.raises(InputError, match="damaged"):
            sealing.opened(text, 1, "a/0", "a.root")
    with pytest.raises(ValueError, match="sealed as"):
        sealing.closed({"long": "x" * 100}, 1, "a", 50)


def test_files_that_hold_no_answer_or_another_box_s_are_told(boxes, tmp_path):
    with pytest.raises(InputError, match="does not open"):
        answer.read(boxes[True][::-1], SEED, named(True))
    with pytest.raises(InputError, match="does not open"):
        answer.read(boxes[True], SEED + 1, named(True))
    with uproot.recreate(tmp_path / "other.root") as file:
        file["metadata"] = "{}"
    with pytest.raises(InputError, match="no sealed answer"):
        answer.read([tmp_path / "other.root"], SEED, "box1")
    (tmp_path / "empty.root").write_bytes(b"")
    with pytest.raises(InputError, match="no sealed answer"):
        answer.read([tmp_path / "empty.root"], SEED, "box1")


def values(**changes):
    return {**yaml.safe_load(CAMPAIGN.read_text()), **changes}


def pairs(**changes):
    return {"radius": 1.0, "eta_max": 2.5, "dijets": {**values()["simulate"]["dijets"], **changes}}


def test_every_resonance_that_a_box_may_hide_has_room_in_it():
    """At the lowest mass_max that is taken: its whole window lies below."""
    Plan(values(simulate=pairs(mass_max=2598)), "c.yaml")
    told = Dijets(mass_max=2598)
    assert all(WINDOW[1] * hidden(seed, "a", told).mass <= 2598 for seed in range(300))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"boxes": {"signal": {}}}, "boxes.signal"),
        ({"boxes": {"a": {"events_per_shard": 5}}}, "boxes.a.events_per_shard"),
        ({"boxes": {}, "hunt": {"trees": 5}}, "hunt"),
        ({"hunt": {"features": ["tau12"], "scaled": []}}, "hunt.features"),
        ({"hunt": {"mass": "mjj"}}, "hunt.mass"),
        ({"hunt": {"low": 1000}}, "hunt.low"),
        ({"boxes": {"a": {"signal": True}}}, "boxes.a.signal"),
        ({"simulate": pairs(mass_min=2500)}, "simulate.dijets.mass_max"),
        ({"simulate": pairs(mass_max=2590)}, "simulate.dijets.mass_max"),
        ({"simulate": pairs(resonance=1450)}, "simulate.dijets.resonance"),
        ({"simulate": pairs(), "hunt": {"low": 2100}}, "simulate.dijets.resonance"),
        ({"simulate": {**pairs(), "collision_energy": 3900}}, "simulate.dijets.mass_max"),
        ({"hunt": {"low": 3900}}, "hunt.window"),
        ({"hunt": {"window": 0.5, "step": 0.5}}, "hunt.window"),
    ],
)
def test_a_campaign_with_boxes_that_cannot_be_is_refused(changes, key):
    with pytest.raises(CampaignError) as caught:
        Plan(values(**changes), "c.yaml")
    assert caught.value.details["key"] == key


def test_a_box_is_no_sample():
    sample = {"label": "background", "generate": {"process": "box"}}
    with pytest.raises(CampaignError):
        parse_campaign(values(samples={"background": sample}), "c.yaml")


def test_specs_say_nothing_of_what_a_box_hides():
    plan = Plan(values(), "c.yaml")
    name = plan.boxes()[0]
    told = as_text(plan._simulate(f"boxes/{name}", "0")) + plan.spec("hunt", box=name) + plan.spec("sensitivity")
    assert "present" not in told and "strength" not in told
    assert plan.spec("hunt", box=name) == plan.spec("hunt", box=plan.boxes()[1]).replace(plan.boxes()[1], name)
    assert '"shards":' not in plan.spec("simulate", sample="background", shard="0000")


def test_a_box_stays_closed_before_its_result_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values()))
    with pytest.raises(InputError, match="stays closed") as caught:
        unblinding.unblind(tmp_path / "c.yaml")
    assert "campaign run" in caught.value.details["mend"]
    with pytest.raises(CampaignError, match="no such box") as caught:
        unblinding.unblind(tmp_path / "c.yaml", "box11")
    assert caught.value.details["nearest"] == "box1"
    folder = tmp_path / "results/olympics/hunt/box1"
    for name in ("result.json", SCORES):  # a result that no hunt of this campaign made
        write_json(folder / name, {})
        provenance.record([folder / name], stage="hunt", spec={"version": 0})
    with pytest.raises(InputError, match="other settings"):
        unblinding.unblind(tmp_path / "c.yaml", "box1")
    write_json(folder / "result.json", {"claimed": False})
    with pytest.raises(InputError, match="not what the hunt wrote"):
        unblinding.unblind(tmp_path / "c.yaml", "box1")
    assert not (tmp_path / "results/olympics/unblinded.json").exists()
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(values(boxes={})))
    with pytest.raises(CampaignError, match="no black boxes"):
        unblinding.unblind(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content",
    ["[1]", '{"1": [1]}', '{"1": {"a": {"frozen": {}}}}', '{"1": {"a": {"frozen": NaN, "opened": "now"}}}', ""],
)
def test_a_damaged_list_of_openings_is_told(tmp_path, content):
    path = tmp_path / "unblinded.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"what has been opened|not JSON"):
        unblinding._read(path)
    assert path.read_text() == content


@pytest.fixture
def opening(tmp_path, monkeypatch):
    """Open all boxes of a campaign with some seed; what is found in them stands, and is the same for every seed."""
    monkeypatch.chdir(tmp_path)

    def opened(plan, name, before):
        first = before or {"opened": provenance.now(), "frozen": {"result.json": f"{plan.campaign.seed} {name}"}}
        return {**first, "result": first["frozen"], "blind": before is None}

    for name, stub in (("_check", lambda *_: None), ("_show", lambda _: None), ("_opened", opened)):
        monkeypatch.setattr(unblinding, name, stub)

    def run(seed):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({**values(), "seed": seed, "output": "results"}))
        unblinding.unblind(tmp_path / "c.yaml")
        return read_json(tmp_path / "results/unblinded.json")

    (tmp_path / "results").mkdir()
    return run


def test_a_box_of_another_seed_is_another_box(opening, tmp_path):
    first = opening(1)
    both = opening(2)
    assert both["1"] == first["1"] and all(one["blind"] for boxes in both.values() for one in boxes.values())
    again = opening(1)
    assert again["2"] == both["2"] and not any(one["blind"] for one in again["1"].values())
    record = provenance.read(tmp_path / "results/unblinded.json")
    assert {(one["path"], one["sha256"]) for one in record["inputs"]} == {
        (f"results/hunt/{name}/result.json", f"1 {name}") for name in again["1"]
    }


def test_an_edited_list_of_openings_is_refused(opening, tmp_path):
    opening(1)
    path = tmp_path / "results/unblinded.json"
    text = path.read_text()
    path.write_text(text.replace("1 box1", "1 box9"))
    with pytest.raises(InputError, match="not what unblind wrote"):
        opening(1)
    path.write_text(text)
    opening(1)
    provenance.record_path(path).unlink()
    with pytest.raises(InputError, match="not what unblind wrote"):
        opening(1)
