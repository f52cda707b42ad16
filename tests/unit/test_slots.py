"""Where evaluations run: cores, GPUs and nodes dealt out, what is run there, what is left behind."""

import os
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_config import changed

from bunchtrain.config.scan import Scan
from bunchtrain.config.specs import ScanSpec, as_text
from bunchtrain.dag import Plan
from bunchtrain.errors import CampaignError, InputError
from bunchtrain.scan import allocation, evaluation, machine, objective, places, process, slots, surroundings, workers
from bunchtrain.scan.allocation import Node
from bunchtrain.scan.journal import read
from bunchtrain.scan.slots import Need, Slot
from toys import train_spec

SPACE = {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}

#: `scontrol show job -d` of Slurm 22.05, shortened.
JOB = """JobId=7 JobName=scan
   NumNodes=3 NumCPUs=10 NumTasks=3 CPUs/Task=2 ReqB:S:C:T=0:0:*:*
   NodeList=node[1-3]
   JOB_GRES=gpu:5
     Nodes=node[1-2] CPU_IDs=0-3 Mem=2000 GRES=gpu:a100:2(IDX:0-1)
     Nodes=node3 CPU_IDs=0,4 Mem=1000 GRES=gpu:1(IDX:3)
   MinCPUsNode=2 MinMemoryNode=2000M MinTmpDiskNode=0
"""


def names(short):
    return {"node[1-2]": ["node1", "node2"], "node3": ["node3"]}[short]


def settings(**given):
    return Scan(**{"trials": 2, "parallel": 2, "epochs": 1, "max_jets": 200, "space": SPACE, **given})


def trainings(toy, **given):
    return objective.Trainings(ScanSpec(version=1, settings=settings(**given), training=train_spec()), *toy)


def test_a_slot_is_leased_to_one_evaluation_at_a_time():
    there = slots.here(3)
    first, second = there.lease(), there.lease()
    assert (first.number, second.number, there.free) == (0, 1, 1)
    there.give_back(first)
    assert there.lease() == first


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 64), st.integers(1, 64), st.integers(0, 9), st.booleans())
def test_no_two_slots_share_a_core_or_a_gpu(count, ranks, cores, most, gpus, wanted):
    devices = [f"GPU-{number}" for number in range(gpus)]
    found = machine.slots(count, Need(ranks, gpus=wanted), list(range(cores)), devices, most=most)
    assert 1 <= len(found) <= count and [slot.number for slot in found] == list(range(len(found)))
    for kind in ("cpus", "gpus"):
        leased = [one for slot in found for one in getattr(slot, kind)]
        assert len(set(leased)) == len(leased)
    assert all(len(slot.cpus) in (0, slot.cores) and len(slot.gpus) in (0, ranks) for slot in found)
    if wanted and gpus >= ranks:
        assert all(slot.gpus for slot in found) and len(found) == min(count, gpus // ranks)
    else:
        assert len(found) == count and not any(slot.gpus for slot in found)
    if len(found) * ranks <= min(cores, most):
        assert sum(slot.cores for slot in found) <= min(cores, most)


def test_slots_keep_to_cores_only_where_the_scan_has_them_all():
    whole = machine.slots(2, Need(2), [0, 1, 4, 5, 6])
    assert [slot.cpus for slot in whole] == [(0, 1), (4, 5)]
    assert not any(slot.cpus for slot in machine.slots(2, Need(2), list(range(64)), most=4))
    assert not any(slot.cpus for slot in machine.slots(4, Need(), [0, 1]))


def test_gpus_are_found_without_torch(tmp_path, monkeypatch):
    assert machine.gpus({"CUDA_VISIBLE_DEVICES": "0, 2"}) == ["0", "2"]
    assert machine.gpus({"CUDA_VISIBLE_DEVICES": ""}) == machine.gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []
    tool = tmp_path / "nvidia-smi"
    said = "".join(f"GPU {number}: NVIDIA H100 (UUID: GPU-5f-{number})\n" for number in (1, 2))
    tool.write_text(f"#!/bin/sh\ncat <<END\n{said}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.gpus({}) == ["GPU-5f-1", "GPU-5f-2"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpus({}) == []


def test_of_a_divided_gpu_the_parts_are_taken():
    text = """GPU 0: NVIDIA A100 (UUID: GPU-aa)
  MIG 3g.20gb     Device  0: (UUID: MIG-bb)
  MIG 3g.20gb     Device  1: (UUID: MIG-cc)
GPU 1: NVIDIA A100 (UUID: GPU-dd)"""
    assert machine.listed(text) == ["MIG-bb", "MIG-cc", "GPU-dd"]


def test_a_command_sees_its_own_cores_and_gpus_alone():
    slot = Slot(1, None, 2, tuple(sorted(os.sched_getaffinity(0)))[:1], ("GPU-7",))
    code = "import os; e = os.environ; print(e['OMP_NUM_THREADS'], e['CUDA_VISIBLE_DEVICES'], os.sched_getaffinity(0))"
    done = subprocess.run(slot.command([sys.executable, "-c", code]), capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["2", "GPU-7", f"{set(slot.cpus)}\n"]
    assert slot.command(["a"], 2)[:2] == ["env", "OMP_NUM_THREADS=1"]


def test_several_ranks_of_a_step_are_started_by_srun_and_one_is_the_step():
    slot = Slot(0, "node2", 4, step=("srun", "-w", "node2"))
    assert slot.command(["a"])[2:] == ["srun", "-w", "node2", "-c", "4", "-n", "1", "--mpi=none", "a"]
    assert slot.command(["a"], 2)[2:] == ["a"]
    assert shlex.split(slot.launcher(2)) == ["srun", "-w", "node2", "-c", "2", "--mpi=pmix"]
    assert shlex.split(Slot(0).launcher(2))[0] == "mpirun"


def test_the_nodes_of_a_job_are_read_from_what_slurm_tells():
    assert allocation.nodes(JOB, names) == [
        Node("node1", 4, 2000, 2),
        Node("node2", 4, 2000, 2),
        Node("node3", 2, 1000, 1),
    ]
    assert allocation.nodes("JobId=8\n     Nodes=node3 CPU_IDs=0-1 Mem=0 GRES=\n", names) == [Node("node3", 2)]
    assert allocation.nodes("JobId=8 JobState=PENDING", names) == []


def test_a_job_without_steps_or_outside_slurm_is_none(tmp_path, monkeypatch):
    for tool in ("srun", "scontrol"):
        (tmp_path / tool).touch()
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert allocation.job({}) is None and allocation.job({"SLURM_JOB_ID": "7"}) == "7"
    (tmp_path / "srun").unlink()
    assert allocation.job({"SLURM_JOB_ID": "7"}) is None


def test_slurm_that_does_not_answer_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'Invalid job id specified' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError, match=r"(?s)does not answer.*Invalid job id.*--workers here"):
        allocation.asked("7")


def test_a_step_that_holds_cores_is_told_from_a_batch_script():
    environ = {"SLURMD_NODENAME": "node1"}
    assert allocation.own_node({**environ, "SLURM_STEP_ID": "0"}) == "node1"
    assert allocation.own_node(environ) is None
    assert allocation.own_node({**environ, "SLURM_STEP_ID": str(0xFFFFFFFA)}) is None  # an interactive shell


@given(st.integers(1, 50), st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_evaluations_are_dealt_over_all_nodes_and_none_gets_more_than_fit(count, rooms):
    found = allocation.dealt(count, rooms)
    taken = [found.count(place) for place in range(len(rooms))]
    assert sum(taken) == min(count, sum(rooms)) and all(one <= room for one, room in zip(taken, rooms, strict=True))
    unfilled = [one for one, room in zip(taken, rooms, strict=True) if one < room]
    assert not unfilled or max(taken) <= min(unfilled) + 1


def test_the_slots_of_a_job_share_cores_memory_and_gpus():
    there = allocation.nodes(JOB, names)
    found, room = allocation.slots("7", there, 3, Need(2), 600)
    assert room == 5 and [(slot.node, slot.cores) for slot in found] == [("node1", 4), ("node2", 4), ("node3", 2)]
    assert {"--jobid=7", "--exact", "--kill-on-bad-exit=1", "--time=11", "--mem=1500M"} <= set(found[0].step)
    assert "--gres=none" in found[0].step
    found, room = allocation.slots("7", there, 9, Need(2), 600)
    assert room == 5 and [slot.cores for slot in found if slot.node == "node1"] == [2, 2]
    assert "--mem=750M" in found[0].step
    found, room = allocation.slots("7", there, 9, Need(2, gpus=True), 600)
    assert room == 2 and all("--gres=gpu:2" in slot.step for slot in found)
    counted, _ = allocation.slots("7", [Node("node3", 2)], 1, Need(), 600)
    assert not any(word.startswith(("--mem", "--gres")) for word in counted[0].step)


def test_a_job_without_room_for_one_evaluation_is_an_error():
    with pytest.raises(CampaignError, match=r"(?s)has not room.*node1: 2 core.*4 core"):
        places.in_job("7", [Node("node1", 2), Node("node2", 3)], None, settings(ranks=4), Need(4))


def test_the_node_whose_cores_its_own_step_holds_is_used_without_steps(capsys):
    nodes = [Node("node1", 4, 2000), Node("node2", 4, 2000)]
    found = places.in_job("7", nodes, "node1", settings(parallel=4), Need(1))
    assert [slot.number for slot in found] == [0, 1, 2, 3]
    assert [(slot.node, bool(slot.step)) for slot in found] == [("node1", False)] * 2 + [("node2", True)] * 2
    assert "room for 8 evaluations" in capsys.readouterr().out


def test_fewer_slots_than_asked_for_and_shared_cores_are_told(capsys):
    places.told("scan", settings(parallel=3), Need(2), (Slot(0, "a", 2), Slot(1, "b", 1)))
    said = capsys.readouterr().out
    assert "2 slot(s) on a, b, 1 to 2 core(s) each" in said and "parallel asks for 3" in said and "share them" in said
    many = len(machine.cpus()) + 1
    places.told("scan", settings(parallel=many), Need(), tuple(machine.slots(many, Need(), machine.cpus())))
    assert "share them" in capsys.readouterr().out
    places.told("scan", settings(parallel=1), Need(), tuple(machine.slots(1, Need(), machine.cpus())))
    assert "share them" not in capsys.readouterr().out


def test_a_way_that_is_none_is_an_error():
    with pytest.raises(CampaignError, match=r"(?s)--workers.*mpl.*nearest +mpi"):
        places.where("mpl", None)


def test_the_ranks_of_an_mpirun_share_out_what_their_machines_have():
    found = workers.shared([("a", [0, 1], []), ("a", [0, 1], []), ("b", [0, 1, 2, 3], []), ("a", [0, 1], [])], Need())
    assert [(slot.number, slot.node, slot.cpus) for slot in found] == [
        (0, "a", (0,)),
        (1, "b", (0, 1, 2, 3)),
        (2, "a", (1,)),
    ]
    with pytest.raises(CampaignError, match=r"(?s)fewer GPUs.*2 ranks to evaluate and 1 GPU"):
        workers.shared([("a", [0], ["0"])] * 3, Need(1, gpus=True))


def test_marks_of_a_launcher_are_left_behind_and_the_users_settings_stay():
    own = {"PATH": "/bin", "OMPI_MCA_btl": "self,tcp", "SLURM_CONF": "/etc/slurm.conf", "HOROVOD_LOG_LEVEL": "info"}
    marks = ["OMPI_COMM_WORLD_SIZE", "OMPI_MCA_orte_hnp_uri", "OMPI_MCA_ess_base_jobid", "PMIX_RANK", "SLURM_JOB_ID"]
    marks += ["SLURM_MEM_PER_CPU", "HOROVOD_SIZE", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"]
    assert surroundings.bare({**own, **dict.fromkeys(marks, "1")}) == own


def ranks_of(folder):
    """Processes that name a folder."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(folder) in line]


#: Ranks that no signal but the last stops.
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


@pytest.mark.mpi
def test_no_rank_survives_the_end_of_an_evaluation(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "GRACE", 1)
    command = [*shlex.split(Slot(0).launcher(2)), "-n", "2", sys.executable, "-c", STUBBORN, str(tmp_path)]
    assert process.evaluate(command, tmp_path / "log", 8) == "F_timeout"
    assert (tmp_path / "log").read_text().count("up") == 2
    assert ranks_of(tmp_path) == []


def test_what_an_evaluation_leaves_behind_is_ended(tmp_path):
    left = f"{sys.executable} -c '{STUBBORN.replace(chr(39), chr(34))}' {tmp_path} &"
    assert process.evaluate(["bash", "-c", f"set -m; {left} exit 0"], tmp_path / "log", 60) is None
    assert ranks_of(tmp_path) == []


def test_a_lost_rank_that_was_killed_is_taken_for_out_of_memory(tmp_path):
    (tmp_path / "log").write_text("  found    exit status 137 after 1 new start(s) without a new checkpoint\n")
    assert process.failure(2, tmp_path / "log") == "F_oom"


def test_a_folder_that_cannot_be_written_fails_one_evaluation_alone(toy, tmp_path):
    (tmp_path / "full").touch()
    asked = evaluation.Asked(0, {}, tmp_path / "full" / "0000")
    result, facts = evaluation.evaluate(trainings(toy), asked, Slot(3, "node1"))
    assert result == "F_crash" and "Not a directory" in facts["error"]
    assert (facts["slot"], facts["node"]) == (3, "node1")


@pytest.mark.mpi
def test_an_evaluation_of_two_ranks_is_trained_by_horovod(toy, tmp_path):
    of = trainings(toy, ranks=2)
    result, facts = evaluation.evaluate(of, evaluation.Asked(0, of.own(), tmp_path / "0000"), Slot(0, cores=2))
    log = (tmp_path / "0000" / "train.log").read_text()
    assert isinstance(result, float) and facts["slot"] == 0, log
    assert "2 rank(s) of horovod" in log


def test_a_training_of_several_ranks_is_spread_as_the_campaign_spreads_its_own():
    of = {ranks: {kind: settings(ranks=ranks).short(kind)["backend"] for kind in ("serial", "ddp")} for ranks in (1, 2)}
    assert of == {1: {"serial": "serial", "ddp": "serial"}, 2: {"serial": "auto", "ddp": "ddp"}}


def test_several_nodes_are_asked_for_and_rerun_nothing():
    one, two = (Plan(changed(scan__parallel=5, scan__ranks=2, scan__nodes=nodes), "c.yaml") for nodes in (1, 2))
    assert one.scan_nodes() == {}
    assert two.scan_nodes() == {"nodes": 2, "tasks": 2, "cpus_per_task": 6, "mpi": "srun"}
    assert one.spec("scan") == two.spec("scan") != Plan(changed(scan__parallel=5), "c.yaml").spec("scan")


def test_more_ranks_than_jets_of_a_step_are_refused():
    with pytest.raises(CampaignError, match=r"(?s)scan\.ranks.*8.*batch_size = 4"):
        Plan(changed(train__batch_size=4, scan__ranks=8), "c.yaml")


ASKS = """
import os

from bunchtrain.config.scan import Scan
from bunchtrain.errors import Requeue
from bunchtrain.scan import workers
from bunchtrain.scan.slots import Need


def work(number, slot):
    if number == 2:
        raise Requeue("asked to stop", file="x")
    return number, slot.number, os.environ["OMPI_COMM_WORLD_RANK"]


def main():
    with workers.opened("scan", Scan(trials=0), Need(), None) as slots:
        if slots is not None:
            with slots.pool() as pool:
                first = [pool.submit(work, 0, slots.lease()), pool.submit(work, 1, slots.lease())]
                print(*(one.result() for one in first))
                print(repr(pool.submit(work, 2, slots.all[1]).exception()))
                print(pool.submit(work, 3, slots.all[1]).result(), flush=True)
"""


@pytest.mark.mpi
def test_the_ranks_of_an_mpirun_evaluate_and_a_failure_there_comes_back(tmp_path):
    (tmp_path / "asks.py").write_text(ASKS)
    command = [*shlex.split(Slot(0).launcher(3)), "-n", "3", sys.executable, "-c", "import asks; asks.main()"]
    environ = {**surroundings.bare(), "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["(0, 0, '1') (1, 1, '2')", "Requeue('asked to stop')", "(3, 1, '2')"]


@pytest.mark.mpi
def test_a_scan_on_the_ranks_of_an_mpirun_ends_as_any_other(toy, tmp_path):
    spec = as_text(trainings(toy, trials=2, parallel=1, method="random").spec)
    words = [sys.executable, "-m", "bunchtrain", "scan", "--spec", spec, "--dataset", str(toy[0]), "--scaler"]
    words += [str(toy[1]), "--out", str(tmp_path)]
    done = subprocess.run(
        [*shlex.split(Slot(0).launcher(2)), "-n", "2", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    journal = read(tmp_path / "journal.jsonl")[0]
    assert [trial.facts["node"] for trial in journal.trials.values()] == [machine.name()] * 2
