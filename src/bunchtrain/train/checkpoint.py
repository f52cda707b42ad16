"""Checkpoints: one safetensors file each, written atomically, from which a training goes on exactly.

Tensors are the network's, the optimizer's, the averaged network's and the best network's so far; the header carries the
rest as JSON. Nothing in it can be executed. Random numbers need no state: they follow from seed, step and piece
(`sampler.stream_seed`). A training's checkpoints are in a folder named after all that its result depends on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import safetensors
import safetensors.torch
import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from bunchtrain.errors import InputError, TrainingError
from bunchtrain.files import atomic, fingerprint, remove_leftovers
from bunchtrain.models.base import load_state, require_fit, written_to
from bunchtrain.train import folders
from bunchtrain.train.optimise import Optimisation

#: Of the layout below.
FORMAT = 3

#: What AdamW knows of a parameter.
_OF_ADAM = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """How far a training has come; `step` counts within the epoch, and is the position in its order of jets."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    epoch: Annotated[int, Field(ge=0)] = 0
    step: Annotated[int, Field(ge=0)] = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    best_loss: float | None = None
    best_epoch: int = -1
    #: Of the schedule `plateau`: what it has made of the rate, and when it last changed it.
    factor: float = 1.0
    lowered: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one training.

    Parameters
    ----------
    out : path
        Folder of the training.
    identity : mapping
        All that the result depends on; JSON-like.
    keep : int
        Newest checkpoints that are kept.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], keep: int = 2) -> None:
        self.out, self.identity, self._keep = out, dict(identity), keep
        self.fingerprint = fingerprint(self.identity)
        self._all = out / folders.CHECKPOINTS
        self.folder = self._all / self.fingerprint

    def files(self) -> list[Path]:
        """Return this training's checkpoints, newest first."""
        return folders.files(self.folder)[::-1]

    def path(self, number: int) -> Path:
        """Return the place of the checkpoint of step `number` of the whole training."""
        return self.folder / folders.named(number)

    def newest(self) -> Path | None:
        """Return the newest checkpoint that is whole.

        Raises
        ------
        InputError
            If there are checkpoints and none of them is whole.
        """
        problem = None
        for path in self.files():
            try:
                _open(path)
                return path
            except InputError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return None

    def others(self) -> list[str]:
        """Return a line for each difference of this training from those whose checkpoints lie here too."""
        lines: list[str] = []
        for folder in folders.folders(self.out):
            for path in folders.files(folder) if folder != self.folder else ():
                with contextlib.suppress(InputError):
                    lines += differences(_open(path)[0]["identity"], self.identity)
        return list(dict.fromkeys(lines))

    def save(self, number: int, progress: Progress, state: Optimisation, best: Mapping[str, Tensor]) -> Path:
        """Write the checkpoint of step `number` of the whole training, then remove the oldest."""
        tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        if state.averaged is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in state.averaged.state_dict().items()}
        for place, values in state.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": torch.as_tensor(value) for name, value in values.items()}
        # Tensors that share memory are refused by safetensors; the best network starts as the network itself.
        copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        header = {
            "format": FORMAT,
            "identity": self.identity,
            "progress": asdict(progress),
            "scaler": state.precision.scaler.state_dict(),
        }
        metadata = {"header": json.dumps(header)}
        metadata["digest"] = _digest(metadata["header"], copies)
        path = self.path(number)
        with atomic(path) as temporary, written_to(path):
            safetensors.torch.save_file(copies, temporary, metadata=metadata)
        for old in self.files()[self._keep :]:
            old.unlink(missing_ok=True)
        remove_leftovers(self.folder)
        return path

    def load(self, path: Path, state: Optimisation) -> tuple[Progress, dict[str, Tensor]]:
        """Restore network and optimizer from a file; return the progress and the best weights.

        Raises
        ------
        InputError
            If the file is not a checkpoint, or is damaged.
        TrainingError
            If it is another training's; the error says in what they differ.
        """
        header, tensors = _open(path)
        if different := list(differences(header["identity"], self.identity)):
            raise TrainingError(
                "a checkpoint belongs to another training",
                file=path,
                found="; ".join(different),
                mend="train with the checkpoint's settings, or in another folder",
            )
        progress, best = _progress(header["progress"], path), _part(tensors, "best")
        require_fit(state.judged, best, path)
        load_state(state.model, _part(tensors, "model"), path)
        if state.averaged is not None:
            load_state(state.averaged, _part(tensors, "average"), path)
        _load_optimizer(state.optimizer, _part(tensors, "optimizer"), path)
        state.precision.scaler.load_state_dict(header["scaler"])
        return progress, best

    def clear(self) -> None:
        """Remove the checkpoints of all trainings here: one of them has its result."""
        for folder in folders.folders(self.out):
            for path in [*folders.files(folder), *folder.glob(f".{folders.NAME}.*.tmp")]:
                path.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
        if self._all.is_dir() and not self._all.is_symlink() and not any(self._all.iterdir()):
            self._all.rmdir()


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return header and tensors of a checkpoint.

    Raises
    ------
    InputError
        If the file is not a checkpoint, is damaged, or is of another format.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata["header"])
        version, parts = header["format"], [header[name] for name in ("identity", "progress", "scaler")]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _bad("a checkpoint cannot be read", path, repr(error)) from None
    if version != FORMAT:
        raise _bad("a checkpoint has another format", path, version, FORMAT)
    if metadata.get("digest") != _digest(metadata["header"], tensors) or not all(isinstance(x, dict) for x in parts):
        raise _bad("a checkpoint is damaged", path, "other content than its digest says")
    return header, tensors


def _bad(problem: str, path: Path, found: object, expected: object = None) -> InputError:
    mend = "remove the file to go on from the one before, or from the start"
    return InputError(problem, file=path, found=found, expected=expected, mend=mend)


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of all that a checkpoint holds: safetensors has none, and a flipped bit is a valid number."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def differences(theirs: Any, ours: Any, key: str = "") -> Iterator[str]:
    """Yield what differs between two JSON-like values, e.g. `model.hidden: 8, now 16`."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for name in sorted({*theirs, *ours}):
            yield from differences(theirs.get(name), ours.get(name), f"{key}.{name}" if key else name)
    elif theirs != ours:
        yield f"{key}: {theirs}, now {ours}"


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _progress(values: dict[str, Any], path: Path) -> Progress:
    try:
        return TypeAdapter(Progress).validate_json(json.dumps(values))  # strict, yet objects are dataclasses
    except ValidationError as error:
        one = error.errors()[0]
        found = f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
        raise _bad("a checkpoint's progress cannot be read", path, found) from None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], path: Path) -> None:
    """Give the optimizer what it knew of each parameter, or of none before the first step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for number, parameter in enumerate(parameters if tensors else ()):
        state[number] = {name: tensors.get(f"{number}.{name}") for name in _OF_ADAM}
        for name, tensor in state[number].items():
            wanted = () if name == "step" else tuple(parameter.shape)
            if tensor is None or tuple(tensor.shape) != wanted or not tensor.is_floating_point():
                found = "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
                raise _bad(f"a checkpoint's optimizer does not fit: {number}.{name}", path, found, wanted)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
