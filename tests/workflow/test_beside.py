"""What stands beside the training, through Snakemake: jobs of its own, and none of the chain."""

import pytest

from bunchtrain.events.reader import Dataset

pytestmark = [pytest.mark.mpi, pytest.mark.fpga]

UNFAMILIAR = {
    "other_process": {"generate": {"process": "wz", "shards": 3, "jets_per_shard": 40}},
    "other_tune": {"generate": {"process": "qcd", "shards": 1, "jets_per_shard": 40}, "simulate": {"tune": 5}},
}


def test_unfamiliar_samples_run_their_own_jobs_alone(copy):
    copy.write({**copy.values, "unfamiliar": UNFAMILIAR})
    assert copy.jobs() == {"simulate": 4, "convert": 3, "index": 2}
    before = {name: copy.read(name) for name in ("prepare/dataset.h5", "prepare/scaler.json")}
    done = copy.run("--", "results/unfamiliar/other_tune/dataset.h5")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    data = Dataset(copy.folder / "results/unfamiliar/other_tune/dataset.h5")
    assert len(data.indices("test")) == 40 and set(data.column("label")) == {-1}
    assert {name: copy.read(name) for name in before} == before
    assert copy.jobs() == {"simulate": 3, "convert": 2, "index": 1}


def test_other_settings_of_one_run_that_one_alone(copy):
    copy.write({**copy.values, "unfamiliar": UNFAMILIAR})
    copy.run("--", "results/unfamiliar/other_tune/dataset.h5")
    copy.write({**copy.values, "unfamiliar": {"other_tune": {**UNFAMILIAR["other_tune"], "simulate": {"tune": 6}}}})
    assert copy.jobs() == {"simulate": 1, "convert": 1, "index": 1}
