"""Memory that a training frees stays with it."""

import subprocess
import sys

import pytest

CODE = """
import sys, torch
from bunchtrain.train.memory import keep_freed

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "kept":
    assert keep_freed()
before = resident()
tensor = torch.ones(6 << 20)
del tensor
print(resident() - before)
"""


def left_of_a_tensor(how):
    """Bytes by which a process is larger than before it made, and freed, a tensor of 24 MiB."""
    command = [sys.executable, "-c", CODE, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has the setting")
def test_a_freed_tensor_stays_with_the_process():
    assert left_of_a_tensor("kept") > 20 << 20 > left_of_a_tensor("as it is")
