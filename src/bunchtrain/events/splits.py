"""Splits by event: all jets of one event land on the same side, whatever the file, the order or their number."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits so that neighbours land far apart (the finaliser of SplitMix64, doi:10.1145/2714064.2660195)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def event_hash(sample: str, run: NDArray[Any], event: NDArray[Any], seed: int = 0) -> NDArray[np.uint64]:
    """Return a 64-bit hash of (sample, run, event) for each jet, shape [N]."""
    digest = hashlib.blake2b(f"{seed}:{sample}".encode(), digest_size=8).digest()
    start = np.uint64(int.from_bytes(digest, "little"))
    with np.errstate(over="ignore"):
        mixed = mix(np.asarray(run).astype(np.uint64) + start)
        return mix(mixed ^ mix(np.asarray(event).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))


def assign(hashes: NDArray[np.uint64], shares: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return the split of each hash, an index into `SPLITS`, shape [N]; `shares` add up to 1."""
    edges = np.cumsum(shares)[:2]
    return np.searchsorted(edges, hashes.astype(np.float64) / 2.0**64, side="right").astype(np.uint8)


def assign_folds(hashes: NDArray[np.uint64], folds: int, fold: int) -> NDArray[np.uint8]:
    """Return the split of each hash [N]: one fold tests, the next one validates, the others train.

    The folds do not depend on `fold`: over all of them every event is tested once.
    """
    number = np.minimum((hashes.astype(np.float64) / 2.0**64 * folds).astype(np.int64), folds - 1)
    split = np.zeros(len(hashes), np.uint8)
    split[number == fold] = SPLITS.index("test")
    split[number == (fold + 1) % folds] = SPLITS.index("validation")
    return split


def assign_parity(hashes: NDArray[np.uint64], event: NDArray[Any], validation: float) -> NDArray[np.uint8]:
    """Return the split of each event [N]: odd numbers test, of the even ones a share `validation` validates."""
    even = np.asarray(event).astype(np.uint64) % np.uint64(2) == 0
    split = assign(hashes, (1 - validation, validation, 0.0))
    split[~even] = SPLITS.index("test")
    return split


def at_most(indices: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most so many of the indices, drawn without repetition, in their order."""
    if len(indices) <= most:
        return indices
    return np.sort(np.random.default_rng(seed).choice(indices, most, replace=False))
