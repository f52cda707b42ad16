"""Checkpoints: one safetensors file, written atomically, from which a training goes on exactly.

Tensors are the network's, the optimizer's and the best network's so far; the header carries the rest as JSON. Nothing
in it can be executed. Random numbers need no state: they follow from seed, step and rank (`sampler.stream_seed`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from bunchtrain.errors import InputError
from bunchtrain.files import atomic
from bunchtrain.models.base import load_state, written_to


@dataclass
class Progress:
    """How far a training has come."""

    fingerprint: str
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    best_loss: float | None = None
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


def save(
    path: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor]
) -> None:
    """Write a checkpoint to `path`."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    # Tensors that share memory are refused by safetensors; the best network starts as the network itself.
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    with atomic(path) as temporary, written_to(path):
        safetensors.torch.save_file(copies, temporary, metadata={"progress": json.dumps(asdict(progress))})


def load(
    path: Path, fingerprint: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restore network and optimizer from `path`; return the progress and the best weights.

    None is returned when there is no checkpoint, or when it belongs to another training (other data, settings or
    version).

    Raises
    ------
    InputError
        If the file is not a checkpoint.
    """
    if not path.exists():
        return None
    mend = "remove the file to train from the start"
    try:
        with safetensors.safe_open(path, "pt") as file:
            progress = Progress(**json.loads((file.metadata() or {})["progress"]))
            if progress.fingerprint != fingerprint:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError("a checkpoint cannot be read", file=path, found=repr(error), mend=mend) from None
    load_state(model, _part(tensors, "model"), path)
    _load_optimizer(optimizer, _part(tensors, "optimizer"))
    return progress, _part(tensors, "best")


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
