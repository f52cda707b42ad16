"""A finished core is proven again from its own files, and every fault in it is found."""

import json
import re
import shutil
import zipfile

import pytest
from typer.testing import CliRunner

from bunchtrain.cli import app
from bunchtrain.errors import SynthesisError
from bunchtrain.synth import agreement, reprove
from bunchtrain.synth.fixedpoint import Fixed

pytestmark = [pytest.mark.fpga, pytest.mark.skipif(shutil.which("yosys") is None, reason="apt-get install yosys")]


def changed(core, target, changes, *, certified=False):
    """Write a copy of a core with other contents; certified: its certificate speaks of these."""
    with zipfile.ZipFile(core) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(files)).split("/")[0]
    for name, change in changes.items():
        content = change(files.get(f"{root}/{name}", b""))
        if content is None:
            del files[f"{root}/{name}"]
        else:
            files[f"{root}/{name}"] = content
    if certified:
        proof = json.loads(files[f"{root}/certificate.json"])
        named = {name: files[f"{root}/{name}"] for name in proof["files"] if f"{root}/{name}" in files}
        proof["files"] = agreement.digests(named)
        files[f"{root}/certificate.json"] = json.dumps(proof).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def test_a_core_is_proven_again(finished, tmp_path):
    out, report = finished
    found = CliRunner().invoke(app, ["verify", str(out / "core.zip")])
    assert found.exit_code == 0 and found.stdout.endswith("PASS\n")
    vectors = report["agreement"]["vectors"]
    own = int(re.search(r"(\d+) vectors of its own", found.stdout)[1])
    assert f"torch = sim/expected.hex: {vectors} vectors, 0 mismatches" in found.stdout and own >= reprove.OWN
    for name in ("c_simulation", "rtl"):
        assert f"torch = {name}: {vectors + own} vectors, 0 mismatches" in found.stdout
    for name in ("icarus", "vhdl"):
        assert f"torch = {name}: 300 vectors, 0 mismatches" in found.stdout


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("rtl/toy_tagger.v", lambda old: old + b" ", "not the one that was certified"),
        ("vhdl/toy_tagger.vhd", lambda old: old + b" ", "not the one that was certified"),
        ("provenance.json", lambda old: old.replace(b'"commit"', b'"Commit"'), "not the one that was certified"),
        ("README.md", lambda old: old + b" ", "not the one that was certified"),
        ("component.xml", lambda old: old + b" ", "not the one that was certified"),
        (
            "reports/student.json",
            lambda old: old.replace(b'"offset": ', b'"offset":  '),
            "not the one that was certified",
        ),
        ("reports/figures.json", lambda old: old + b" ", "not the one that was certified"),
        ("toy_tagger.core", lambda old: old + b" ", "not the one that was certified"),
        ("notes.txt", lambda old: b"trust me", "no core has"),
        ("constraints/toy_tagger.xdc", lambda old: None, "that was certified is not in the core"),
        ("sim/inputs.hex", lambda old: None, "that was certified is not in the core"),
        ("hls/extra.h", lambda old: b"int x;", "was never certified"),
        ("certificate.json", lambda old: b"{", "damaged"),
        ("certificate.json", lambda old: None, "lacks a file"),
        ("../outside", lambda old: b"x", "no core has"),
        ("rtl/evil.v", lambda old: b"x", "no core has"),
        ("rtl/toy_tagger_-Wbad.v", lambda old: b"x", "no core has"),
        ("RTL/toy_tagger.v", lambda old: b"x", "no core has"),
        ("hls/firmware/TAGGER.cpp", lambda old: b"x", "holds a file twice"),
    ],
)
def test_what_is_not_as_certified_is_named(finished, tmp_path, name, change, problem):
    out, _ = finished
    with pytest.raises(SynthesisError, match=problem):
        reprove.reprove(changed(out / "core.zip", tmp_path / "core.zip", {name: change}))


def other(digit):
    return b"1" if digit == b"0" else b"0"


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("sim/expected.hex", lambda old: other(old[:1]) + old[1:], "expected.hex does not compute"),
        ("rtl/toy_tagger.v", lambda old: re.sub(rb"(network_out\[0 \+: \d+\])", rb"~\1", old, count=1), "does not"),
        ("rtl/toy_tagger.v", lambda old: old.replace(b"aresetn ?", b"1'b1 ?"), "valid bit does not mark"),
        (
            "vhdl/toy_tagger.vhd",
            lambda old: re.sub(rb"<= (network_out\(\d+ )", rb"<= not \1", old, count=1),
            "vhdl does",
        ),
        ("vhdl/toy_tagger.vhd", lambda old: old.replace(b"<= valid(STAGES)", b"<= valid(1)"), "vhdl: the valid bit"),
        ("model/student.safetensors", lambda old: old[:-1] + bytes([old[-1] ^ 0x80]), "does not compute|do not fit"),
        ("sim/inputs.hex", lambda old: old[5:], "cannot be read|number of answers"),
        ("reports/student.json", lambda old: old.replace(b'"dense"', b'"dence"'), "make no network"),
        ("reports/student.json", lambda old: old.replace(b'"constituents": 2', b'"constituents": Infinity'), "make no"),
        ("rtl/toy_tagger.v", lambda old: b"`ifdef YOSYS\n`endif\n" + old, "another thing to a synthesiser"),
        ("vhdl/toy_tagger.vhd", lambda old: old.replace(b"if aresetn = '1'", b"if true"), "vhdl"),
        ("model/student.safetensors", lambda old: old[:40], "make no network"),
    ],
)
def test_a_fault_with_a_certificate_to_match_is_found_by_computing(finished, tmp_path, name, change, problem):
    out, _ = finished
    with pytest.raises(SynthesisError, match=problem):
        reprove.reprove(changed(out / "core.zip", tmp_path / "core.zip", {name: change}, certified=True))


def test_a_weight_of_the_project_that_differs_is_found(finished, tmp_path):
    out, _ = finished
    with zipfile.ZipFile(out / "core.zip") as archive:
        names = [name for name in archive.namelist() if re.search(r"hls/firmware/weights/w\d+\.txt$", name)]
    name = sorted(names)[-1].split("/", 1)[1]  # of the last layer: none of its weights is without effect
    both = (name, name.replace(".txt", ".h"))
    changes = dict.fromkeys(
        both, lambda old: re.sub(rb"-?\d+\.\d+(?=[,}\n ])", lambda m: b"-" + m[0].lstrip(b"-"), old)
    )
    with pytest.raises(SynthesisError, match="c_simulation does not compute"):
        reprove.reprove(changed(out / "core.zip", tmp_path / "core.zip", changes, certified=True))


def test_constants_for_synthesis_alone_are_compared_too(finished, tmp_path):
    out, _ = finished
    changes = {"hls/firmware/weights/w2.h": lambda old: re.sub(rb"\d+\.\d+", b"0.0", old)}
    with pytest.raises(SynthesisError, match="would build other weights"):
        reprove.reprove(changed(out / "core.zip", tmp_path / "core.zip", changes, certified=True))


def test_cpp_that_crashes_ends_with_its_reason(finished, tmp_path):
    out, _ = finished
    crash = {
        "hls/firmware/tagger.cpp": lambda old: re.sub(rb"(void tagger\([^{]*\{)", rb"\1 *(volatile int *)0 = 1;", old)
    }
    with pytest.raises(SynthesisError, match="the C simulation failed with status -11"):
        reprove.reprove(changed(out / "core.zip", tmp_path / "core.zip", crash, certified=True))


def test_a_core_with_fewer_vectors_than_it_claims_is_found(finished, tmp_path):
    out, _ = finished
    few = {f"sim/{name}.hex": lambda old: b"\n".join(old.split(b"\n")[:5]) + b"\n" for name in ("inputs", "expected")}
    with pytest.raises(SynthesisError, match="other vectors than the core brings"):
        reprove.reprove(changed(out / "core.zip", tmp_path / "core.zip", few, certified=True))


def test_a_core_is_one_folder(finished, tmp_path):
    out, _ = finished
    shutil.copy(out / "core.zip", tmp_path / "core.zip")
    with zipfile.ZipFile(tmp_path / "core.zip", "a") as archive:
        archive.writestr("evil/rtl/toy_tagger.v", b"module toy_tagger; endmodule")
    with pytest.raises(SynthesisError, match="not one folder"):
        reprove.reprove(tmp_path / "core.zip")


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all"])
def test_what_is_no_core_is_refused(tmp_path, content):
    (tmp_path / "core.zip").write_bytes(content)
    with pytest.raises(SynthesisError, match="cannot be read"):
        reprove.reprove(tmp_path / "core.zip")


def test_a_format_is_read_from_its_name():
    for form in (Fixed(8, 3, True, "RND", "SAT"), Fixed(12, -2, False, "TRN", "WRAP")):
        assert Fixed.named(form.hls) == form
    with pytest.raises(ValueError, match="no fixed-point format"):
        Fixed.named("float")
