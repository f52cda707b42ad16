"""Fixtures shared by all tests."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# Ranks on a small machine, started by root in a container.
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Index and scaler of a small random sample of two classes."""
    from toys import toy_dataset

    return toy_dataset(tmp_path_factory.mktemp("toy"))
