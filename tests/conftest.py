"""Fixtures shared by all tests."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# Ranks on a small machine, started by root in a container.
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")

# A loaded machine is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What a user shares with others is not for tests.
os.environ.pop("BUNCHTRAIN_STORE", None)


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Index and scaler of a small random sample of two classes."""
    from toys import toy_dataset

    return toy_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """Index and tagger of a small random sample; the tagger is trained for a moment."""
    from cores import MODEL, tagger

    return tagger(tmp_path_factory.mktemp("synth"), MODEL)


@pytest.fixture(scope="session")
def unsure(tmp_path_factory):
    """The same of a tagger with dropout."""
    from cores import MODEL, tagger

    return tagger(tmp_path_factory.mktemp("unsure"), {**MODEL, "dropout": 0.3})


@pytest.fixture(scope="session")
def finished(sample, tmp_path_factory):
    """Folder and report of the stage's outputs for that tagger; tests leave them as they are."""
    from bunchtrain.synth.run import synthesize
    from cores import spec

    out = tmp_path_factory.mktemp("results") / "synthesize"
    synthesize(spec(), *sample, out)
    return out, json.loads((out / "report.json").read_text())
