"""Errors, files, registry, provenance."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bunchtrain import errors, files, provenance, registry


def test_error_names_file_key_and_nearest_match():
    error = errors.CampaignError(
        "a key is not known", file="c.yaml", key="model.kind", found="gmn", choices=["gnn", "mlp"]
    )
    text = str(error)
    assert text.splitlines()[0] == "a key is not known"
    assert "c.yaml" in text and "model.kind" in text
    assert error.details["nearest"] == "gnn"
    assert error.details["expected"] == "one of gnn, mlp"


@pytest.mark.parametrize("name", ["a\x1b]0;title\x07", "a\nerror: b", "a\r", "\u202eb", "\x9b1m", "a\ud800"])
def test_names_in_errors_steer_no_terminal(name):
    for error in (errors.InputError("bad", file=name), errors.InputError("bad", key=name)):
        (head, row) = str(error).split("\n")
        assert head == "bad" and row.isprintable() and row.strip().endswith(ascii(name)[1:-1])
    found = str(errors.InputError(f"of {name}", found="one\n\ttwo \x1b[2J é"))
    assert "one\n\ttwo \\x1b[2J é" in found and "\x1b" not in found


def test_a_command_is_typed_with_quotes_where_they_are_needed():
    assert errors.typed("run", Path("a b"), 2, "$(c)") == "run 'a b' 2 '$(c)'"


def test_nearest_says_nothing_when_nothing_is_near():
    assert errors.nearest("zzzz", ["gnn", "mlp"]) is None


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_leftovers_of_a_killed_process_go_with_the_next_write(tmp_path):
    code = (
        "import os, signal, sys; from bunchtrain.files import atomic\n"
        "with atomic(sys.argv[1]) as t:\n t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "a.txt"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    files.write_text(path, "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_written_files_follow_the_umask(tmp_path):
    files.write_text(tmp_path / "a", "x")
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


def test_read_json_of_a_missing_or_broken_file_is_an_input_error(tmp_path):
    with pytest.raises(errors.InputError, match="missing"):
        files.read_json(tmp_path / "no.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(errors.InputError, match="not JSON"):
            files.read_json(tmp_path / "bad.json")


def test_fingerprint_ignores_the_order_of_keys():
    assert files.fingerprint({"a": 1, "b": 2}) == files.fingerprint({"b": 2, "a": 1})
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})


def test_exclusive_waits_and_a_killed_holder_frees_the_lock(tmp_path):
    code = (
        "import sys, time; from bunchtrain.files import exclusive\n"
        "with exclusive(sys.argv[1]):\n print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    started = time.monotonic()
    waiter = subprocess.Popen(
        [sys.executable, "-c", code.replace("time.sleep(60)", "pass"), str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "waiting" in waiter.stdout.readline()
    holder.kill()
    assert waiter.stdout.readline() == "held\n"
    assert waiter.wait(30) == 0 and time.monotonic() - started < 50
    holder.communicate()
    waiter.communicate()


def test_unknown_kind_names_the_nearest():
    with pytest.raises(errors.CampaignError) as caught:
        registry.load("models", "gmn", "model.kind")
    assert caught.value.details["nearest"] == "gnn"


@pytest.mark.parametrize("family", ["models", "tasks", "convert.formats", "synth.backends"])
def test_declared_config_is_the_modules_own(family):
    assert registry.kinds(family)
    for kind in registry.kinds(family):
        declared = registry.declared(family, kind)
        assert declared.model_json_schema() == registry.load(family, kind).Config.model_json_schema()


def test_a_constant_of_a_kind_is_read_without_its_module(tmp_path, monkeypatch):
    module = tmp_path / "odd_kind.py"
    module.write_text("import nothing_of_this_name\nROWS = 'jets'\nMORE = len('x')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_modules", lambda family: {"odd": "odd_kind"})
    assert registry.constant("odd family", "odd", "ROWS") == "jets"
    assert registry.constant("odd family", "odd", "ROW") is None
    with pytest.raises(errors.CampaignError, match="no literal") as caught:
        registry.constant("odd family", "odd", "MORE")
    assert caught.value.details["file"] == str(module) and caught.value.details["found"] == "MORE = len('x')"


def test_provenance_reaches_the_inputs_and_sees_tampering(tmp_path):
    source, middle, end = (tmp_path / name for name in ("a.root", "b.h5", "c.zip"))
    for path in (source, middle, end):
        path.write_text(path.name)
    provenance.record([middle], stage="convert", spec={"version": 1}, inputs=[source])
    provenance.record([end], stage="synthesize", spec={"version": 1}, inputs=[middle])
    chain = provenance.chain(end)
    assert [record["stage"] for record in chain] == ["synthesize", "convert"]
    assert chain[1]["inputs"][0]["sha256"] == files.sha256(source)
    assert provenance.altered(end) == []
    told = provenance.ancestry([end, middle])
    assert [one["stage"] for one in told] == ["synthesize", "convert"]
    assert told[1]["inputs"] == [{"name": f"{tmp_path.name}/a.root", "sha256": files.sha256(source)}]
    assert "made" not in told[0]
    source.write_text("tampered")
    assert provenance.altered(end) == [f"{source}: changed since {chain[1]['made']}"]


def test_provenance_record_holds_versions_and_spec(tmp_path):
    (tmp_path / "x").write_text("x")
    provenance.record([tmp_path / "x"], stage="train", spec={"version": 3})
    record = json.loads((tmp_path / "x.prov.json").read_text())
    assert record["spec"]["version"] == 3 and record["tools"]["torch"].startswith("2.13.0")


def test_progress_shows_a_bar_on_a_terminal_and_nothing_in_a_log():
    code = "from bunchtrain.progress import track; print(sum(track(range(5), 5, 'counting')))"
    logged = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert logged == "10\n"
    terminal = ["script", "-qec", f'{sys.executable} -c "{code}"', "/dev/null"]
    shown = subprocess.run(
        terminal, capture_output=True, text=True, check=True, env={**os.environ, "TERM": "xterm"}
    ).stdout
    assert "counting" in shown and "5/5" in shown and "10" in shown
