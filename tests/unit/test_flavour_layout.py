"""The input of flavour taggers, 40 tracks of 21 features: from an ntuple to the file that their reader takes."""

import awkward as ak
import numpy as np
from ftag.hdf5 import H5Reader
from test_convert import columns, write
from test_convert_columns import convert

from bunchtrain.cli import app
from bunchtrain.events.reader import Dataset
from bunchtrain.prepare.run import prepare
from toys import prepare_spec

WIDTH = 40
KINEMATIC = ("pt_fraction", "deta", "dphi", "q_over_p", "d0", "z0_sin_theta")
ERRORS = ("q_over_p_error", "theta_error", "phi_error", "d0_significance", "z0_significance")
HITS = (
    "hits_pixel",
    "hits_strip",
    "shared_pixel",
    "shared_strip",
    "holes_pixel",
    "holes_strip",
    "split_pixel",
    "hits_innermost",
    "hits_next_to_innermost",
    "shared_innermost",
)
FEATURES = KINEMATIC + ERRORS + HITS


def ntuple(path, seed):
    """Write jets with 0 to 60 tracks each, the tracks' features in a branch each, and return them."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 60, 80)
    counts[:2] = 0, 59
    branches = columns(random.integers(1, 6, len(counts)), seed)
    total = int(counts.sum())
    features = {name: random.normal(size=total).astype("f4") for name in (*KINEMATIC, *ERRORS)}
    features |= {name: random.integers(0, 9, total).astype("i4") for name in HITS}
    branches |= {f"trk_{name}": ak.unflatten(values, counts) for name, values in features.items()}
    return write(path, branches), branches


def test_forty_tracks_of_twenty_one_features_from_ntuple_to_the_reader_of_flavour_tagging(tmp_path):
    assert len(set(FEATURES)) == 21
    mapped = {"tracks": {name: {"branch": f"trk_{name}", "dtype": "i4" if name in HITS else "f4"} for name in FEATURES}}
    shards, source = [], {}
    for seed in (1, 2):
        path, source[seed] = ntuple(tmp_path / f"{seed}.root", seed)
        convert(tmp_path / str(seed), [path], mapped=mapped, labels=[(0, "pt < 0.5"), (1, "pt >= 0.5")])
        shards.append(tmp_path / str(seed) / "out1/a.h5")
    prepare(prepare_spec(), shards, tmp_path / "prepare")
    arguments = [
        "export",
        str(tmp_path / "prepare/dataset.h5"),
        "--out",
        str(tmp_path / "jets.h5"),
        "--collection",
        "tracks",
    ]
    app([*arguments, "--width", str(WIDTH), *(f"--column={name}" for name in FEATURES)], standalone_mode=False)

    reader = H5Reader(tmp_path / "jets.h5", batch_size=32, shuffle=False)
    wanted = {"jets": ["pt", "flavour_label"], "tracks": [*FEATURES, "valid"]}
    batches = [{name: values.copy() for name, values in batch.items()} for batch in reader.stream(wanted)]
    tracks = np.concatenate([batch["tracks"] for batch in batches])
    assert tracks.shape == (len(Dataset(tmp_path / "prepare/dataset.h5")), WIDTH)
    for name in FEATURES:
        expected = ak.concatenate([source[seed][f"trk_{name}"] for seed in (1, 2)])
        padded = ak.fill_none(ak.pad_none(expected, WIDTH, clip=True), 0)
        np.testing.assert_array_equal(tracks[name], ak.to_numpy(padded), err_msg=name)
    lengths = ak.num(ak.concatenate([source[seed]["trk_d0"] for seed in (1, 2)]))
    np.testing.assert_array_equal(tracks["valid"].sum(1), np.minimum(lengths, WIDTH))
