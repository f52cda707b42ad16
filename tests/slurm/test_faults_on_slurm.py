"""Whatever happens on the cluster, a training ends as if nothing had, and never works beside itself."""

import os
import re
import shutil
import subprocess
import time

import pytest

from minicampaign import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.mpi]

TRAINED = "results/train/seed0/model.safetensors"

MIDDLE = "epoch 3/12"


def numbers(cluster):
    return [number for number, *_ in cluster.jobs("rule_train")]


def test_a_driver_that_is_killed_finds_its_jobs_again(cluster, disturbed, trained):
    disturbed.guard()
    first = disturbed.drive()
    disturbed.until(MIDDLE)
    first.kill()
    first.wait()
    (number,) = numbers(cluster)
    assert disturbed.drive().wait(600) == 0, disturbed.said()
    assert f"1 job(s) of a driver that was killed: {number} running; waits for them" in disturbed.said()
    assert disturbed.starts() == [number] and disturbed.unharmed(trained)
    assert "3 output(s) were finished after their driver was killed" in disturbed.said()
    assert disturbed.jobs("--", TRAINED) == {}
    values = disturbed.values
    values["train"]["epochs"] = 13
    disturbed.write(values)
    assert disturbed.jobs("--", TRAINED) == {"train": 1}


@pytest.mark.slow
def test_a_driver_that_is_killed_cancels_its_jobs_when_asked_to(cluster, disturbed, trained):
    disturbed.guard()
    first = disturbed.drive()
    disturbed.until(MIDDLE)
    first.kill()
    first.wait()
    (number,) = numbers(cluster)
    assert disturbed.drive("--orphans", "cancel").wait(600) == 0, disturbed.said()
    assert f"{number} running; cancels them" in disturbed.said()
    assert len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


def midway(disturbed, **asked):
    """Start a driver; return it when the training has come half way."""
    disturbed.guard()
    driver = disturbed.drive(**asked)
    disturbed.until(MIDDLE)
    return driver


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("sys.exit(1)", "FAILED"),
        pytest.param("len(b'x' * (3400 << 20)); time.sleep(9)", "OUT_OF_MEMORY|FAILED", marks=pytest.mark.slow),
    ],
    ids=["exit", "memory"],
)
def test_a_job_that_fails_once_is_tried_again(disturbed, trained, fault, words):
    disturbed.guard(fault)
    assert disturbed.drive().wait(600) == 0, disturbed.said()
    assert re.search(words, disturbed.said()) and len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


@pytest.mark.slow
def test_a_job_over_its_time_gets_more(disturbed, trained):
    disturbed.guard("time.sleep(600)")
    assert disturbed.drive(profile=disturbed.profile(runtime="attempt * 2 - 1")).wait(800) == 0, disturbed.said()
    assert "TIMEOUT" in disturbed.said() and len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


@pytest.mark.slow
def test_a_job_that_is_cancelled_is_submitted_again(cluster, disturbed, trained):
    driver = midway(disturbed)
    subprocess.run(["scancel", *numbers(cluster)], check=True)
    assert driver.wait(600) == 0, disturbed.said()
    assert "CANCELLED" in disturbed.said() and len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


def preempt():
    subprocess.run(["sbatch", "-N4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 20"], check=True)


@pytest.mark.slow
def test_a_training_that_is_preempted_goes_on_from_where_it_was(disturbed, trained):
    driver = midway(disturbed, profile=disturbed.profile(slurm_partition="spare"))
    preempt()
    assert driver.wait(600) == 0, disturbed.said()
    assert "goes on from epoch" in disturbed.log() and len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


@pytest.mark.slow
def test_a_preempted_job_that_does_not_listen_is_submitted_again(cluster, disturbed, trained):
    disturbed.guard("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    driver = disturbed.drive(profile=disturbed.profile(slurm_partition="spare"))
    disturbed.until(r"\d", "../tools/started-train")
    preempt()
    assert driver.wait(600) == 0, disturbed.said()
    assert "CANCELLED" in disturbed.said() and len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


@pytest.mark.slow
def test_a_training_survives_its_node(cluster, disturbed, trained):
    driver = midway(disturbed)
    node = subprocess.run(["squeue", "-h", "-o", "%B"], capture_output=True, text=True, check=True).stdout.strip()
    number = node.rpartition("n")[2]
    cluster("kill-node", number)
    try:
        assert driver.wait(600) == 0, disturbed.said()
    finally:
        cluster("start-node", number)
    assert "NODE_FAIL" in disturbed.said() and len(disturbed.starts()) == 2 and disturbed.unharmed(trained)


@pytest.mark.slow
@pytest.mark.parametrize("service", ["controller", "accounting"])
def test_a_service_that_is_away_for_a_minute_harms_nothing(cluster, disturbed, trained, service):
    driver = midway(disturbed)
    cluster(f"stop-{service}")
    time.sleep(60)
    cluster(f"start-{service}")
    assert driver.wait(600) == 0, disturbed.said()
    assert len(disturbed.starts()) == 1 and disturbed.unharmed(trained)


@pytest.mark.slow
def test_a_driver_in_a_job_of_its_own_is_queued_again_before_its_time_is_over(cluster, disturbed, trained):
    disturbed.guard()
    command = [ROOT / "slurm/submit.sh", "campaign.yaml", "--profile", ROOT / "slurm/test", "--", TRAINED]
    done = subprocess.run(
        command, cwd=disturbed.folder, env=disturbed.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    driver = done.stdout.split()[-1]
    log = f".snakemake/log/driver-{driver}.log"
    disturbed.until(MIDDLE)
    subprocess.run(["scancel", "--batch", "--signal=USR1", driver], check=True)  # what --signal does
    disturbed.until(f"job {driver} is queued again", log)
    disturbed.until("taken as they are(.|\n)*Nothing to be done", log)
    assert len(disturbed.starts()) == 1 and disturbed.unharmed(trained)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_full_disk_is_told_and_with_more_room_the_campaign_goes_on(cluster, disturbed, trained):
    small = disturbed.folder / "results/train"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (small / "filler").write_bytes(bytes(190_000))
        disturbed.guard()
        assert disturbed.drive().wait(600) != 0
        assert "the disk is full" in disturbed.log() and len(disturbed.starts()) == 3
        assert not [path for path in small.rglob("*") if path.suffix in (".tmp", ".safetensors")]
        subprocess.run(["mount", "-o", "remount,size=50m", small], check=True)
        (small / "filler").unlink()
        assert disturbed.drive().wait(600) == 0, disturbed.said()
        shutil.copytree(small / "seed0", disturbed.folder / "kept")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    shutil.copytree(disturbed.folder / "kept", small / "seed0")
    assert disturbed.unharmed(trained)
