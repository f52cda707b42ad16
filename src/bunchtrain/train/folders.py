"""Where checkpoints lie in the folder of a training: a folder for each training, a file for each step.

The launcher of ranks looks there too, and does without torch.
"""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = "checkpoints"

#: Of a step's number in the name of its file.
_DIGITS = 9

#: Names of checkpoints, and of the folder of a training's, its fingerprint.
NAME, FOLDER = f"{'[0-9]' * _DIGITS}.safetensors", "[0-9a-f]" * 16


def named(number: int) -> str:
    """Return the name of the checkpoint of a step."""
    return f"{number:0{_DIGITS}d}.safetensors"


def folders(out: Path) -> list[Path]:
    """Return the folders of checkpoints of all trainings in `out`; links lead elsewhere and are left alone."""
    found = sorted((out / CHECKPOINTS).glob(FOLDER))
    return [folder for folder in found if folder.is_dir() and not folder.is_symlink()]


def files(folder: Path) -> list[Path]:
    """Return the checkpoints of one training, oldest first."""
    return sorted(path for path in folder.glob(NAME) if path.is_file())
