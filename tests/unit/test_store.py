"""The store that campaigns share: taken as a whole, never overwritten, and nothing that can break a campaign."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunchtrain import store
from bunchtrain.errors import CampaignError
from bunchtrain.files import sha256

ASKED = {"spec": {"version": 1}, "inputs": ["a" * 64]}


@pytest.fixture
def shared(tmp_path, monkeypatch):
    folder = tmp_path / "store with a space"
    folder.mkdir()
    folder.chmod(0o2775)
    monkeypatch.setenv(store.VARIABLE, str(folder))
    return folder


def made(tmp_path, text="content"):
    path = tmp_path / "made.h5"
    path.write_text(text)
    return path


def kept(tmp_path, asked=ASKED, text="content"):
    with store.place("convert", asked) as place:
        place.keep({"events.h5": made(tmp_path, text)}, inputs=["x"])
    return place


def taken(tmp_path, asked=ASKED):
    with store.place("convert", asked) as place:
        return place.take({"events.h5": tmp_path / "taken.h5"})


def test_without_the_variable_nothing_is_shared(monkeypatch):
    monkeypatch.delenv(store.VARIABLE, raising=False)
    with store.place("convert", ASKED) as place:
        assert place is None


@pytest.mark.parametrize("named", ["relative", "/no/such/folder", "~/store", __file__])
def test_a_variable_that_names_no_folder_is_an_error(monkeypatch, named):
    monkeypatch.setenv(store.VARIABLE, named)
    with pytest.raises(CampaignError, match="the store is no folder") as error:
        store.root()
    assert error.value.details["found"] == named and "mkdir" in error.value.details["mend"]


def test_what_was_kept_is_taken(shared, tmp_path):
    assert taken(tmp_path) is None and not (tmp_path / "taken.h5").exists()
    place = kept(tmp_path)
    about = taken(tmp_path)
    assert (tmp_path / "taken.h5").read_text() == "content"
    assert about["inputs"] == ["x"] and about["key"] == place.key and set(store.TOLD) <= set(about)


def test_who_may_write_into_the_store_may_write_into_all_of_it(shared, tmp_path):
    place = kept(tmp_path)
    for folder in (place.folder.parent.parent, place.folder.parent, place.folder):
        assert folder.stat().st_mode & 0o7777 == 0o2775
    assert place.lock.stat().st_mode & 0o777 == 0o664
    assert (place.folder / "events.h5").stat().st_mode & 0o777 == 0o444


def test_what_is_there_is_not_overwritten(shared, tmp_path):
    place = kept(tmp_path)
    before = (place.folder / "events.h5").stat()
    kept(tmp_path, text="something else")
    assert (place.folder / "events.h5").stat() == before
    assert sorted(path.name for path in place.folder.parent.iterdir()) == sorted([place.folder.name, place.lock.name])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
)


@given(VALUES, VALUES)
def test_different_questions_have_different_places(tmp_path_factory, one, other):
    root = tmp_path_factory.getbasetemp()
    same = store.Place(root, "convert", {"spec": one}).key == store.Place(root, "convert", {"spec": other}).key
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def _flip(folder):
    path = folder / "events.h5"
    path.chmod(0o644)
    path.write_text("CONTENT")


@pytest.mark.parametrize(
    "damage",
    [
        _flip,
        lambda folder: (folder / "events.h5").unlink(),
        lambda folder: (folder / "entry.json").unlink(),
        lambda folder: (folder / "entry.json").write_text("{"),
        lambda folder: (folder / "entry.json").write_text("[]"),
        lambda folder: (folder / "entry.json").write_text('{"files": [], "about": {"made": 1}}'),
        lambda folder: (folder / "entry.json").write_text('{"files": {}, "about": 5}'),
    ],
)
def test_a_damaged_entry_is_told_and_made_again(shared, tmp_path, damage, capsys):
    place = kept(tmp_path)
    (place.folder / "entry.json").chmod(0o644)
    damage(place.folder)
    assert taken(tmp_path) is None and not (tmp_path / "taken.h5").exists() and not place.folder.exists()
    assert "is damaged and is made again" in capsys.readouterr().out
    kept(tmp_path)
    assert taken(tmp_path) is not None and (tmp_path / "taken.h5").read_text() == "content"


def test_an_entry_under_another_key_is_not_taken(shared, tmp_path, capsys):
    other = kept(tmp_path, {"spec": 2}, "another's")
    mine = kept(tmp_path)
    shutil.rmtree(mine.folder)
    shutil.copytree(other.folder, mine.folder)
    assert taken(tmp_path) is None and "is damaged" in capsys.readouterr().out and not mine.folder.exists()


@pytest.mark.parametrize("key", ["asked", "files", "about", "seal"])
def test_an_entry_that_lacks_something_is_not_taken(shared, tmp_path, key):
    place = kept(tmp_path)
    path = place.folder / "entry.json"
    entry = json.loads(path.read_text())
    del entry[key]
    path.chmod(0o644)
    path.write_text(json.dumps(entry))
    assert taken(tmp_path) is None and not place.folder.exists()


@pytest.mark.parametrize("text", ["[" * 200_000, '{"asked": {}, "files": {}, "about": {}, "seal": "0"}'])
def test_an_entry_that_is_none_is_not_taken(shared, tmp_path, text):
    place = kept(tmp_path)
    (place.folder / "entry.json").chmod(0o644)
    (place.folder / "entry.json").write_text(text)
    assert taken(tmp_path) is None and not place.folder.exists()


def test_a_pipe_in_the_place_of_a_file_hangs_nothing(shared, tmp_path):
    place = kept(tmp_path)
    (place.folder / "events.h5").unlink()
    os.mkfifo(place.folder / "events.h5")
    assert taken(tmp_path) is None


def test_a_users_mask_closes_no_file_of_an_entry(shared, tmp_path):
    old = os.umask(0o077)
    try:
        place = kept(tmp_path)
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in place.folder.iterdir()} == {0o444}


def test_a_full_disk_under_the_store_costs_the_sharing_alone(shared, tmp_path, capsys):
    path = made(tmp_path, "x" * 100_000)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with store.place("convert", ASKED) as place:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, old[1]))
            place.keep({"events.h5": path})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "not kept" in capsys.readouterr().out
    assert [path.name for path in place.folder.parent.iterdir()] == [place.lock.name]


def test_a_store_that_cannot_be_written_is_read(shared, tmp_path, monkeypatch, capsys):
    """Root may write everywhere, so the refusal is the kernel's by another way: a folder in the lock's place."""
    place = kept(tmp_path)
    place.lock.unlink()
    place.lock.mkdir()
    assert taken(tmp_path) is not None
    assert "not locked" in capsys.readouterr().out


WAITS = """
import sys, time, pathlib
from bunchtrain import store
out, log = map(pathlib.Path, sys.argv[1:3])
with store.place("convert", {"spec": 1}) as place:
    if place.take({"events.h5": out}) is None:
        with log.open("a") as stream:
            stream.write("made\\n")
        time.sleep(float(sys.argv[3]))
        out.write_text("content")
        place.keep({"events.h5": out})
"""


def _started(tmp_path, number, seconds):
    command = [sys.executable, "-c", WAITS, str(tmp_path / f"{number}.h5"), str(tmp_path / "log"), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_who_asks_at_the_same_time_waits_and_takes(shared, tmp_path):
    running = [_started(tmp_path, number, 0.5) for number in range(4)]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert (tmp_path / "log").read_text() == "made\n"
    assert sum("taken from" in text for text in said) == 3
    assert {(tmp_path / f"{number}.h5").read_text() for number in range(4)} == {"content"}


def test_who_waits_for_a_killed_one_makes_it(shared, tmp_path):
    first = _started(tmp_path, 0, 600)
    until = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < until:
        time.sleep(0.02)
    second = _started(tmp_path, 1, 0)
    first.kill()
    first.wait(60)
    assert second.wait(60) == 0 and (tmp_path / "log").read_text() == "made\nmade\n"
    second.communicate()
    first.communicate()


def test_what_killed_ones_left_is_removed(shared, tmp_path):
    place = kept(tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait(60)
    left = place.folder.parent / f".{'0' * 62}.{os.uname().nodename}-{gone.pid}.tmp"
    left.mkdir()
    (left / "events.h5").write_text("half")
    with store.place("convert", ASKED) as found:
        found.keep({"events.h5": made(tmp_path)})
    assert not left.exists() and sha256(place.folder / "events.h5") == sha256(made(tmp_path))
