"""Jets in packs of similar size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunchtrain.train.packing import packs


@given(st.lists(st.integers(0, 128), max_size=80), st.floats(0.05, 1))
def test_every_jet_is_in_one_pack_that_is_wide_enough_and_padding_keeps_its_bound(counts, padding):
    counts = np.array(counts, np.int64)
    found = packs(counts, padding)
    assert sorted(row for pack in found for row in pack.rows.tolist()) == list(range(len(counts)))
    assert all(len(pack.rows) and counts[pack.rows].max() <= pack.width for pack in found)
    slots = sum(len(pack.rows) * pack.width for pack in found)
    assert np.maximum(counts, 1).sum() >= (1 - padding) * slots - 1e-9


def test_there_are_no_more_packs_than_are_needed():
    assert len(packs(np.full(100, 30), 0.2)) == 1
    assert len(packs(np.repeat([10, 40], 50), 0.2)) == 2
    assert len(packs(np.arange(1, 101), 1.0)) == 1


@pytest.mark.parametrize("counts", [[], [0], [0, 0, 7]])
def test_nothing_and_jets_without_constituents_have_their_packs(counts):
    found = packs(np.array(counts, np.int64), 0.2)
    assert sum(len(pack.rows) for pack in found) == len(counts)
    assert all(pack.width >= 1 for pack in found)
