"""Small students with formats, for tests and benchmarks that need cores but no tagger."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from bunchtrain.config.specs import SynthesizeSpec
from bunchtrain.config.synthesize import Student as Settings
from bunchtrain.events.reader import Dataset
from bunchtrain.events.scaling import Scaler
from bunchtrain.models.base import Shape, build, save_model
from bunchtrain.synth.encoder import Encoder
from bunchtrain.synth.fixedpoint import Fixed
from bunchtrain.synth.student import Lesson
from bunchtrain.synth.students.base import Layout, Student
from bunchtrain.synth.students.dense import Config, Network
from toys import CLASSES, toy_dataset

#: Of inputs with 8 bits.
INPUT = Fixed(8, 3, True, "RND", "SAT")

#: The tagger that the toy of the whole stage learns from.
MODEL = {"kind": "gnn", "hidden": 8, "layers": 1, "neighbours": 4, "head": 16, "dropout": 0.0}


def dense(inputs: int, hidden: list[int], outputs: int) -> Network:
    """A dense network that takes its inputs as they come."""
    return Network(Config(hidden=hidden), Layout(0, 3, inputs), outputs)


def quantised(student: Student, sparsity: float = 0.3, seed: int = 0, **bits: int) -> Student:
    """Give a student formats that suit random inputs."""
    student.input_format = INPUT
    student.prune(sparsity)
    generator = torch.Generator().manual_seed(seed)
    student.quantize(torch.randn(200, student.inputs, generator=generator), Settings(**bits))
    return student.eval()


def lesson(jets: int = 600, seed: int = 0) -> Lesson:
    """Two classes that one input tells apart, as a tagger answers."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (jets,), generator=random)
    x = torch.randn(jets, 9, generator=random) * 0.5
    x[:, 6] += labels * 2 - 1.0
    teacher = torch.stack([-x[:, 6], x[:, 6]], -1) * 2
    return Lesson(x, teacher, labels, torch.ones(jets), ([1, 4], [2, 5]))


def tagger(folder: Path, section: dict) -> tuple[Path, Path]:
    """Return the index of a small random sample, and the folder of a tagger that is trained on it for a moment."""
    dataset, scaler_file = toy_dataset(folder)
    data, scaler = Dataset(dataset), Scaler.load(scaler_file)
    rows = data.indices("train")
    inputs = [torch.from_numpy(values) for values in scaler(data.features(rows))]
    labels = torch.from_numpy(data.column("label", rows).astype("i8"))
    torch.manual_seed(0)
    shape = Shape(inputs[0].shape[-1], inputs[2].shape[-1], len(CLASSES))
    model = build(section, shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(*inputs).graph_BC, labels).backward()
        optimiser.step()
    card = {"model": section, "shape": shape._asdict(), "classes": CLASSES, "particles": data.particles}
    save_model(folder / "tagger", model, {**card, "scaler": asdict(scaler)})
    return dataset, folder / "tagger"


class Anomaly(Encoder):
    """Encoder of a variational autoencoder with the part of the divergence that tells jets apart: Σ min(μ², 4)."""

    def __init__(self, inputs: int, hidden: int = 16, latent: int = 4) -> None:
        super().__init__(inputs, [hidden], latent)


class Mixed(Student):
    """Layers of any kind, one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.inputs = nn.Sequential(*layers), 6

    def forward(self, x_BI):
        return self.layers(x_BI)


def spec(**changes) -> SynthesizeSpec:
    """What the stage is asked for: a core of a second or two, but for keys that are changed."""
    student = {"constituents": 2, "epochs": 6, "batch_size": 64, "sparsity": 0.3}
    student |= changes.pop("student", {})
    settings = {"student": student, "vectors": 150, "auc_loss": 0.2, **changes.pop("settings", {})}
    values = {
        "version": 1,
        "name": "toy",
        "seed": 5,
        "task": {"kind": "jet_tagging", "signal": "top", "background": "qcd"},
        "backend": {"kind": "open_xilinx"},
        "network": {"kind": "dense", "hidden": [6]},
        "settings": settings,
    }
    return SynthesizeSpec.model_validate({**values, **changes})
