"""What several networks are built from.

B: batch, P: constituent, F: node feature, H: hidden width, G: global feature, C: class.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Tagger(nn.Module):
    """A network whose classifier, `head`, follows on what `encode` makes of a jet; dropout acts in the former alone."""

    head: nn.Module

    def encode(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Tensor:
        """Return what the classifier sees, shape [B, H]."""
        raise NotImplementedError

    def decide(self, encoded_BH: Tensor) -> Tensor:
        """Return logits, shape [B, C], from what `encode` gave."""
        logits: Tensor = self.head(encoded_BH)
        return logits

    def forward(self, nodes_BPF: Tensor, momenta_BP4: Tensor, globals_BG: Tensor, mask_BP: Tensor) -> Tensor:
        """Return logits, shape [B, C]."""
        return self.decide(self.encode(nodes_BPF, momenta_BP4, globals_BG, mask_BP))


def mean(x_BPH: Tensor, mask_BP: Tensor) -> Tensor:
    """Return the mean over the constituents, shape [B, H]; zero where there are none."""
    real_BP1 = mask_BP[..., None].to(x_BPH.dtype)
    return (x_BPH * real_BP1).sum(1) / real_BP1.sum(1).clamp(min=1)


def largest(x_BPH: Tensor, mask_BP: Tensor) -> Tensor:
    """Return the largest over the constituents of what is not negative, shape [B, H]; zero where there are none."""
    return (x_BPH * mask_BP[..., None]).amax(1)


def classifier(inputs: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    """Return two hidden layers with dropout, and the logits."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, outputs),
    )


def perceptron(*widths: int) -> nn.Sequential:
    """Return linear layers of these widths, each but the last followed by ReLU."""
    layers: list[nn.Module] = []
    for one, after in pairwise(widths):
        layers += [nn.Linear(one, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
