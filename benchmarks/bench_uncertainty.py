"""MC dropout: what many passes cost beside as many whole ones, and whether memory grows with jets and passes."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bunchtrain import dropout, posterior
from bunchtrain.models import base as models
from marks import Mark, conclude, table

PASSES, BATCH, PARTICLES, FEATURES, GLOBALS, CLASSES = 100, 256, 40, 6, 4, 3
REPEATS = int(os.environ.get("BUNCHTRAIN_BENCH_REPEATS", "3"))
JETS = int(os.environ.get("BUNCHTRAIN_BENCH_JETS", "1000000"))

#: The demo's tagger and two others, at their default sizes; attention and edge convolution take minutes here.
KINDS = ("gnn", "deepsets", "interaction")


def batch(jets: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Return random jets as networks of jets take them."""
    random = torch.Generator().manual_seed(seed)
    momenta = torch.randn(jets, PARTICLES, 3, generator=random)
    energy = (momenta.square().sum(-1, keepdim=True) + 0.02).sqrt()
    nodes = torch.randn(jets, PARTICLES, FEATURES, generator=random)
    mask = torch.arange(PARTICLES) < torch.randint(10, PARTICLES + 1, (jets, 1), generator=random)
    return nodes, torch.cat([momenta, energy], -1), torch.randn(jets, GLOBALS, generator=random), mask


def network(kind: str) -> nn.Module:
    """Return an untrained network with its dropout on."""
    torch.manual_seed(0)
    model = models.build({"kind": kind, "dropout": 0.1}, models.Shape(FEATURES, GLOBALS, CLASSES))
    dropout.switch_on(model)
    return model


def probabilities(logits: object) -> Tensor:
    return torch.softmax(logits.graph_BC, -1)


def score(probabilities_MC: Tensor) -> Tensor:
    return probabilities_MC[..., 1] / (probabilities_MC[..., 0] + probabilities_MC[..., 1])


def streamed(model: nn.Module, inputs: tuple[Tensor, ...], passes: int) -> posterior.Posterior:
    return dropout.predict(model, inputs, probabilities, score, levels=("graph",), passes=passes, seed=1)


def naive(model: nn.Module, inputs: tuple[Tensor, ...], passes: int) -> Tensor:
    """Return the mean of whole passes, kept one beside the other."""
    with torch.no_grad():
        return torch.stack([probabilities(model(*inputs)) for _ in range(passes)]).mean(0)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(kind: str) -> tuple[float, float]:
    """Return the CPU time of passes over that of whole ones, the median of pairs taken in turn, and the latter."""
    model, inputs = network(kind), batch(BATCH)
    streamed(model, inputs, 2), naive(model, inputs, 2)
    pairs = [
        (seconds(lambda: streamed(model, inputs, PASSES)), seconds(lambda: naive(model, inputs, PASSES)))
        for _ in range(REPEATS)
    ]
    return statistics.median(fast / slow for fast, slow in pairs), statistics.median(slow for _, slow in pairs)


def growth(jets: int) -> float:
    """Return by how many MiB the peak memory grows over that of one batch while all jets are judged."""
    model, inputs = network("deepsets"), batch(BATCH)
    streamed(model, inputs, PASSES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(-(-jets // BATCH)):
        streamed(model, inputs, PASSES)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    torch.set_num_threads(1)
    grown = growth(JETS)
    rows, ratios = [], {}
    for kind in KINDS:
        ratios[kind], whole = ratio(kind)
        rows.append([kind, f"{ratios[kind]:.3f}", f"{whole:.2f}"])
    print(f"{PASSES} passes, {BATCH} jets of {PARTICLES} constituents; medians of {REPEATS} pairs")
    table(["network", "streamed / whole passes", "whole passes, CPU s"], rows)
    print(f"peak memory after {JETS} jets of {PASSES} passes: {grown:.1f} MiB above that of one batch")
    kept = JETS * PASSES * CLASSES * 8 / 2**20
    print(f"(all passes of all jets kept would be {kept:.0f} MiB)")
    conclude(
        [
            Mark("cost_of_passes", max(ratios.values()), 0.5, at_least=False),
            Mark("memory_growth_mib", grown, 50, at_least=False),
        ]
    )


if __name__ == "__main__":
    main()
