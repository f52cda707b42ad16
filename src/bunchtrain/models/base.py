"""What all networks share: their call, how one is built from a campaign, and how one is kept on disk.

A network is called as `model(nodes_BPF, momenta_BP4, globals_BG, mask_BP)` with scaled features and with momenta in GeV
(see `events.features`) and returns `levels.Logits`. Where its module says `ROWS = "events"`, it is called as
`model(nodes_NF, features_EF, edges_2E)` with the scaled features of hits and of the edges of their graph (see
`events.hitgraph`). Two more literals of its module are read without importing it: `LEVELS`, those on which it answers,
all where it says none; and `SEES = "variables"`, where its global features go on with the columns of jets that
`prepare.variables` names. With a third, `ANSWERS = "latent"`, it returns `levels.Latent` in place of logits; with
`ANSWERS = "response"` it is a surrogate, built for a `levels.ResponseShape`, see `_surrogate`, and its `MAXWELL` says
in which of the ways of `physics.maxwell` it can be a magnetic field, `none` where it says nothing. On disk a network is
two files side by side: `model.safetensors`, the weights alone, and `model.json`, its card.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from bunchtrain import registry
from bunchtrain.errors import InputError, TrainingError
from bunchtrain.files import atomic, disk_problem, read_json, sha256, write_json
from bunchtrain.levels import ResponseShape as ResponseShape
from bunchtrain.levels import Shape as Shape
from bunchtrain.models._heads import Encoded as Encoded
from bunchtrain.models._heads import Tagger as Tagger

WEIGHTS = "model.safetensors"
CARD = "model.json"


def build(section: Mapping[str, Any], shape: Shape | ResponseShape) -> nn.Module:
    """Build a network with random weights from a campaign's `model` section (kind and options)."""
    options = dict(section)
    module = registry.load("models", options.pop("kind"), "model.kind")
    model: nn.Module = module.Model(module.Config.model_validate(options), shape)
    return model


def save_weights(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors to `path` (safetensors), atomically."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary, written_to(path):
        safetensors.torch.save_file(kept, temporary)


@contextlib.contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Turn what safetensors says of the disk into an OSError's words."""
    try:
        yield
    except SafetensorError as error:
        raise disk_problem(error, path) or error from None


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from `path`; nothing in the file can be executed.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not safetensors (a pickle, for example).
    """
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise InputError("weights are missing", file=path, mend="run train") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            "a file of weights is not valid safetensors", file=path, found=error, mend="run train again"
        ) from None


def save_model(folder: Path, model: nn.Module, card: Mapping[str, Any]) -> list[Path]:
    """Write weights and card into `folder` and return their paths.

    `card` holds at least `model` (the section), `shape`, `classes`, `particles` and `scaler`.
    """
    save_weights(model.state_dict(), folder / WEIGHTS)
    write_json(folder / CARD, {**card, "weights_sha256": sha256(folder / WEIGHTS)})
    return [folder / WEIGHTS, folder / CARD]


def load_card(folder: Path) -> dict[str, Any]:
    """Read the card of the network in `folder`.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    card = read_json(folder / CARD)
    if not isinstance(card, dict) or not {"model", "shape", "classes", "weights_sha256"} <= card.keys():
        raise InputError("a model card is incomplete", file=folder / CARD, mend="run train again")
    return card


def load_model(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a network and its card from `folder`; the network is in evaluation mode.

    Raises
    ------
    InputError
        If the files are missing, damaged, or do not belong together.
    """
    card = load_card(folder)
    tensors = load_weights(folder / WEIGHTS)
    if sha256(folder / WEIGHTS) != card["weights_sha256"]:
        raise InputError("weights and card do not belong together", file=folder / WEIGHTS, mend="run train again")
    model = build(card["model"], (ResponseShape if "quantities" in card["shape"] else Shape)(**card["shape"]))
    load_state(model, tensors, folder / WEIGHTS)
    return model.eval(), card


def load_state(model: nn.Module, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Put tensors into a network, or say which of them do not fit; see `require_fit`."""
    require_fit(model, tensors, file)
    model.load_state_dict(dict(tensors))


def require_fit(model: nn.Module, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Refuse tensors that are not a network's.

    Raises
    ------
    TrainingError
        Naming the first tensor that is missing, unknown, of another shape, or whole numbers in place of real ones.
    """

    def told(state: Mapping[str, torch.Tensor], name: str) -> str:
        if name not in state:
            return "nothing"
        return f"{'real' if state[name].is_floating_point() else 'whole'} numbers, shape {tuple(state[name].shape)}"

    wanted = model.state_dict()
    for name in sorted({*wanted, *tensors}):
        found, expected = told(tensors, name), told(wanted, name)
        if found != expected:
            raise TrainingError("weights of another network", file=file, key=name, found=found, expected=expected)
