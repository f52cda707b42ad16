"""Conversions that campaigns share: the same as if they had been made here."""

import json
import shutil

import h5py
import numpy as np
import pytest
from test_convert import columns, spec, write

from bunchtrain import provenance, store
from bunchtrain.convert import shared as shared_conversions
from bunchtrain.convert.run import convert
from bunchtrain.errors import InputError
from bunchtrain.files import read_json


@pytest.fixture
def shared(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setenv(store.VARIABLE, str(folder))
    return folder


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"{seed}.root", columns([3, 0, 5], seed)) for seed in (1, 2)]


def converted(folder, files, asked=None, **more):
    folder.mkdir(exist_ok=True)
    convert(asked or spec(), files, folder / "x.h5", folder / "x.json", **more)
    return folder / "x.h5"


def entries(shared):
    return sorted(path.parent for path in shared.rglob("entry.json"))


def content(path):
    """All that an HDF5 file holds, less the names of its sources."""
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, item: found.update({name: item[()].tolist()}) if isinstance(item, h5py.Dataset) else None
        )
        attributes = dict(file.attrs)
    sources = [{**source, "path": ""} for source in json.loads(attributes.pop("source_files"))]
    return found, {name: str(np.asarray(value)) for name, value in attributes.items()}, sources


def test_the_same_conversion_is_taken_to_the_byte(shared, files, tmp_path, capsys):
    one = converted(tmp_path / "one", files)
    assert "kept as" in capsys.readouterr().out and len(entries(shared)) == 1
    other = converted(tmp_path / "other", files)
    assert "taken from" in capsys.readouterr().out and len(entries(shared)) == 1
    assert one.read_bytes() == other.read_bytes()
    assert one.with_suffix(".json").read_bytes() == other.with_suffix(".json").read_bytes()


def test_the_record_says_where_it_was_taken_from(shared, files, tmp_path):
    made, taken = (provenance.read(converted(tmp_path / name, files)) for name in ("one", "other"))
    assert "taken" not in made["facts"] and set(taken["facts"]["taken"]) == set(store.TOLD)
    assert taken["inputs"] == made["inputs"] and taken["spec"] == made["spec"]
    assert provenance.altered(tmp_path / "other/x.h5") == []


def test_equal_files_of_other_names_are_converted_once(shared, files, tmp_path, monkeypatch, capsys):
    one = converted(tmp_path / "one", files)
    renamed = [tmp_path / f"renamed {number}; $(touch no).root" for number in range(2)]
    for file, name in zip(files, renamed, strict=True):
        shutil.copy(file, name)
    other = converted(tmp_path / "other", renamed)
    assert "taken from" in capsys.readouterr().out
    monkeypatch.delenv(store.VARIABLE)
    alone = converted(tmp_path / "alone", renamed)
    assert content(other) == content(alone) == content(one)
    assert read_json(other.with_suffix(".json")) == read_json(alone.with_suffix(".json"))
    with h5py.File(other) as file:
        assert [source["path"] for source in json.loads(file.attrs["source_files"])] == list(map(str, renamed))
    assert provenance.read(other)["inputs"] == provenance.read(alone)["inputs"]
    assert provenance.altered(other) == []


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"step_size": "2 kB"}, {}),
        ({"on_bad_file": "quarantine"}, {}),
        ({"tree": "jets"}, {}),
        ({}, {"part": (1, 2)}),
    ],
)
def test_another_question_is_another_conversion(shared, files, tmp_path, change, more):
    converted(tmp_path / "one", files)
    converted(tmp_path / "other", files, spec(**change), **more)
    assert len(entries(shared)) == 2


def test_another_order_or_content_is_another_conversion(shared, files, tmp_path):
    converted(tmp_path / "one", files)
    converted(tmp_path / "two", files[::-1])
    write(files[0], columns([3, 0, 5], 9))
    converted(tmp_path / "three", files)
    assert len(entries(shared)) == 3


def test_what_lacks_a_file_is_not_shared(shared, files, tmp_path):
    bad = tmp_path / "bad.root"
    bad.write_bytes(files[0].read_bytes()[:400])
    converted(tmp_path / "one", [*files, bad], spec("quarantine"))
    assert entries(shared) == []
    with pytest.raises(InputError):
        converted(tmp_path / "two", [bad])
    with pytest.raises(InputError, match="an input file is missing"):
        converted(tmp_path / "three", [tmp_path / "none.root"])
    assert entries(shared) == [] and not list((tmp_path / "two").iterdir())


def test_a_damaged_entry_never_reaches_a_campaign(shared, files, tmp_path, capsys):
    one = converted(tmp_path / "one", files)
    kept = entries(shared)[0] / "events.h5"
    kept.chmod(0o644)
    found = bytearray(kept.read_bytes())
    found[len(found) // 2] ^= 1
    kept.write_bytes(bytes(found))
    other = converted(tmp_path / "other", files)
    assert "is damaged" in capsys.readouterr().out and other.read_bytes() == one.read_bytes()
    assert kept.read_bytes() == one.read_bytes()


def test_a_file_that_is_replaced_meanwhile_is_not_shared(shared, files, tmp_path, monkeypatch, capsys):
    other = write(tmp_path / "other.root", columns([4, 1], 7))

    def replaced(file, digest_of=shared_conversions.digest_of):
        found = digest_of(file)
        shutil.copy(other, file)
        return found

    monkeypatch.setattr(shared_conversions, "digest_of", replaced)
    converted(tmp_path / "one", files[:1])
    assert "replaced while it was converted" in capsys.readouterr().out and entries(shared) == []
