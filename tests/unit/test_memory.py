"""Memory that a training frees stays with it."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from bunchtrain.train.memory import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed()
torch.set_num_threads(1)
network = torch.nn.Sequential(*(layer for _ in range(6) for layer in (torch.nn.Linear(64, 64), torch.nn.ReLU())))
jets = torch.ones(30_000, 64)
for number in range(10):
    if number == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(jets).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has the setting")
def test_freed_tensors_are_not_faulted_in_again():
    assert faults("kept") < 0.1 * faults("as it is")
