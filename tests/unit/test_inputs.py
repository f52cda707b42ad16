"""What a sample's `files` may name, and how jobs are cut from it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_convert import columns, write
from test_convert import run as converted

from bunchtrain.config.inputs import matching
from bunchtrain.convert.rootfile import opened, remote_digest
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError, MissingDependency
from bunchtrain.groups import comes_through

DEFAULT = yaml.safe_load((Path(__file__).parents[2] / "config/config.yaml").read_text())


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/deep").mkdir(parents=True)
    for name, size in (("b.root", 10), ("a.root", 2500), ("deep/c.root", 10), ("note.txt", 10)):
        (tmp_path / "data" / name).write_bytes(b"x" * size)
    return tmp_path


def plan(entries, **convert):
    samples = {**DEFAULT["samples"], "qcd": {"label": "qcd", "files": entries}}
    return Plan({**DEFAULT, "samples": samples, "convert": {"files_per_job": 2, **convert}}, "mine.yaml")


def test_a_folder_stands_for_its_root_files(files):
    assert matching("data") == ["data/a.root", "data/b.root"]
    assert matching("data/**/*.root") == ["data/a.root", "data/b.root", "data/deep/c.root"]


def test_a_list_stands_for_its_entries_in_their_order(files):
    (files / "list.txt").write_text("# mine\n\n data/b.root \ndata/deep\nroot://host//x/y.root\n")
    assert matching("@list.txt") == ["data/b.root", "data/deep/c.root", "root://host//x/y.root"]
    (files / "@odd").touch()
    assert matching("@odd") == ["@odd"]


@pytest.mark.parametrize(
    ("content", "hint"),
    [(None, "cannot be read"), ("data/b.root\nnone.root\n", "line 2"), ("https://x/y.root", "root://")],
)
def test_a_list_that_names_nothing_is_refused_with_its_line(files, content, hint):
    if content is not None:
        (files / "list.txt").write_text(content)
    with pytest.raises(CampaignError) as caught:
        plan(["@list.txt"])
    assert hint in caught.value.details["expected"] and caught.value.details["key"] == "samples.qcd.files"


def test_files_elsewhere_are_no_inputs_of_a_rule(files):
    found = plan(["root://host//x/y.root", "data/b.root"])
    assert found.groups("qcd") == ["0000"]
    assert found.files("qcd", "0000") == ["data/b.root"] and len(found.digests("qcd", "0000")) == 1
    assert found.remote("qcd", "0000") == ["root://host//x/y.root"] and found.part("qcd", "0000") == "1/1"


def test_a_huge_file_is_cut_in_ranges_of_its_entries(files):
    found = plan(["data"], split_above="1 kB")
    assert found.groups("qcd") == ["0000", "0001", "0002", "0003"]
    assert [found.part("qcd", group) for group in found.groups("qcd")] == ["1/1", "1/3", "2/3", "3/3"]
    assert [found.files("qcd", group) for group in found.groups("qcd")] == [["data/b.root"], *[["data/a.root"]] * 3]


def test_a_file_elsewhere_is_an_error_that_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency) as caught, opened("root://localhost:1//no.root"):
        pass
    assert "bunchtrain[xrootd]" in caught.value.details["mend"]
    with pytest.raises(MissingDependency):
        remote_digest("root://localhost:1//no.root")


def test_the_command_takes_parts_and_refuses_what_is_none(files):
    command = [sys.executable, "-m", "bunchtrain", "convert", "--spec", "{}", "--out", "a.h5", "--manifest", "a.json"]
    done = subprocess.run([*command, "--part", "4/3", "data/a.root"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.fixture
def server(tmp_path):
    """A real XRootD server of this machine alone."""
    pytest.importorskip("XRootD", reason="pip install 'bunchtrain[xrootd]'")
    if shutil.which("xrootd") is None:
        pytest.skip("apt-get install xrootd-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tmp_path.chmod(0o755)
    lines = [f"xrd.port {port}", f"all.export {tmp_path}", "xrd.network nodnr", f"all.adminpath {tmp_path}/admin"]
    (tmp_path / "server.cfg").write_text("\n".join([*lines, f"all.pidpath {tmp_path}", ""]))
    user = ["-R", "nobody"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(tmp_path, "nobody")
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(["xrootd", *user, "-c", str(tmp_path / "server.cfg")], stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    yield f"root://localhost:{port}/{tmp_path}"
    process.kill()
    process.wait()
    log.close()


@pytest.mark.filterwarnings("ignore:unclosed")
def test_a_file_on_a_server_gives_what_the_file_itself_gives(server, tmp_path):
    path = write(tmp_path / "a.root", columns([3, 0, 5, 2]))
    path.chmod(0o644)
    near, _, _ = converted(tmp_path / "near", [path])
    far, _, manifest = converted(tmp_path / "far", [f"{server}/a.root"])
    for name in near.keys() - {"jets/file_id"}:
        np.testing.assert_array_equal(near[name], far[name])
    assert len(manifest["inputs"][0]["sha256"]) == 64
    with pytest.raises(InputError) as caught:
        converted(tmp_path / "none", [f"{server}/none.root"])
    assert caught.value.details["file"].endswith("none.root")


@given(st.text(st.sampled_from("ab '\"$()`\\;|&<>*?[]{}~#!%\n\té\u202e\x7f"), max_size=8) | st.text(max_size=8))
def test_a_name_that_comes_through_is_the_same_to_a_shell(name):
    """Snakemake writes the names of inputs into the script of a batch job as Python writes them."""
    if comes_through(name):
        done = subprocess.run(["sh", "-s"], input=f"printf %s {name!r}".encode(), capture_output=True, check=True)
        assert done.stdout.decode() == name and not done.stderr


@pytest.mark.parametrize(
    "name", ["a b", "a'b", 'a"b', "a$(b)", "a`b`", "é日本", "a;b|c", "*?[a]", "#a", "~", "-rf", "%j"]
)
def test_names_that_are_odd_and_no_more_come_through(name):
    assert comes_through(name)


@pytest.mark.parametrize(
    ("wildcards", "there"),
    [
        ({}, True),
        ({"sample": "qcd", "group": "0000"}, True),
        ({"sample": "qcd", "group": "0001"}, False),
        ({"sample": "qcd", "group": "x"}, False),
        ({"sample": "gone", "group": "0000"}, False),
        ({"sample": "top", "shard": "0003"}, True),
        ({"sample": "top", "shard": "0004"}, False),
        ({"sample": "qcd", "shard": "0000"}, False),
        ({"number": "0"}, True),
        ({"number": "1"}, False),
        ({"candidate": "gone"}, False),
        ({"source": "gone", "variation": "up"}, False),
        ({"beside": "gone"}, False),
    ],
)
def test_a_plan_knows_which_jobs_it_has(files, wildcards, there):
    assert plan(["data"]).has(wildcards) is there


def test_a_plan_knows_what_a_conversion_reads(files):
    assert plan(["data"]).size("qcd", "0000") == 2510
    split = plan(["data"], split_above="1 kB")
    assert [split.size("qcd", group) for group in split.groups("qcd")] == [10, *[2500 / 3] * 3]
    assert plan(["root://host//a.root"]).size("qcd", "0000") is None
