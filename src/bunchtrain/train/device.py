"""Where a rank computes, and with what precision."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from bunchtrain.config.train import Train
from bunchtrain.errors import TrainingError
from bunchtrain.levels import Latent, Logits
from bunchtrain.parallel import place_on_node

#: Precisions that autocast lowers products to; the weights stay in single precision.
_LOWERED = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose(settings: Train) -> torch.device:
    """Return this rank's device: a GPU of its own, or the CPU.

    Raises
    ------
    TrainingError
        If the settings ask for GPUs and this node has fewer than ranks, or for half precision without one.
    """
    number, ranks = place_on_node()
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if settings.device == "cuda" and visible < ranks:
        raise TrainingError(
            "every rank needs a GPU of its own",
            key="train.device",
            found=f"{visible} visible on this node, for {ranks} rank(s)",
            expected=f"at least {ranks}",
            mend="start as many ranks on a node as it has GPUs, or set train.device to cpu or auto",
        )
    if settings.device != "cpu" and visible >= ranks:
        return torch.device("cuda", number)
    if settings.precision == "fp16":
        raise TrainingError(
            "half precision needs a GPU", key="train.precision", found="fp16 on a CPU", expected="float32 or bf16"
        )
    return torch.device("cpu")


def be_deterministic() -> None:
    """Make every operation give the same bits on every run, or fail."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


#: What a network answers with.
Answers = TypeVar("Answers", Logits, Latent)


class Precision:
    """The arithmetic of a training: its data type, autocast, and the scaler that half precision needs."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.dtype = torch.float64 if name == "float64" else torch.float32
        self._device, self._lowered = device, _LOWERED.get(name)
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def raised(self, answers: Answers) -> Answers:
        """Return a network's answers in the precision in which losses are computed."""
        return type(answers)(*(one.to(self.dtype) for one in answers))

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which the network is computed."""
        if self._lowered is None:
            return nullcontext()
        return torch.autocast(self._device.type, self._lowered)
