"""Samples beside the training: what is asked for, what is made of them, and that the training does not change."""

import json

import numpy as np
import pytest
from test_config import changed, refused

from bunchtrain.config.samples import NO_CLASS
from bunchtrain.config.simulate import Simulate
from bunchtrain.config.specs import ConvertSpec, IndexSpec, SimulateSpec, as_text, parse_spec
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, ContractError, InputError
from bunchtrain.events.reader import Dataset
from bunchtrain.files import read_json
from bunchtrain.prepare.beside import index
from bunchtrain.provenance import record_path
from bunchtrain.simulate.generator import steering
from bunchtrain.simulate.run import simulate
from toys import CLASSES, as_events, toy_dataset, toy_jets, write_events

OTHER = {"generate": {"process": "wz", "shards": 2}}


def plan(**unfamiliar) -> Plan:
    return Plan(changed(unfamiliar=unfamiliar), "my.yaml")


def test_an_unfamiliar_sample_is_simulated_and_converted_like_the_others():
    asked = plan(odd={**OTHER, "simulate": {"pileup": 60, "tune": 5, "tracks": {"efficiency": 0.8}}})
    made = parse_spec(SimulateSpec, asked.spec("simulate", sample="unfamiliar/odd", shard="0001"))
    usual = asked.campaign.simulate
    assert (made.sample, made.process, made.shard) == ("odd", "wz", 1)
    assert (made.settings.pileup, made.settings.tune, made.settings.pt_min) == (60, 5, usual.pt_min)
    assert made.settings.tracks.efficiency == 0.8 and made.settings.tracks.field == 2
    converted = parse_spec(ConvertSpec, asked.spec("convert", sample="unfamiliar/odd"))
    assert converted.label == NO_CLASS and converted.numbers == set() and converted.classes == ["qcd", "top", "wz"]
    assert asked.beside == {"unfamiliar/odd": ["unfamiliar/odd"]}
    assert asked.files("unfamiliar/odd", "0000")[0].endswith("/simulate/unfamiliar/odd/0000.root")
    assert asked.unfamiliar()["odd"].endswith("unfamiliar/odd/dataset.h5")


def test_nothing_of_the_training_follows_from_it():
    alone, beside = Plan(changed(), "my.yaml"), plan(odd=OTHER)
    stages = ("prepare", "scan", "train", "evaluate", "synthesize", "report")
    assert [alone.spec(stage) for stage in stages] == [beside.spec(stage) for stage in stages]
    for name in alone.campaign.samples:
        assert alone.spec("convert", sample=name) == beside.spec("convert", sample=name)
        assert alone.spec("simulate", sample=name, shard="0") == beside.spec("simulate", sample=name, shard="0")
    assert alone.converted() == beside.converted()
    assert not any("unfamiliar" in end for end in alone.ends())


def test_an_index_follows_from_what_the_network_sees_alone():
    one, other = (
        Plan(changed(unfamiliar={"odd": OTHER}, prepare=prepare), "my.yaml")
        for prepare in (
            {"constituents": 30},
            {"constituents": 30, "scaler": "robust", "split": {"train": 0.5, "test": 0.35}},
        )
    )
    assert one.spec("index", beside="unfamiliar/odd") == other.spec("index", beside="unfamiliar/odd")
    assert one.spec("prepare") != other.spec("prepare")
    assert parse_spec(IndexSpec, one.spec("index", beside="unfamiliar/odd")).settings.constituents == 30


@pytest.mark.parametrize(
    ("sample", "key", "nearest"),
    [
        ({**OTHER, "simulate": {"pile_up": 60}}, "unfamiliar.odd.simulate.pile_up", "pileup"),
        ({**OTHER, "simulate": {"tracks": {"eficiency": 1}}}, "unfamiliar.odd.simulate.tracks.eficiency", "efficiency"),
        ({**OTHER, "simulate": {"tune": 99}}, "unfamiliar.odd.simulate.tune", None),
        ({**OTHER, "simulate": {"pt_min": 2000}}, "unfamiliar.odd.simulate", None),
        ({"generate": {"process": "higs"}}, "unfamiliar.odd.generate.process", "higgs"),
        ({"generate": {"process": "collisions"}}, "unfamiliar.odd.generate.process", None),
        ({**OTHER, "label": "qcd"}, "unfamiliar.odd.label", None),
        ({}, "unfamiliar.odd", None),
        ({"files": ["a.root"], "simulate": {"tune": 5}}, "unfamiliar.odd", None),
        ({"files": ["no-such-file.root"]}, "unfamiliar.odd.files", None),
    ],
)
def test_what_cannot_be_is_refused(sample, key, nearest):
    error = refused(changed(unfamiliar={"odd": sample}))
    assert error.details["key"] == key
    assert nearest is None or error.details["nearest"] == nearest


def test_the_name_of_a_sample_is_taken():
    assert "random numbers" in refused(changed(unfamiliar={"top": OTHER})).problem


def test_a_misspelt_section_names_the_nearest():
    assert refused(changed(unfamilar={"odd": OTHER})).details["nearest"] == "unfamiliar"


def test_the_usual_tune_leaves_specs_as_they_are():
    usual, other = Simulate(), Simulate(tune=5)
    assert "tune" not in usual.model_dump(mode="json") and other.model_dump(mode="json")["tune"] == 5
    assert Simulate.model_validate(other.model_dump(mode="json")) == other
    lines = [set(steering("qcd", one, 1)) for one in (usual, other)]
    assert lines[0] ^ lines[1] == {"Tune:pp = 14", "Tune:pp = 5"}


def odd_shard(path, jets=40, classes=CLASSES):
    """One shard of jets of no class."""
    columns, constituents, counts = toy_jets(1, 40, seed=9)
    columns["label"] = np.full(40, NO_CLASS, "i4")
    events = as_events(columns, constituents, counts).take(np.arange(40) < jets)
    source = {"path": path.name, "sha256": path.name}
    attributes = {"sample": "odd", "classes": json.dumps(classes), "source_files": json.dumps([source])}
    write_events(path, events, attributes=attributes)
    return path


def index_spec(**settings) -> IndexSpec:
    return IndexSpec(version=1, classes=CLASSES, settings={"constituents": 16, **settings})


def test_an_index_has_all_jets_for_testing_and_no_class(tmp_path):
    shards = [odd_shard(tmp_path / "a.h5"), odd_shard(tmp_path / "b.h5", 30)]
    index(index_spec(), shards, tmp_path / "odd")
    data = Dataset(tmp_path / "odd/dataset.h5")
    rows = data.indices("test")
    assert len(rows) == len(data) == 70 and set(data.column("label", rows)) == {NO_CLASS}
    assert data.classes == CLASSES and data.particles == 16
    assert np.isfinite(data.features(rows).nodes_BPF).all()
    assert (tmp_path / "odd/dataset.h5.prov.json").exists()
    with pytest.raises(ContractError, match="a label is none"):
        data.training_weights()


def test_it_leaves_the_bits_of_the_training_as_they_are(tmp_path):
    dataset, scaler = toy_dataset(tmp_path, 60)
    before = dataset.read_bytes(), scaler.read_bytes()
    index(index_spec(), [odd_shard(tmp_path / "a.h5")], tmp_path / "unfamiliar/odd")
    toy_dataset(tmp_path, 60)
    assert (dataset.read_bytes(), scaler.read_bytes()) == before


def test_an_index_of_nothing_or_of_other_classes_or_columns_is_refused(tmp_path):
    with pytest.raises(InputError, match="no jets"):
        index(index_spec(), [odd_shard(tmp_path / "a.h5", 0)], tmp_path)
    shard = odd_shard(tmp_path / "b.h5")
    with pytest.raises(ContractError, match="other classes"):
        index(index_spec(), [odd_shard(tmp_path / "c.h5", classes=["qcd", "wz"])], tmp_path)
    with pytest.raises(InputError, match="no such column") as caught:
        index(index_spec(inputs=["pxx"]), [shard], tmp_path)
    assert caught.value.details["nearest"] == "px"
    with pytest.raises(InputError, match="same content"):
        index(index_spec(), [shard, shard], tmp_path)


def test_the_same_settings_give_the_same_text():
    asked = plan(odd=OTHER)
    spec = parse_spec(IndexSpec, asked.spec("index", beside="unfamiliar/odd"))
    assert as_text(spec) == asked.spec("index", beside="unfamiliar/odd")


def test_another_tune_makes_other_jets_and_is_on_record(tmp_path):
    found = []
    for tune in (14, 5):
        path = tmp_path / f"{tune}.root"
        settings = {"tune": tune}
        spec = SimulateSpec(version=1, sample="qcd", process="qcd", shard=0, jets=8, seed=5, settings=settings)
        simulate(spec, path)
        found.append((path.read_bytes(), read_json(record_path(path))["spec"]["settings"].get("tune")))
    assert found[0][0] != found[1][0] and [tune for _, tune in found] == [None, 5]


def test_a_tune_that_cannot_start_says_what_it_may_need(tmp_path):
    spec = SimulateSpec(version=1, sample="qcd", process="qcd", shard=0, jets=1, seed=5, settings={"tune": 11})
    with pytest.raises(CampaignError, match="cannot start") as caught:
        simulate(spec, tmp_path / "a.root")
    assert "LHAPDF" in caught.value.details["mend"] and not (tmp_path / "a.root").exists()
